"""The simulator as a run sees it: its ledger, which is the truth, and the requests that reached it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.chaos import grounds

CHARGES_MAX = 10_000
# Requests that may come between two questions.
MARGIN = 100


@dataclass(frozen=True, slots=True)
class Charge:
    """A generation that upstream ended, and what it cost: which call it was stands in its trace."""

    generation_id: str
    cost_usd: Decimal
    hold_id: str | None
    number: int | None


@dataclass(slots=True)
class Upstream:
    """A running simulator."""

    url: str
    _http: httpx.Client
    # The calls that were sent here, by the number their client gave them, and by the platform's own id.
    numbers: set[int] = field(default_factory=set)
    hold_ids: set[str] = field(default_factory=set)
    _requests: int = 0

    def look(self) -> int:
        """Remember the latest requests; return how many calls have ended so far."""
        # Those that come meanwhile are seen twice.
        new = self._get("requests", last=0)["total"] - self._requests
        self._requests += new
        for visit in self._get("requests", last=new + MARGIN)["last"] if new else ():
            if visit["method"] == "POST":
                trace = orjson.loads(visit["body"]).get("trace", {})
                self.numbers.add(trace.get("chaos_call"))
                self.hold_ids.add(trace.get("trace_id"))
        return int(self._get("ledger")["calls"])

    def is_whole(self) -> bool:
        """Whether every request was seen."""
        return bool(self._get("requests", last=0)["accepted"] == len(self.hold_ids))

    def charges(self) -> list[Charge]:
        found = self._get("ledger", entries=CHARGES_MAX)
        entries = found["entries"]
        if len(entries) != found["calls"]:
            raise RuntimeError(f"The simulator kept {len(entries)} of {found['calls']} charges.")
        return [
            Charge(
                generation_id=entry["id"],
                cost_usd=Decimal(entry["usd"]),
                hold_id=entry["trace"].get("trace_id"),
                number=entry["trace"].get("chaos_call"),
            )
            for entry in entries
        ]

    def broadcast_to(self, url: str, *, secret: str) -> None:
        """Tell the platform of every generation that ends, until it takes the news."""
        target = {
            "url": url,
            "headers": {"Authorization": f"Bearer {secret}"},
            "delay_ms": 300,
            "batch_ms": 200,
        }
        self._http.post(f"{self.url}/__sim/broadcast", json=target).raise_for_status()

    def news_waiting(self) -> int:
        """How many generations the platform was not told of yet."""
        found = self._get("broadcast")
        if found["given_up"]:
            raise RuntimeError(f"{found['given_up']} broadcasts were given up: {found}.")
        return int(found["waiting"])

    def _get(self, name: str, **parameters: int) -> dict[str, Any]:
        answer = self._http.get(f"{self.url}/__sim/{name}", params=parameters).raise_for_status()
        found: dict[str, Any] = orjson.loads(answer.content)
        return found


@contextmanager
def simulating(environ: dict[str, str], log: Path) -> Iterator[Upstream]:
    """A simulator without a call on its books."""
    arguments = ("--host", "127.0.0.1", "--port", "0", "--speed", "instant", "--generation-delay-ms", "300")
    with (
        grounds.running("simulator", *arguments, environ=environ, log=log) as process,
        httpx.Client(timeout=20, trust_env=False) as http,
    ):
        assert process.stdout is not None
        yield Upstream(json.loads(process.stdout.readline())["sim_url"], http)
