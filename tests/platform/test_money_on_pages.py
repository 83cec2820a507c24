"""Every amount on a page is the ledger's, to the nanocredit, and what the API and verify_ledger say of the same."""

import html
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone

from billing import economics, entries, money, sums, verification
from billing.models import Entry, Hold, OpenHold, Settlement, Wallet
from naive_platform.dashboard.ledger_filters import ACTIONS
from tests.conftest import Run
from tests.platform import awkward, desks
from tests.platform.awkward import Awkward, Charge
from tests.platform.calls import client_of
from tests.platform.files import sheet

AMOUNT = re.compile(r'<data class="amount" value="([^"]*)">(.*?)</data>')
RANGES = {"24h": 1, "7d": 7, "30d": 30, "90d": 90}
GROUPS = {
    "day": lambda one: f"{one.day}",
    "model": lambda one: one.model,
    "user": lambda one: str(one.hold.tenant_user_id),
    "key": lambda one: str(one.hold.key_id),
    "kit": lambda one: str(one.hold.kit_id),
}
PAGES = (
    *("", "billing/", "billing/ledger/?range=90d", "billing/statements/", "kits/", "keys/", "users/"),
    *(f"billing/usage/?by={group}&range=90d" for group in GROUPS),
    "generations/?range=90d",
)


@pytest.fixture(scope="module")
def acme(_database: None) -> Awkward:
    return awkward.company(timezone.now())


@pytest.fixture(scope="module")
def charges(acme: Awkward) -> list[Charge]:
    return awkward.charges(acme.company_id)


@pytest.fixture
def desk() -> Client:
    return desks.operator()


def page(acme: Awkward, path: str) -> str:
    answer = client_of(acme.member.owner).get(f"/dashboard/{path}")
    assert answer.status_code == 200, path
    return str(answer.content.decode())


def told(acme: Awkward, path: str) -> dict[str, Any]:
    """What the API says, its numbers exact."""
    answer = Client().get(f"/v1/{path}", headers={"Authorization": acme.member.authorization})
    assert answer.status_code == 200, path
    return dict(json.loads(answer.content, parse_float=Decimal))


def amounts(text: str) -> list[Decimal]:
    """Every amount in a piece of a page, exactly."""
    return [Decimal(value) for value, _ in AMOUNT.findall(text)]


def figure(text: str, title: str) -> list[Decimal]:
    """The amounts under a title, the main one first."""
    found = re.search(rf"<dt>{re.escape(title)}</dt>(.*?)(?=<dt>|</dl>)", text, re.DOTALL)
    assert found, f"no figure {title}"
    return amounts(found.group(1))


def rows(text: str, name: str) -> list[dict[str, str]]:
    """A table's rows by their columns' titles; the key '' has the row's id."""
    part = text.partition(f'<div class="table" id="{name}">')[2].partition("</table>")[0]
    cell = re.compile(r'<td role="cell" class="[^"]*" data-title="([^"]*)">(.*?)</td>', re.DOTALL)
    found = re.findall(r'<tr role="row"([^>]*)>(.*?)</tr>', part, re.DOTALL)
    lines = [dict(cell.findall(row)) | {"": head.partition(f'id="{name}-')[2][:-1]} for head, row in found]
    return [line for line in lines if len(line) > 1]


def labelled(text: str, label: str) -> list[list[str]]:
    """The cells of a plain table's rows, markup and all."""
    part = text.partition(f'<table aria-label="{html.escape(label)}">')[2].partition("</table>")[0]
    cell = re.compile(r"<t[hd][^>]*>(.*?)</t[hd]>", re.DOTALL)
    return [cell.findall(row) for row in re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL)]


def plain(text: str) -> str:
    """What somebody reads of it."""
    return html.unescape(re.sub(r"<[^>]+>", "", text)).strip()


def named(cell: str) -> str:
    """The text of a cell without the small print behind it."""
    return plain(re.sub(r'<span class="note">.*?</span>', "", cell))


