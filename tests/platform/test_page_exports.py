"""Exports: files at once and files that a worker writes; whole, safe in a spreadsheet, and of one's own company."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone

from accounts import companies, tenants
from accounts.errors import Conflict, NotFound
from accounts.models import AuditEntry
from naive_platform import sheets
from naive_platform.exports import files, generations, writers
from naive_platform.models import Export, ExportChunk
from tests import factories
from tests.conftest import Run
from tests.factories import Cast
from tests.platform.calls import call, client_of, page_of
from tests.platform.people import colleague

PAGE = "/dashboard/exports/"
FILE = f"{PAGE}generations.csv"


@pytest.fixture(autouse=True)
def _nothing_else_is_due() -> None:
    Export.objects.all().delete()


def taken(run: Run, answer: Any) -> list[list[str]]:
    """The rows of a file, its head first."""

    async def take() -> bytes:
        return b"".join([piece async for piece in cast("AsyncIterator[bytes]", answer.streaming_content)])

    assert answer.status_code == 200
    assert "attachment" in answer["Content-Disposition"]
    return list(csv.reader(io.StringIO(run(take()).decode())))


def asked(member: Cast, **query: str) -> Export:
    return files.ask(
        company_id=member.company_id,
        kind="generations",
        query=query,
        person_id=member.owner.id,
        now=timezone.now(),
    )


def write(*, clock: Any = timezone.now) -> int:
    return writers.write_due(clock=clock)


# At once


def test_file_has_what_the_filters_let_through(run: Run) -> None:
    acme, globex = factories.acme(), factories.globex()
    call(globex, model="a/one")
    call(acme, model="a/two")
    hold_id = call(acme, model="a/one", cost_usd="0.00012104999999999999")

    head, *rows = taken(run, client_of(acme.owner).get(FILE, {"model": "a/one", "range": "24h"}))

    assert head == list(generations.COLUMNS)
    (row,) = (dict(zip(head, row, strict=True)) for row in rows)
    assert row["id"] == f"gen_{hold_id}"
    assert (row["cost_usd"], row["credits"], row["credits_held"]) == (
        "0.00012104999999999999",
        "0.000302625",
        "1",
    )
    assert (row["model"], row["tokens_prompt"], row["first_answer_ms"]) == ("a/one", "1234", "250")


def test_text_of_a_file_is_no_formula(run: Run) -> None:
    acme = factories.acme()
    user = tenants.create(company_id=acme.company_id, label="=1+1", now=timezone.now())
    call(acme, model="@SUM(A1)", user=user)

    text = str(taken(run, client_of(acme.owner).get(FILE)))

    assert "'=1+1" in text
    assert "'@SUM(A1)" in text


@pytest.mark.parametrize("text", ["=1", "+1+1", "-1+1", "@a", "\tx", "\rx", "\nx", "\uff1d1"])
def test_each_beginning_of_a_formula_is_told_apart(text: str) -> None:
    assert next(csv.reader(io.StringIO(sheets.written([[text]]).decode(), newline="")))[0] == f"'{text}"


def test_numbers_stay_numbers() -> None:
    assert sheets.written([[-5, None, "a,b", datetime(2026, 11, 1, 2, 3, 4)]]) == (  # noqa: DTZ001
        b'-5,,"a,b",2026-11-01T02:03:04Z\r\n'
    )


@pytest.mark.parametrize("query", ["key=nonsense", "user=nobody", "state=x", "least=abc"])
def test_filter_that_means_nothing_gives_no_file(query: str) -> None:
    answer = client_of(factories.acme().owner).get(f"{FILE}?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.content.decode()


def test_file_of_no_known_kind_is_not_there() -> None:
    assert client_of(factories.acme().owner).get(f"{PAGE}nothing.csv").status_code == 404


def test_long_file_leads_to_where_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    acme = factories.acme()
    for _ in range(2):
        call(acme)
    monkeypatch.setattr(generations, "LONG", 1)
    client = client_of(acme.owner)

    answer = client.get(FILE, {"model": "acme/model"})

    assert answer["Location"] == f"{PAGE}?kind=generations&model=acme%2Fmodel"
    page = client.get(answer["Location"]).content.decode()
    assert "Write the file" in page
    assert '<input type="hidden" name="model" value="acme/model">' in page


# By a worker


def test_export_is_asked_for_written_and_taken(run: Run) -> None:
    acme = factories.acme()
    for model in ("a/one", "a/two", "a/one"):
        call(acme, model=model)
    client = client_of(acme.owner)

    answer = client.post(PAGE, {"kind": "generations", "model": "a/one", "range": "7d"})
    assert answer["Location"] == PAGE
    export = Export.objects.get(company_id=acme.company_id)
    assert "queued" in page_of(acme.owner, PAGE)
    assert write() == 1

    page = page_of(acme.owner, PAGE)
    assert "2 rows" in page
    assert "hx-trigger" not in page
    got = client.get(f"{PAGE}{export.id}/file")
    _, *rows = taken(run, got)
    assert [row[5] for row in rows] == ["a/one", "a/one"]
    export.refresh_from_db()
    assert int(got["Content-Length"]) == export.size_bytes


def test_asking_and_deleting_are_audited() -> None:
    acme = factories.acme()
    client = client_of(acme.owner)
    client.post(PAGE, {"kind": "generations", "model": "a/one"})
    export = Export.objects.get(company_id=acme.company_id)
    client.post(f"{PAGE}{export.id}/delete")

    entries = AuditEntry.objects.filter(company_id=acme.company_id, target_id=str(export.id)).order_by("id")

    assert [entry.action for entry in entries] == ["export.created", "export.deleted"]
    after = entries[0].after
    assert after is not None
    assert after["wanted"]["model"] == "a/one"
    assert entries[0].actor_label == acme.owner.email
    assert not Export.objects.filter(id=export.id).exists()


def test_file_in_pieces_is_the_whole_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = factories.acme()
    for number in range(5):
        call(acme, model=f"a/{number}")
    monkeypatch.setattr(generations, "ROWS", 2)
    export = asked(acme)

    assert write() == 3

    _, *rows = taken(run, client_of(acme.owner).get(f"{PAGE}{export.id}/file"))
    assert [row[5] for row in rows] == ["a/4", "a/3", "a/2", "a/1", "a/0"]


def test_export_goes_on_where_a_worker_died(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = factories.acme()
    for number in range(4):
        call(acme, model=f"a/{number}")
    monkeypatch.setattr(generations, "ROWS", 2)
    asked(acme)
    now = timezone.now()
    dead = writers.claim(now=now)
    assert dead is not None
    assert writers.add(dead, now=now)

    # Its lease holds: nobody else takes it, and the page says that it runs.
    assert writers.claim(now=now + timedelta(seconds=30)) is None
    assert "running" in page_of(acme.owner, PAGE)
    Export.objects.filter(id=dead.id).update(due_at=now - timedelta(seconds=1))
    assert "interrupted" in page_of(acme.owner, PAGE)
    assert write() == 1

    # And it adds nothing any more, should it wake up.
    assert not writers.add(dead, now=timezone.now())
    _, *rows = taken(run, client_of(acme.owner).get(f"{PAGE}{dead.id}/file"))
    assert [row[5] for row in rows] == ["a/3", "a/2", "a/1", "a/0"]


def test_two_workers_write_one_file_once() -> None:
    acme = factories.acme()
    call(acme)
    asked(acme)
    now = timezone.now()
    first = writers.claim(now=now)
    assert first is not None
    Export.objects.filter(id=first.id).update(due_at=now)
    second = writers.claim(now=now)
    assert second is not None

    assert not writers.add(second, now=now)
    assert not writers.add(first, now=now)

    assert ExportChunk.objects.filter(export_id=first.id).count() == 1
    assert Export.objects.get(id=first.id).rows == 1


def test_export_that_fails_again_and_again_says_so() -> None:
    acme = factories.acme()
    export = asked(acme)
    now = timezone.now()
    for _ in range(writers.ATTEMPTS_MAX):
        assert writers.claim(now=now) is not None
        now += writers.LEASE

    assert writers.claim(now=now) is None

    page = page_of(acme.owner, PAGE)
    assert "failed" in page
    assert "It could not be written." in page
    assert client_of(acme.owner).get(f"{PAGE}{export.id}/file").status_code == 409


def test_time_of_a_file_is_fixed_when_it_is_asked_for() -> None:
    acme = factories.acme()
    asked(acme, range="24h")
    call(acme)
    write()

    assert Export.objects.get(company_id=acme.company_id).rows == 0


def test_file_is_gone_after_its_day() -> None:
    acme = factories.acme()
    export = asked(acme)
    write()
    written = Export.objects.get(id=export.id)
    assert written.ended_at is not None
    later = written.ended_at + files.KEPT

    with pytest.raises(NotFound):
        files.take(company_id=acme.company_id, export_id=export.id, now=later)
    assert files.forget(now=later - timedelta(seconds=1)) == 0
    assert files.forget(now=later) == 1
    assert not ExportChunk.objects.filter(export_id=export.id).exists()


def test_company_has_so_many_unfinished_and_no_more() -> None:
    acme, globex = factories.acme(), factories.globex()
    for _ in range(files.UNFINISHED_MAX):
        asked(acme)

    with pytest.raises(Conflict):
        asked(acme)
    answer = client_of(acme.owner).post(PAGE, {"kind": "generations"}, headers={"HX-Request": "true"})
    assert answer.status_code == 409
    assert "Wait for one of them" in answer.content.decode()
    asked(globex)


def test_globex_gets_nothing_of_it() -> None:
    acme, globex = factories.acme(), factories.globex()
    export = asked(acme)
    write()
    client = client_of(globex.owner)

    assert str(export.id) not in page_of(globex.owner, PAGE)
    assert client.get(f"{PAGE}{export.id}/file").status_code == 404
    assert client.post(f"{PAGE}{export.id}/delete").status_code == 404
    assert Export.objects.filter(id=export.id).exists()


def test_page_follows_while_it_is_written_and_a_part_is_enough() -> None:
    acme = factories.acme()
    asked(acme)
    client = client_of(acme.owner)

    assert 'hx-trigger="every 2s"' in page_of(acme.owner, PAGE)
    part = client.get(PAGE, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    assert 'hx-trigger="every 2s"' in part
    write()
    assert "hx-trigger" not in client.get(PAGE, headers={"HX-Request": "true"}).content.decode()


def test_empty_page_says_what_to_do_next() -> None:
    assert "No files." in page_of(factories.acme().owner, PAGE)


@pytest.mark.parametrize("path", ["", "generations.csv", f"{UUID(int=1)}/file"])
def test_nobody_gets_a_file_without_signing_in(path: str) -> None:
    assert Client().get(PAGE + path).status_code == 302


def test_company_that_is_suspended_asks_for_nothing_and_takes_what_there_is(run: Run) -> None:
    acme = factories.acme()
    export = asked(acme)
    write()
    companies.suspend(company_id=acme.company_id)
    client = client_of(acme.owner)

    assert client.post(PAGE, {"kind": "generations"}).status_code == 403
    assert taken(run, client.get(f"{PAGE}{export.id}/file"))


def test_file_is_deleted_by_whoever_asked_for_it_or_an_admin() -> None:
    acme, now = factories.acme(), timezone.now()
    export = asked(acme)
    url = f"{PAGE}{export.id}/delete"
    viewer, admin = (colleague(acme, role) for role in ("viewer", "admin"))

    assert client_of(viewer).post(url).status_code == 403
    assert url not in page_of(viewer, PAGE)
    own = files.ask(company_id=acme.company_id, kind="ledger", query={}, person_id=viewer.id, now=now)
    assert client_of(viewer).post(f"{PAGE}{own.id}/delete").status_code == 302
    assert url in page_of(admin, PAGE)
    assert client_of(admin).post(url).status_code == 302
    assert files.of_company(company_id=acme.company_id) == []
