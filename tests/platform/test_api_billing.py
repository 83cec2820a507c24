"""/v1/billing/*, /v1/payments/stripe, /v1/status and /v1/usage: what a company buys, has and was charged."""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts import keys, tenants
from billing import batches, entries, ledger, money
from billing.models import Entry
from billing.payment_models import Checkout
from billing.payments import configured, fake, stripe_news
from tests import factories
from tests.billing import books, shop
from tests.conftest import Run

CREDIT = money.NANOCREDITS_PER_CREDIT


@pytest.fixture
def run(run: Run) -> Iterator[Run]:
    """An event loop for one test, its batchers stopped afterwards."""
    yield run
    run(batches.stop())


@pytest.fixture
def _played(settings: Settings) -> None:
    shop.play(settings)


@pytest.fixture
def acme() -> factories.Cast:
    return factories.acme()


def get(member: factories.Cast, url: str, **query: Any) -> Any:
    return Client().get(url, query, headers={"Authorization": member.authorization})


def exact(answer: Any) -> dict[str, Any]:
    """The answer's JSON, its numbers to the last digit."""
    found: dict[str, Any] = json.loads(answer.content, parse_float=Decimal)
    return found


def top_up(member: factories.Cast, body: Any = None, **headers: str) -> Any:
    return Client().post(
        "/v1/billing/topup",
        {"pack_id": "small"} if body is None else body,
        content_type="application/json",
        headers={"Authorization": member.authorization} | headers,
    )


def deliver(event: Any, **more: str) -> Any:
    body = event.body.encode()
    signature = stripe_news.sign(body, secret=configured.fake_secret(), at=timezone.now())
    return Client().post(
        "/v1/payments/stripe",
        body,
        content_type="application/json",
        headers={"Stripe-Signature": signature} | more,
    )


def call(member: factories.Cast, run: Run, usd: str = "0.4", *, user_id: UUID | None = None) -> str:
    """A call of the member's that cost `usd`; its reference."""
    wallet = books.Wallet(company_id=member.company_id, tenant_user_id=user_id or member.tenant_user.id)
    return f"gen_{run(books.settled(wallet, usd, wanted=5 * CREDIT)).hold_id}"


def test_packs_are_those_of_the_contract(acme: factories.Cast) -> None:
    assert get(acme, "/v1/billing/packs").json() == {
        "packs": [
            {"id": "small", "name": "Small", "credits": 20, "price_usd": 10, "badge": None},
            {"id": "medium", "name": "Medium", "credits": 50, "price_usd": 23, "badge": "Popular"},
            {"id": "large", "name": "Large", "credits": 100, "price_usd": 44, "badge": "Best Value"},
            {"id": "xl", "name": "XL", "credits": 250, "price_usd": 100, "badge": None},
        ]
    }


@pytest.mark.usefixtures("_played")
def test_top_up_is_a_checkout_and_its_payment_brings_the_credits() -> None:
    member = factories.initech()

    answer = top_up(member)

    found = answer.json()
    assert answer.status_code == 201
    assert set(found) == {"checkout_url", "session_id", "pack", "expires_at"}
    assert found["pack"]["id"] == "small"
    assert datetime.fromisoformat(found["expires_at"]) > timezone.now()
    told = deliver(fake.pay(found["session_id"], now=timezone.now()))
    assert (told.status_code, told.json()) == (200, {"received": True, "outcome": "applied"})
    (entry,) = get(member, "/v1/billing/ledger").json()["entries"]
    assert (entry["action"], entry["amount"], entry["reference"]) == ("credit_topup", 20, found["session_id"])


@pytest.mark.usefixtures("_played")
def test_top_up_under_one_key_opens_one_checkout(acme: factories.Cast) -> None:
    answers = [top_up(acme, **{"Idempotency-Key": "k1"}) for _ in range(2)]

    assert answers[0].content == answers[1].content
    assert Checkout.objects.filter(company_id=acme.company_id).count() == 1


@pytest.mark.usefixtures("_played")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "pack_id: is missing."),
        ({"pack_id": "huge"}, "pack_id: must be one of"),
        ({"pack_id": ["small"]}, "pack_id: must be one of"),
        ({"pack_id": "small", "company_id": "no other one"}, "company_id: is not known here"),
        ({"pack_id": "small", "price_usd": 0}, "price_usd: is not known here"),
    ],
    ids=str,
)
def test_top_up_of_something_else_is_refused(acme: factories.Cast, body: Any, said: str) -> None:
    answer = top_up(acme, body)

    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert not Checkout.objects.filter(company_id=acme.company_id).exists()


