"""Answers that are bytes and nothing else (sound, films): passed on as they come, and never looked into."""

import logging
from collections.abc import AsyncIterator, Callable

from llm.errors import UpstreamError
from llm.pumps import Pump
from llm.upstream import Answer

log = logging.getLogger(__name__)


class Relay(Pump):
    """Carries one metered answer. Nothing is ever put into it, and what it cost is asked for by its id."""

    async def _forward(self) -> None:
        chunks = self._answer.chunks(as_sent=True)
        while (chunk := await self._read(chunks)) is not None:
            await self._give(chunk)

    async def _conclude(self, failure: UpstreamError | None) -> None:
        # Half a sound looks like a whole one unless its connection breaks as upstream's did.
        self.is_broken = failure is not None or self._interrupted
        await self.call.leave_open()


class Passage:
    """Carries one answer that costs nothing, at its client's pace; iterate `chunks` once, in any case."""

    def __init__(self, answer: Answer, *, ended: Callable[[], None]) -> None:
        self.is_broken = False
        self._answer = answer
        self._ended = ended
        self._gone = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it came; `is_broken` where it ends before its end."""
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

    def leave(self) -> None:
        """Note that the client has gone."""
        self._gone = True
