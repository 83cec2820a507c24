"""Decisions of operators: anomalies, alerts, checks of the books; shown first, made once, for a reason."""

import contextlib
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import ids
from billing import alerts, anomalies, economics, ledger, reconciliation, sums, verifications
from billing.economics import Sum
from billing.report_models import SummedDay, Verification
from tests import factories
from tests.factories import Cast
from tests.platform import desks
from tests.platform.calls import call


def quarantined(member: Cast, hold_id: UUID, cost_usd: str = "0.8") -> dict[str, str]:
    reference = f"gen_{hold_id}:{ids.uuid7().hex}"
    reconciliation.report(
        "settled_differently",
        reference=reference,
        company_id=member.company_id,
        hold_id=hold_id,
        details={"kind": "post", "cost_usd": cost_usd, "why": "<script>alert(1)</script>"},
    )
    return {"kind": "settled_differently", "reference": reference}


def decide(staff: Client, named: dict[str, str], step: str, **said: str) -> Any:
    form = {"decision": "charge", "cost_usd": "", "reason": "Upstream's invoice says so"}
    return staff.post(reverse("operator-anomaly"), named | form | said | {step: "1"})


def test_anomaly_is_shown_before_it_is_charged_and_charged_once() -> None:
    acme, staff = factories.acme(credits=Decimal(10)), desks.operator()
    named = quarantined(acme, call(acme, cost_usd="0.4"))

    assert named["reference"] in desks.text_of(staff, reverse("operator-anomalies"))
    page = decide(staff, named, "preview").content.decode()
    assert (desks.figure(page, "Charged now"), desks.figure(page, "Charged then")) == ("1", "2")
    assert "<script>alert" not in page
    assert factories.balance(acme) == 9
    for _ in range(2):
        assert decide(staff, named, "confirm").status_code == 302

    assert factories.balance(acme) == 8
    [entry] = desks.entries(company_id=acme.company_id, action="anomaly.charged")
    assert (entry.reason, entry.actor_kind) == ("Upstream's invoice says so", "operator")
    assert decide(staff, named, "confirm", decision="void").status_code == 400


def test_anomaly_is_voided_and_the_call_stays() -> None:
    acme, staff = factories.acme(credits=Decimal(10)), desks.operator()
    named = quarantined(acme, call(acme, cost_usd="0.4"))

    assert "stays as it is" in decide(staff, named, "preview", decision="void").content.decode()
    assert decide(staff, named, "confirm", decision="void").status_code == 302
    assert factories.balance(acme) == 9
    assert anomalies.get(**named).decision is not None


def test_bad_decision_says_what_to_do_and_decides_nothing() -> None:
    acme, staff, owner = factories.acme(credits=Decimal(10)), desks.operator(), Client()
    named = quarantined(acme, call(acme, cost_usd="0.4"), cost_usd="no cost")
    owner.force_login(acme.owner)

    assert decide(owner, named, "confirm").status_code == 404
    for said, words in (
        ({}, "names no cost"),
        ({"reason": ""}, "required"),
        ({"cost_usd": "-1"}, "greater than or equal to 0"),
        ({"cost_usd": "1001"}, "less than or equal to 1000"),
        ({"decision": "burn"}, "Select a valid choice"),
        ({"decision": "void", "cost_usd": "1"}, "leave the cost out"),
    ):
        answer = decide(staff, named, "confirm", **said)
        assert answer.status_code == 400, said
        assert words in answer.content.decode(), said
    staff.get(reverse("operator-anomaly"), named | {"decision": "void", "reason": "x", "confirm": "1"})
    assert anomalies.get(**named).decision is None
    assert staff.get(reverse("operator-anomaly"), {"kind": "no", "reference": "such"}).status_code == 404


