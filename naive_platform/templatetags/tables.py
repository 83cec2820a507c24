"""Cells and headings of the one table (components/_table.html): written here, for a page has hundreds of them."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from django import template
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from naive_platform.dashboard.tables import Cell, Column, Row, Table
from naive_platform.templatetags import figures

register = template.Library()


@register.simple_tag(takes_context=True)
def heading(context: Mapping[str, Any], column: Column, table: Table) -> SafeString:
    """A column's head; where the list can be put in its order, a link that does, and again the other way round."""
    classes = "number" if column.is_number else ""
    if column.sort is None:
        return format_html('<th role="columnheader" scope="col" class="{}">{}</th>', classes, column.title)
    was = table.sort.removeprefix("-") == column.sort
    order = ("descending" if table.sort.startswith("-") else "ascending") if was else "none"
    # Numbers begin with the largest.
    wanted = (
        column.sort
        if (was and table.sort.startswith("-")) or not (was or column.is_number)
        else f"-{column.sort}"
    )
    request: HttpRequest = context["request"]
    query = request.GET.copy()
    query.pop("cursor", None)
    query["sort"] = wanted
    return format_html(
        '<th role="columnheader" scope="col" class="{}" aria-sort="{}"><a href="?{}">{}</a></th>',
        classes, order, query.urlencode(), column.title,
    )  # fmt: skip


@register.simple_tag
def cells(row: Row, table: Table) -> SafeString:
    """All cells of a row."""
    found = [_cell(cell, column, row) for cell, column in zip(row.cells, table.columns, strict=True)]
    return mark_safe("".join(found))  # noqa: S308 - each one is escaped.


@register.filter
def moment(at: date | None) -> SafeString:
    """An instant, in UTC; a script tells it in the reader's own time where they wish. A date is told as one."""
    if not isinstance(at, datetime):
        return day(at)
    at = at.astimezone(UTC)
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), f"{at:%-d %b %Y %H:%M:%S}")


@register.filter
def day(at: date | None) -> SafeString:
    return (
        DASH
        if at is None
        else format_html('<time datetime="{}">{}</time>', f"{at:%Y-%m-%d}", f"{at:%-d %b %Y}")
    )


@register.filter
def state(word: str) -> SafeString:
    """A state's word with its dot; CSS knows the colours."""
    return format_html('<span class="pill is-{}">{}</span>', word.replace(" ", "-"), word)


def _cell(cell: Cell, column: Column, row: Row) -> SafeString:
    value = DASH if cell.value is None or cell.value == "" else WRITTEN[column.kind](cell.value)
    href = cell.href or (row.href if column.is_title else "")
    if row.drawer and column.is_title:
        value = format_html(
            '<a class="row-link" href="{}" hx-get="{}" hx-target="#drawer" hx-swap="innerHTML">{}</a>',
            row.href or row.drawer, row.drawer, value,
        )  # fmt: skip
    elif href:
        value = format_html(
            '<a class="{}" href="{}">{}</a>', "row-link" if column.is_title else "", href, value
        )
    if cell.note:
        value = format_html('{} <span class="note">{}</span>', value, cell.note)
    classes = " ".join(
        word
        for word, holds in (
            (f"is-{column.kind}", True),
            ("number", column.is_number),
            ("title", column.is_title),
            ("wide", column.is_hidden_narrow),
            ("unknown", value is DASH),
        )
        if holds
    )
    return format_html('<td role="cell" class="{}" data-title="{}">{}</td>', classes, column.title, value)


DASH = mark_safe('<span class="dash" aria-label="none">—</span>')
WRITTEN: dict[str, Callable[[Any], Any]] = {
    "text": str,
    "word": str,
    "name": str,
    "time": moment,
    "day": day,
    "credits": figures.credits,
    "usd": figures.usd,
    "count": figures.count,
    "state": state,
    "code": lambda text: format_html("<code>{}</code>", text),
    "tokens": lambda pair: f"{figures.count(pair[0])} → {figures.count(pair[1])}",
}