def credits(nanocredits: int) -> Decimal:
    return money.credits_from_nanocredits(nanocredits)


def credits_of(found: Iterable[Charge]) -> Decimal:
    return credits(awkward.total(found))


def balance(acme: Awkward) -> Decimal:
    return credits(sum(entry.amount_nanocredits for entry in awkward.entries(acme.company_id)))


def held(acme: Awkward) -> Decimal:
    return credits(sum(hold.amount_nanocredits for hold in awkward.open_holds(acme.company_id)))


def test_books_are_right_and_as_awkward_as_they_should_be(acme: Awkward, charges: list[Charge]) -> None:
    found = verification.verify(company_id=acme.company_id)

    assert (found.violations, found.open_holds) == ([], 3)
    assert found.charged_nanocredits == awkward.total(charges)
    assert found.cost_usd == awkward.cost(charges)
    assert balance(acme) < 0 < held(acme)
    assert len({one.hold.markup for one in charges}) == 2
    # What somebody would get who adds up what settlements charged, or shows what a float has.
    assert awkward.total(charges) != sum(
        one.charged_nanocredits for one in Settlement.objects.filter(company_id=acme.company_id)
    )
    peak = max(entry.balance_after_nanocredits for entry in awkward.entries(acme.company_id))
    assert peak > 2**53


@pytest.mark.parametrize("path", PAGES)
def test_every_amount_reads_as_exactly_as_it_is_said(acme: Awkward, path: str) -> None:
    found = AMOUNT.findall(page(acme, path))

    assert found or path in ("kits/", "keys/")
    for value, shown in found:
        read = plain(shown).replace(",", "").replace("\N{MINUS SIGN}", "-").replace("$", "")
        assert Decimal(read) == Decimal(value), (path, value, shown)


@pytest.mark.parametrize("path", ["", "billing/"])
def test_wallet_is_what_the_ledger_adds_up_to(acme: Awkward, path: str) -> None:
    text, status = page(acme, path), told(acme, "status")["credits"]

    assert figure(text, "Balance") == [balance(acme)] == [status["balance"]]
    assert figure(text, "Held") == [held(acme)] == [status["held"]]
    assert figure(text, "Available") == [balance(acme) - held(acme)] == [status["available"]]


@pytest.mark.parametrize("name", RANGES)
def test_overview_says_what_was_spent_and_by_whom(acme: Awkward, charges: list[Charge], name: str) -> None:
    now, days = timezone.now(), timedelta(days=RANGES[name])
    found = awkward.within(charges, now - days)
    before = [one for one in awkward.within(charges, now - 2 * days) if one not in found]

    text = page(acme, f"?range={name}")

    assert figure(text, "Spend") == [credits_of(found), credits_of(before)]
    assert credits_of(found) == told(acme, f"usage?days={days.days}")["summary"]["credits_used"]
    assert _tops(text, "models") == _dearest(awkward.split(found, lambda one: one.model))
    names = {user.id: str(user) for user in acme.users}
    assert _tops(text, "users") == _dearest(awkward.split(found, lambda one: names[one.hold.tenant_user_id]))
    step = "hour" if days.days == 1 else "day"
    _, *lines = labelled(text, f"Credits by {step} and model")
    assert sum(Decimal(plain(cell)) for line in lines for cell in line[1:]) == credits_of(found)


def test_newest_calls_are_charged_what_their_entries_say(acme: Awkward, charges: list[Charge]) -> None:
    by_id = {str(one.hold.hold_id): one for one in charges}
    for path in ("", "generations/?range=90d"):
        for row in rows(page(acme, path), "calls"):
            one = by_id.get(row[""])
            assert amounts(row["Credits"]) == ([credits(one.nanocredits)] if one else []), path
            cost = amounts(row["Cost"])
            assert sum(cost, Decimal(0)) == (one.cost_usd if one else 0), path


