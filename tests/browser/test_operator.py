"""What operators do, in a real browser: each change is looked for where the company reads of it; and every page of the
console keeps nobody out, in the light and in the dark, on a phone, and without a script."""

import re
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, expect

from accounts import ids
from accounts.models import User
from billing import alerts, reconciliation
from tests import factories
from tests.browser import conftest, sights
from tests.browser.conftest import PHONE, WIDE, Visitor, Visits, session_cookie
from tests.browser.sights import Sight
from tests.browser.test_pages import LOOKS
from tests.e2e.conftest import Platform
from tests.platform import desks

MODEL = "anthropic/claude-sonnet-4.6"
# Of unfold's, as far as an operator meets it; the index is among the sights.
ROWS = (
    Sight("raw-rows-list", "/admin/accounts/company/"),
    Sight("raw-rows-change", "/admin/accounts/company/{id}/change/"),
    Sight("raw-rows-wallet", "/admin/billing/wallet/{id}/change/"),
)
OURS = tuple(sight for sight in sights.OPERATOR if sight.address != "/admin/")
PAGES = (*sights.OPERATOR, *ROWS)


def operator() -> User:
    person = desks.operator().person  # type: ignore[attr-defined]
    assert isinstance(person, User)
    return person


def quarantined(platform: Platform, member: factories.Cast, *, cost_usd: str) -> str:
    """A call, and evidence of another cost, which waits for a person; the anomaly's reference."""
    answer = platform.post(
        member.secret, {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
    )
    assert answer.status_code == 200
    hold_id = UUID(answer.headers["x-naive-generation-id"].removeprefix("gen_"))
    reference = f"gen_{hold_id}:{ids.uuid7().hex}"
    reconciliation.report(
        "settled_differently",
        reference=reference,
        company_id=member.company_id,
        hold_id=hold_id,
        details={"kind": "post", "cost_usd": cost_usd, "why": "<script>alert(1)</script>"},
    )
    return reference


@pytest.fixture(scope="module")
def furnished(platform: Platform, browser: Browser) -> Any:
    """A company with a little of everything that the console tells of, and where each thing is."""
    acme, person = factories.acme(credits=Decimal(20)), operator()
    quarantined(platform, acme, cost_usd="0.8")
    alerts.raise_alert("payment_mismatch", reference=ids.uuid7().hex, message="Paid otherwise than asked for")
    context = browser.new_context()
    context.add_cookies([session_cookie(platform, person)])
    found = sights.things(context.request, platform.url, of=sights.OPERATORS_FOUND)
    context.close()
    return SimpleNamespace(person=person, things=found | {"id": str(acme.company_id)})


# What they do


def test_top_up_is_read_by_the_owner_and_stands_in_both_logs(visits: Visits, acme: factories.Cast) -> None:
    staff, other, owner = visits(operator()), visits(operator()), visits(acme.owner)
    before = factories.balance(acme)
    page, theirs = (topped_up(visitor, acme) for visitor in (staff, other))
    assert factories.balance(acme) == before
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator(".toast")).to_contain_text("Posted: 12.000000001 credits")
    expect(page.locator("#timeline tbody tr").filter(has_text="Top-up")).to_contain_text("invoice-7")

    theirs.get_by_role("button", name="Confirm").click()
    expect(theirs.locator(".toast")).to_contain_text("nothing was moved again")
    assert factories.balance(acme) == before + Decimal("12.000000001")

    line = owner.go("/dashboard/billing/ledger/").locator("tbody tr").filter(has_text="Bank transfer of May")
    expect(line).to_have_count(1)
    expect(line.locator("data.amount[value='12.000000001']")).to_have_count(1)
    for visitor, log in ((owner, "/dashboard/audit/"), (staff, "/operator/audit/")):
        found = (
            visitor.go(log)
            .locator("tbody tr")
            .filter(has_text="credits.topped_up")
            .filter(has_text="invoice-7")
        )
        expect(found).to_have_count(1)


def topped_up(visitor: Visitor, member: factories.Cast) -> Page:
    """The page on which a top-up is confirmed."""
    page = visitor.go(f"/operator/?search={member.company.slug}")
    page.get_by_role("link", name=member.company.name).click()
    page.get_by_role("link", name="Move credits").click()
    page.get_by_label("Amount").fill("12.000000001")
    page.get_by_label("Reference").fill("invoice-7")
    page.get_by_label("Reason").fill("Bank transfer of May")
    page.get_by_role("button", name="Look at it first").click()
    expect(page.get_by_role("button", name="Confirm")).to_be_visible()
    return page


