"""GET /v1/audit and /v1/audit/export: who changed what, filtered, in pages and as a file that no spreadsheet runs."""

import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.http import StreamingHttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts import audit
from accounts.audit import Actor
from accounts.models import AuditEntry
from naive_platform.api import audit as door
from tests import factories
from tests.conftest import Run

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\uff1d1+1",
    "\uff20x",
    "\tx",
    "\rx",
    '=HYPERLINK("http://evil.test","x")',
]


@pytest.fixture(autouse=True)
def _played_payments(settings: Settings) -> None:
    settings.DEBUG, settings.PUBLIC_URL = True, "https://naive.test"


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def get(member: factories.Cast, query: str = "", path: str = "/v1/audit", **more: Any) -> Any:
    return Client().get(f"{path}?{query}", headers={"Authorization": member.authorization}, **more)


def listed(member: factories.Cast, query: str = "") -> list[dict[str, Any]]:
    answer = get(member, query)
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["audit_entries"]
    return found


def left(company_id: UUID, *, label: str = "", number: int = 1, at: datetime = AT, **given: Any) -> Actor:
    """Leave an entry of a key; returns the key as it acted."""
    actor = Actor(
        kind=AuditEntry.Actor.KEY,
        id=UUID(int=number),
        label=label,
        ip="192.0.2.1",
        request_id=f"req_{number}",
    )
    words: dict[str, Any] = {"action": "thing.updated", "target_kind": "thing", "target_id": number} | given
    with audit.acting(actor), transaction.atomic():
        audit.record(company_id=company_id, now=at, **words)
    return actor


def exported(run: Run, member: factories.Cast, query: str = "") -> tuple[Any, bytes]:
    answer = get(member, query, "/v1/audit/export")
    assert isinstance(answer, StreamingHttpResponse)

    async def take() -> bytes:
        return b"".join([piece async for piece in cast("AsyncIterator[bytes]", answer.streaming_content)])

    return answer, run(take())


def test_entry_says_who_what_and_from_where(acme: factories.Cast) -> None:
    actor = left(
        acme.company_id,
        label="CI",
        target_label="Mine",
        before={"cap": 1, "token": "x"},
        after={"cap": 2, "token": "y"},
    )
    found = listed(acme)[0]
    UUID(found.pop("id"))
    assert found == {
        "action": "thing.updated",
        "actor": {"kind": "key", "id": str(actor.id), "label": "CI", "person_id": None},
        "ip": "192.0.2.1",
        "request_id": "req_1",
        "target": {"kind": "thing", "id": "1", "label": "Mine"},
        "before": {"cap": 1, "token": "[secret]"},
        "after": {"cap": 2, "token": "[secret]"},
        "reason": "",
        "created_at": "2026-11-23T12:00:00Z",
    }


def test_change_over_the_network_is_the_callers_with_the_answers_request_id(acme: factories.Cast) -> None:
    answer = Client().post(
        "/v1/billing/topup",
        {"pack_id": "small"},
        content_type="application/json",
        headers={"Authorization": acme.authorization, "X-Forwarded-For": "203.0.113.9"},
        REMOTE_ADDR="192.0.2.7",
    )
    assert answer.status_code == 201
    (found,) = listed(acme, f"request_id={answer['X-Request-Id']}")
    assert (found["action"], found["actor"]["kind"]) == ("checkout.opened", "key")
    assert (found["actor"]["id"], found["actor"]["label"]) == (str(acme.key.id), acme.key.name)
    # What a client says of itself in a header is not where it came from.
    assert found["ip"] == "192.0.2.7"
    assert found["after"] == {"pack": "small", "credits": 20, "price_usd": "10", "provider": "fake_stripe"}


def test_pages_go_back_in_time_and_end(acme: factories.Cast) -> None:
    for number in range(7):
        left(acme.company_id, number=number + 1)
    everything = [entry["id"] for entry in listed(acme)]
    seen, cursor = [], ""
    while True:
        answer = get(acme, f"limit=3&cursor={cursor}" if cursor else "limit=3").json()
        seen += [entry["id"] for entry in answer["audit_entries"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert seen == everything
    assert seen == sorted(seen, reverse=True)
    assert len(seen) >= 7


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("action=thing.deleted", {"3"}),
        (f"actor_id={UUID(int=2)}", {"2"}),
        ("target_id=2&target_kind=thing", {"2"}),
        ("target_kind=other", {"4"}),
        ("request_id=req_3", {"3"}),
        ("since=2026-11-23T12:00:02Z&until=2026-11-23T12:00:04Z", {"2", "3"}),
        ("since=2026-11-23T13:00:04%2B01:00&until=2026-11-24T00:00:00Z", {"4"}),
        ("action=thing.updated&actor_kind=key&until=2026-11-23T12:00:02Z", {"1"}),
        ("action=nothing.done", set()),
        ("actor_kind=operator", set()),
    ],
)
def test_filters_narrow(acme: factories.Cast, query: str, numbers: set[str]) -> None:
    # Entries of this very minute: an entry's id tells its moment too.
    shift = timezone.now().replace(microsecond=0) - AT
    for number, given in enumerate(({}, {}, {"action": "thing.deleted"}, {"target_kind": "other"}), start=1):
        left(acme.company_id, number=number, at=AT + shift + timedelta(seconds=number), **given)
    for said in ("2026-11-23T12:00:02Z", "2026-11-23T12:00:04Z", "2026-11-23T13:00:04%2B01:00"):
        at = datetime.fromisoformat(said.replace("%2B", "+")) + shift
        query = query.replace(said, at.isoformat().replace("+", "%2B"))
    query = query.replace("2026-11-24T00:00:00Z", "2099-01-01T00:00:00Z")
    assert {entry["target"]["id"] for entry in listed(acme, query)} == numbers


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("actor_id=me", "actor_id"),
        ("actor_kind=god", "actor_kind"),
        ("since=yesterday", "since"),
        ("until=2026-11-23T12:00:00", "until"),
        ("limit=201", "limit"),
        ("limit=0", "limit"),
        ("cursor=%FF", "cursor"),
        ("cursor=YmVmb3JlOjU", "cursor"),
        ("company_id=1", "company_id"),
        ("actor__label=x", "actor__label"),
        ("ordering=reason", "ordering"),
        ("target_id=a%00b", "target_id"),
        ("format=csv", "format"),
    ],
)
def test_what_is_no_filter_is_refused_by_name(acme: factories.Cast, query: str, field: str) -> None:
    answer = get(acme, query)
    assert (answer.status_code, answer.json()["error"]["details"]) == (400, {"field": field})