def test_pages_of_generations_have_every_call(run: Run, acme: Awkward, charges: list[Charge]) -> None:
    shown, path = [], "generations/?range=90d"
    while path:
        text = page(acme, path)
        shown += rows(text, "calls")
        following = re.search(r'rel="next" href="([^"]*)"', text)
        path = f"generations/{html.unescape(following.group(1))}" if following else ""

    assert len(shown) == len(charges) + len(awkward.open_holds(acme.company_id))
    assert sum(sum(amounts(row["Credits"])) for row in shown) == credits_of(charges)
    in_file = sheet(run, acme.member.owner, "/dashboard/exports/generations.csv?range=90d")
    assert sum(Decimal(line["credits"] or 0) for line in in_file) == credits_of(charges)
    assert sum(Decimal(line["cost_usd"] or 0) for line in in_file) == awkward.cost(charges)


def test_each_call_reckons_its_charge_from_its_cost(acme: Awkward, charges: list[Charge]) -> None:
    dear = sorted(charges, key=lambda one: one.nanocredits)[-4:]
    for one in [*dear, *charges[1:8]]:
        text = page(acme, f"generations/gen_{one.hold.hold_id}/")

        if one.source == "inline" and one.cost_usd == 0 and not one.nanocredits:
            continue
        assert figure(text, "Charged") == [credits(one.nanocredits)]
        assert figure(text, "Cost upstream") == [one.cost_usd]
        assert figure(text, f"\N{MULTIPLICATION SIGN} markup {one.hold.markup.normalize()}") == [
            one.cost_usd * one.hold.markup
        ]
        assert figure(text, "Held")[0] == credits(one.hold.amount_nanocredits)
        beyond = "Charged beyond it" if one.overrun_nanocredits else "Given back"
        difference = abs(one.hold.amount_nanocredits - one.nanocredits)
        assert figure(text, beyond) == [credits(difference)]
        trail = text.partition('<ol class="trail">')[2].partition("</ol>")[0]
        assert credits(one.nanocredits) in amounts(trail)


def test_users_spend_what_their_calls_were_charged(acme: Awkward, charges: list[Charge]) -> None:
    now = timezone.now()
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    shown = {row[""]: amounts(row["This month"]) for row in rows(page(acme, "users/"), "users")}
    for user in acme.users:
        own = [one for one in charges if one.hold.tenant_user_id == user.id]
        spent = credits_of(awkward.within(own, month))
        assert shown[str(user.id)] == [spent]
        for name, days in RANGES.items():
            found = awkward.within(own, now - timedelta(days=days))
            text = page(acme, f"users/{user.id}/?range={name}")
            assert figure(text, "This month") == [spent]
            assert figure(text, f"Last {days * 24} hours" if days == 1 else f"Last {days} days")[
                0
            ] == credits_of(found)
            assert _charted(text, "Credits") == credits_of(found)
            used = told(acme, f"users/{user.id}/usage?days={days}")["summary"]
            assert used["credits_used"] == credits_of(found)
        if user.account_kit_id == acme.kits[1].id:
            waits = credits(_held_by(acme, tenant_user_id=user.id))
            assert figure(text, "Left this month") == [
                50 - spent - waits,
                Decimal(50),
                *([waits] if waits else []),
            ]


def test_kits_switch_says_what_its_calls_cost_in_a_day(acme: Awkward, charges: list[Charge]) -> None:
    for kit in acme.kits:
        own = [one for one in charges if one.hold.kit_id == kit.id]
        found = awkward.within(own, timezone.now() - awkward.DAY)
        text = page(acme, f"kits/{kit.id}/")
        assert figure(text, "Calls, last day") == [credits_of(found)]


