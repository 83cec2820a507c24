"""Requests as they were parsed and answers before they are delivered; no sockets here."""

from dataclasses import dataclass, field
from typing import Any

import orjson

from simulator import faults
from simulator.faults import Faults

# A JSON body whose shape is still to be checked.
type Body = dict[str, Any]

JSON = "application/json"
STREAM = "text/event-stream"


@dataclass(slots=True)
class Request:
    """One parsed request; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name, "")


@dataclass(slots=True)
class Reply:
    """A whole answer. `faults` may still spoil its delivery."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    faults: Faults = field(default=faults.NONE)


def json_reply(
    value: object,
    *,
    status: int = 200,
    headers: tuple[tuple[str, str], ...] = (),
    spoilt: Faults = faults.NONE,
) -> Reply:
    return Reply(status=status, body=orjson.dumps(value), headers=headers, faults=spoilt)
