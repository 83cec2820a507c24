"""What moves money by hand or by a payment leaves one audit entry, of whoever did it, and none when it did nothing."""

import pytest
from django.core.management import call_command
from pytest_django import Settings

from accounts.models import AuditEntry
from billing import batches, settlement
from billing.payments import fake
from tests.billing import books, shop
from tests.billing.books import CREDIT
from tests.billing.shop import NOW, Sale, sale, tell
from tests.conftest import Run


@pytest.fixture(autouse=True)
def _played(settings: Settings) -> None:
    shop.play(settings)


def entries(bought: Sale) -> list[AuditEntry]:
    found = AuditEntry.objects.filter(company_id=bought.member.company_id, target_kind="checkout")
    return list(found.order_by("created_at", "id"))


def test_checkout_is_recorded_from_its_opening_to_its_refund() -> None:
    bought = sale()
    paid = bought.pay()
    for _ in range(3):
        tell(paid)
    tell(fake.refund(bought.session_id, amount_cents=500, now=NOW))

    found = {entry.action: entry for entry in entries(bought)}

    assert len(found) == len(entries(bought)) == 3
    opened, credited = found["checkout.opened"], found["checkout.paid"]
    assert opened.after == {"pack": "small", "credits": 20, "price_usd": "10", "provider": "fake_stripe"}
    assert {entry.target_id for entry in found.values()} == {str(bought.row.id)}
    assert {entry.actor_kind for entry in found.values()} == {"platform"}
    assert credited.after is not None
    assert (credited.before, credited.after["status"]) == (
        {"status": "open", "event": None, "amount_cents": None},
        "paid",
    )
    refunded = found["checkout.refunded"]
    assert refunded.before is not None
    assert refunded.after is not None
    assert (refunded.before["returned_credits"], refunded.after["returned_credits"]) == ("0", "10")


def test_payment_that_does_not_fit_is_recorded_as_refused() -> None:
    bought = sale()
    assert tell(bought.pay(), amount_total=1) == "refused"
    assert [entry.action for entry in entries(bought)] == ["checkout.opened", "checkout.refused"]


def test_dispute_and_what_it_does_to_the_wallet_are_recorded() -> None:
    bought = sale().paid()
    tell(fake.dispute(bought.session_id, now=NOW))
    tell(fake.close_dispute(bought.session_id, is_won=True, now=NOW))
    found = AuditEntry.objects.filter(company_id=bought.member.company_id)
    actions = set(found.values_list("action", flat=True))
    assert {"checkout.dispute_opened", "wallet.frozen", "checkout.dispute_won", "wallet.unfrozen"} <= actions


@pytest.mark.parametrize(("decision", "action"), [("charge", "anomaly.charged"), ("void", "anomaly.voided")])
def test_decision_about_an_anomaly_is_the_operators_and_recorded_once(
    run: Run, decision: str, action: str
) -> None:
    acme = books.wallet(100 * CREDIT)
    request = run(books.held(acme))
    run(settlement.settle(hold=books.key(request), evidence=books.cost("9.3")))
    run(batches.stop())
    waiting = AuditEntry.objects.filter(company_id=acme.company_id)
    assert not waiting.exists()
    kind, reference = _anomaly(acme)

    for _ in range(2):
        call_command(
            "anomalies", decision, kind, reference, "--reason", "Upstream says so.", "--actor", "ann"
        )

    entry = waiting.get()
    assert (entry.action, entry.target_id, entry.target_label) == (action, reference, kind)
    assert (entry.actor_kind, entry.actor_label, entry.reason) == ("operator", "ann", "Upstream says so.")


def _anomaly(acme: books.Wallet) -> tuple[str, str]:
    (found,) = books.rows(
        "SELECT kind, reference FROM billing_anomaly WHERE company_id = %s", acme.company_id
    )
    return found[0], found[1]