def test_capped_key_has_used_what_its_calls_were_charged(acme: Awkward, charges: list[Charge]) -> None:
    key = acme.keys[1]
    month = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    # A cap counts a call in the month in which it began.
    own = [one for one in charges if one.hold.key_id == key.id and one.hold.created_at >= month]
    shown = {row[""]: row["Used of its cap"] for row in rows(page(acme, "keys/"), "keys")}

    assert amounts(shown[str(key.id)]) == [credits_of(own)]
    assert "of 3.000000007 a month" in shown[str(key.id)]
    assert figure(page(acme, f"keys/{key.id}/"), "Cap") == [
        credits_of(own), *([credits(waits)] if (waits := _held_by(acme, key_id=key.id)) else [])
    ]  # fmt: skip


def test_ledger_runs_from_entry_to_entry(run: Run, acme: Awkward) -> None:
    ledger = awkward.entries(acme.company_id)
    text = page(acme, "billing/ledger/?range=90d")
    shown = rows(text, "ledger")
    if following := re.search(r'rel="next" href="([^"]*)"', text):
        shown += rows(page(acme, f"billing/ledger/{html.unescape(following.group(1))}"), "ledger")

    assert [int(row[""]) for row in shown] == [entry.seq for entry in reversed(ledger)]
    at = Decimal(0)
    for row in reversed(shown):
        at += amounts(row["Amount"])[0]
        assert amounts(row["Balance after"]) == [at]
    assert at == balance(acme)
    assert "Adds up to the balance of" in text
    api = told(acme, "billing/ledger?limit=100")["entries"]
    assert [(one["amount"], one["balance_after"]) for one in api] == [
        (amounts(row["Amount"])[0], amounts(row["Balance after"])[0]) for row in shown
    ]
    in_file = sheet(run, acme.member.owner, "/dashboard/exports/ledger.csv?range=90d")
    assert [Decimal(line["amount"]) for line in in_file] == [one["amount"] for one in api]


@pytest.mark.parametrize("name", RANGES)
def test_ledger_says_what_moved_the_balance(acme: Awkward, name: str) -> None:
    now = timezone.now()
    since = now - timedelta(days=RANGES[name])

    found = labelled(page(acme, f"billing/ledger/?range={name}"), "What moved the balance")

    assert _moved(found) == _moves(acme, since, now)


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("group", GROUPS)
def test_usage_adds_up_to_the_ledger_in_every_group(
    run: Run, acme: Awkward, charges: list[Charge], group: str, name: str
) -> None:
    now, days = timezone.now(), RANGES[name]
    found = awkward.within(charges, now - timedelta(days=days))
    query = f"by={group}&range={name}"
    text = page(acme, f"billing/usage/?{query}")
    wanted = {
        key: (credits_of(ones), awkward.cost(ones))
        for key, ones in awkward.split(found, GROUPS[group]).items()
    }

    assert figure(text, "Credits") == [credits_of(found), awkward.cost(found)]
    shown = rows(text, "usage-table")
    assert sorted((*amounts(row["Credits"]), *amounts(row["Upstream cost"])) for row in shown) == sorted(
        wanted.values()
    )
    assert _charted(text, "Credits by hour" if days == 1 else "Credits by day") == credits_of(found)
    lines = sheet(run, acme.member.owner, f"/dashboard/billing/usage.csv?{query}")
    assert wanted == {
        line["group"].removeprefix("'"): (Decimal(line["credits_used"]), Decimal(line["cost_usd"]))
        for line in lines
    }
    assert sum(Decimal(line["overrun_credits"]) for line in lines) == credits(
        sum(one.overrun_nanocredits for one in found)
    )
    summary = told(acme, f"usage?days={days}&group_by={group}")["summary"]
    assert summary["credits_used"] == credits_of(found)
    assert {one["group"]: (one["credits_used"], one["cost_usd"]) for one in summary["groups"]} == wanted