@pytest.mark.usefixtures("_played")
def test_refusal_says_little_of_what_was_sent_back(acme: factories.Cast) -> None:
    for answer in (top_up(acme, {"x" * 1_000_000: 1}), get(acme, "/v1/billing/ledger", **{"x" * 5000: 1})):
        assert answer.status_code == 400
        assert len(answer.content) < 1000


@pytest.mark.usefixtures("_played")
def test_viewer_may_not_top_up(acme: factories.Cast) -> None:
    made = keys.create(
        company_id=acme.company_id, name="Looks", role="viewer", created_by_id=None, now=timezone.now()
    )

    answer = Client().post(
        "/v1/billing/topup",
        {"pack_id": "small"},
        content_type="application/json",
        headers={"Authorization": f"Bearer {made.secret}"},
    )

    assert (answer.status_code, answer.json()["error"]["details"]) == (
        403,
        {"reason": "role", "role": "viewer", "required": "admin"},
    )


@pytest.mark.parametrize(
    ("set_to", "missing"),
    [
        ({}, ["STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"]),
        ({"STRIPE_SECRET_KEY": "sk_test_1"}, ["STRIPE_WEBHOOK_SECRET"]),
        ({"STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_WEBHOOK_SECRET": "whsec_1"}, ["PUBLIC_URL"]),
    ],
    ids=["nothing", "no webhook secret", "no address"],
)
def test_top_up_that_is_not_set_up_names_the_setting(
    acme: factories.Cast, settings: Settings, set_to: dict[str, str], missing: list[str]
) -> None:
    settings.DEBUG, settings.PUBLIC_URL = False, "" if len(set_to) == 2 else "https://naive.test"
    settings.STRIPE_SECRET_KEY, settings.STRIPE_WEBHOOK_SECRET = "", ""
    for name, value in set_to.items():
        setattr(settings, name, value)

    answer = top_up(acme)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["details"]) == (
        501,
        "not_configured",
        {"missing": missing},
    )


@pytest.mark.usefixtures("_played")
def test_webhook_that_is_not_signed_is_refused() -> None:
    sale = shop.sale()
    event = fake.pay(sale.session_id, now=timezone.now())

    for signature in ("", "t=1,v1=0"):
        answer = deliver(event, **{"Stripe-Signature": signature})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_input")
    assert sale.balance() == 0


@pytest.mark.usefixtures("_played")
def test_webhook_of_another_method_or_without_a_body_is_refused() -> None:
    assert Client().get("/v1/payments/stripe").status_code == 405
    assert Client().post("/v1/payments/stripe").status_code == 400


@pytest.mark.usefixtures("_played")
def test_event_that_is_refused_is_answered_200_so_that_it_is_not_sent_for_days() -> None:
    sale = shop.sale()
    event = fake.pay(sale.session_id, now=timezone.now())
    event.body = event.body.replace('"amount_total": 1000', '"amount_total": 100')

    answer = deliver(event)

    assert (answer.status_code, answer.json()["outcome"]) == (200, "refused")


def test_ledger_is_paged_without_a_gap_and_exact(acme: factories.Cast) -> None:
    for number in range(1, 8):
        ledger.post(
            company_id=acme.company_id, amount_nanocredits=number, action="grant", reference=f"r{number}"
        )

    pages: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        found = exact(get(acme, "/v1/billing/ledger", limit=3, **cursor))
        pages.append(found["entries"])
        if found["next_cursor"] is None:
            break
        cursor = {"cursor": found["next_cursor"]}

    assert [len(page) for page in pages] == [3, 3, 2]
    lines = [entry for page in pages for entry in page]
    assert [entry["id"] for entry in lines] == list(range(8, 0, -1))
    assert lines[0]["amount"] == Decimal("7E-9")
    assert lines[0]["balance_after"] == Decimal("20.000000028")
    assert lines[-1] | {"created_at": ""} == {
        "id": 1,
        "action": "grant",
        "amount": 20,
        "balance_after": 20,
        "reference": "signup",
        "corrects": None,
        "actor": None,
        "note": "Opening grant",
        "created_at": "",
    }


def test_full_page_at_the_end_has_no_next_one(acme: factories.Cast) -> None:
    assert get(acme, "/v1/billing/ledger", limit=1).json()["next_cursor"] is None


def test_ledger_of_one_action(acme: factories.Cast, run: Run) -> None:
    reference = call(acme, run)

    found = get(acme, "/v1/billing/ledger", action="llm_call").json()["entries"]

    assert [(entry["reference"], entry["amount"]) for entry in found] == [(reference, -1)]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "-1"},
        {"limit": "1.5"},
        {"limit": "²"},
        {"cursor": "x"},
        {"cursor": "YmVmb3JlOi0x"},
        {"cursor": "ü"},
        {"cursor": "YmVmb3JlOjk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"},
        {"action": "theft"},
        {"user": "1"},
    ],
    ids=str,
)
def test_ledger_says_which_parameter_is_wrong(acme: factories.Cast, query: dict[str, str]) -> None:
    answer = get(acme, "/v1/billing/ledger", **query)

    assert answer.status_code == 400
    assert answer.json()["error"]["details"]["field"] == next(iter(query))


