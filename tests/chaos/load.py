"""The process of the clients: makes calls until it is told to stop, and writes down what each client saw.

    python -m tests.chaos.load FOLDER

FOLDER holds plan.json and cast.json; every call becomes a line of calls.jsonl. SIGTERM lets running calls end.
"""

import asyncio
import json
import random
import signal
import sys
from pathlib import Path
from typing import IO, Any

import orjson
import uvloop

from tests.chaos import asks, clients, plans
from tests.chaos.asks import Ask
from tests.chaos.clients import Answer

RETRY_S = (0.1, 0.3, 0.6, 1.2)
# What was refused before anything was sent, and may be tried again with the same key.
TRY_AGAIN = {"unavailable", "idempotency_in_progress", "rate_limited"}
# A gateway that has just been killed is back within this.
CONNECT_PAUSE_S = 0.05


class Load:
    """Calls of one seed, so many at once, in order of their numbers."""

    def __init__(self, folder: Path) -> None:
        self._plan = plans.of_json(json.loads((folder / "plan.json").read_text()))
        cast: dict[str, Any] = json.loads((folder / "cast.json").read_text())
        self._companies: list[dict[str, Any]] = cast["companies"]
        self._port: int = cast["port"]
        self._weights = [company["weight"] for company in self._companies]
        self._next = 0
        self._file: IO[bytes] = (folder / "calls.jsonl").open("ab", buffering=0)
        self._ended = asyncio.Event()

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._ended.set)
        await asyncio.gather(*(self._client() for _ in range(self._plan.at_once)))

    async def _client(self) -> None:
        while not self._ended.is_set():
            number, self._next = self._next, self._next + 1
            await self._make(self._ask(number))

    def _ask(self, number: int) -> Ask:
        plan = self._plan
        return asks.ask(seed=plan.seed, number=number, weights=self._weights, is_plain=plan.is_plain)

    async def _make(self, ask: Ask) -> None:
        company = self._companies[ask.company]
        # Written first: a call that is not on record must not reach upstream.
        self._write({"number": ask.number, "company": company["id"], "key": ask.idempotency_key})
        for attempt in range(ask.retries + 1):
            answer = await clients.call(ask, port=self._port, secret=company["secret"])
            self._write(_seen(ask, attempt, answer))
            if answer.status == 0 and not answer.has_left:
                await asyncio.sleep(CONNECT_PAUSE_S)
            if not _is_worth_another(answer):
                return
            await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)] * random.uniform(0.5, 1.5))

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(orjson.dumps(line) + b"\n")


def _is_worth_another(answer: Answer) -> bool:
    return answer.status == 0 or answer.error_code in TRY_AGAIN


def _seen(ask: Ask, attempt: int, answer: Answer) -> dict[str, Any]:
    return {
        "number": ask.number,
        "attempt": attempt,
        "status": answer.status,
        "code": answer.error_code,
        "call_id": answer.headers.get("x-naive-generation-id"),
        "credits_used": answer.credits_used,
        "is_whole": answer.is_whole,
        "has_left": answer.has_left,
    }


def main() -> None:
    uvloop.run(Load(Path(sys.argv[1])).run())


if __name__ == "__main__":
    main()