def test_statements_go_from_month_to_month(run: Run, acme: Awkward, charges: list[Charge]) -> None:
    now, at = timezone.now(), Decimal(0)
    months = list(reversed(rows(page(acme, "billing/statements/"), "statements")))

    assert len(months) >= 3
    for row in months:
        starts_at, ends_at = entries.month_of(datetime.strptime(row[""], "%Y-%m").replace(tzinfo=UTC).date())
        opening, lines, closing = _moves(acme, starts_at, ends_at)
        assert (opening, closing) == (at, at := at + sum(amount for _, amount in lines.values()))
        assert [amounts(row[title])[0] for title in ("Opening balance", "Moved", "Closing balance")] == [
            opening, closing - opening, closing,
        ]  # fmt: skip
        text = page(acme, f"billing/statements/{row['']}/")
        assert _moved(labelled(text, "What moved the balance")) == (opening, lines, closing)
        settled = [one for one in charges if starts_at <= one.settled_at < ends_at]
        models = {
            model: (credits_of(ones), awkward.cost(ones))
            for model, ones in awkward.split(settled, lambda one: one.model).items()
        }
        assert models == {
            named(line["Model"]): (*amounts(line["Credits"]), *amounts(line["Upstream cost"]))
            for line in rows(text, "statement-models")
        }
        _check_api(told(acme, f"billing/statement?month={row['']}"), opening, lines, closing)
        file = f"/dashboard/billing/statements/{row['']}"
        _check_csv(sheet(run, acme.member.owner, f"{file}.csv"), opening, lines, closing, models)
        _check_pdf(client_of(acme.member.owner).get(f"{file}.pdf").content, opening, lines, closing, models)
    assert at == balance(acme)
    assert now < ends_at


@pytest.mark.parametrize("is_summed", [False, True])
def test_operator_sees_the_same_of_the_company(
    acme: Awkward, charges: list[Charge], desk: Client, is_summed: bool
) -> None:
    now = timezone.now()
    if is_summed:
        sums.take(now=now)
    first = now.date() - timedelta(days=29)
    found = [one for one in charges if one.day >= first]
    earned = economics.usd_of(awkward.total(found))

    (row,) = rows(desks.text_of(desk, "/operator/", search=acme.member.company.slug), "companies")
    text = desks.text_of(desk, f"/operator/companies/{acme.company_id}/")

    assert amounts(row["Balance"]) == [balance(acme)]
    assert amounts(row["Held"]) == [held(acme)]
    assert amounts(row["Spend, 30 days"]) == [credits_of(found)]
    assert amounts(row["Margin, 30 days"]) == [earned - awkward.cost(found)]
    assert figure(text, "Balance") == [balance(acme), balance(acme) * awkward.CREDIT_VALUE_USD]
    assert figure(text, "Held") == [held(acme)]
    assert figure(text, "Available") == [balance(acme) - held(acme)]
    assert figure(text, "Spend") == [credits_of(found), earned]
    assert figure(text, "Cost upstream") == [awkward.cost(found)]
    assert figure(text, "Margin") == [earned - awkward.cost(found)]


def test_operators_timeline_tells_every_movement(acme: Awkward, charges: list[Charge], desk: Client) -> None:
    url = f"/operator/companies/{acme.company_id}/"
    moved = rows(desks.text_of(desk, url, kind="credits"), "timeline")
    used = rows(desks.text_of(desk, url, kind="usage"), "timeline")

    ledger = awkward.entries(acme.company_id)
    assert [amounts(row["Credits"])[0] for row in moved] == [
        credits(entry.amount_nanocredits)
        for entry in reversed(ledger)
        if entry.action != Entry.Action.LLM_CALL
    ]
    days = awkward.split(charges, lambda one: one.day)
    assert [amounts(row["Credits"])[0] for row in used] == [
        -credits_of(days[day]) for day in sorted(days, reverse=True)
    ]


