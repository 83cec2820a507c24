"""Billing: credits, packs and what became of them, the ledger that adds up, and the months of it, to the last digit."""

import re
import zlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from accounts import companies
from accounts.models import AuditEntry, Company
from billing import entries, ledger, money, verification
from billing.models import Entry
from billing.payment_models import Checkout
from billing.payments import fake
from naive_platform.dashboard import statement_pdf
from tests import factories
from tests.billing import books, shop
from tests.conftest import Run
from tests.factories import Cast
from tests.platform.calls import call, client_of, figure, page_of
from tests.platform.files import sheet
from tests.platform.people import colleague

BILLING = "/dashboard/billing/"
LEDGER = f"{BILLING}ledger/"
STATEMENTS = f"{BILLING}statements/"
QUERIES_MAX = 12
THIS_MONTH = f"{timezone.now():%Y-%m}"


@pytest.fixture
def _played(settings: Settings) -> None:
    shop.play(settings)


def exact(nanocredits: int) -> str:
    return f'value="{money.json_number(nanocredits)}"'


# Credits


def test_credits_are_balance_held_and_available() -> None:
    acme = factories.acme(credits=Decimal(20))
    call(acme, cost_usd="0.00012104999999999999")
    call(acme, cost_usd=None, held="2.5")

    page = page_of(acme.owner, BILLING)

    assert figure(page, "Balance") == "19.999697375"
    assert figure(page, "Held") == "2.5"
    assert figure(page, "Available") == "17.499697375"


def test_frozen_wallet_says_so() -> None:
    acme = factories.acme()
    ledger.freeze(company_id=acme.company_id)

    assert "The wallet is frozen" in page_of(acme.owner, BILLING)


@pytest.mark.usefixtures("_played")
def test_packs_are_on_sale_with_their_badges() -> None:
    page = page_of(factories.acme().owner, BILLING)

    assert [badge in page for badge in ("Popular", "Best Value")] == [True, True]
    assert re.findall(r'name="pack_id" value="(\w+)"', page) == ["small", "medium", "large", "xl"]
    assert "no money moves" in page


def test_where_nothing_can_be_bought_the_page_names_what_the_operator_must_set(settings: Settings) -> None:
    settings.DEBUG, settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = False, "", "whsec"

    page = page_of(factories.acme().owner, BILLING)

    assert "<code>STRIPE_SECRET_KEY</code>" in page
    assert "<code>STRIPE_WEBHOOK_SECRET</code>" not in page
    assert 'name="pack_id"' not in page


def test_without_an_address_to_come_back_to_nothing_is_sold(settings: Settings) -> None:
    settings.DEBUG, settings.PUBLIC_URL = False, ""
    settings.STRIPE_SECRET_KEY = settings.STRIPE_WEBHOOK_SECRET = "set"

    assert "<code>PUBLIC_URL</code>" in page_of(factories.acme().owner, BILLING)


# Buying


@pytest.mark.usefixtures("_played")
def test_buying_leads_by_a_link_to_the_checkout_and_its_payment_is_seen() -> None:
    acme = factories.initech()
    client = client_of(acme.owner)

    answer = client.post(BILLING, {"pack_id": "medium"})
    row = Checkout.objects.get(company_id=acme.company_id)
    assert answer["Location"] == f"{BILLING}checkout/{row.id}/"
    assert f'href="{row.url}"' in client.get(answer["Location"]).content.decode()

    assert shop.tell(fake.pay(str(row.session_id), now=timezone.now())) == "applied"

    page = client.get(BILLING, {"topup": "paid", "checkout": str(row.id)}).content.decode()
    assert "50 credits were added for 23.00 USD" in page
    assert figure(page, "Balance") == "50"
    assert 'class="pill is-paid"' in page