def test_globex_sees_nothing_of_acme(acme: factories.Cast, run: Run) -> None:
    globex = factories.globex()
    user = tenants.create(company_id=acme.company_id, external_id="u1", now=timezone.now())
    reference = call(acme, run, user_id=user.id)
    urls = ["/v1/billing/ledger", "/v1/billing/statement", "/v1/usage", "/v1/status"]

    for url in urls:
        text = get(globex, url).content.decode()
        assert reference not in text
        assert str(acme.company_id) not in text
    for named in (str(user.id), "ext:u1", str(acme.tenant_user.id)):
        assert get(globex, f"/v1/users/{named}/usage").status_code == 404
        assert get(globex, "/v1/usage", user_id=named).status_code == 404


def test_statement_adds_up_to_the_balance(acme: factories.Cast, run: Run) -> None:
    call(acme, run, "0.4")
    call(acme, run, "0.00021")
    ledger.post(
        company_id=acme.company_id,
        amount_nanocredits=-CREDIT,
        action="correction",
        reference="c",
        corrects="signup",
    )

    found = exact(get(acme, "/v1/billing/statement"))

    assert found["month"] == f"{timezone.now():%Y-%m}"
    assert [(line["action"], line["count"], line["amount"]) for line in found["lines"]] == [
        ("llm_call", 2, Decimal("-1.000525")),
        ("correction", 1, -1),
        ("grant", 1, 20),
    ]
    assert (found["opening_balance"], found["closing_balance"]) == (0, Decimal("17.999475"))
    assert found["is_closed"] is False


def test_page_of_one_user_looks_at_so_many_entries_and_the_next_one_goes_on(run: Run) -> None:
    """A user without calls in a company with millions must not keep the database for a minute."""
    with transaction.atomic():
        many = entries.LOOKED_AT_MAX + 5
        company_id, user_id, hold_id = written(), uuid4(), uuid4()
        books.rows(
            "INSERT INTO billing_entry (company_id, seq, action, reference, amount_nanocredits, counter_account,"
            " balance_after_nanocredits, hash)"
            " SELECT %s, n, 'grant', CASE n WHEN 3 THEN 'gen_' || %s ELSE 'r' || n END,"
            " 5, 'promo', 5 * n, sha256('') FROM generate_series(1, %s) n",
            *(company_id, hold_id, many),
        )
        books.rows(
            "INSERT INTO billing_hold (company_id, hold_id, key_id, kit_id, tenant_user_id, amount_nanocredits,"
            " is_price_known, markup, credit_value_usd, ttl_s, details)"
            " VALUES (%s, %s, %s, %s, %s, 1, true, 1, 1, 1, '{}')",
            *(company_id, hold_id, uuid4(), uuid4(), user_id),
        )
        first = entries.page(company_id=company_id, limit=10, tenant_user_id=user_id)
        second = entries.page(
            company_id=company_id, limit=10, tenant_user_id=user_id, before_seq=first.before_seq
        )
        beyond = entries.page(company_id=company_id, limit=2, before_seq=10**18)
        transaction.set_rollback(True)

    assert (first.entries, first.before_seq) == ([], 6)
    assert ([entry.seq for entry in second.entries], second.before_seq) == ([3], None)
    assert [entry.seq for entry in beyond.entries] == [many, many - 1]


def test_statements_join_without_a_gap() -> None:
    """Entries of three months: what one month closes with, the next opens with."""
    months = []
    with transaction.atomic():
        company_id = written(
            "2026-08-31T23:59:59.999Z", "2026-09-01T00:00Z", "2026-09-30T23:59Z", "2026-11-01T00:00Z"
        )
        for number in (7, 8, 9, 10, 11, 12):
            found = entries.month(company_id=company_id, first_day=date(2026, number, 1), now=shop.NOW)
            count = sum(line.count for line in found.sums)
            months.append((found.opening_nanocredits, found.closing_nanocredits, count))
        transaction.set_rollback(True)

    assert months == [(0, 0, 0), (0, 5, 1), (5, 15, 2), (15, 15, 0), (15, 20, 1), (20, 20, 0)]