@pytest.mark.parametrize("group", ["day", "model", "company"])
def test_economics_are_the_ledgers(
    run: Run, acme: Awkward, charges: list[Charge], desk: Client, group: str
) -> None:
    first = timezone.now().date() - timedelta(days=89)
    found = [one for one in charges if one.day >= first]
    groups = awkward.split(found, GROUPS.get(group, lambda _: ""))
    earned = economics.usd_of(awkward.total(found))
    query = {"company": str(acme.company_id), "range": "90d", "by": group}

    text = str(desk.get("/operator/economics/", query).content.decode())

    assert figure(text, "Revenue") == [earned]
    assert figure(text, "Cost upstream") == [awkward.cost(found)]
    assert figure(text, "Margin") == [earned - awkward.cost(found)]
    over = economics.usd_of(sum(one.overrun_nanocredits for one in found))
    assert figure(text, "Overruns") == [over]
    wanted = sorted(_earned(ones) for ones in groups.values())
    columns = ("Revenue", "Cost upstream", "Margin")
    shown = rows(text, "economics")
    assert sorted(tuple(amounts(row[column])[0] for column in columns) for row in shown) == wanted
    assert _charted(text, "Revenue: cost and margin, USD a day") == earned
    lines = sheet(run, desk, f"/operator/economics/export/?{urlencode(query)}")
    assert wanted == sorted(
        (Decimal(line["revenue_usd"]), Decimal(line["cost_usd"]), Decimal(line["margin_usd"]))
        for line in lines
    )
    assert sum(int(line["revenue_credits_nano"]) for line in lines) == awkward.total(found)


def test_what_is_owed_is_every_wallets(acme: Awkward, desk: Client) -> None:
    found: dict[Any, int] = {}
    for company_id, amount in Entry.objects.values_list("company_id", "amount_nanocredits"):
        found[company_id] = found.get(company_id, 0) + amount
    text = desks.text_of(desk, "/operator/economics/")

    owed = sum(amount for amount in found.values() if amount > 0)
    assert Wallet.objects.filter(company_id=acme.company_id, posted_nanocredits__lt=0).exists()
    assert figure(text, "Unspent credit") == [economics.usd_of(owed), credits(owed)]
    assert figure(text, "Below zero") == [economics.usd_of(-sum(found.values()) + owed)]
    assert figure(text, "Held of it") == [
        credits(sum(hold.amount_nanocredits for hold in OpenHold.objects.all()))
    ]


def test_reconciliation_has_the_books_own_amounts(acme: Awkward, desk: Client) -> None:
    text = desks.text_of(desk, "/operator/reconciliation/", range="90d")

    open_now = sum(hold.amount_nanocredits for hold in OpenHold.objects.all())
    assert sum(sum(amounts(row["Held"])) for row in rows(text, "debt")) == credits(open_now)
    first = timezone.now().date() - timedelta(days=90)
    charged: dict[str, int] = {}
    for one in Settlement.objects.filter(created_at__date__gte=first):
        source = one.source.replace("_", " ")
        charged[source] = charged.get(source, 0) + one.charged_nanocredits
    settled = {named(row["Source"]): amounts(row["Charged"]) for row in rows(text, "settled")}
    assert settled == {source: [credits(amount)] for source, amount in charged.items()}
    parked = {named(row["Call"]): amounts(row["Holds"]) for row in rows(text, "parked")}
    assert parked[f"gen_{acme.parked}"] == [Decimal("0.125")]


def _tops(text: str, kind: str) -> list[tuple[str, Decimal]]:
    """What stands under the heading of the dearest models or users."""
    part = text.partition(f'id="{kind}-title"')[2].partition("</section>")[0]
    found = re.findall(r'<a class="row-link"[^>]*>(.*?)</a>.*?<p class="number">(.*?)</p>', part, re.DOTALL)
    return sorted((html.unescape(name), amounts(rest)[0]) for name, rest in found)


def _dearest(groups: Mapping[str, list[Charge]]) -> list[tuple[str, Decimal]]:
    return sorted((name, credits_of(found)) for name, found in groups.items())


