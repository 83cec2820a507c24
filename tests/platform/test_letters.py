"""E-mail to owners of credits and webhooks: once, in plain words, and only where it is set up."""

import functools
import smtplib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.core import mail
from django.core.mail.backends import locmem
from django.utils import timezone
from pytest_django import Settings

from accounts import companies, deliveries, webhooks
from accounts.models import User
from accounts.webhook_models import WebhookEndpoint
from billing import credit_events
from billing.payment_models import CreditEvent
from naive_platform import letters, tasks
from tests import factories
from tests import webhooks as hooks
from tests.billing.shop import NOW
from tests.races import at_once


def company(credits: str) -> factories.Cast:
    return factories.acme(credits=Decimal(credits))


@pytest.fixture
def _mail(settings: Settings) -> None:
    settings.EMAIL_URL, settings.PUBLIC_URL = "smtp://mail.test", "https://naive.test"
    # What other tests were told and nobody has written of.
    CreditEvent.objects.filter(mailed_at=None).update(mailed_at=NOW)
    WebhookEndpoint.objects.filter(mailed_at=None).update(mailed_at=NOW)


@pytest.mark.usefixtures("_mail")
def test_owners_are_written_to_once() -> None:
    member = company("4")
    User.objects.filter(id=member.owner.id).update(email_verified_at=NOW)
    credit_events.check(company_id=member.company_id, now=timezone.now())

    tasks.write_to_owners()
    tasks.write_to_owners()

    (letter,) = mail.outbox
    assert letter.recipients() == [member.owner.email]
    assert member.owner.email not in str(letter.message())
    assert letter.subject == f"{member.company.name}: credits are running low"
    assert "has 4 credits left; you asked to be told below 5." in letter.body
    assert "https://naive.test/dashboard/" in letter.body


@pytest.mark.usefixtures("_mail")
@pytest.mark.parametrize("change", [{"is_active": False}, {"email_verified_at": None}], ids=str)
def test_addresses_nobody_has_confirmed_and_people_who_left_get_no_letter(change: dict[str, Any]) -> None:
    member = company("4")
    User.objects.filter(id=member.owner.id).update(**({"email_verified_at": NOW} | change))
    credit_events.check(company_id=member.company_id, now=timezone.now())

    assert letters.send_due(now=timezone.now()) == 0
    assert CreditEvent.objects.get(company_id=member.company_id).mailed_at is not None


@pytest.mark.usefixtures("_mail")
def test_two_workers_write_each_letter_once() -> None:
    for _ in range(3):
        member = company("4")
        User.objects.filter(id=member.owner.id).update(email_verified_at=NOW)
        credit_events.check(company_id=member.company_id, now=timezone.now())

    at_once(*[functools.partial(letters.send_due, now=timezone.now())] * 3)

    assert len(mail.outbox) == len({letter.subject for letter in mail.outbox})
    letters.send_due(now=timezone.now())
    assert len(mail.outbox) == 3


@pytest.mark.usefixtures("_mail")
def test_old_news_are_not_written() -> None:
    member = company("4")
    User.objects.filter(id=member.owner.id).update(email_verified_at=NOW)
    credit_events.check(company_id=member.company_id, now=timezone.now() - timedelta(hours=25))

    assert letters.send_due(now=timezone.now()) == 0


def test_without_email_nobody_is_written_to(settings: Settings) -> None:
    settings.EMAIL_URL = ""
    member = company("4")
    credit_events.check(company_id=member.company_id, now=timezone.now())

    assert letters.send_due(now=timezone.now()) == 0
    assert CreditEvent.objects.get(company_id=member.company_id).mailed_at is None


def test_letter_that_cannot_be_sent_is_sent_later(settings: Settings) -> None:
    settings.EMAIL_URL = "smtp://127.0.0.1:1"
    options = {"host": "127.0.0.1", "port": 1, "timeout": 1}
    before = settings.MAILERS
    settings.MAILERS = {
        "default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": options}
    }
    CreditEvent.objects.filter(mailed_at=None).update(mailed_at=NOW)
    member = company("4")
    User.objects.filter(id=member.owner.id).update(email_verified_at=NOW)
    credit_events.check(company_id=member.company_id, now=timezone.now())

    assert letters.send_due(now=timezone.now()) == 0
    settings.MAILERS = before
    assert letters.send_due(now=timezone.now()) == 1


