"""Broadcast: every ended generation pushed to one destination, late, again and again until it is taken."""

import asyncio
import gzip
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator import spans
from simulator.spans import Ended
from simulator.traffic import JSON, Body

# The waits before each further try of a delivery that was not answered with 2xx; then it is given up.
RETRIES_S = (0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0)
ANSWER_TIMEOUT_S = 15.0
BATCH_MAX = 500
_FIELDS = {"url", "headers", "delay_ms", "batch_ms", "gzip", "trace_form", "cost_form"}


class BadDestination(ValueError):
    """A destination that cannot be sent to; the message names the field."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where traces go, and in which of the forms that were seen in the wild."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    batch_s: float = 0.0
    gzip: bool = False
    trace_form: str = "observed"
    cost_form: str = "double"


def destination(body: Body) -> Destination | None:
    """Read `{"url", "headers", …}`; None for `{}`, which turns Broadcast off. Else BadDestination."""
    unknown = set(body) - _FIELDS
    if unknown:
        raise BadDestination(f"Unknown: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(_FIELDS))}.")
    if not body:
        return None
    url, headers = body.get("url"), body.get("headers") or {}
    parts = urllib.parse.urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme != "http" or not parts.hostname:
        raise BadDestination("url must be an http:// address.")
    if not isinstance(headers, dict) or not all(_is_header(*pair) for pair in headers.items()):
        raise BadDestination("headers must be an object of plain strings.")
    form, cost = body.get("trace_form", "observed"), body.get("cost_form", "double")
    if form not in spans.FORMS or cost not in spans.COSTS:
        raise BadDestination(f"trace_form is one of {spans.FORMS}, cost_form one of {spans.COSTS}.")
    return Destination(
        url=str(url),
        headers=headers,
        delay_s=_milliseconds(body, "delay_ms"),
        batch_s=_milliseconds(body, "batch_ms"),
        gzip=bool(body.get("gzip")),
        trace_form=form,
        cost_form=cost,
    )


class Broadcasts:
    """The sender. Nothing it does is waited for by the calls it tells of."""

    def __init__(self) -> None:
        self.destination: Destination | None = None
        self.delivered = self.refused = self.given_up = 0
        self.last_status: int | None = None
        self._waiting = 0
        self._batch: list[Ended] = []
        self._flush: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def point(self, target: Destination | None) -> None:
        """Send to another destination, or nowhere; what still waits for the old one is dropped."""
        self.destination = target
        self.delivered = self.refused = self.given_up = self._waiting = 0
        self.last_status = None
        self._batch = []
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None

    def ended(self, ended: Ended, *, how: str, delay_ms: int | None) -> None:
        """Tell of a generation in a while, as the `broadcast` knob wants it."""
        target = self.destination
        if target is None or how == "never":
            return
        told = [spans.spoilt(ended, how)] * (2 if how == "twice" else 1)
        delay_s = target.delay_s if delay_ms is None else delay_ms / 1000
        self._waiting += len(told)
        for one in told:
            asyncio.get_running_loop().call_later(delay_s, self._queue, target, one)

    def summary(self) -> dict[str, object]:
        target = self.destination
        return {
            "url": target.url if target else None,
            "waiting": self._waiting,
            "delivered": self.delivered,
            "refused": self.refused,
            "given_up": self.given_up,
            "last_status": self.last_status,
        }

    def _queue(self, target: Destination, one: Ended) -> None:
        if target is not self.destination:
            return
        if not target.batch_s:
            self._start(target, [one])
            return
        self._batch.append(one)
        if len(self._batch) >= BATCH_MAX:
            self._send_batch(target)
        elif self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(target.batch_s, self._send_batch, target)

    def _send_batch(self, target: Destination) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        batch, self._batch = self._batch, []
        if batch:
            self._start(target, batch)

    def _start(self, target: Destination, batch: list[Ended]) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(target, batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, target: Destination, batch: list[Ended]) -> None:
        body = spans.payload(batch, form=target.trace_form, cost=target.cost_form)
        for pause_s in (*RETRIES_S, None):
            status = await _post(target, body)
            if target is not self.destination:
                return
            self.last_status = status
            if status is not None and 200 <= status < 300:
                self.delivered += len(batch)
                break
            self.refused += 1
            if pause_s is None:
                self.given_up += len(batch)
                break
            await asyncio.sleep(pause_s)
            if target is not self.destination:
                return
        self._waiting -= len(batch)


async def _post(target: Destination, body: bytes) -> int | None:
    """Send one delivery; the status it was answered with, None where no answer came."""
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await _exchange(target, gzip.compress(body) if target.gzip else body)
    except (OSError, TimeoutError, ValueError, EOFError):
        return None


async def _exchange(target: Destination, body: bytes) -> int:
    parts = urllib.parse.urlsplit(target.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        path = parts.path or "/"
        head = {
            "Host": parts.netloc,
            "Content-Type": JSON,
            "Content-Length": str(len(body)),
            "Connection": "close",
            "User-Agent": "OpenRouter-Broadcast/simulated",
            **({"Content-Encoding": "gzip"} if target.gzip else {}),
            **target.headers,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        writer.write(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body)
        await writer.drain()
        words = (await reader.readline()).split()
        if len(words) < 2:
            raise EOFError("no status line")
        return int(words[1])
    finally:
        writer.close()


def _is_header(name: Any, value: Any) -> bool:
    return (
        isinstance(name, str)
        and name.isascii()
        and isinstance(value, str)
        and value.isprintable()
        and bool(name)
    )


def _milliseconds(body: Body, name: str) -> float:
    value = body.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 3_600_000:
        raise BadDestination(f"{name} must be a whole number of milliseconds.")
    return value / 1000