def test_alert_that_a_person_may_resolve_is_resolved_for_a_reason() -> None:
    staff, reference = desks.operator(), ids.uuid7().hex
    alerts.raise_alert("payment_mismatch", reference=reference, message="Paid otherwise than asked for")
    alerts.raise_alert("records_missing", reference=reference, message="No records")
    ours, theirs = (
        next(one.id for one in alerts.list_open() if one.kind == kind and one.reference == reference)
        for kind in ("payment_mismatch", "records_missing")
    )
    url = reverse("operator-alert", args=[ours])

    assert staff.post(url, {"reason": ""}).status_code == 400
    assert staff.post(reverse("operator-alert", args=[theirs]), {"reason": "x"}).status_code == 409
    assert staff.post(url, {"reason": "Refunded by hand"}).status_code == 302
    assert staff.post(url, {"reason": "Again"}).status_code == 404
    [entry] = desks.entries(action="alert.resolved", target_id=reference)
    assert (entry.reason, entry.company_id) == ("Refunded by hand", None)
    alerts.resolve("records_missing", reference=reference)


def test_check_is_asked_for_once_and_its_finding_shown() -> None:
    staff = desks.operator()
    Verification.objects.filter(ended_at=None).delete()
    for _ in range(2):
        assert staff.post(reverse("operator-verify")).status_code == 302
    assert Verification.objects.filter(ended_at=None).count() == 1
    assert "A check was asked for" in desks.text_of(staff, reverse("operator-books"))

    assert verifications.run_asked(clock=timezone.now) == 1
    assert verifications.run_asked(clock=timezone.now) == 0
    page = desks.text_of(staff, reverse("operator-books"))
    assert "A check was asked for" not in page
    assert "asked for by" in page
    assert desks.entries(action="ledger.verification_asked", actor_id=staff.person.id)  # type: ignore[attr-defined]


# Daily sums


def of(member: Cast, days_ago: int) -> list[Sum]:
    day = timezone.now().date() - timedelta(days=days_ago)
    return economics.summary(first=day, last=day, group_by="day", company_id=member.company_id)


@contextlib.contextmanager
def moved_back(member: Cast, days: int) -> Iterator[None]:
    """As if the member's calls had been settled so many days ago; afterwards its books are whole again."""
    _move(member, -days)
    yield
    _move(member, days)
    # Nobody but a test takes hours out of a day: its sums are told.
    sums.take_day(day=timezone.now().date() - timedelta(days=days))


def _move(member: Cast, days: int) -> None:
    change(member, "hour = hour + make_interval(days => %s)", days)


def change(member: Cast, what: str, *values: int) -> None:
    """Tests are the owner of the books."""
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE billing_usage SET {what} WHERE company_id = %s", [*values, member.company_id])  # noqa: S608


def test_sums_of_a_day_that_is_over_say_what_its_hours_say() -> None:
    acme, day = factories.acme(credits=Decimal(10)), timezone.now().date() - timedelta(days=2)
    call(acme, cost_usd="0.00012104999999999999")
    with moved_back(acme, 2):
        before = of(acme, 2)
        assert before[0].cost_usd == Decimal("0.00012104999999999999")

        sums.take_day(day=day)

        assert sums.is_taken(day=day)
        assert of(acme, 2) == before
        assert [one.group for one in models_of(day) if one.group == "acme/model"] == ["acme/model"]


def models_of(day: date) -> list[Sum]:
    return economics.summary(first=day, last=day, group_by="model")


def test_correction_of_an_old_call_makes_its_days_sums_stale_and_they_stay_true() -> None:
    acme, day = factories.acme(credits=Decimal(10)), timezone.now().date() - timedelta(days=3)
    call(acme, cost_usd="0.4")
    with moved_back(acme, 3):
        sums.take_day(day=day)

        change(acme, "cost_usd = 0.8")

        assert SummedDay.objects.get(day=day).is_stale
        assert of(acme, 3)[0].cost_usd == Decimal("0.8")
        assert day in sums.due(now=timezone.now())
        sums.take(now=timezone.now())
        assert not SummedDay.objects.get(day=day).is_stale
        assert of(acme, 3)[0].cost_usd == Decimal("0.8")
        change(acme, "cost_usd = 0.4")


def test_call_of_today_marks_no_day() -> None:
    acme = factories.acme()
    call(acme, cost_usd="0.4")

    assert not SummedDay.objects.filter(day=timezone.now().date()).exists()
    assert ledger.balance(company_id=acme.company_id).held_nanocredits == 0
