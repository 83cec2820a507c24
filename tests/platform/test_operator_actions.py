"""What operators do about a company: shown first, done once, with a reason, and nobody else's to do."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import ids, people
from accounts.models import Company
from billing import approvals, ledger
from billing.models import Entry
from tests import factories, races
from tests.factories import Cast
from tests.platform import desks
from tests.platform.calls import call


def move(staff: Client, member: Cast, step: str, **said: str) -> Any:
    form = {
        "action": "credit_topup",
        "amount": "12.5",
        "unit": "credits",
        "reference": "invoice-7",
        "reason": "Paid",
    }
    return staff.post(
        reverse("operator-move", args=[member.company_id]), form | {"corrects": ""} | said | {step: "1"}
    )


def switch(staff: Client, member: Cast, what: str, **said: str) -> Any:
    url = reverse("operator-standing", args=[member.company_id])
    return staff.post(url, {"what": what, "reason": "They asked"} | said)


def actions_of(member: Cast) -> list[str]:
    return [entry.action for entry in desks.entries(company_id=member.company_id, actor_kind="operator")]


def movements_of(member: Cast, action: str) -> list[Entry]:
    return list(Entry.objects.filter(company_id=member.company_id, action=action).order_by("seq"))


# Credits


@pytest.mark.parametrize(
    ("action", "recorded"), [("credit_topup", "credits.topped_up"), ("grant", "credits.granted")]
)
def test_movement_is_shown_confirmed_and_made_once(action: str, recorded: str) -> None:
    acme, staff = factories.acme(credits=Decimal(10)), desks.operator()

    page = move(staff, acme, "preview", action=action).content.decode()
    assert (desks.figure(page, "Balance now"), desks.figure(page, "Balance after")) == ("10", "22.5")
    assert "$6.25" in page
    assert factories.balance(acme) == 10
    for _ in range(2):
        assert move(staff, acme, "confirm", action=action).status_code == 302

    assert factories.balance(acme) == Decimal("22.5")
    [entry] = desks.entries(company_id=acme.company_id, action=recorded)
    person = staff.person  # type: ignore[attr-defined]
    assert (entry.reason, entry.actor_kind, entry.actor_id) == ("Paid", "operator", person.id)
    assert movements_of(acme, action)[-1].actor == f"operator:{person.email}"


def test_owner_reads_the_movement_in_their_log() -> None:
    acme, staff, owner = factories.acme(), desks.operator(), Client()
    move(staff, acme, "confirm", reason="Bank transfer of May")
    owner.force_login(acme.owner)

    assert "credits.topped_up" in owner.get("/dashboard/audit/").content.decode()


def test_usd_are_turned_into_credits_exactly_or_refused(settings: Any) -> None:
    acme, staff = factories.acme(credits=Decimal(1)), desks.operator()

    move(staff, acme, "confirm", amount="5", unit="usd")
    assert factories.balance(acme) == 11
    settings.CREDIT_VALUE_USD = Decimal("0.30")
    answer = move(staff, acme, "preview", amount="1", unit="usd", reference="invoice-8")
    assert answer.status_code == 400
    assert "Give the amount in credits" in answer.content.decode()


def test_refund_is_bounded_by_what_the_call_cost() -> None:
    acme, staff = factories.acme(credits=Decimal(10)), desks.operator()
    hold_id = call(acme, cost_usd="0.4")
    said = {"action": "refund", "corrects": f"gen_{hold_id}"}

    too_much = move(staff, acme, "confirm", amount="1.5", **said)
    assert too_much.status_code == 400
    assert "Refund at most what is left" in too_much.content.decode()
    assert move(staff, acme, "confirm", amount="1", **said).status_code == 302
    assert factories.balance(acme) == 10
    assert actions_of(acme) == ["credits.refunded"]


def test_correction_names_what_it_corrects_in_either_direction() -> None:
    acme, globex, staff = factories.acme(credits=Decimal(10)), factories.globex(), desks.operator()
    move(staff, acme, "confirm", reference="mistaken")
    said = {"action": "correction", "amount": "-2.5", "reference": "less"}

    for corrects, words in (("", "names the entry"), ("unknown", "no entry")):
        answer = move(staff, acme, "preview", corrects=corrects, **said)
        assert answer.status_code == 400
        assert words in answer.content.decode()
    assert move(staff, globex, "preview", corrects="mistaken", **said).status_code == 400
    assert move(staff, acme, "confirm", corrects="mistaken", **said).status_code == 302
    assert factories.balance(acme) == 20


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"amount": "0"}, "cannot be posted"),
        ({"amount": "-1"}, "gives credits"),
        ({"amount": "ten"}, "Enter a number"),
        ({"amount": "NaN"}, "Enter a number"),
        ({"amount": "0.0000000001"}, "finer than a nanocredit"),
        ({"amount": "9999999999999"}, "no amount of credits"),
        ({"reference": " "}, "required"),
        ({"reference": "x" * 251}, "at most 250"),
        ({"reason": ""}, "required"),
        ({"action": "chargeback"}, "Select a valid choice"),
        ({"action": "correction", "reference": "gen_x", "corrects": "y"}, "call"),
        ({"unit": "eur"}, "Select a valid choice"),
    ],
)
@pytest.mark.parametrize("step", ["preview", "confirm"])
def test_bad_form_says_what_to_do_and_moves_nothing(step: str, said: dict[str, str], words: str) -> None:
    acme, staff = factories.acme(credits=Decimal(3)), desks.operator()

    answer = move(staff, acme, step, **said)

    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert factories.balance(acme) == 3
    assert actions_of(acme) == []


def test_balance_that_the_books_cannot_hold_is_refused_before_anybody_confirms(settings: Any) -> None:
    settings.APPROVAL_ABOVE_USD = Decimal(10) ** 12
    acme, staff = factories.acme(credits=Decimal(1)), desks.operator()
    for number in range(3):
        assert move(staff, acme, "confirm", amount="1e9", reference=f"huge-{number}").status_code == 302

    for step in ("preview", "confirm"):
        answer = move(staff, acme, step, amount="1000000000", reference="huge-3")
        assert answer.status_code == 400
        assert "cannot hold" in answer.content.decode()
    assert factories.balance(acme) == 3_000_000_001


def test_two_operators_at_once_move_credits_once() -> None:
    acme, staff = factories.acme(credits=Decimal(1)), [desks.operator(), desks.operator()]
    for one in staff:
        assert desks.figure(move(one, acme, "preview").content.decode(), "Balance after") == "13.5"

    answers = races.at_once(*(lambda one=one: move(one, acme, "confirm").status_code for one in staff))

    assert answers == [302, 302]
    assert factories.balance(acme) == Decimal("13.5")
    assert actions_of(acme) == ["credits.topped_up"]


def test_form_that_another_site_sends_moves_nothing() -> None:
    acme = factories.acme(credits=Decimal(1))
    staff = Client(enforce_csrf_checks=True)
    staff.cookies = desks.operator().cookies

    assert move(staff, acme, "confirm").status_code == 403
    assert switch(staff, acme, "freeze").status_code == 403
    assert actions_of(acme) == []
    assert factories.balance(acme) == 1


def test_what_people_write_is_never_markup() -> None:
    acme, staff, owner = factories.acme(credits=Decimal(1)), desks.operator(), Client()
    owner.force_login(acme.owner)
    markup = "<script>alert(1)</script>"
    said = {"reason": markup, "reference": f"r{markup}"}

    assert "<script>alert" not in move(staff, acme, "preview", **said).content.decode()
    move(staff, acme, "confirm", **said)
    staff.post(reverse("operator-company-note", args=[acme.company_id]), {"note": markup})
    for person, url in (
        (staff, reverse("operator-company", args=[acme.company_id])),
        (staff, "/operator/audit/"),
        (owner, "/dashboard/billing/ledger/"),
        (owner, "/dashboard/audit/"),
    ):
        page = desks.text_of(person, url)
        assert "<script>alert" not in page, url
        assert "&lt;script&gt;alert" in page, url


def test_credit_line_is_shown_as_people_write_it() -> None:
    acme, staff = factories.acme(), desks.operator()
    url = reverse("operator-standing", args=[acme.company_id])

    assert 'name="amount" value="0"' in desks.text_of(staff, url)
    switch(staff, acme, "credit_line", amount="2.50")
    assert 'name="amount" value="2.5"' in desks.text_of(staff, url)


def test_taken_reference_is_told_apart_from_a_second_press() -> None:
    acme, staff = factories.acme(credits=Decimal(1)), desks.operator()
    move(staff, acme, "confirm")

    assert "posted already" in move(staff, acme, "preview").content.decode()
    other = move(staff, acme, "confirm", amount="99")
    assert other.status_code == 400
    assert "reference of its own" in other.content.decode()
    assert factories.balance(acme) == Decimal("13.5")


def test_nobody_else_moves_credits_and_get_moves_none() -> None:
    acme, owner = factories.acme(credits=Decimal(1)), Client()
    owner.force_login(acme.owner)

    assert move(owner, acme, "confirm").status_code == 404
    url = reverse("operator-move", args=[acme.company_id])
    desks.operator().get(
        url, {"action": "grant", "amount": "5", "reference": "r", "reason": "x", "confirm": "1"}
    )
    assert factories.balance(acme) == 1


# Movements that take a second person


def test_large_movement_waits_for_somebody_else(settings: Any) -> None:
    settings.APPROVAL_ABOVE_USD = Decimal(5)
    acme, first, second = factories.acme(credits=Decimal(1)), desks.operator(), desks.operator()
    assert "second person has to approve" in move(first, acme, "preview").content.decode()
    assert move(first, acme, "confirm").status_code == 302
    # A second press asks nobody a second time.
    assert "waits for its approval already" in move(first, acme, "confirm").content.decode()
    [asked] = approvals.list_open(company_id=acme.company_id)
    url = reverse("operator-movement-request", args=[asked.id])
    assert factories.balance(acme) == 1

    assert "another operator" in first.get(url).content.decode()
    assert first.post(url, {"approve": "1"}).status_code == 403
    assert second.get(url).status_code == 200
    assert factories.balance(acme) == 1
    assert second.post(url, {"approve": "1"}).status_code == 302
    assert second.post(url, {"approve": "1"}).status_code == 409

    assert factories.balance(acme) == Decimal("13.5")
    [entry] = desks.entries(company_id=acme.company_id, action="credits.topped_up")
    assert entry.after["approved_by"] == f"operator:{second.person.email}"  # type: ignore[attr-defined, index]
    assert [one.action for one in desks.entries(target_id=str(asked.id))] == [
        "movement.asked",
        "movement.approved",
    ]


def test_nobody_approves_their_own_request_under_another_address(settings: Any) -> None:
    settings.APPROVAL_ABOVE_USD = Decimal(5)
    acme, first = factories.acme(), desks.operator()
    move(first, acme, "confirm")
    [asked] = approvals.list_open(company_id=acme.company_id)
    url = reverse("operator-movement-request", args=[asked.id])

    people.confirm_address(user_id=first.person.id, email="other@operator.example", now=timezone.now())  # type: ignore[attr-defined]

    assert "another operator" in first.get(url).content.decode()
    assert first.post(url, {"approve": "1"}).status_code == 403
    assert [one.id for one in approvals.list_open(company_id=acme.company_id)] == [asked.id]


def test_large_movement_is_rejected_for_a_reason(settings: Any) -> None:
    settings.APPROVAL_ABOVE_USD = Decimal(5)
    acme, first, second, owner = factories.acme(), desks.operator(), desks.operator(), Client()
    move(first, acme, "confirm")
    [asked] = approvals.list_open(company_id=acme.company_id)
    url = reverse("operator-movement-request", args=[asked.id])
    owner.force_login(acme.owner)

    assert owner.post(url, {"approve": "1"}).status_code == 404
    assert second.post(url, {"reject": "1", "reason": ""}).status_code == 400
    assert second.post(url, {"reject": "1", "reason": "Not paid"}).status_code == 302
    assert desks.entries(target_id=str(asked.id), action="movement.rejected")[0].reason == "Not paid"
    assert approvals.list_open(company_id=acme.company_id) == []
    assert second.get(reverse("operator-movement-request", args=[ids.uuid7()])).status_code == 404


# Standing


@pytest.mark.parametrize(
    ("what", "said", "action", "field", "value"),
    [
        ("freeze", {}, "wallet.frozen", "is_frozen", True),
        ("credit_line", {"amount": "2.5"}, "wallet.credit_line_set", "floor_nanocredits", -2_500_000_000),
        ("markup", {"markup": "1.5"}, "company.updated", "markup", Decimal("1.5")),
        ("suspend", {}, "company.suspended", "status", "suspended"),
    ],
)
def test_standing_is_set_once_and_for_a_reason(
    what: str, said: dict[str, str], action: str, field: str, value: object
) -> None:
    acme, staff, owner = factories.acme(), desks.operator(), Client()
    owner.force_login(acme.owner)
    assert switch(owner, acme, what, **said).status_code == 404
    assert switch(staff, acme, what, **(said | {"reason": ""})).status_code == 400
    staff.get(reverse("operator-standing", args=[acme.company_id]), {"what": what, "reason": "x"} | said)
    assert actions_of(acme) == []

    for _ in range(2):
        assert switch(staff, acme, what, **said).status_code == 302

    found = ledger.balance(company_id=acme.company_id)
    stands = (
        getattr(found, field)
        if hasattr(found, field)
        else getattr(Company.objects.get(id=acme.company_id), field)
    )
    assert stands == value
    assert [
        (one.action, one.reason) for one in desks.entries(company_id=acme.company_id, actor_kind="operator")
    ] == [(action, "They asked")]


def test_what_was_frozen_and_suspended_is_put_right_again() -> None:
    acme, staff = factories.acme(), desks.operator()
    for what in ("freeze", "unfreeze", "suspend", "reactivate"):
        assert switch(staff, acme, what).status_code == 302

    assert not ledger.balance(company_id=acme.company_id).is_frozen
    assert Company.objects.get(id=acme.company_id).status == "active"
    assert actions_of(acme) == [
        "wallet.frozen",
        "wallet.unfrozen",
        "company.suspended",
        "company.reactivated",
    ]


def test_closing_takes_the_slug_and_is_for_good() -> None:
    acme, staff = factories.acme(), desks.operator()

    assert "Type it as it is" in switch(staff, acme, "close", slug="other").content.decode()
    assert switch(staff, acme, "close", slug=acme.company.slug).status_code == 302
    assert Company.objects.get(id=acme.company_id).status == "closed"
    assert "closed company stays closed" in switch(staff, acme, "suspend").content.decode()
    [entry] = desks.entries(company_id=acme.company_id, action="company.closed")
    assert entry.reason == "They asked"


@pytest.mark.parametrize(
    ("what", "said", "words"),
    [
        ("credit_line", {"amount": "-1"}, "greater than or equal to 0"),
        ("credit_line", {"amount": "9999999999999"}, "no amount of credits"),
        ("markup", {"markup": "0"}, "above 0"),
        ("markup", {"markup": "101"}, "100"),
        ("markup", {"markup": "1.23456"}, "4 decimals"),
        ("burn", {}, "one of the buttons"),
    ],
)
def test_bad_standing_says_what_to_do(what: str, said: dict[str, str], words: str) -> None:
    acme, staff = factories.acme(), desks.operator()

    answer = switch(staff, acme, what, **said)

    assert answer.status_code == 400
    assert words in answer.content.decode()
    assert actions_of(acme) == []
