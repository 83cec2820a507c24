"""Files that people take away: written piece by piece, whatever their length; CSV is safe in a spreadsheet."""

import csv
import io
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import StreamingHttpResponse

# Rows read, and written, at once.
BATCH = 1000
# What a spreadsheet takes for the beginning of a formula; some also take the wide ones.
_FORMULA = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")

type Rows = list[list[Any]]
# From where the last one ended (None: the first one) to what it has and where the next one begins (None: no more).
type Batch[At] = Callable[[At | None], tuple[Rows, At | None]]
type Piece[At] = Callable[[At | None], tuple[bytes, At | None]]


def answer[At](*, name: str, head: Sequence[str], batch: Batch[At]) -> StreamingHttpResponse:
    """A CSV file of this name to download: its head, and every batch until there is none. Texts are never formulas."""

    def piece(at: At | None) -> tuple[bytes, At | None]:
        rows, following = batch(at)
        return written(rows), following

    return sent(name=name, content_type="text/csv; charset=utf-8", head=written([list(head)]), piece=piece)


def sent[At](*, name: str, content_type: str, head: bytes, piece: Piece[At]) -> StreamingHttpResponse:
    """A file to download that is written piece by piece, whatever its kind."""
    file = StreamingHttpResponse(_pieces(head, piece), content_type=content_type)
    file["Content-Disposition"] = f'attachment; filename="{name}"'
    return file


async def _pieces[At](head: bytes, piece: Piece[At]) -> AsyncIterator[bytes]:
    """Who takes it slowly keeps neither a connection nor a transaction from others."""
    yield head
    at: At | None = None
    while True:
        found, at = await sync_to_async(_read)(piece, at)
        yield found
        if at is None:
            return


def _read[At](piece: Piece[At], at: At | None) -> tuple[bytes, At | None]:
    try:
        return piece(at)
    finally:
        # Requests share a few: it goes back to them until the client has taken this one.
        connection.close()


def written(rows: Rows) -> bytes:
    """Rows as CSV. Texts are never formulas; numbers, dates and instants (UTC) are as they are."""
    text = io.StringIO()
    csv.writer(text).writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode()


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return f"{value:%Y-%m-%dT%H:%M:%SZ}"
        case Decimal():
            text = format(value, "f")
            return text.rstrip("0").rstrip(".") if "." in text else text
        case int() | date():
            return str(value)
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
