"""The operator console's pages: who sees them, what they show, and that it is exact and bounded."""

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import audit, companies, ids
from accounts.audit import Filters
from accounts.models import Company
from billing import company_figures, economics
from billing.company_figures import Order
from billing.models import Day
from naive_platform.dashboard import tables
from naive_platform.operator import timeline
from naive_platform.operator.timeline import Cursor, Event
from tests import factories
from tests.conftest import Run
from tests.platform import desks
from tests.platform.calls import call
from tests.platform.files import sheet

QUERIES_MAX = 12
PLAIN = [
    "companies",
    "reconciliation",
    "anomalies",
    "economics",
    "economics-export",
    "upstream",
    "audit",
    "books",
]
OF_COMPANY = ["company", "move", "standing", "viewing"]


def urls(member: factories.Cast) -> list[str]:
    return [
        *(reverse(f"operator-{name}") for name in PLAIN),
        *(reverse(f"operator-{name}", args=[member.company_id]) for name in OF_COMPANY),
    ]


def today() -> date:
    return timezone.now().date()


def test_staff_alone_find_the_console() -> None:
    acme = factories.acme()
    owner, stranger, staff = Client(), Client(), desks.operator()
    owner.force_login(acme.owner)
    for url in urls(acme):
        assert "/login/?next=/operator/" in stranger.get(url)["Location"], url
        assert owner.get(url).status_code == 404, url
        assert staff.get(url).status_code == 200, url


def test_targets_of_forms_are_404_for_everybody_else_and_do_nothing_on_get() -> None:
    acme = factories.acme()
    owner, staff = Client(), desks.operator()
    owner.force_login(acme.owner)
    for url in (
        reverse("operator-company-note", args=[acme.company_id]),
        reverse("operator-viewing-end"),
        reverse("operator-verify"),
    ):
        assert owner.post(url).status_code == 404
        assert staff.get(url).status_code == 405


def test_outside_debug_a_second_factor_is_asked_for() -> None:
    acme, staff = factories.acme(), desks.operator(has_second_factor=False)
    for url in urls(acme):
        assert staff.get(url).status_code == 403, url


def test_operator_who_is_deactivated_is_out_at_once() -> None:
    staff = desks.operator()
    staff.person.is_active = False  # type: ignore[attr-defined]
    staff.person.save()  # type: ignore[attr-defined]

    assert staff.get("/operator/").status_code == 302


def test_every_page_takes_a_fixed_number_of_queries() -> None:
    acme, staff = factories.acme(), desks.operator()
    for number in range(3):
        call(acme, model=f"acme/{number}", cost_usd="0.001")
    for url in urls(acme):
        staff.get(url)
        with CaptureQueriesContext(connection) as queries:
            staff.get(url)
        assert len(queries) <= QUERIES_MAX, (url, [query["sql"][:150] for query in queries])


def test_nobodys_company_is_not_found() -> None:
    staff = desks.operator()
    for name in OF_COMPANY:
        page = desks.text_of(staff, reverse(f"operator-{name}", args=[ids.uuid7()]), 404)
        assert "There is no company" in page


# Companies


def test_companies_are_found_by_whatever_somebody_calls_them() -> None:
    acme, globex, staff = factories.acme(), factories.globex(), desks.operator()
    for words in (
        acme.company.name, acme.company.slug, str(acme.company_id), acme.owner.email, acme.owner.email.upper()[:18],
        acme.key.last_4, f"…{acme.key.last_4}",
    ):  # fmt: skip
        page = desks.text_of(staff, "/operator/", search=words)
        assert acme.company.name in page, words
        assert globex.company.name not in page, words


@pytest.mark.parametrize("words", ["%", "_", "\\", "' OR 1=1 --", "\x00", "<script>"])
def test_search_takes_any_text_for_what_it_is(words: str) -> None:
    staff = desks.operator()

    page = desks.text_of(staff, "/operator/", search=words)

    assert "<script>alert" not in page


