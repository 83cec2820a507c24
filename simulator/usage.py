"""The `usage` object of each API, with the cost as the literal that the bill names."""

import orjson

from simulator.faults import Faults
from simulator.pricing import Bill
from simulator.traffic import Body


def _raw(text: str) -> orjson.Fragment:
    return orjson.Fragment(text.encode())


def _cost(bill: Bill, *, prompt: str, completion: str) -> Body:
    """cost, is_byok and cost_details; nothing when the wire is to be silent about cost."""
    if bill.wire is None:
        return {}
    found: Body = {"cost": _raw(bill.wire)}
    if bill.byok is not None:
        found["is_byok"] = bill.byok
    found["cost_details"] = {
        "upstream_inference_cost": _raw(bill.upstream),
        f"upstream_inference_{prompt}": _raw(bill.prompt_part),
        f"upstream_inference_{completion}": _raw(bill.completion_part),
    }
    if bill.tools:
        searches = bill.tally.searches
        used = {"web_search_requests": searches} if searches else {}
        calls = {"tool_calls_requested": searches or 1, "tool_calls_executed": searches or 1}
        found["server_tool_use_details"] = {**used, **calls}
    return found


def chat(bill: Bill, faults: Faults) -> Body | None:
    """For chat and legacy completions; None when usage is to be left out."""
    if faults.omit_usage:
        return None
    tally = bill.tally
    found: Body = {
        "prompt_tokens": tally.prompt,
        "completion_tokens": tally.completion,
        "total_tokens": tally.prompt + tally.completion,
        **_cost(bill, prompt="prompt_cost", completion="completions_cost"),
    }
    if bill.wire is not None:
        found["prompt_tokens_details"] = {
            "cached_tokens": tally.cached,
            "cache_write_tokens": tally.written,
            "audio_tokens": 0,
            "video_tokens": 0,
        }
        found["completion_tokens_details"] = {
            "reasoning_tokens": tally.reasoning,
            "image_tokens": tally.images,
            "audio_tokens": 0,
        }
    return found


def responses(bill: Bill, faults: Faults) -> Body | None:
    if faults.omit_usage:
        return None
    tally = bill.tally
    return {
        "input_tokens": tally.prompt,
        "input_tokens_details": {"cached_tokens": tally.cached, "cache_write_tokens": tally.written},
        "output_tokens": tally.completion,
        "output_tokens_details": {"reasoning_tokens": tally.reasoning},
        "total_tokens": tally.prompt + tally.completion,
        **_cost(bill, prompt="input_cost", completion="output_cost"),
    }


def messages(bill: Bill, faults: Faults) -> Body | None:
    """Anthropic counts cached and written tokens beside `input_tokens`, not inside."""
    if faults.omit_usage:
        return None
    tally = bill.tally
    return {
        "input_tokens": tally.prompt - tally.cached - tally.written,
        "output_tokens": tally.completion,
        "cache_creation_input_tokens": tally.written,
        "cache_read_input_tokens": tally.cached,
        **_cost(bill, prompt="prompt_cost", completion="completions_cost"),
    }


def units(bill: Bill, faults: Faults, **counts: int) -> Body | None:
    """For APIs that count in their own units: embeddings, rerank, pictures, transcription, videos."""
    if faults.omit_usage:
        return None
    return {**counts, **_cost(bill, prompt="prompt_cost", completion="completions_cost")}
