"""The demo company has lived for thirty days, and its books are as right as any."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts import ids
from accounts.models import AccountKit, APIKey, AuditEntry, Membership, TenantUser
from billing import anomalies, credit_events, days, ledger, money, usage
from billing.models import Day
from billing.payment_models import Checkout, CreditEvent
from naive_platform import demo
from naive_platform.demo_data import calls, past
from naive_platform.exports import files, writers

NOW = timezone.now()


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UUID]:
    """The demo company; taken back after this module, for its names are the same in every test."""
    file = tmp_path_factory.mktemp("demo") / "demo.json"
    with transaction.atomic():
        demo.seed(file=file, now=NOW, has_past=True)
        demo.seed(file=file, now=NOW, has_past=True)
        yield Membership.objects.get(user__email=demo.DEMO_EMAIL).company_id
        transaction.set_rollback(True)


def rows(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def test_books_are_right(acme: UUID) -> None:
    assert rows("SELECT * FROM billing_violations WHERE company_id = %s", acme) == []
    charges = rows(
        "SELECT s.cost_usd, s.charged_nanocredits, h.markup, h.credit_value_usd FROM billing_settlement s"
        " JOIN billing_hold h USING (company_id, hold_id) WHERE company_id = %s AND s.kind = 'post'",
        acme,
    )
    for cost_usd, charged, markup, credit_value_usd in charges:
        assert charged == money.charge_nanocredits(
            cost_usd=cost_usd, markup=markup, credit_value_usd=credit_value_usd
        )


def test_company_has_kits_users_team_and_keys_of_each_kind(acme: UUID) -> None:
    assert set(AccountKit.objects.filter(company=acme).values_list("name", flat=True)) == {
        "Default",
        "Free",
        "Pro",
    }
    users = TenantUser.objects.filter(company=acme, is_default=False)
    assert users.count() == 12
    assert all(user.external_id and user.email.endswith(".test") and user.last_active_at for user in users)
    assert sorted(Membership.objects.filter(company=acme).values_list("role", flat=True)) == [
        "admin",
        "owner",
        "viewer",
    ]
    keys = APIKey.objects.filter(company=acme)
    assert keys.filter(active_tenant_user__isnull=False).count() == 1
    assert keys.filter(account_kit__isnull=False, cap_credits__isnull=False).count() == 1
    assert keys.filter(revoked_at__isnull=False).count() == 1


def test_calls_have_ended_in_every_way(acme: UUID) -> None:
    ended = Counter(rows("SELECT source, kind FROM billing_settlement WHERE company_id = %s", acme))
    for way in (
        ("inline", "post"),
        ("stream", "post"),
        ("inline", "void"),
        ("generation", "post"),
        ("estimate", "post"),
    ):
        assert ended[way] > 1, way
    assert sum(ended.values()) > 700
    corrected = rows("SELECT source, count(*) FROM billing_correction WHERE company_id = %s GROUP BY 1", acme)
    assert dict(corrected)["generation"] >= len(past.ESTIMATED)


def test_ledger_has_an_entry_of_each_kind_and_was_never_empty(acme: UUID) -> None:
    actions = dict(rows("SELECT action, count(*) FROM billing_entry WHERE company_id = %s GROUP BY 1", acme))
    assert actions.keys() == {"llm_call", "credit_topup", "grant", "refund", "correction"}
    ((least,),) = rows("SELECT min(balance_after_nanocredits) FROM billing_entry WHERE company_id = %s", acme)
    assert least > 0
    assert Checkout.objects.filter(company_id=acme, status="paid").count() == len(past.TOPUPS)


def test_one_anomaly_is_open_and_one_was_decided(acme: UUID) -> None:
    found = rows(
        "SELECT kind, reference FROM billing_anomaly WHERE company_id = %s ORDER BY created_at", acme
    )
    decided, is_open = (anomalies.get(kind=kind, reference=reference) for kind, reference in found)
    assert decided.decision is not None
    assert is_open.decision is None
    assert ledger.balance(company_id=acme).held_nanocredits > 0


def test_what_happened_happened_in_order_and_before_now(acme: UUID) -> None:
    entries = [
        at for (at,) in rows("SELECT created_at FROM billing_entry WHERE company_id = %s ORDER BY seq", acme)
    ]
    assert entries == sorted(entries)
    assert NOW - timedelta(days=past.DAYS, seconds=1) <= entries[0]
    assert entries[-1] < NOW
    made = rows("SELECT hold_id, created_at FROM billing_hold WHERE company_id = %s ORDER BY hold_id", acme)
    for hold_id, at in made:
        assert abs(ids.made_at(hold_id) - at) < timedelta(milliseconds=2)
    log = AuditEntry.objects.filter(company_id=acme).order_by("id")
    assert [entry.created_at for entry in log] == sorted(entry.created_at for entry in log)


def test_what_pages_add_up_is_what_the_ledger_moved(acme: UUID) -> None:
    until = NOW + timedelta(hours=1)
    (summed,) = usage.summary(company_id=acme, since=NOW - timedelta(days=31), until=until)
    ((moved,),) = rows(
        "SELECT -sum(amount_nanocredits) FROM billing_entry WHERE company_id = %s"
        " AND (action = 'llm_call' OR action = 'correction')",
        acme,
    )
    assert summed.charged_nanocredits == moved
    for group in ("day", "model", "user", "key", "kit"):
        found = usage.summary(company_id=acme, since=NOW - timedelta(days=31), until=until, group_by=group)
        assert len(found) >= 3, group


def test_days_are_closed_and_their_anchors_hold(acme: UUID) -> None:
    closed = list(Day.objects.filter(key=past.UPSTREAM, closed_at__isnull=False))
    assert len(closed) >= past.DAYS - 1
    for day in closed:
        assert day.difference_usd == 0
        assert (days.anchor_digest(day=day.day) or "") == day.anchor


def test_nothing_is_left_for_the_platform_to_do(acme: UUID) -> None:
    due = "SELECT count(*) FROM billing_second_look WHERE company_id = %s AND next_at < %s"
    assert rows(due, acme, NOW - timedelta(days=1)) == [(0,)]
    assert not CreditEvent.objects.filter(company_id=acme, mailed_at=None).exists()
    assert credit_events.check(company_id=acme, now=NOW) is False


def test_file_with_all_calls_is_asked_for_and_can_be_written(acme: UUID) -> None:
    assert [(one.kind, one.state) for one in files.of_company(company_id=acme)] == [("generations", "queued")]
    with transaction.atomic():
        writers.write_due(clock=lambda: NOW)
        (written,) = files.of_company(company_id=acme)
        assert (written.state, written.percent) == ("done", 100)
        assert written.rows > 700
        transaction.set_rollback(True)


def test_free_users_kept_to_what_their_kit_allows(acme: UUID) -> None:
    kit = AccountKit.objects.get(company=acme, name="Free")
    asked = rows("SELECT DISTINCT details ->> 'model' FROM billing_hold WHERE kit_id = %s", kit.id)
    assert asked == [("google/gemini-2.5-flash",)]
    spent = rows(
        "SELECT max(spent_nanocredits) FROM billing_budget WHERE company_id = %s AND scope = 'user'", acme
    )
    assert 0 < spent[0][0] <= 2 * money.NANOCREDITS_PER_CREDIT


def test_same_calls_wherever_they_are_made() -> None:
    since = datetime(2026, 3, 2, tzinfo=UTC)

    def drawn() -> list[calls.Call]:
        until = since + timedelta(days=14)
        return list(calls.between(since, until, old_key_until=until, rng=random.Random(1)))

    first = drawn()
    assert drawn() == first
    assert [call.at for call in first] == sorted(call.at for call in first)
    by_day = Counter(call.at.weekday() for call in first)
    assert max(by_day[5], by_day[6]) < min(by_day[day] for day in range(5)) / 2
    by_night = sum(call.at.hour < 6 for call in first)
    assert by_night < len(first) / 8
    assert all(call.cost_usd > Decimal(0) for call in first if call.ending != "refused")