def test_list_shows_balance_spend_and_margin_exactly() -> None:
    acme, staff = factories.acme(credits=Decimal(20)), desks.operator()
    call(acme, cost_usd="0.00012104999999999999")

    page = desks.text_of(staff, "/operator/", search=str(acme.company_id))

    assert 'value="19.999697375"' in page
    assert 'value="0.000302625"' in page
    # 0.000302625 credits at 0.50 USD, less what upstream charged.
    assert "$0.00003026250000000001<" in page


def test_list_is_put_in_order_and_told_page_by_page() -> None:
    mark, made = ids.uuid7().hex, []
    for number in range(3):
        member = factories.acme(credits=Decimal(5 + number))
        companies.rename(company_id=member.company_id, name=f"{mark} {number}")
        made.append(member.company_id)
    orders: list[tuple[Order, bool]] = [
        ("balance", False),
        ("balance", True),
        ("name", False),
        ("created", True),
    ]
    for order, is_descending in orders:
        assert walked(mark, order, is_descending) == (made[::-1] if is_descending else made), order
    for order in ("spend", "held", "margin"):
        # They are equal in these: the id says who comes first.
        assert walked(mark, order, is_descending=False) == sorted(made), order


def walked(search: str, order: Order, is_descending: bool) -> list[UUID]:
    """The companies on all pages of the list, in their order."""
    found, after = [], None
    while True:
        page = company_figures.page(
            first=today(),
            last=today(),
            limit=2,
            order=order,
            is_descending=is_descending,
            search=search,
            after=after,
        )
        found += [line.id for line in page.lines]
        if page.after is None:
            return found
        after = page.after


def test_cursor_of_nobody_is_refused_in_words() -> None:
    staff, acme, some_id = desks.operator(), factories.acme(), str(ids.uuid7())
    assert "Begin with the first page" in desks.text_of(staff, "/operator/", 400, cursor="bm8")
    for sort, place in (
        *(("-spend", "NaN"), ("margin", "much"), ("balance", "9" * 30), ("-held", "1.5")),
        *(("created", "yesterday"), ("-created", "2026-01-01"), ("name", "a\x00b")),
    ):
        desks.text_of(staff, "/operator/", 400, sort=sort, cursor=tables.cursor(place, some_id))
    beyond = tables.cursor("", "0001-01-01", "", "")
    desks.text_of(staff, f"/operator/companies/{acme.company_id}/", 400, cursor=beyond)


def test_character_that_no_text_has_finds_no_anomaly() -> None:
    staff, url, said = (
        desks.operator(),
        "/operator/reconciliation/anomaly/",
        {"kind": "x\x00", "reference": "y"},
    )
    desks.text_of(staff, url, 404, **said)
    assert staff.post(url, said).status_code == 400


def test_status_narrows_and_an_empty_list_says_what_to_do() -> None:
    acme, staff = factories.acme(), desks.operator()
    companies.suspend(company_id=acme.company_id)
    words = f"/operator/?search={acme.company.slug}"

    assert acme.company.name in desks.text_of(staff, f"{words}&status=suspended")
    assert "clear the filters" in desks.text_of(staff, f"{words}&status=active")


# One company


def test_timeline_tells_everything_once_and_page_by_page() -> None:
    acme, staff = factories.acme(), desks.operator()
    for _ in range(3):
        factories.give(acme, credits=Decimal(1))
    call(acme, cost_usd="0.001")
    call(acme, cost_usd="0.002")
    staff.post(reverse("operator-company-note", args=[acme.company_id]), {"note": "Called about invoices"})

    now = timezone.now()
    whole = timeline.page(company_id=acme.company_id, cursor=Cursor(), limit=99, now=now)
    found: list[Event] = []
    after: Cursor | None = Cursor()
    while after is not None:
        part = timeline.page(company_id=acme.company_id, cursor=after, limit=2, now=now)
        found += part.events
        after = part.after

    assert [(one.kind, one.place) for one in found] == [(one.kind, one.place) for one in whole.events]
    # The opening grant, too.
    assert [one.entry.action for one in found if one.entry] == ["grant"] * 4
    [day] = [one.day for one in found if one.day]
    assert (day.calls, day.charged_nanocredits) == (2, 7_500_000)
    assert {"company.noted", "company.created"} <= {one.line.action for one in found if one.line}


