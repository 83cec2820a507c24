"""Answers that are passed on as they come: sound and films, never looked into, and JSON that is too long to keep."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

from llm import calls, lookups, metering
from llm.errors import UpstreamError, UpstreamLost
from llm.pumps import Pump
from llm.shapes import reports
from llm.upstream import ANSWER_BYTES_MAX, READ_TIMEOUT_S, Answer

log = logging.getLogger(__name__)


class Relay(Pump):
    """Carries one metered answer. Nothing is ever put into it, and what it cost is asked for by its id."""

    is_text = False

    async def _forward(self) -> None:
        chunks = self._answer.chunks(as_sent=True)
        while (chunk := await self._read(chunks)) is not None:
            await self._give(chunk)

    async def _conclude(self, failure: UpstreamError | None) -> None:
        # Half a sound looks like a whole one unless its connection breaks as upstream's did.
        self.is_broken = failure is not None or self._interrupted
        await self.call.leave_open()


class LongAnswer(Relay):
    """Carries a JSON answer of vectors or pictures; what it cost stands at its end and is charged before that goes on.

    Upstream has made it and may know it by no name, so that it is read to its end whatever its client does.
    """

    is_text = True

    def __init__(
        self, call: calls.Call, answer: Answer, *, begun: bytes, chunks: AsyncIterator[bytes]
    ) -> None:
        super().__init__(call, answer)
        self._chunks = chunks
        self._last_chunk = begun  # Not given yet.
        self._gist = reports.Gist()
        self._gist.feed(begun)
        # A client that is slow, but takes something now and then, must not keep upstream waiting until that gives up.
        self._patience_s = READ_TIMEOUT_S

    async def _forward(self) -> None:
        loop = asyncio.get_running_loop()
        size = len(self._last_chunk)
        while (chunk := await self._read(self._chunks)) is not None:
            size += len(chunk)
            if size > ANSWER_BYTES_MAX:
                raise UpstreamLost("Upstream's answer is too long.", maybe_charged=True)
            began = loop.time()
            await self._give(self._last_chunk)
            self._patience_s -= loop.time() - began
            if self._patience_s < 0 and not self._gone:
                self.leave()
            self._last_chunk = chunk
            self._gist.feed(chunk)

    def _interrupt(self) -> None:
        """Nothing can be saved by a cut, and the cost be lost."""

    async def _conclude(self, failure: UpstreamError | None) -> None:
        self.is_broken = failure is not None
        report = None if self.is_broken else self.call.admission.shape.report(self._gist.whole())
        await charge(self.call, self._answer, report)
        if not self.is_broken:
            await self._give(self._last_chunk)


async def charge(call: calls.Call, answer: Answer, report: metering.Report | None) -> None:
    """Settle a call by its answer, or note under which name upstream can be asked for it: headers may not say so."""
    job = reports.job(report) if report is not None and call.admission.shape.is_job else None
    name = (
        f"{lookups.JOB_BEGINNING}{job}" if job else answer.generation_id or (report and report.generation_id)
    )
    if call.generation_id is None and name:
        call.learn(name)
    if report is None or report.cost_usd is None:
        await call.leave_open()
    else:
        await call.settle(report, "inline")


class Passage:
    """Carries one answer that costs nothing, at its client's pace; iterate `chunks` once, or `leave`."""

    def __init__(self, answer: Answer, *, ended: Callable[[], None]) -> None:
        self.is_broken = False
        self._answer = answer
        self._ended = ended
        self._gone = False
        self._is_begun = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it came; `is_broken` where it ends before its end."""
        if self._has_ended():
            return
        self._is_begun = True
        try:
            async for chunk in self._answer.chunks(as_sent=True):
                if self._gone:
                    return
                yield chunk
        except UpstreamError as exc:
            log.info("An answer broke on its way: %s", exc)
            self.is_broken = True
        finally:
            self._ended()
            await self._answer.close()

    def _has_ended(self) -> bool:
        return self._gone

    def leave(self) -> None:
        """Note that the client has gone, perhaps before a byte was read: then nobody else gives the place back."""
        if not self._is_begun and not self._gone:
            self._ended()
            closing = asyncio.ensure_future(self._answer.close())
            _closing.add(closing)
            closing.add_done_callback(_closed)
        self._gone = True


_closing: set[asyncio.Future[None]] = set()


def _closed(closing: asyncio.Future[None]) -> None:
    _closing.discard(closing)
    if not closing.cancelled() and (failure := closing.exception()) is not None:
        log.info("An answer that nobody read was not closed: %s", failure)