@pytest.mark.usefixtures("_played")
def test_with_htmx_buying_goes_straight_to_the_checkout() -> None:
    acme = factories.acme()

    answer = client_of(acme.owner).post(BILLING, {"pack_id": "small"}, headers={"HX-Request": "true"})

    assert (answer.status_code, answer["HX-Redirect"]) == (
        204,
        Checkout.objects.get(company_id=acme.company_id).url,
    )


@pytest.mark.usefixtures("_played")
def test_buying_leaves_the_persons_name_in_the_audit_log() -> None:
    acme = factories.acme()
    client_of(acme.owner).post(BILLING, {"pack_id": "small"})

    entry = AuditEntry.objects.get(company_id=acme.company_id, action="checkout.opened")
    assert (entry.actor_label, entry.person_id) == (acme.owner.email, acme.owner.id)


@pytest.mark.usefixtures("_played")
def test_coming_back_before_the_payment_is_known_does_not_claim_it() -> None:
    sale = shop.sale()
    client = client_of(sale.member.owner)

    paid = client.get(BILLING, {"topup": "paid", "checkout": str(sale.row.id)}).content.decode()
    cancelled = client.get(BILLING, {"topup": "cancelled", "checkout": str(sale.row.id)}).content.decode()

    assert "is being confirmed" in paid
    assert "were added" not in paid
    assert "was not paid; nothing was charged" in cancelled
    assert f'href="{sale.row.url}"' in cancelled


@pytest.mark.usefixtures("_played")
@pytest.mark.parametrize(
    ("status", "said"), [("unpaid", "is over and was not paid"), ("mismatched", "not what was asked for")]
)
def test_checkout_that_came_to_nothing_says_what_became_of_it(status: str, said: str) -> None:
    sale = shop.sale()
    Checkout.objects.filter(id=sale.row.id).update(status=status)
    client = client_of(sale.member.owner)

    assert said in client.get(BILLING, {"checkout": str(sale.row.id)}).content.decode()
    # Nobody is sent to pay for it any more.
    assert client.get(f"{BILLING}checkout/{sale.row.id}/")["Location"] == f"{BILLING}?checkout={sale.row.id}"


@pytest.mark.usefixtures("_played")
def test_globex_does_not_find_acmes_checkout() -> None:
    sale, client = shop.sale(), client_of(factories.globex().owner)

    for named in (sale.row.id, uuid4(), "<script>"):
        assert client.get(BILLING, {"checkout": str(named)}).status_code == 404
    assert client.get(f"{BILLING}checkout/{sale.row.id}/").status_code == 404


@pytest.mark.usefixtures("_played")
@pytest.mark.parametrize("role", ["viewer", "member"])
def test_who_may_not_buy_is_told_whom_to_ask(role: str) -> None:
    acme = factories.acme()
    client = client_of(colleague(acme, role))

    page = client.get(BILLING).content.decode()
    assert "This takes the role admin" in page
    assert 'name="pack_id"' not in page
    assert client.post(BILLING, {"pack_id": "small"}).status_code == 403
    assert not Checkout.objects.filter(company_id=acme.company_id).exists()


@pytest.mark.usefixtures("_played")
def test_pack_that_is_not_on_sale_is_refused_with_those_that_are() -> None:
    answer = client_of(factories.acme().owner).post(BILLING, {"pack_id": "free<b>"})

    assert answer.status_code == 400
    assert "must be one of small, medium, large, xl" in answer.content.decode()


# The ledger


def test_ledger_adds_up_to_the_balance_by_every_entry() -> None:
    acme = factories.acme(credits=Decimal(20))
    for cost in ("0.1", "0.00012104999999999999", "0.0000004"):
        call(acme, cost_usd=cost)
    factories.give(acme, credits=Decimal("0.5"))

    page = page_of(acme.owner, LEDGER)

    wallet = ledger.balance(company_id=acme.company_id)
    found = list(Entry.objects.filter(company_id=acme.company_id))
    assert sum(entry.amount_nanocredits for entry in found) == wallet.balance_nanocredits
    assert f'Adds up to the balance of <data class="amount" {exact(wallet.balance_nanocredits)}' in page
    for entry in found:
        assert exact(entry.amount_nanocredits) in page
        assert exact(entry.balance_after_nanocredits) in page
    assert verification.verify(company_id=acme.company_id).violation_count == 0