def _charted(text: str, title: str) -> Decimal:
    """All that the table of a chart has; a page without calls has no chart."""
    lines = labelled(text, title)[1:]
    return sum((Decimal(plain(cell)) for line in lines for cell in line[1:]), Decimal(0))


def _held_by(acme: Awkward, **of: object) -> int:
    """What is held for calls of one key or user that began this month, against its cap. Unit: nanocredits."""
    month = timezone.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    ids = Hold.objects.filter(company_id=acme.company_id, created_at__gte=month, **of)
    wanted = set(ids.values_list("hold_id", flat=True))
    return sum(one.amount_nanocredits for one in awkward.open_holds(acme.company_id) if one.hold_id in wanted)


type Moves = tuple[Decimal, dict[str, tuple[int, Decimal]], Decimal]


def _moves(acme: Awkward, since: datetime, until: datetime) -> Moves:
    """Opening balance, count and sum of each action, closing balance: of the entries alone."""
    ledger = awkward.entries(acme.company_id)
    opening = credits(sum(entry.amount_nanocredits for entry in ledger if entry.created_at < since))
    lines: dict[str, tuple[int, Decimal]] = {}
    for entry in ledger:
        if since <= entry.created_at < until:
            count, amount = lines.get(entry.action, (0, Decimal(0)))
            lines[entry.action] = count + 1, amount + credits(entry.amount_nanocredits)
    return opening, lines, opening + sum(amount for _, amount in lines.values())


def _moved(table: list[list[str]]) -> Moves:
    """The same as a page has it."""
    (_, _, opening), *lines, (_, _, closing) = table[1:]
    words = {title: action for action, title in ACTIONS.items()}
    return (
        amounts(opening)[0],
        {words[plain(title)]: (int(plain(count)), amounts(cell)[0]) for title, count, cell in lines},
        amounts(closing)[0],
    )


def _check_api(found: dict[str, Any], opening: Decimal, lines: Any, closing: Decimal) -> None:
    assert (found["opening_balance"], found["closing_balance"]) == (opening, closing)
    assert {line["action"]: (line["count"], line["amount"]) for line in found["lines"]} == lines


def _check_csv(
    rows_: list[dict[str, str]], opening: Decimal, lines: Any, closing: Decimal, models: Any
) -> None:
    found: dict[str, dict[str, dict[str, str]]] = {}
    for line in rows_:
        found.setdefault(line["section"], {})[line["name"].removeprefix("'")] = line
    balances = found["balance"]
    assert [Decimal(balances[name]["amount_credits"]) for name in ("opening", "closing")] == [
        opening,
        closing,
    ]
    assert lines == {
        name: (int(line["count"]), Decimal(line["amount_credits"]))
        for name, line in found.get("entries", {}).items()
    }
    assert models == {
        name: (-Decimal(line["amount_credits"]), Decimal(line["cost_usd"]))
        for name, line in found.get("usage", {}).items()
    }


def _check_pdf(file: bytes, opening: Decimal, lines: Any, closing: Decimal, models: Any) -> None:
    """Every amount stands in the file, its texts being written in the PDF's own font."""
    streams = re.findall(rb"stream\n(.*?)\nendstream", file, re.DOTALL)
    text = b"".join(zlib.decompress(one) for one in streams if one[:1] == b"x").decode("latin-1")
    shown = re.findall(r"\(((?:[^()\\]|\\.)*)\) Tj", text)
    numbers = {Decimal(one.replace(",", "")) for one in shown if re.fullmatch(r"-?[\d,]+(\.\d+)?", one)}
    assert {opening, closing} <= numbers
    assert {amount for _, amount in lines.values()} <= numbers
    assert {amount for pair in models.values() for amount in pair} <= numbers


def _earned(found: list[Charge]) -> tuple[Decimal, Decimal, Decimal]:
    """Revenue, cost and margin."""
    revenue, cost = economics.usd_of(awkward.total(found)), awkward.cost(found)
    return revenue, cost, revenue - cost
