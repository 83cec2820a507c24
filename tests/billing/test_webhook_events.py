"""What the books tell companies' endpoints: credits and corrections, each once, with its transaction or not at all."""

import functools
import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from accounts.webhook_models import WebhookEvent
from billing import credit_events, ledger, settlement
from billing.payment_models import CreditEvent
from tests import factories
from tests import webhooks as hooks
from tests.billing import books
from tests.billing.books import CREDIT
from tests.billing.test_ledger import correct
from tests.conftest import Run
from tests.races import at_once
from tests.webhooks import NOW


@pytest.fixture
def acme() -> factories.Cast:
    """A company that hears of everything, with 10 credits."""
    member = factories.acme(credits=Decimal(10))
    hooks.issued(member)
    return member


def wallet(member: factories.Cast) -> books.Wallet:
    return books.Wallet(
        company_id=member.company_id, key_id=member.key.id, tenant_user_id=member.tenant_user.id
    )


def told(member: factories.Cast, kind: str) -> list[dict[str, Any]]:
    """What the company was told of this kind, in order; numbers to the last digit."""
    found = WebhookEvent.objects.filter(company_id=member.company_id, kind=kind).order_by("created_at", "id")
    bodies = [json.loads(event.body, parse_float=Decimal) for event in found]
    assert all(set(body) == {"type", "timestamp", "data"} and body["type"] == kind for body in bodies)
    return [body["data"] for body in bodies]


def test_correction_is_told_once_with_what_it_changed(run: Run, acme: factories.Cast) -> None:
    request = run(books.settled(wallet(acme), "0.4"))
    correct(request, "0.6", "a")
    correct(request, "0.6", "a")
    correct(request, "0.6", "the same charge")
    correct(request, "0.2000000001", "b")

    first, second = told(acme, "generation.corrected")
    assert first == {
        "id": first["id"],
        "naive_generation_id": f"gen_{request.hold_id}",
        "number": 1,
        "source": "operator",
        "total_cost": Decimal("0.6"),
        "credits_used": Decimal("1.5"),
        "credits_used_before": 1,
        "amount": Decimal("-0.5"),
        "user_id": str(acme.tenant_user.id),
        "key_id": str(acme.key.id),
        "account_kit_id": str(request.kit_id),
    }
    assert first["id"].startswith("gen-")
    # Number 2 changed no charge, and is told to nobody.
    assert (second["number"], second["credits_used"]) == (3, Decimal("0.500000001"))
    assert (second["total_cost"], second["amount"]) == (Decimal("0.2000000001"), Decimal("0.999999999"))
    (entry,) = [amount for _, action, amount, _ in books.entries(wallet(acme)) if amount == 999_999_999]
    assert Decimal(entry) / CREDIT == second["amount"]


def test_correction_that_better_evidence_brings_is_told_too(run: Run, acme: factories.Cast) -> None:
    request = run(books.settled(wallet(acme), "0.4", source="estimate"))
    late = books.cost("0.2", source="generation", generation_id="gen-late")
    run(settlement.settle(hold=books.key(request), evidence=late))
    (data,) = told(acme, "generation.corrected")
    assert (data["source"], data["credits_used"]) == ("generation", Decimal("0.5"))


def test_call_of_which_upstream_never_named_an_id_goes_by_ours(run: Run, acme: factories.Cast) -> None:
    request = run(books.held(wallet(acme)))
    settlement.void_now(hold=books.key(request), evidence=books.cost(None, generation_id=None))
    correct(request, "0.4", "late")
    (data,) = told(acme, "generation.corrected")
    assert data["id"] == data["naive_generation_id"]
    assert (data["credits_used_before"], data["amount"]) == (0, -1)


def test_correction_that_is_rolled_back_was_never_told(run: Run, acme: factories.Cast) -> None:
    request = run(books.settled(wallet(acme), "0.4"))
    with transaction.atomic():
        correct(request, "0.6", "a")
        transaction.set_rollback(True)
    assert told(acme, "generation.corrected") == []


def test_corrections_at_once_are_told_one_by_one(run: Run, acme: factories.Cast) -> None:
    request = run(books.settled(wallet(acme), "0.4"))
    costs = [f"0.{number}" for number in range(1, 10) if number != 4]
    at_once(*(functools.partial(correct, request, usd, f"by {usd}") for usd in costs))
    found = told(acme, "generation.corrected")
    assert sorted(data["number"] for data in found) == list(range(1, len(costs) + 1))
    assert books.violations(wallet(acme)) == []


def test_largest_cost_is_told_to_the_last_digit(run: Run, acme: factories.Cast) -> None:
    request = run(books.settled(wallet(acme), "0.4"))
    correct(request, "999.9999999999", "dear")
    (data,) = told(acme, "generation.corrected")
    assert (data["total_cost"], data["credits_used"]) == (Decimal("999.9999999999"), Decimal("2500"))
    assert data["amount"] == -2499


def test_credits_are_told_with_the_letters_in_one_transaction(acme: factories.Cast) -> None:
    with transaction.atomic():
        credit_events.topped_up(
            company_id=acme.company_id,
            amount_nanocredits=525_000,
            action="credit_topup",
            reference="cs_1",
            now=NOW,
        )
        transaction.set_rollback(True)
    assert told(acme, "credits.topped_up") == []

    credit_events.topped_up(
        company_id=acme.company_id,
        amount_nanocredits=525_000,
        action="credit_topup",
        reference="cs_1",
        now=NOW,
    )

    amounts = {"credits": Decimal("0.000525"), "balance": 10, "held": 0, "available": 10}
    assert told(acme, "credits.topped_up") == [amounts | {"action": "credit_topup", "reference": "cs_1"}]
    assert CreditEvent.objects.filter(company_id=acme.company_id, kind="credits.topped_up").count() == 1


def test_credits_that_run_low_and_out_are_told_once_each(acme: factories.Cast) -> None:
    ledger.post(
        company_id=acme.company_id, amount_nanocredits=-10 * CREDIT, action="correction", reference="spent"
    )
    for _ in range(2):
        credit_events.check(company_id=acme.company_id, now=NOW)
    (low,), (gone,) = told(acme, "credits.low"), told(acme, "credits.exhausted")
    assert low == gone == {"balance": 0, "held": 0, "available": 0, "threshold": 5}
