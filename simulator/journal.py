"""What reached the simulator: counters and the last requests with their bodies, for tests to look at."""

from collections import Counter, deque
from dataclasses import dataclass

from simulator.traffic import Request

LAST_MAX = 1_000
BODY_BYTES_MAX = 1_000_000
BODIES_BYTES_MAX = 64_000_000


@dataclass(slots=True)
class Visit:
    """One request. `state` is `open`, `done`, or `left` when the client went away first."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    body_bytes: int
    state: str = "open"


class Journal:
    """Counters since the last reset; bounded memory."""

    def __init__(self) -> None:
        self.connections = 0
        self.accepted = 0
        self.elsewhere = 0
        self.by_path: Counter[str] = Counter()
        self._last: deque[Visit] = deque()
        self._bytes = 0

    def note(self, request: Request, *, inference: bool) -> Visit:
        """Remember a request. `accepted` counts those to inference routes only."""
        visit = Visit(
            request.method,
            request.path,
            request.query,
            request.headers,
            request.body[:BODY_BYTES_MAX],
            len(request.body),
        )
        self.accepted += inference
        self.by_path[f"{request.method} {request.path}"] += 1
        self._last.append(visit)
        self._bytes += len(visit.body)
        while len(self._last) > LAST_MAX or (self._bytes > BODIES_BYTES_MAX and len(self._last) > 1):
            self._bytes -= len(self._last.popleft().body)
        if len(self.by_path) > LAST_MAX:
            self.by_path.clear()
        return visit

    def reset(self) -> None:
        self.connections = self.accepted = self.elsewhere = self._bytes = 0
        self.by_path.clear()
        self._last.clear()

    def summary(self, *, last: int) -> dict[str, object]:
        visits = list(self._last)[-last:] if last else []
        return {
            "accepted": self.accepted,
            "total": sum(self.by_path.values()),
            "connections": self.connections,
            "elsewhere": self.elsewhere,
            "by_path": dict(self.by_path),
            "last": [
                {
                    "method": visit.method,
                    "path": visit.path,
                    "query": visit.query,
                    "headers": visit.headers,
                    "body": visit.body.decode(errors="replace"),
                    "body_bytes": visit.body_bytes,
                    "state": visit.state,
                }
                for visit in visits
            ],
        }