class Refusing(locmem.EmailBackend):
    """A mail server that takes no letter to the addresses it was told of, as a real one does not."""

    refused: ClassVar[dict[str, Exception]] = {}

    def send_messages(self, messages: Sequence[Any]) -> int:
        for message in messages:
            for address in message.recipients():
                if address in self.refused:
                    raise self.refused[address]
        return int(super().send_messages(messages))


@pytest.fixture
def _refusing(settings: Settings, _mail: None) -> Iterator[None]:
    settings.MAILERS = {"default": {"BACKEND": f"{__name__}.Refusing"}}
    yield
    Refusing.refused.clear()


@pytest.mark.usefixtures("_refusing")
@pytest.mark.parametrize(
    "refusal",
    [
        smtplib.SMTPRecipientsRefused({"a": (550, b"No such user")}),
        smtplib.SMTPRecipientsRefused({"a": (450, b"Greylisted")}),
        smtplib.SMTPDataError(554, b"Spam"),
        smtplib.SMTPNotSupportedError("SMTPUTF8"),
        ValueError("no address"),
    ],
    ids=repr,
)
def test_letter_that_is_refused_keeps_no_other_companys_back(refusal: Exception) -> None:
    members = [company("4"), company("4")]
    for member in members:
        User.objects.filter(id=member.owner.id).update(email_verified_at=NOW)
        credit_events.check(company_id=member.company_id, now=timezone.now())
    Refusing.refused[members[0].owner.email] = refusal

    assert [letters.send_due(now=timezone.now()) for _ in range(3)] == [1, 0, 0]

    assert [letter.recipients() for letter in mail.outbox] == [[members[1].owner.email]]


@pytest.mark.usefixtures("_refusing")
@pytest.mark.parametrize(
    "trouble",
    [smtplib.SMTPServerDisconnected("gone"), smtplib.SMTPDataError(451, b"Later"), TimeoutError()],
    ids=repr,
)
def test_owners_of_a_company_are_written_to_together_or_not_yet(trouble: Exception) -> None:
    member = company("4")
    User.objects.filter(id=member.owner.id).update(email_verified_at=NOW)
    second = factories.globex().owner
    User.objects.filter(id=second.id).update(email_verified_at=NOW)
    companies.add_member(company_id=member.company_id, user_id=second.id, role="owner", now=NOW)
    credit_events.check(company_id=member.company_id, now=timezone.now())
    Refusing.refused[second.email] = trouble

    assert [letters.send_due(now=timezone.now()) for _ in range(3)] == [0, 0, 0]
    assert mail.outbox == []
    Refusing.refused.clear()
    assert letters.send_due(now=timezone.now()) == 2
    assert len(mail.outbox) == 1


@pytest.mark.usefixtures("_mail")
@pytest.mark.parametrize(("days", "said"), [(5, "could be delivered"), (0, "answered 410")])
def test_owners_are_written_to_once_when_a_webhook_is_disabled(days: int, said: str) -> None:
    member = company("20")
    User.objects.filter(id=member.owner.id).update(email_verified_at=NOW)
    hooks.clear()
    endpoint = hooks.issued(member, url=f"{hooks.URL}?token=hunter2").endpoint
    now = timezone.now()
    WebhookEndpoint.objects.filter(id=endpoint.id).update(failing_since=now - timedelta(days=days))
    hooks.tell(member, now=now)
    (claimed,) = deliveries.claim(now=now, limit=1)
    deliveries.note(claimed, deliveries.Outcome(status_code=500 if days else 410), jitter=0, now=now)

    tasks.write_to_owners()
    tasks.write_to_owners()

    (letter,) = mail.outbox
    assert letter.recipients() == [member.owner.email]
    assert letter.subject == f"{member.company.name}: a webhook was disabled"
    assert said in letter.body
    assert f"/v1/webhooks/{endpoint.id}" in letter.body
    assert hooks.URL in letter.body
    assert "hunter2" not in letter.body


@pytest.mark.usefixtures("_mail")
def test_nobody_is_written_to_of_a_webhook_that_was_disabled_by_hand() -> None:
    member = company("20")
    User.objects.filter(id=member.owner.id).update(email_verified_at=NOW)
    endpoint = hooks.issued(member).endpoint
    webhooks.update(
        company_id=member.company_id, webhook_id=endpoint.id, changes={"enabled": False}, now=timezone.now()
    )
    tasks.write_to_owners()
    assert mail.outbox == []
