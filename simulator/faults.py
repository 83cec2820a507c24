"""Every fault the simulator can be asked for: the table of knobs, and how texts become one `Faults`."""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, get_type_hints

MODEL_MARK = ":sim="
ONE = Decimal(1)


class BadFault(ValueError):
    """A knob that does not exist or a value it does not take; never passed over in silence."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a knob takes: how its text is read, and how that is put into words."""

    parse: Callable[[str], object]
    values: str


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError("a whole number from 0 up")
    return int(text)


def _size(text: str) -> int:
    if not re.fullmatch(r"\d{1,12}", text):
        raise ValueError("a number of bytes")
    return int(text)


def _flag(text: str) -> bool:
    if text not in {"0", "1", "true", "false"}:
        raise ValueError("0 or 1")
    return text in {"1", "true"}


def _decimal(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as exc:
        raise ValueError("a decimal number") from exc
    if not value.is_finite() or not 0 <= value <= 1_000_000:
        raise ValueError("a decimal number from 0 to 1000000")
    return value


def _words(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("a name")
    return text


def _one_of(*choices: str) -> Kind:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return text

    return Kind(parse, "|".join(choices))


def _status(least: int, most: int) -> Kind:
    def parse(text: str) -> int:
        if not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"a status from {least} to {most}")
        return int(text)

    return Kind(parse, f"{least}..{most}")


def _page_status(text: str) -> int:
    if text != "200" and not re.fullmatch(r"5\d\d", text):
        raise ValueError("200 or a status from 500 to 599")
    return int(text)


N, MS, SECONDS, SIZE = Kind(_count, "n"), Kind(_count, "ms"), Kind(_count, "s"), Kind(_size, "n")
FLAG, USD, TIMES, NAME = Kind(_flag, "0|1"), Kind(_decimal, "usd"), Kind(_decimal, "x"), Kind(_words, "name")
USAGE_STYLE = _one_of("empty", "null-finish", "repeated-finish")
COST = _one_of("plain", "noisy", "null", "string", "exponent", "negative", "nan", "infinity", "huge")
STREAM_ERROR = _one_of("finish", "usage", "empty", "choice", "string")
RECORD = _one_of(
    "normal",
    "never",
    "other-id",
    "other-model",
    "other-user",
    "other-time",
    "zero-first",
    "changed",
    "corrected",
)
TOLD = _one_of("normal", "never", "twice", "wrong-cost", "wrong-trace", "wrong-user", "no-cost", "garbage")
SCOPE = _one_of("inference", "models", "generation", "all")
ERROR_STYLE = _one_of("platform", "provider", "availability", "moderation", "leaky")
JOB = _one_of("completed", "failed", "cancelled", "expired", "stuck")
KEY_ORDER, CUT = _one_of("new", "old"), _one_of("rst", "fin")
HIT, PLACE = _one_of("hit", "miss"), _one_of("top", "choice")
ERROR_STATUS, REDIRECT, PAGE = _status(400, 599), _status(300, 399), Kind(_page_status, "200|500..599")


@dataclass(frozen=True, slots=True)
class Faults:
    """What is to go wrong with one answer; the defaults are a healthy upstream."""

    # Time.
    delay_headers_ms: Annotated[int, MS, "wait before the status line"] = 0
    early_headers: Annotated[bool, FLAG, "JSON answers: headers at once, body when it is ready"] = False
    first_token_ms: Annotated[int | None, MS, "wait before the first data frame (default: by --speed)"] = None
    chunk_delay_ms: Annotated[int | None, MS, "wait between data frames (default: by --speed)"] = None
    comments_before: Annotated[int, N, "comments before the first data frame (default 1)"] = 1
    comments_between: Annotated[int, N, "comments after each data frame"] = 0
    comment_delay_ms: Annotated[int, MS, "wait before each comment"] = 0
    stall_after: Annotated[int | None, N, "after n data frames only comments come, every 50 ms"] = None
    hang_after: Annotated[int | None, N, "after n data frames nothing comes at all"] = None
    stall_ms: Annotated[int, MS, "how long stall or hang lasts; 0: until the client leaves"] = 0
    # Shape.
    chunk_tokens: Annotated[int, N, "tokens in one data frame (default 3)"] = 3
    completion_tokens: Annotated[int | None, N, "length of a prose answer; max_tokens still holds"] = None
    prompt_tokens: Annotated[int | None, N, "what the prompt counts as"] = None
    cached_tokens: Annotated[int, N, "prompt tokens read from cache"] = 0
    cache_write_tokens: Annotated[int, N, "prompt tokens written to cache"] = 0
    unicode: Annotated[bool, FLAG, "answer with characters of two to four bytes"] = False
    usage_style: Annotated[str, USAGE_STYLE, "`choices` of the usage frame (default the last)"] = (
        "repeated-finish"
    )
    key_order: Annotated[str, KEY_ORDER, "order of keys in chat answers"] = "new"
    permaslug: Annotated[bool, FLAG, "`model` in the answer is the dated slug"] = False
    crlf: Annotated[bool, FLAG, "SSE lines end in CRLF"] = False
    cr: Annotated[bool, FLAG, "SSE lines end in a bare CR"] = False
    split: Annotated[int, N, "the body leaves in pieces of n bytes, also inside a character"] = 0
    split_delay_ms: Annotated[int, MS, "wait between those pieces"] = 0
    gzip: Annotated[bool, FLAG, "content-encoding gzip, asked for or not"] = False
    pad_bytes: Annotated[
        int, SIZE, "whitespace in front of a JSON answer, or in a stream's first data frame"
    ] = 0
    event_lines: Annotated[bool, FLAG, "`event:` lines in /responses streams"] = False
    no_done: Annotated[bool, FLAG, "no `data: [DONE]`"] = False
    after_done: Annotated[bool, FLAG, "one more data frame after [DONE]"] = False
    # Money.
    omit_usage: Annotated[bool, FLAG, "no `usage`"] = False
    omit_cost: Annotated[bool, FLAG, "`usage` without cost, cost_details, is_byok"] = False
    usage_every_chunk: Annotated[bool, FLAG, "running `usage` on every chat chunk"] = False
    cost: Annotated[str, COST, "how `usage.cost` is written"] = "plain"
    cost_usd: Annotated[Decimal | None, USD, "the call costs this, whatever the tokens say"] = None
    price_factor: Annotated[Decimal, TIMES, "the endpoint is x times dearer than the list"] = ONE
    byok: Annotated[bool, FLAG, "own provider key: cost 0, is_byok true, the price in cost_details"] = False
    server_tool_usd: Annotated[Decimal | None, USD, "server tool fee inside cost; is_byok absent"] = None
    cache: Annotated[str | None, HIT, "response cache headers; hit: usage zero, cost 0"] = None
    # Refusals and failures.
    status: Annotated[int | None, ERROR_STATUS, "error answer instead of a generation"] = None
    error_style: Annotated[str, ERROR_STYLE, "shape of that error"] = "platform"
    retry_after: Annotated[int | None, SECONDS, "Retry-After (default on 429 and 503: 1)"] = None
    error_generation: Annotated[bool, FLAG, "errors carry X-Generation-Id and leave a record"] = False
    error_billed: Annotated[bool, FLAG, "tokens produced before an error are charged"] = False
    html: Annotated[int | None, PAGE, "Cloudflare's HTML page with that status"] = None
    ok_error: Annotated[str | None, PLACE, "status 200 with an error in the body (JSON answers)"] = None
    midstream_error: Annotated[str | None, STREAM_ERROR, "error frame in a 200 stream"] = None
    error_after: Annotated[int, N, "data frames before midstream_error (default 2)"] = 2
    redirect: Annotated[int | None, REDIRECT, "Location: /__sim/elsewhere, where requests are noted"] = None
    # Connection and headers.
    close_before_headers: Annotated[str | None, CUT, "request read, then closed; nothing is billed"] = None
    cut_after: Annotated[int | None, N, "connection cut after n data frames (JSON: inside the body)"] = None
    cut_bytes: Annotated[int | None, N, "and n bytes of the next frame (JSON: n bytes of the body)"] = None
    cut_style: Annotated[str, CUT, "how it is cut"] = "rst"
    set_cookie: Annotated[bool, FLAG, "Set-Cookie on the answer"] = False
    leaky_headers: Annotated[bool, FLAG, "headers that name the account behind the key"] = False
    # Provider.
    provider: Annotated[str | None, NAME, "served by this provider"] = None
    provider_down: Annotated[bool, FLAG, "this model has no live provider: next of `models`, else 502"] = (
        False
    )
    cancellable: Annotated[bool | None, FLAG, "a disconnect stops the generation (default: by provider)"] = (
        None
    )
    # What becomes of the job that POST /videos begins.
    job: Annotated[str, JOB, "how it ends; only a completed one is charged and has a film"] = "completed"
    job_ms: Annotated[int, MS, "when (default 1000)"] = 1000
    # GET /generation of this call.
    generation: Annotated[str, RECORD, "its record: none, another's, or one whose cost changes"] = "normal"
    generation_change_ms: Annotated[
        int | None, MS, "the cost changes so long after the record is there (default: at the second look)"
    ] = None
    generation_delay_ms: Annotated[int | None, MS, "404 for so long after the end"] = None
    generation_failures: Annotated[int, N, "the first n looks at the record fail"] = 0
    generation_status: Annotated[int, ERROR_STATUS, "with this status (default 503)"] = 503
    generation_stall_ms: Annotated[int, MS, "every look at the record is answered so late"] = 0
    # What Broadcast tells of this call.
    broadcast: Annotated[str, TOLD, "whether and how Broadcast tells of it"] = "normal"
    broadcast_delay_ms: Annotated[int | None, MS, "how late (default: the destination's delay_ms)"] = None
    on: Annotated[str, SCOPE, "which routes global knobs apply to"] = "inference"


KNOBS: dict[str, tuple[Kind, str]] = {
    name: hint.__metadata__ for name, hint in get_type_hints(Faults, include_extras=True).items()
}
NONE = Faults()


def _pairs(text: str) -> dict[str, str]:
    pairs = {}
    for part in text.split(","):
        name, found, value = part.strip().partition("=")
        if name:
            pairs[name.strip()] = value.strip() if found else "1"
    return pairs


@functools.lru_cache(maxsize=4096)
def combine(*texts: str) -> Faults:
    """Faults of several texts like `cut_after=3,crlf`, the later one winning; else BadFault."""
    pairs: dict[str, str] = {}
    for text in texts:
        pairs |= _pairs(text)
    parsed: dict[str, Any] = {}
    for name, value in pairs.items():
        if name not in KNOBS:
            raise BadFault(f"Unknown fault '{name}'. Known faults: {', '.join(sorted(KNOBS))}.")
        try:
            parsed[name] = KNOBS[name][0].parse(value)
        except ValueError as exc:
            raise BadFault(f"Fault '{name}' does not take '{value}': it wants {exc}.") from exc
    return Faults(**parsed) if parsed else NONE


def from_object(knobs: Mapping[str, object]) -> str:
    """The text of a JSON object of knobs, checked."""
    parts = []
    for name, value in knobs.items():
        if isinstance(value, bool):
            value = int(value)
        parts.append(f"{name}={value}")
    text = ",".join(parts)
    combine(text)
    return text


def split_model(model: str) -> tuple[str, str]:
    """`vendor/name:sim=cut_after=3` as (`vendor/name`, `cut_after=3`)."""
    name, _, text = model.partition(MODEL_MARK)
    return name, text


def described() -> dict[str, dict[str, str]]:
    return {name: {"values": kind.values, "effect": effect} for name, (kind, effect) in sorted(KNOBS.items())}