def test_call_links_to_its_generation_and_a_correction_names_what_it_corrects() -> None:
    acme = factories.acme()
    hold_id = call(acme, cost_usd="0.4")
    ledger.correct(
        company_id=acme.company_id,
        hold_id=hold_id,
        cost_usd=Decimal("0.3"),
        source="operator",
        reference="r1",
    )

    page = page_of(acme.owner, LEDGER)

    assert page.count(f'href="/dashboard/generations/{hold_id}/"') >= 2
    assert f"of gen_{hold_id}" in page


def test_ledger_is_filtered_by_action_and_by_time() -> None:
    acme = factories.acme(credits=Decimal(20))
    call(acme, model="acme/model", cost_usd="0.125")

    granted = page_of(acme.owner, f"{LEDGER}?action=grant")
    past = page_of(acme.owner, f"{LEDGER}?from=2020-01-01&to=2020-01-31")

    assert exact(20 * books.CREDIT) in granted
    assert "gen_" not in granted
    assert "Nothing moved in this time." in past
    assert "Adds up to the balance" not in past


def test_ledger_goes_on_by_cursor_without_gaps() -> None:
    acme = factories.acme(credits=Decimal(20))
    for _ in range(52):
        factories.give(acme, credits=Decimal(1))

    first = page_of(acme.owner, LEDGER)
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = page_of(acme.owner, LEDGER + following.group(1).replace("&amp;", "&"))

    seqs = [int(seq) for seq in re.findall(r'id="ledger-(\d+)"', first + second)]
    assert seqs == list(range(Entry.objects.filter(company_id=acme.company_id).count(), 0, -1))


def test_ledger_file_has_every_entry_as_it_is_and_no_formula(run: Run) -> None:
    acme = factories.acme(credits=Decimal(20))
    hold_id = call(acme, cost_usd="0.00012104999999999999")
    ledger.post(
        company_id=acme.company_id,
        amount_nanocredits=1,
        action="grant",
        reference="=1+1",
        note="+2",
        actor="@x",
    )

    rows = sheet(run, acme.owner, "/dashboard/exports/ledger.csv")

    assert [row["amount"] for row in rows[:2]] == ["0.000000001", "-0.000302625"]
    assert rows[0]["balance_after"] == money.json_number(factories.balance_nanocredits(acme))
    assert (rows[0]["reference"], rows[0]["note"], rows[0]["actor"]) == ("'=1+1", "'+2", "'@x")
    assert rows[1]["reference"] == f"gen_{hold_id}"
    assert sum(Decimal(row["amount"]) for row in rows) == factories.balance(acme)
    only = sheet(run, acme.owner, "/dashboard/exports/ledger.csv?action=llm_call")
    assert [row["action"] for row in only] == ["llm_call"]


@pytest.mark.parametrize(
    ("query", "said"),
    [("action=nonsense", "no action"), ("cursor=x", "page of the list"), ("cursor=LTE", "page of the list")],
)
def test_address_of_no_ledger_is_refused_in_words(query: str, said: str) -> None:
    answer = client_of(factories.acme().owner).get(f"{LEDGER}?{query}")

    assert answer.status_code == 400
    assert said in answer.content.decode()


def test_company_without_a_wallet_sees_empty_pages() -> None:
    acme = factories.acme()
    bare = companies.create(name="Bare", owner_id=acme.owner.id, now=timezone.now()).company
    client = client_of(acme.owner)
    client.post("/dashboard/company/", {"company_id": bare.id})

    for address in (BILLING, LEDGER, STATEMENTS, f"{BILLING}usage/", f"{STATEMENTS}{THIS_MONTH}/"):
        assert client.get(address).status_code == 200, address
    assert "There is no month yet" in client.get(STATEMENTS).content.decode()