@pytest.mark.parametrize(
    ("kind", "least"), [("credits", 1), ("usage", 0), ("changes", 1), ("notes", 0), ("x", 1)]
)
def test_timeline_is_narrowed_to_one_kind(kind: str, least: int) -> None:
    acme, staff = factories.acme(), desks.operator()
    table = staff.get(reverse("operator-company", args=[acme.company_id]), {"kind": kind}).context["table"]

    assert len(table.rows) >= least
    assert table.rows or table.empty.text


def test_note_is_the_operators_own_and_written_once() -> None:
    acme, staff = factories.acme(), desks.operator()
    url = reverse("operator-company-note", args=[acme.company_id])
    for _ in range(2):
        assert staff.post(url, {"note": "They pay late"}).status_code == 302

    [entry] = desks.entries(action="company.noted", target_id=str(acme.company_id))
    assert (entry.reason, entry.company_id, entry.actor_kind) == ("They pay late", None, "operator")
    owner = Client()
    owner.force_login(acme.owner)
    assert "They pay late" not in owner.get("/dashboard/audit/").content.decode()
    assert staff.post(url, {"note": " "}).status_code == 400


def test_names_are_never_markup() -> None:
    acme, staff = factories.acme(), desks.operator()
    companies.rename(company_id=acme.company_id, name="<script>alert(1)</script>")
    for url in (*urls(acme), "/operator/?search=alert"):
        if url == "/operator/economics/export/":
            continue
        assert "<script>alert" not in desks.text_of(staff, url)


# Economics


def test_economics_agree_with_the_calls_to_the_last_digit() -> None:
    acme, staff = factories.acme(), desks.operator()
    call(acme, model="acme/one", cost_usd="0.00012104999999999999")
    call(acme, model="acme/two", cost_usd="0.002", held="0.001")

    page = desks.text_of(staff, "/operator/economics/", company=str(acme.company_id), by="model")

    assert desks.figure(page, "Cost upstream") == "0.00212104999999999999"
    # 0.000302625 and 0.005 credits, at 0.50 USD.
    assert desks.figure(page, "Revenue") == "0.0026513125"
    assert desks.figure(page, "Margin") == "0.00053026250000000001"
    assert desks.figure(page, "Overruns") == "0.002"
    assert "acme/one" in page


def test_liabilities_are_what_wallets_hold_above_zero() -> None:
    before = economics.owed()
    factories.acme(credits=Decimal("12.5"))

    after = economics.owed()

    assert after.unspent_nanocredits - before.unspent_nanocredits == 12_500_000_000
    assert after.companies - before.companies == 1


def test_file_has_every_row_and_runs_nothing_in_a_spreadsheet(run: Run) -> None:
    acme, staff = factories.acme(), desks.operator()
    companies.rename(company_id=acme.company_id, name='=HYPERLINK("http://evil.example")')
    call(acme, cost_usd="0.001")

    (row,) = sheet(run, staff, f"/operator/economics/export/?by=company&company={acme.company_id}")

    assert row["name"].startswith("'=HYPERLINK")
    assert (row["revenue_usd"], row["cost_usd"], row["margin_usd"]) == ("0.00125", "0.001", "0.00025")
    assert row["margin_percent"] == "20"


@pytest.mark.parametrize(
    "query",
    ["by=moon", "range=9y", "from=2026-13-01&to=x", "sort=no", "model=x", "model=<script>alert(1)</script>"],
)
def test_parameters_of_nobody_are_left_out(query: str) -> None:
    page = desks.text_of(desks.operator(), f"/operator/economics/?{query}")

    assert "Revenue" in page
    assert "<script>alert" not in page


