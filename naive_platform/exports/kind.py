"""The shape of a kind of export; the kinds themselves are in modules of their own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

type Wanted = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows; the next ones begin at `position`, and there are none where that is None.

    Shape: a piece may be empty and not the last. `percent` is how much has been looked at.
    """

    rows: list[list[Any]]
    position: str | None
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of file.

    Shape: `route` is the row of navigation.PERMISSIONS whose GET opens it. `prepare(company_id, query, now)` turns the
    words of its page's URL into the words that `read(company_id, wanted, position)` understands, which must mean the
    same tomorrow; it raises InvalidInput for words that mean nothing. `read` is a bounded piece of work, and may be
    asked for the same piece twice. `is_long(company_id, wanted)`: one answer would take too long; the file is written
    by a worker.
    """

    name: str
    title: str
    route: str
    columns: Sequence[str]
    prepare: Callable[[UUID, Mapping[str, str], datetime], dict[str, str]]
    read: Callable[[UUID, Wanted, str], Piece]
    is_long: Callable[[UUID, Wanted], bool]