def written(*instants: str) -> UUID:
    """A company with an entry of 5 at each of these instants; for a transaction that is rolled back."""
    company_id = uuid4()
    for seq, at in enumerate(instants, 1):
        books.rows(
            "INSERT INTO billing_entry (company_id, seq, action, reference, amount_nanocredits, counter_account,"
            " balance_after_nanocredits, hash, created_at)"
            " VALUES (%s, %s, 'grant', %s, 5, 'promo', %s, sha256(''), %s)",
            *(company_id, seq, f"r{seq}", 5 * seq, at),
        )
    return company_id


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-1", "1999-01", "2026-11-01", "2099-01", "x"])
def test_month_that_is_none_is_refused(acme: factories.Cast, month: str) -> None:
    answer = get(acme, "/v1/billing/statement", month=month)

    assert (answer.status_code, answer.json()["error"]["details"]) == (400, {"field": "month"})


def test_status_says_what_there_is(acme: factories.Cast, run: Run) -> None:
    run(books.held(books.Wallet(company_id=acme.company_id), CREDIT // 4))

    found = exact(get(acme, "/v1/status"))

    assert found["company"] == {"id": str(acme.company_id), "name": acme.company.name, "status": "active"}
    assert found["agent"]["role"] == "owner"
    assert found["credits"] == {
        "balance": 20,
        "held": Decimal("0.25"),
        "available": Decimal("19.75"),
        "is_frozen": False,
    }


def test_usage_is_what_was_charged(acme: factories.Cast, run: Run) -> None:
    reference = call(acme, run)

    found = exact(get(acme, "/v1/usage"))

    assert (found["balance"], found["held"]) == (19, 0)
    assert [(line["action"], line["amount"]) for line in found["transactions"]] == [
        ("llm_call", -1),
        ("grant", 20),
    ]
    assert found["transactions"][0]["reference"] == reference
    assert (found["summary"]["calls"], found["summary"]["credits_used"]) == (1, 1)
    assert found["summary"]["cost_usd"] == Decimal("0.4")


@pytest.mark.parametrize("group_by", ["hour", "day", "model", "user", "key", "kit"])
def test_usage_in_groups_adds_up(acme: factories.Cast, run: Run, group_by: str) -> None:
    call(acme, run)
    call(acme, run, "0.8")

    summary = exact(get(acme, "/v1/usage", group_by=group_by))["summary"]

    assert summary["group_by"] == group_by
    assert sum(group["credits_used"] for group in summary["groups"]) == summary["credits_used"] == 3


def test_usage_of_one_user_is_that_users_alone(acme: factories.Cast, run: Run) -> None:
    user = tenants.create(company_id=acme.company_id, external_id="u 1/2", now=timezone.now())
    call(acme, run)
    mine = call(acme, run, "0.8", user_id=user.id)
    ledger.post(
        company_id=acme.company_id,
        amount_nanocredits=CREDIT,
        action="refund",
        reference="sorry",
        corrects=mine,
    )

    for answer in (get(acme, f"/v1/users/{user.id}/usage"), get(acme, "/v1/usage", user_id="ext:u 1/2")):
        found = answer.json()
        assert [line["reference"] for line in found["transactions"]] == ["sorry", mine]
        assert (found["summary"]["calls"], found["summary"]["credits_used"]) == (1, 2)


def test_sealed_key_reads_its_own_usage_and_no_other(acme: factories.Cast, run: Run) -> None:
    user = tenants.create(company_id=acme.company_id, now=timezone.now())
    mine, _ = call(acme, run, user_id=user.id), call(acme, run)
    sealed = keys.create(
        company_id=acme.company_id,
        name="Sealed",
        role="member",
        created_by_id=None,
        active_tenant_user_id=user.id,
        now=timezone.now(),
    )
    headers = {"Authorization": f"Bearer {sealed.secret}"}

    found = Client().get("/v1/users/me/usage", headers=headers)

    assert [line["reference"] for line in found.json()["transactions"]] == [mine]
    for url in (f"/v1/users/{user.id}/usage", "/v1/users/default/usage", "/v1/usage", "/v1/status"):
        answer = Client().get(url, headers=headers)
        assert (answer.status_code, answer.json()["error"]["details"]) == (403, {"reason": "key_scope"})


def test_usage_looks_back_as_many_days_as_asked(acme: factories.Cast) -> None:
    company_id = acme.company_id
    grant = Entry.objects.get(company_id=company_id)

    assert len(get(acme, "/v1/usage", days=1).json()["transactions"]) == 1
    assert grant.created_at > timezone.now() - timedelta(days=1)
    for days in ("0", "367", "x"):
        assert get(acme, "/v1/usage", days=days).status_code == 400


@pytest.mark.parametrize("query", [{"group_by": "week"}, {"since": "x"}], ids=str)
def test_usage_says_which_parameter_is_wrong(acme: factories.Cast, query: dict[str, str]) -> None:
    answer = get(acme, "/v1/usage", **query)

    assert (answer.status_code, answer.json()["error"]["details"]["field"]) == (400, next(iter(query)))