def test_what_is_unspent_stands_by_its_company_and_by_its_day() -> None:
    acme, staff = factories.acme(credits=Decimal(20)), desks.operator()
    call(acme, cost_usd="0.4")
    Day.objects.update_or_create(
        day=today(), defaults={"read_at": timezone.now(), "unspent_nanocredits": 7 * 10**9}
    )

    page = desks.text_of(staff, "/operator/economics/", by="company", company=str(acme.company_id))
    assert "Unspent now" in page
    assert 'value="19"' in page
    by_day = staff.get("/operator/economics/", {"range": "24h"}).context["table"]
    assert [row.cells[-1].value for row in by_day.rows if row.cells[0].value == today()] == [7 * 10**9]
    narrowed = desks.text_of(staff, "/operator/economics/", company=str(acme.company_id))
    assert "Unspent at its end" not in narrowed
    Day.objects.filter(day=today()).delete()


def test_one_model_is_told_by_day_alone() -> None:
    answer = desks.operator().get("/operator/economics/", {"by": "company", "model": "acme/one"})

    assert answer.context["asked"].group == "day"
    assert answer.context["groups"] == []


def test_company_that_is_no_id_is_told() -> None:
    assert "is no id" in desks.text_of(desks.operator(), "/operator/economics/?company=x", 400)


# Upstream and audit


def test_upstream_says_what_was_last_seen_and_asks_nobody(settings: Any) -> None:
    settings.BROADCAST_SECRET = "said"
    acme, staff = factories.acme(), desks.operator()
    call(acme, cost_usd="0.001")

    page = desks.text_of(staff, "/operator/upstream/")

    assert "Broadcast" in page
    assert "Settlement debt" in page
    assert "Acme Cloud" in page


def test_audit_shows_all_companies_in_the_order_of_time() -> None:
    mark = f"test.{ids.uuid7().hex[:12]}"
    members = [factories.acme(), factories.globex(), None]
    for number in range(6):
        member = members[number % 3]
        write(member.company_id if member else None, mark, number)
    found, before_id = [], None
    while True:
        page = audit.everything(filters=Filters(action=mark), limit=4, before_id=before_id)
        found += [line.reason for line in page.lines]
        if page.before_id is None:
            break
        before_id = page.before_id

    # Of one millisecond the id decides.
    assert found == [entry.reason for entry in desks.entries(action=mark)][::-1]
    assert mark in desks.text_of(desks.operator(), "/operator/audit/", action=mark)


def write(company_id: Any, action: str, number: int) -> None:
    with transaction.atomic():
        audit.record(
            company_id=company_id, action=action, target_kind="test", target_id=number, reason=str(number)
        )


def test_audit_is_narrowed_to_a_company_or_to_the_operators_own() -> None:
    acme, staff = factories.acme(), desks.operator()

    of_acme = staff.get("/operator/audit/", {"company": str(acme.company_id)}).context["table"].rows
    assert {row.cells[2].value for row in of_acme} == {Company.objects.get(id=acme.company_id).name}
    own = staff.get("/operator/audit/", {"company": "operator"}).context["table"].rows
    assert all(row.cells[2].value == "the operator's own" for row in own)
    assert "whole id" in desks.text_of(staff, "/operator/audit/", 400, company="acme")


def test_an_entry_opens_and_another_companys_address_does_not() -> None:
    acme, globex, staff = factories.acme(), factories.globex(), desks.operator()
    entry = desks.entries(company_id=acme.company_id)[0]

    assert entry.action in desks.text_of(
        staff, reverse("operator-audit-entry", args=[acme.company_id, entry.id])
    )
    desks.text_of(staff, reverse("operator-audit-entry", args=[globex.company_id, entry.id]), 404)
    desks.text_of(staff, reverse("operator-audit-entry", args=["x", entry.id]), 404)


def test_reconciliation_shows_what_is_there_and_what_is_not() -> None:
    acme, staff = factories.acme(), desks.operator()
    call(acme, cost_usd="0.001")
    call(acme, cost_usd=None)

    page = desks.text_of(staff, "/operator/reconciliation/")

    assert "Open holds by age" in page
    assert "stream" in page