# Statements


def test_statement_adds_up_and_agrees_with_the_api() -> None:
    acme = factories.acme(credits=Decimal(20))
    call(acme, model="acme/one", cost_usd="0.1")
    hold_id = call(acme, model="acme/two", cost_usd="0.2")
    ledger.correct(
        company_id=acme.company_id,
        hold_id=hold_id,
        cost_usd=Decimal("0.15"),
        source="operator",
        reference="r1",
    )

    page = page_of(acme.owner, f"{STATEMENTS}{THIS_MONTH}/")
    told = (
        client_of(acme.owner)
        .get("/v1/billing/statement", headers={"Authorization": acme.authorization})
        .json()
    )

    month = entries.month(company_id=acme.company_id, first_day=timezone.now().date(), now=timezone.now())
    moved = sum(line.amount_nanocredits for line in month.sums)
    assert month.opening_nanocredits + moved == month.closing_nanocredits
    for nanocredits in (month.opening_nanocredits, month.closing_nanocredits):
        assert exact(nanocredits) in page
    assert Decimal(str(told["closing_balance"])) == money.credits_from_nanocredits(month.closing_nanocredits)
    assert "acme/one" in page
    assert exact(-money.nanocredits_from_credits(Decimal("0.75"))) in page


def test_statement_as_csv_has_the_same_numbers(run: Run) -> None:
    acme = factories.acme(credits=Decimal(20))
    call(acme, model="acme/one", cost_usd="0.00012104999999999999")

    rows = sheet(run, acme.owner, f"{STATEMENTS}{THIS_MONTH}.csv")

    amounts = {(row["section"], row["name"]): row["amount_credits"] for row in rows}
    assert amounts["balance", "closing"] == money.json_number(factories.balance_nanocredits(acme))
    assert amounts["entries", "llm_call"] == "-0.000302625"
    usage = next(row for row in rows if row["section"] == "usage")
    assert (usage["name"], usage["cost_usd"]) == ("acme/one", "0.00012104999999999999")


def test_statement_as_pdf_is_the_same_bytes_each_time() -> None:
    acme = factories.acme(credits=Decimal(20))
    call(acme, model="acme/one", cost_usd="0.1")
    month = entries.month(company_id=acme.company_id, first_day=timezone.now().date(), now=timezone.now())

    first, second = (_pdf(acme.company, month) for _ in range(2))
    answer = client_of(acme.owner).get(f"{STATEMENTS}{THIS_MONTH}.pdf")

    assert first == second
    assert (answer["Content-Type"], answer.content[:5]) == ("application/pdf", b"%PDF-")
    text = _text(answer.content)
    assert "Opening balance" in text
    assert money.json_number(month.closing_nanocredits) in text
    assert "acme/one" in text


def test_statement_as_pdf_shows_names_in_any_letters() -> None:
    acme = factories.acme()
    acme.company.name = "Žluťoučký Κύπρος \u682a <b>"
    month = entries.month(company_id=acme.company_id, first_day=timezone.now().date(), now=timezone.now())

    told = _pdf(acme.company, month)

    # The letters are there by the font's own map; one that the font lacks is named by its number.
    mapped = _text(told)
    for letter in "Žťčύ":
        assert f"<{ord(letter):04X}>".lower() in mapped.lower()
    assert "<682a>" not in mapped.lower()


def test_long_name_is_measured_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    acme, measured = factories.acme(), []
    acme.company.name = "\u682a" * 200
    month = entries.month(company_id=acme.company_id, first_day=timezone.now().date(), now=timezone.now())
    width = statement_pdf._Sheet.get_string_width

    def measure(sheet: statement_pdf._Sheet, text: str, *words: object) -> float:
        measured.append(text)
        return float(width(sheet, text, *words))  # type: ignore[arg-type]

    monkeypatch.setattr(statement_pdf._Sheet, "get_string_width", measure)

    _pdf(acme.company, month)

    assert 1 < len([text for text in measured if len(text) > 20]) < 60


