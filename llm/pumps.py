"""A stream on its way from upstream to a client: read, settled and passed on by a task of its own.

The client's side only reads a bounded queue, so a client that is slow, stalls or leaves never stops a charge.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
from django.conf import settings

from accounts.errors import DomainError
from llm import calls, crashpoints, farewells, feeds, metering, providers, sse
from llm.errors import UpstreamError, UpstreamLost, UpstreamTimeout
from llm.extensions import Cover
from llm.shapes import faults
from llm.shares import Shares
from llm.sse import Mark, Scan, Segment
from llm.upstream import READ_TIMEOUT_S, Answer

log = logging.getLogger(__name__)

# A longer line (a picture) waits for room until it is whole and its client has taken it: so many in this process, and
# so many of one company.
LONG_LINE_BYTES = 1024 * 1024
LONG_LINES_MAX = 4
COMPANY_LONG_LINES_MAX = 2
# Behind a final usage only [DONE] is to come; an upstream that goes on is not waited for without end.
WITHHELD_BYTES_MAX = 64 * 1024
# A client that takes nothing for this long counts as gone (docs/books.md, "Life of a hold").
CLIENT_STALL_S = 30.0


class Pump:
    """Carries one stream. `start` it once; iterate `chunks`; `leave` when the client has gone."""

    is_broken = False  # A stream says in its own words that it ends early.
    is_text = True  # What may be stored as an answer.

    def __init__(self, call: calls.Call, answer: Answer, *, without: frozenset[bytes] = frozenset()) -> None:
        self.call = call
        self._answer = answer
        self._shape = call.admission.shape
        # Half a line is no use to a client, and what it says must be known before it goes on.
        self._scan = Scan(want_first=True, ends=self._shape.ends, without=without)
        self._cover = Cover(call)
        self._provider: str | None = None
        self._learn_provider(answer.provider)
        self._queue = feeds.Feed()
        self._kept = call.kept if self.is_text else None
        self._room = AsyncExitStack()  # What a long line takes.
        self._has_room = False
        self.task: asyncio.Task[None] | None = None
        self._pieces_left = self._shape.pieces(call.admission.request.fields)
        self._is_split = self._pieces_left > 1
        self._piece_costs: list[metering.Report] = []  # Where each piece may tell of its own.
        self._last: metering.Report | None = None  # The last report with a cost, charged or not.
        self._told: metering.Report | None = None  # The one that the books have.
        self._last_is_final = False
        self._withheld: bytearray | None = None  # From a usage that looks final on.
        self._refusal: DomainError | None = None  # No more of this answer is paid for.
        self._is_begun = False
        self._gone = False
        self._reading = False
        self._interrupted = False
        self._shrunk: metering.Report | None = None
        self._error_seen = False
        self._credits_said = False  # Where they are said: [DONE] has come, or all that counts.
        self._is_ended = False  # The shape's own last event has come.
        self._draining = False

    def start(self) -> None:
        self.task = asyncio.create_task(self._run(), name=self.call.public_id)
        _running.add(self)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what goes to the client, upstream's bytes unchanged; ends with the stream."""
        try:
            while (chunk := await self._queue.get()) is not None:
                yield chunk
        finally:
            self.leave()

    def leave(self) -> None:
        """Note that the client has gone: upstream is cut or drained, as ON_DISCONNECT says.

        A provider that does not stop is drained in any case: it charges for all of it, and its last chunk says what.
        """
        self._gone = True
        while not self._queue.empty():  # Wakes a pump that waits for room.
            self._queue.get_nowait()
        self._queue.put_nowait(None)  # Ends the side that fed the client.
        if settings.ON_DISCONNECT == "abort" and providers.stops(self._provider):
            self._interrupt()

    def drain(self) -> None:
        """End the stream with an error that names the generation: this gateway is going down."""
        self._draining = True
        if self._queue.full():
            self.leave()  # A client that does not read would not see the error either.
        self._interrupt()

    async def _run(self) -> None:
        failure: UpstreamError | None = None
        try:
            await self._forward()
        except UpstreamError as exc:
            failure = exc
        except sse.LineTooLong as exc:
            failure = UpstreamLost(f"Upstream sent {exc}.", maybe_charged=True)
        except Exception:
            log.exception("%s: its stream broke on our side", self.call.public_id)
            failure = UpstreamLost("The stream broke on our side.", maybe_charged=True)
        finally:
            try:
                await self._answer.close()
                await self._conclude(failure)
            finally:
                calls.close_call(self.call)
                _running.discard(self)
                await self._give(None)
                await self._room.aclose()

    async def _forward(self) -> None:
        loop = asyncio.get_running_loop()
        chunks = self._answer.chunks()
        data_lines, data_at = 0, loop.time()
        while (chunk := await self._read(chunks)) is not None:
            segments = self._scan.feed(chunk)
            is_due = self._scan.made_bytes >= self._cover.ask_at
            # What is not paid for is not given either, however much came at once; unless it says itself what it costs.
            is_told = is_due and (self.call.generation_id is None or sse.is_telling(chunk))
            if is_due and not is_told and not await self._stay_covered():
                return
            for segment in segments:
                await self._pass_on(segment)
                if segment.mark is Mark.OBJECT and not self._is_begun:
                    self._is_begun = True
                    await crashpoints.reach_sent("E")
            if is_told and not await self._stay_covered():
                return
            if self._scan.data_lines != data_lines:
                data_lines, data_at = self._scan.data_lines, loop.time()
            elif loop.time() - data_at > READ_TIMEOUT_S:
                # Comments keep a connection alive, not an answer (docs/upstream.md 8).
                raise UpstreamTimeout(
                    "The model provider sent no data in time.", status=504, maybe_charged=True
                )
        if not self._interrupted:
            for segment in self._scan.finish():
                await self._pass_on(segment)

    async def _stay_covered(self) -> bool:
        """Have more held as the stream goes on; False where it is to be cut because nobody pays for more.

        A provider that does not stop is read to its end all the same, without the client: it charges for that too.
        """
        if self._last_is_final or self._credits_said or self._is_ended or self._refusal is not None:
            return True
        try:
            await self._cover.keep_up(self._scan.made_bytes)
        except DomainError as exc:
            log.info("%s: cut, its hold does not grow: %s", self.call.public_id, exc)
            self._refusal = exc
            if providers.stops(self._provider):
                return False
            await self._give(self._farewell(None))
            await self._give(None)
            self._gone = True
        return True

    def _learn_provider(self, name: str | None) -> None:
        if name is not None and name != self._provider:
            self._provider = name
            if not providers.stops(name):
                self._cover.hold_all()

    async def _read(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """Return the next bytes; None at the end, or when interrupted. Only this wait can be interrupted."""
        if self._interrupted:
            return None
        self._reading = True
        try:
            await self._make_room()
            return await anext(chunks, None)
        except asyncio.CancelledError:
            if not self._was_interrupted():
                raise
            return None
        finally:
            self._reading = False

    async def _make_room(self) -> None:
        """Wait until more of a long line may come; whoever has passed one on gives its room back."""
        is_long = self._scan.waiting_bytes > LONG_LINE_BYTES
        if is_long and not self._has_room:
            await self._room.enter_async_context(_long_lines.place(self.call.admission.principal.company_id))
        elif self._has_room and not is_long:
            await self._room.aclose()
        self._has_room = is_long

    def _was_interrupted(self) -> bool:
        """Whether the cancellation just caught was our own; it is then taken back."""
        if self._interrupted and self.task is not None:
            self.task.uncancel()
            return True
        return False

    def _interrupt(self) -> None:
        if self._interrupted or self.task is None:
            return
        self._interrupted = True
        if self._reading:
            self.task.cancel()

    async def _pass_on(self, segment: Segment) -> None:
        """Do a segment's work, then forward it: the charge is in the books before the client sees its cost."""
        data = segment.data
        if segment.mark is Mark.DONE:
            await self._settle()
            await self._say_credits()
        elif segment.mark is Mark.OBJECT and not self._credits_said:
            data = await self._inspect(segment)
            if self._is_ended:
                await self._settle()
        elif segment.mark is Mark.OBJECT:
            data = self._public(data)
        if self._withheld is not None:
            self._withheld += data
            if len(self._withheld) > WITHHELD_BYTES_MAX:
                await self._settle()
        else:
            await self._give(data)

    async def _inspect(self, segment: Segment) -> bytes:
        """Read an object for what it says of the call; begin to withhold where its usage looks final."""
        if not self._is_begun:
            self._learn_provider(providers.named_in(segment.payload))
            says_nothing = not sse.is_telling(segment.payload) and not self._scan.is_end(segment.payload)
            if self.call.generation_id is not None and says_nothing:
                return segment.data
        report = self._shape.report(segment.payload)
        if report is None:
            return self._public(segment.data)
        if self.call.generation_id is None and report.generation_id is not None:
            self.call.learn(report.generation_id)
        self._error_seen = self._error_seen or report.error is not None
        if self._shape.is_end(report):
            self._pieces_left -= 1
            self._is_ended = self._pieces_left <= 0
        if report.cost_usd is not None and self._is_split:
            self._piece_costs.append(report)
        elif report.cost_usd is not None:
            await self._note(report)
        if self.call.admission.is_proxied:
            return segment.data if report.error is None else self._public(segment.data)
        return report.without_account(segment.data)

    def _public(self, data: bytes) -> bytes:
        """Return an object of a proxied stream without what an error in it may say of the operator."""
        is_fault = self.call.admission.is_proxied and b'"error"' in data
        return faults.scrub(data) if is_fault else data

    async def _note(self, report: metering.Report) -> None:
        # Some upstreams put a growing usage on every chunk, and the last one counts: what looks final is kept back
        # until the stream goes on or ends, which tells whether it was.
        await self._release()
        if self._last is not None and report.cost_usd < self._last.cost_usd:  # type: ignore[operator]
            self._shrunk = report  # A cost does not shrink: the higher one is charged, and a person told.
            return
        self._last = report
        self._last_is_final = report.is_last(finish_seen=self._scan.finish_seen)
        if self._last_is_final:
            self._withheld = bytearray()

    async def _say_credits(self) -> None:
        self._credits_said = True
        if not self.call.admission.is_proxied:
            await self._give(sse.comment(orjson.dumps(self.call.credits()).decode()))

    async def _settle(self) -> None:
        """Charge the last cost that was seen, once; then pass on what was withheld for it.

        One that is higher than what was charged goes to the books, too: they tell a person.
        """
        self._last = self._last or self._whole()
        is_more = (
            self._told is not None and self._last is not None and self._last.cost_usd != self._told.cost_usd
        )
        if self._last is not None and (self.call.settled is None or is_more):
            self._told = self._last
            await self.call.settle(self._last, "stream")
            if self._shrunk is not None:
                await self.call.settle(self._shrunk, "stream")
        await self._release()

    def _whole(self) -> metering.Report | None:
        """Return what all pieces cost; None where several figures were told and upstream's record can say it.

        They may be shares, or each the sum so far.
        """
        told = self._piece_costs
        if not told or (len(told) > 1 and self.call.generation_id is not None):
            return None
        return replace(told[-1], cost_usd=self._told_usd())

    def _told_usd(self) -> Decimal | None:
        costs = [report.cost_usd for report in self._piece_costs if report.cost_usd is not None]
        return sum(costs, Decimal(0)) if costs else None

    async def _release(self) -> None:
        withheld, self._withheld = self._withheld, None
        if withheld:
            await self._give(bytes(withheld))

    async def _conclude(self, failure: UpstreamError | None) -> None:
        if self._piece_costs and failure is None and not self._interrupted:
            self._is_ended = True  # Not every piece needs an event of its own.
        if self._credits_said or self._is_ended or self._last_is_final:
            await self._settle()
        if self.call.settled is None:
            await self.call.leave_open(made_bytes=self._scan.made_bytes, told_usd=self._told_usd())
        if self._error_seen:
            self.call.seen.outcome = "provider_error"
        if self._credits_said or self._is_ended:
            return
        if self._last_is_final or (self._error_seen and failure is None and not self._draining):
            await (
                self._say_credits()
            )  # Whole, or ended by an error the client has seen; only [DONE] is missing.
        else:
            if not self._gone:
                self.call.seen.outcome = "broken"
            await self._give(self._farewell(failure))

    def _farewell(self, failure: UpstreamError | None) -> bytes:
        if self._refusal is not None:
            return farewells.refused(self.call, self._refusal)
        return farewells.draining(self.call) if self._draining else farewells.broken(self.call, failure)

    async def _give(self, data: bytes | None) -> None:
        """Queue bytes for the client, None for the end; a client that has gone gets nothing more."""
        if self._gone:
            return
        if self._kept is not None and data is not None:
            self._kept.add(data)
        is_long = data is not None and len(data) > feeds.BYTES_MAX
        if not is_long and not self._queue.full():
            self._queue.put_nowait(data)
            return
        try:
            async with asyncio.timeout(CLIENT_STALL_S):
                for piece in feeds.cut(data) if data is not None and is_long else (data,):
                    if not self._gone:
                        await self._queue.put(piece)
        except TimeoutError:
            log.info(
                "%s: client took nothing for %s s and counts as gone", self.call.public_id, CLIENT_STALL_S
            )
            self.leave()


_long_lines = Shares(most=LONG_LINES_MAX, company_most=COMPANY_LONG_LINES_MAX)
_running: set[Pump] = set()


async def drain(*, grace_s: float) -> None:
    """Let running streams end by themselves for a while, then end them with an error that names the generation."""
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + grace_s
    while (_running or calls.at_work()) and loop.time() < ends_at:
        await asyncio.wait(_endings() | calls.at_work(), timeout=max(0.0, ends_at - loop.time()))
    for pump in tuple(_running):
        pump.drain()
    if _running:
        await asyncio.wait(_endings(), timeout=5.0)


def _endings() -> set[asyncio.Task[Any]]:
    return {pump.task for pump in _running if pump.task is not None}
