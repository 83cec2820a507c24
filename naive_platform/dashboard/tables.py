"""The one table of all pages: columns, kinds of cells, an order and a cursor that live in the URL, an empty state."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from accounts import ids
from accounts.errors import InvalidInput

LIMIT = 50
# What the database takes for a number has one digit more.
NUMBER_LENGTH_MAX = 18
# Text and links as they are; instants; nanocredits; Decimal USD; whole numbers; a state's word; something to copy; a
# word that stays whole; a person's or company's name. A date among instants is told as one.
type Kind = Literal[
    "text", "time", "day", "credits", "usd", "count", "state", "code", "tokens", "word", "name"
]
NUMBERS = frozenset({"credits", "usd", "count", "tokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column. `sort` is its word in the URL's `sort`, None where the list cannot be put in its order.

    Shape: `is_title` is the cell that a narrow screen shows first and large; one column of each table.
    """

    title: str
    kind: Kind = "text"
    sort: str | None = None
    is_title: bool = False
    is_hidden_narrow: bool = False

    @property
    def is_number(self) -> bool:
        return self.kind in NUMBERS


@dataclass(frozen=True, slots=True)
class Cell:
    """One value, in its column's kind; None is a dash. `note` stands small behind it; `href` makes it a link."""

    value: Any
    note: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `href` is where its title leads; `drawer` is a part that slides in beside the table instead.

    Shape: `actions` are templates' business: (template, context) shown in a last cell.
    """

    cells: Sequence[Cell]
    href: str = ""
    drawer: str = ""
    id: str = ""
    actions: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Empty:
    """What stands where there is nothing: what to do next."""

    text: str
    action: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A page of rows, ready to be shown by components/_table.html.

    Shape: `next_cursor` None at the end; `sort` as the URL says it (`spend`, `-spend`); `export_href` leads to the same
    rows as CSV, all of them; `select` names the form field of a box before each row (of the row's id).
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    empty: Empty
    next_cursor: str | None = None
    is_first: bool = True
    sort: str = ""
    export_href: str = ""
    select: str = ""
    note: str = ""

    @property
    def has_actions(self) -> bool:
        return any(row.actions for row in self.rows)


def read_sort(query: Mapping[str, str], words: Sequence[str], default: str) -> str:
    """The order asked for; the default where the URL does not say, or says a word this list does not know."""
    said = query.get("sort", default)
    return said if said.removeprefix("-") in words else default


def cursor(*parts: object) -> str:
    """Where the next page begins, for a URL."""
    return base64.urlsafe_b64encode("|".join(str(part) for part in parts).encode()).decode().rstrip("=")


def read_cursor(query: Mapping[str, str], parts: int = 1) -> list[str] | None:
    """What `cursor` was made of; None on the first page. Errors: InvalidInput."""
    said = query.get("cursor", "")
    if not said:
        return None
    try:
        found = base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)).decode().split("|")
    except (binascii.Error, ValueError) as exc:
        raise unknown_page() from exc
    if len(found) != parts:
        raise unknown_page()
    return found


def read_id_cursor(query: Mapping[str, str]) -> UUID | None:
    """The id before which the page begins, of a list in the order of ids; None on the first. Errors: InvalidInput."""
    parts = read_cursor(query)
    if parts is None:
        return None
    found = ids.parse(parts[0])
    if found is None:
        raise unknown_page()
    return found


def read_number_cursor(query: Mapping[str, str]) -> int | None:
    """The number at which the page begins; None on the first. Errors: InvalidInput."""
    parts = read_cursor(query)
    if parts is None:
        return None
    if not (parts[0].isascii() and parts[0].isdigit() and len(parts[0]) <= NUMBER_LENGTH_MAX):
        raise unknown_page()
    return int(parts[0])


def unknown_page() -> InvalidInput:
    """What to raise for a place in a list that no page of ours has said."""
    return InvalidInput("This page of the list does not exist.", hint="Begin with the first page.")