def test_anomaly_is_decided(visits: Visits, platform: Platform, acme: factories.Cast) -> None:
    reference, staff = quarantined(platform, acme, cost_usd="0.8"), visits(operator())
    page, theirs = (looked_at(visitor, reference) for visitor in (staff, visits(operator())))
    expect(page.get_by_text("Charged then").locator("xpath=..")).to_contain_text("2.00")
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator(".toast")).to_contain_text("Decided: charge. The call costs 2 credits.")
    expect(page.locator("tbody tr").filter(has_text=reference)).to_have_count(0)

    theirs.get_by_role("button", name="Confirm").click()
    expect(theirs.locator(".toast")).to_contain_text("decided before")
    page = visits(acme.owner).go("/dashboard/audit/")
    expect(page.locator("tbody tr").filter(has_text="anomaly.charged")).to_have_count(1)


def looked_at(visitor: Visitor, reference: str) -> Page:
    """The page on which a decision is confirmed."""
    page = visitor.go("/operator/reconciliation/")
    page.get_by_role("link", name="Anomalies to decide").click()
    page.locator("tbody tr").filter(has_text=reference).get_by_role("link", name="Decide").click()
    expect(page.get_by_label("the evidence", exact=True)).to_contain_text("<script>alert(1)</script>")
    page.get_by_label("Charge").check()
    page.get_by_label("Reason").fill("Their invoice says so")
    page.get_by_role("button", name="Look at it first").click()
    expect(page.get_by_role("button", name="Confirm")).to_be_visible()
    return page


def test_who_looks_on_sees_the_banner_and_changes_nothing(visits: Visits, acme: factories.Cast) -> None:
    visitor = visits(operator())
    page = visitor.go(f"/operator/companies/{acme.company_id}/view/")
    page.get_by_label("Reason").fill("They asked about a call")
    page.get_by_role("button", name="Look on").click()
    banner = page.get_by_text(f"You see {acme.company.name} as its owner would")
    expect(banner).to_be_visible()
    assert visitor.grave() == []

    page = visitor.go(f"/dashboard/kits/{acme.kit.id}/")
    expect(banner).to_be_visible()
    expect(page.get_by_role("switch")).to_be_disabled()
    token = page.locator("input[name=csrfmiddlewaretoken]").first.get_attribute("value") or ""
    headers = {"Referer": page.url, "X-CSRFToken": token}
    form: dict[str, str | float | bool] = {"csrfmiddlewaretoken": token, "name": "Theirs"}
    kits = f"{visitor.platform.url}/dashboard/kits/new/"
    assert "only look on" in page.request.post(kits, form=form, headers=headers).text()
    answer = page.request.post(f"{visitor.platform.url}/v1/account-kits", data={"name": "x"}, headers=headers)
    assert (answer.status, "only look on" in answer.text()) == (403, True)

    page.get_by_role("button", name="End", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(acme.company.name)
    visitor.go("/dashboard/", status=403)
    visitor.expect_refusal(403)
    rows = visits(acme.owner).go("/dashboard/audit/").locator("tbody tr")
    expect(rows.filter(has_text=re.compile("company.view"))).to_have_count(2)


# Every page


@pytest.fixture(scope="module")
def reader(platform: Platform, browser: Browser, furnished: Any) -> Iterator[Visitor]:
    found = conftest.visitor(platform, browser, furnished.person)
    yield found
    found.context.close()


@pytest.fixture(scope="module")
def scriptless(platform: Platform, browser: Browser, furnished: Any) -> Iterator[Visitor]:
    found = conftest.visitor(platform, browser, furnished.person, java_script_enabled=False)
    yield found
    found.context.close()


@pytest.mark.parametrize("sight", PAGES, ids=lambda sight: sight.name)
def test_page_keeps_nobody_out(sight: Sight, reader: Visitor, furnished: Any) -> None:
    reader.faults.clear()
    reader.page.emulate_media(color_scheme="light")
    reader.page.set_viewport_size(WIDE)
    page = reader.go(sight.path(furnished.things))
    assert reader.grave() == []
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(PHONE)
    assert reader.overflow_px() <= 0
    # How large unfold makes its buttons is unfold's.
    assert (reader.grave(LOOKS) if sight in OURS else reader.grave()) == []
    assert reader.faults == []


@pytest.mark.parametrize("sight", OURS, ids=lambda sight: sight.name)
def test_page_is_there_without_a_script(sight: Sight, scriptless: Visitor, furnished: Any) -> None:
    scriptless.faults.clear()
    page = scriptless.go(sight.path(furnished.things))
    assert page.locator("h1").count() == 1
    assert (
        page.get_by_role("navigation", name="Operator console").locator("a[aria-current=page]").count() == 1
    )
    assert scriptless.faults == []


def test_credits_are_moved_without_a_script(visits: Visits, acme: factories.Cast) -> None:
    page = visits(operator(), java_script_enabled=False).go(f"/operator/companies/{acme.company_id}/move/")
    before = factories.balance(acme)
    page.get_by_label("Amount").fill("3")
    page.get_by_label("Reason").fill("They waited")
    page.get_by_role("button", name="Look at it first").click()
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator(".toast")).to_contain_text("Posted: 3 credits")
    assert factories.balance(acme) == before + 3
