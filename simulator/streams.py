"""Streamed answers: comments, frames and pauses, stalls, and what is billed when somebody breaks off."""

import asyncio

from simulator import calls, wires
from simulator.calls import Script, Work
from simulator.exchange import Exchange
from simulator.pricing import Bill
from simulator.wires import CutOff, Wire
from simulator.world import World

COMMENT = b": OPENROUTER PROCESSING\n\n"
STALL_COMMENT_S = 0.05


async def run(world: World, exchange: Exchange, work: Work, script: Script) -> None:
    """Send one streamed answer and settle it, whatever becomes of the client."""
    await Stream(world, exchange, work, script).run()


class Stream:
    """One streamed answer from its first comment to the end of the connection's part in it."""

    def __init__(self, world: World, exchange: Exchange, work: Work, script: Script) -> None:
        self._world, self._exchange, self._work, self._script = world, exchange, work, script
        self._spoilt = work.call.faults
        self._wire = Wire(exchange, self._spoilt, is_text=script.is_text)
        pace = world.pace
        first, step = self._spoilt.first_token_ms, self._spoilt.chunk_delay_ms
        self._first_s = pace.first_token_s if first is None else first / 1000
        self._step_s = pace.chunk_s if step is None else step / 1000
        self._produced = 0
        self._settled = False

    async def run(self) -> None:
        spoilt, exchange = self._spoilt, self._exchange
        exchange.write(
            wires.head(
                exchange,
                status=200,
                content_type=self._script.content_type,
                headers=self._work.call.headers,
                spoilt=spoilt,
                length=None,
            )
        )
        try:
            await self._comments(spoilt.comments_before)
            await self._pause(self._first_s)
            failed = await self._body()
            if not exchange.left:
                await self._tail(failed=failed)
        except CutOff:
            # The provider knows nothing of the broken wire: it runs to the end and is paid.
            if not self._settled:
                self._produced = self._work.tokens
                self._settle()
            await exchange.cut(spoilt.cut_style)
            return
        if exchange.left and not self._settled:
            await self._abandoned()
        exchange.done()

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._wire.flush()
            await self._exchange.pause(seconds)

    async def _comments(self, count: int) -> None:
        for _ in range(count if self._script.is_text else 0):
            await self._pause(self._spoilt.comment_delay_ms / 1000)
            self._wire.put(COMMENT)

    async def _body(self) -> bool:
        """The frames with the answer; true when the knob wants an error in their place."""
        spoilt = self._spoilt
        for number, (data, tokens) in enumerate(self._script.frames):
            await self._stalls(number)
            if spoilt.midstream_error and number == spoilt.error_after:
                return True
            if self._exchange.left:
                return False
            await self._wire.frame(data)
            self._produced += tokens
            await self._comments(spoilt.comments_between)
            await self._pause(self._step_s)
        await self._stalls(len(self._script.frames))
        return bool(spoilt.midstream_error)

    async def _stalls(self, number: int) -> None:
        """Silence, or nothing but comments, from frame `number` on."""
        spoilt, exchange = self._spoilt, self._exchange
        if number not in {spoilt.stall_after, spoilt.hang_after}:
            return
        await self._wire.flush()
        ends_at = self._world.clock() + (spoilt.stall_ms / 1000 or float("inf"))
        while not exchange.left and self._world.clock() < ends_at:
            if number == spoilt.stall_after and self._script.is_text:
                self._wire.put(COMMENT)
                await self._wire.flush()
            await exchange.pause(min(STALL_COMMENT_S, max(ends_at - self._world.clock(), 0.001)))

    async def _tail(self, *, failed: bool) -> None:
        """Settle, then the frames that depend on the bill, and the end."""
        spoilt, script = self._spoilt, self._script
        if not failed:
            self._produced = self._work.tokens
        bill = self._settle(failed=failed)
        if failed and not script.is_text:
            await self._wire.flush()
            raise CutOff
        last = script.failure(spoilt.midstream_error or "", bill) if failed else script.closing(bill)
        for data in last:
            await self._wire.frame(data)
            await self._comments(spoilt.comments_between)
        if not spoilt.no_done and script.done:
            await self._wire.frame(script.done)
        if spoilt.after_done and script.done:
            await self._wire.frame(script.after_done)
        await self._wire.end()

    async def _abandoned(self) -> None:
        """The client left: a cancellable provider stops here, any other runs to its end."""
        if not self._work.call.cancellable:
            left = max(self._work.tokens - self._produced, 0) // max(self._spoilt.chunk_tokens, 1)
            await asyncio.sleep(left * self._step_s)
            self._produced = self._work.tokens
        self._settle(cancelled=True)

    def _settle(self, *, failed: bool = False, cancelled: bool = False) -> Bill:
        self._settled = True
        return calls.settle(
            self._world, self._work, produced=self._produced, failed=failed, cancelled=cancelled
        )