def test_months_are_listed_each_with_how_it_began_and_ended() -> None:
    acme = factories.acme(credits=Decimal(20))
    call(acme, cost_usd="0.1")

    page = page_of(acme.owner, STATEMENTS)

    assert f'href="{STATEMENTS}{THIS_MONTH}/"' in page
    assert exact(factories.balance_nanocredits(acme)) in page
    assert f'href="{STATEMENTS}{THIS_MONTH}.pdf"' in page


def test_balances_before_instants_are_those_of_the_entries() -> None:
    acme = factories.acme(credits=Decimal(20))
    for cost in ("0.1", "0.2", "0.3"):
        call(acme, cost_usd=cost)
    found = list(Entry.objects.filter(company_id=acme.company_id).order_by("seq"))

    instants = [found[0].created_at, *(entry.created_at + timedelta(microseconds=1) for entry in found)]
    balances = entries.balances_before(company_id=acme.company_id, instants=instants)

    assert balances == [0, *(entry.balance_after_nanocredits for entry in found)]
    assert entries.balances_before(company_id=uuid4(), instants=instants) == [0] * len(instants)
    since, until = found[1].created_at, found[2].created_at
    assert entries.count(company_id=acme.company_id, since=since, until=until) == 1
    page = entries.page(company_id=acme.company_id, limit=9, since=since, until=until)
    assert [entry.seq for entry in page.entries] == [2]


@pytest.mark.parametrize("month", ["2026-13", "1999-12", "nonsense", "2999-01", "2026-1"])
@pytest.mark.parametrize("ending", ["/", ".csv", ".pdf"])
def test_month_that_is_none_is_not_found(month: str, ending: str) -> None:
    assert client_of(_acme().owner).get(f"{STATEMENTS}{month}{ending}").status_code == 404


# All of them


def test_nothing_of_globex_appears_for_acme() -> None:
    acme, globex = factories.acme(credits=Decimal(20)), factories.globex()
    hold_id = call(globex, model="globex/secret", cost_usd="0.0123")

    for address in (LEDGER, STATEMENTS, f"{STATEMENTS}{THIS_MONTH}/", BILLING):
        page = page_of(acme.owner, address)
        assert str(hold_id) not in page
        assert "globex" not in page.lower()


def test_pages_take_a_fixed_number_of_queries() -> None:
    acme = factories.acme(credits=Decimal(20))
    client = client_of(acme.owner)
    call(acme, cost_usd="0.01")
    for address in (
        BILLING,
        LEDGER,
        STATEMENTS,
        f"{STATEMENTS}{THIS_MONTH}/",
        f"{STATEMENTS}{THIS_MONTH}.pdf",
    ):
        client.get(address)
        with CaptureQueriesContext(connection) as queries:
            client.get(address)
        assert len(queries) <= QUERIES_MAX, address


def test_texts_of_the_operator_are_no_markup() -> None:
    acme = factories.acme()
    ledger.post(
        company_id=acme.company_id,
        amount_nanocredits=5,
        action="grant",
        reference="<b>r",
        note="<script>alert(1)",
    )

    page = page_of(acme.owner, LEDGER)

    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


_made: list[Cast] = []


def _acme() -> Cast:
    """One company for tests that only ask."""
    if not _made:
        _made.append(factories.acme())
    return _made[0]


def _pdf(company: Company, month: entries.Month) -> bytes:
    as_of = datetime(2026, 11, 30, tzinfo=UTC)
    return statement_pdf.write(company=company, month=month, models=[], as_of=as_of)


def _text(pdf: bytes) -> str:
    """Every stream of the file that can be read, one after the other."""
    found = []
    for match in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            found.append(zlib.decompress(match.group(1)))
        except zlib.error:
            found.append(match.group(1))
    return b"\n".join(found).decode("latin-1").replace("\\(", "(").replace("\\)", ")")
