"""Sending an answer: at once where nothing is wrong with it, else with its delays and faults."""

import asyncio
import gzip

from simulator import calls, streams, wires
from simulator.calls import Work
from simulator.exchange import Exchange
from simulator.faults import NONE, Faults
from simulator.traffic import JSON, Reply
from simulator.wires import BLANKS, Wire
from simulator.world import World


def sent_at_once(world: World, exchange: Exchange, outcome: Reply | Work) -> bool:
    """Send what nothing delays or spoils in one write; false for what takes time."""
    if isinstance(outcome, Reply):
        if outcome.faults is not NONE:
            return False
        send_now(exchange, outcome)
        return True
    if outcome.call.faults is not NONE or outcome.render is None or world.pace.first_token_s:
        return False
    send_now(exchange, outcome.render(calls.settle(world, outcome, produced=outcome.tokens)))
    return True


def send_now(exchange: Exchange, reply: Reply) -> None:
    """The short way for an answer that nothing spoils."""
    head = wires.head(
        exchange,
        status=reply.status,
        content_type=reply.content_type,
        headers=reply.headers,
        spoilt=NONE,
        length=len(reply.body),
    )
    exchange.write(head if exchange.request.method == "HEAD" else head + reply.body)
    exchange.done()


async def send(world: World, exchange: Exchange, outcome: Reply | Work) -> None:
    """Deliver any answer, with all its faults."""
    spoilt = outcome.faults if isinstance(outcome, Reply) else outcome.call.faults
    if spoilt.delay_headers_ms:
        await _either(exchange, spoilt.delay_headers_ms / 1000, outcome)
    if isinstance(outcome, Reply):
        await _send_reply(exchange, outcome, head_sent=False)
    elif outcome.script is not None:
        await streams.run(world, exchange, outcome, outcome.script)
    else:
        await _send_json(world, exchange, outcome)


async def _either(exchange: Exchange, seconds: float, outcome: Reply | Work) -> None:
    """JSON answers are produced whether or not anybody waits; everything else stops with the client."""
    if isinstance(outcome, Work) and outcome.script is None:
        await asyncio.sleep(seconds)
    else:
        await exchange.pause(seconds)


async def _send_json(world: World, exchange: Exchange, work: Work) -> None:
    """A JSON call always runs to its end and is billed in full."""
    spoilt, render = work.call.faults, work.render
    if render is None:
        raise TypeError("JSON work without a renderer")
    early = spoilt.early_headers and not spoilt.close_before_headers
    if early:
        exchange.write(
            wires.head(
                exchange,
                status=200,
                content_type=JSON,
                headers=work.call.headers,
                spoilt=spoilt,
                length=None,
            )
        )
    await asyncio.sleep(_json_time_s(world, work))
    failed = bool(spoilt.ok_error) or work.failed
    bill = calls.settle(world, work, produced=work.tokens, failed=failed, cancelled=exchange.left)
    await _send_reply(exchange, render(bill), head_sent=early)


def _json_time_s(world: World, work: Work) -> float:
    spoilt, pace = work.call.faults, world.pace
    first = pace.first_token_s if spoilt.first_token_ms is None else spoilt.first_token_ms / 1000
    step = pace.chunk_s if spoilt.chunk_delay_ms is None else spoilt.chunk_delay_ms / 1000
    return first + step * (work.tokens // max(spoilt.chunk_tokens, 1))


async def _send_reply(exchange: Exchange, reply: Reply, *, head_sent: bool) -> None:
    spoilt = reply.faults
    if spoilt.close_before_headers:
        await exchange.cut(spoilt.close_before_headers)
        return
    floods = spoilt.pad_bytes > len(BLANKS)
    body = reply.body if floods else b" " * spoilt.pad_bytes + reply.body
    if spoilt.gzip and not head_sent and not floods:
        body = gzip.compress(body)
    whole = not (head_sent or spoilt.split or floods)
    if not head_sent:
        length = len(body) if whole else None
        exchange.write(
            wires.head(
                exchange,
                status=reply.status,
                content_type=reply.content_type,
                headers=reply.headers,
                spoilt=spoilt,
                length=length,
            )
        )
    if spoilt.cut_after is not None or spoilt.cut_bytes is not None:
        end = len(body) // 2 if spoilt.cut_bytes is None else spoilt.cut_bytes
        exchange.write(body[:end] if whole else b"%x\r\n%b" % (len(body), body[:end]))
        await exchange.cut(spoilt.cut_style)
        return
    if whole:
        exchange.write(body)
    else:
        await _send_chunks(exchange, spoilt, body, compress=head_sent or floods, floods=floods)
    exchange.done()


async def _send_chunks(
    exchange: Exchange, spoilt: Faults, body: bytes, *, compress: bool, floods: bool
) -> None:
    wanted = Faults(
        gzip=compress and spoilt.gzip,
        split=spoilt.split,
        split_delay_ms=spoilt.split_delay_ms,
        pad_bytes=spoilt.pad_bytes,
    )
    wire = Wire(exchange, wanted)
    if floods:
        await wire.pad()
    wire.put(body)
    await wire.end()