@pytest.mark.parametrize("query", ["since=1900-01-01T00:00:00Z", "until=2099-12-31T23:59:59Z"])
def test_moments_at_the_ends_of_the_calendar_are_answered(acme: factories.Cast, query: str) -> None:
    assert listed(acme, query)


def test_globex_sees_nothing_of_acme(acme: factories.Cast) -> None:
    globex = factories.globex()
    left(acme.company_id)
    cursor = get(acme, "limit=1").json()["next_cursor"]
    assert all(entry["target"]["id"] != "1" for entry in listed(globex, f"cursor={cursor}" if cursor else ""))
    assert listed(globex, "target_id=1") == []


def test_page_is_one_query_whatever_its_size(acme: factories.Cast) -> None:
    counts = set()
    for limit in (1, 200):
        for number in range(limit):
            left(acme.company_id, number=number)
        with CaptureQueriesContext(connection) as queries:
            listed(acme, f"limit={limit}")
        counts.add(len(queries))
    assert counts == {1}


def test_export_is_a_table_of_all_that_is_filtered(
    run: Run, acme: factories.Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "BATCH", 3)
    for number in range(1, 8):
        left(acme.company_id, number=number, label="a\nb", after={"amount": 1.5})
    answer, content = exported(run, acme, "action=thing.updated")
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [row["target_id"] for row in rows] == [
        entry["target"]["id"] for entry in listed(acme, "action=thing.updated")
    ]
    assert tuple(rows[0]) == door.COLUMNS
    assert (rows[0]["actor_label"], rows[0]["after"], rows[0]["before"]) == ("a\nb", '{"amount": 1.5}', "")
    assert rows[0]["created_at"] == "2026-11-23T12:00:00Z"
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"].startswith('attachment; filename="audit-20')
    assert answer["Content-Disposition"].endswith('.csv"')
    assert (answer["Cache-Control"], answer["X-Request-Id"][:4]) == ("private, no-store", "req_")


def test_export_as_lines_is_what_the_list_says(
    run: Run, acme: factories.Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "BATCH", 2)
    for number in range(5):
        left(acme.company_id, number=number)
    answer, content = exported(run, acme, "format=jsonl")
    assert [json.loads(line) for line in content.splitlines()] == listed(acme)
    assert answer["Content-Type"] == "application/jsonl"


def test_export_reads_piece_by_piece_and_holds_no_connection_meanwhile(
    run: Run, acme: factories.Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "BATCH", 2)
    for number in range(6):
        left(acme.company_id, number=number)
    answer = get(acme, "format=jsonl", "/v1/audit/export")

    async def first() -> int:
        pieces = answer.streaming_content
        sizes = [len((await anext(pieces)).splitlines()) for _ in range(2)]
        left_behind = [connection.connection]
        sizes += [len(piece.splitlines()) async for piece in pieces]
        assert left_behind == [None]
        return max(sizes)

    assert run(first()) == 2


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_no_cell_of_the_table_is_a_formula(run: Run, acme: factories.Cast, text: str) -> None:
    left(acme.company_id, label=text, target_label=text, reason=text, target_id=text)
    _, content = exported(run, acme, "action=thing.updated")
    (row,) = csv.DictReader(io.StringIO(content.decode(), newline=""))
    for column in ("actor_label", "target_label", "reason", "target_id"):
        assert row[column] == f"'{text}"


@pytest.mark.parametrize("query", ["format=xml", "limit=3", "cursor=x", "fields=id"])
def test_export_takes_its_own_parameters_alone(acme: factories.Cast, query: str) -> None:
    answer = get(acme, query, "/v1/audit/export")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")


def test_nothing_to_export_is_an_empty_table(run: Run, acme: factories.Cast) -> None:
    assert exported(run, acme, "action=a.b")[1].decode() == ",".join(door.COLUMNS) + "\r\n"
    assert exported(run, acme, "action=a.b&format=jsonl")[1] == b""
