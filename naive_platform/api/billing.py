"""/v1/billing/*: packs, top-ups, the ledger and its monthly statement."""

from datetime import date
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.errors import Conflict, InvalidInput, NotConfigured
from billing import entries, packs, topups
from billing.errors import PaymentProviderFailed
from billing.models import Entry
from naive_platform import errors
from naive_platform.api import contract, routes, shapes, wire
from naive_platform.api.routes import Route


class PackShape(shapes.Answer):
    """A number of credits at a price."""

    id = shapes.Text()
    name = shapes.Text()
    credits = shapes.Whole(min_value=1, max_value=1_000_000)
    price_usd = shapes.Amount()
    badge = shapes.Text(allow_null=True)


class PacksShape(shapes.Answer):
    packs = PackShape(many=True)


class TopUpBody(shapes.Body):
    pack_id = shapes.Choice([pack.id for pack in packs.PACKS])


class CheckoutShape(shapes.Answer):
    """A checkout that has been opened: the page on which it is paid, and until when."""

    checkout_url = serializers.URLField()
    session_id = shapes.Text()
    pack = PackShape()
    expires_at = shapes.Instant()


class LedgerQuery(shapes.Page):
    action = shapes.Choice(Entry.Action.values, default=None, help_text="Only entries of this action.")


class EntryShape(shapes.Answer):
    """One line of the ledger; debits are negative."""

    id = shapes.Whole(
        min_value=1, max_value=2**53, help_text="Its place in the company's ledger, without gaps."
    )
    action = shapes.Choice(Entry.Action.values)
    amount = shapes.Amount()
    balance_after = shapes.Amount()
    reference = shapes.Text()
    corrects = shapes.Text(allow_null=True, help_text="The reference of the entry that this one mends.")
    actor = shapes.Text(allow_null=True)
    note = shapes.Text(allow_blank=True)
    created_at = shapes.Instant()


class LedgerShape(shapes.Answer):
    entries = EntryShape(many=True)
    next_cursor = shapes.Text(allow_null=True)


class StatementQuery(shapes.Query):
    month = serializers.RegexField(
        r"^20\d{2}-(0[1-9]|1[0-2])$",
        default=None,
        help_text="Such as 2026-11; left out: the month that runs.",
    )


class StatementCompanyShape(shapes.Answer):
    id = shapes.Id()
    name = shapes.Text()


class LineShape(shapes.Answer):
    action = shapes.Choice(Entry.Action.values)
    count = shapes.Whole(min_value=0, max_value=2**53)
    amount = shapes.Amount()


class StatementShape(shapes.Answer):
    """A month of the ledger: opening balance + lines = closing balance."""

    month = shapes.Text()
    starts_at = shapes.Instant()
    ends_at = shapes.Instant()
    is_closed = shapes.Truth()
    company = StatementCompanyShape()
    opening_balance = shapes.Amount()
    closing_balance = shapes.Amount()
    lines = LineShape(many=True)


class Packs(Route):
    """GET /v1/billing/packs"""

    name = "packs"

    @contract.describe(summary="List the packs of credits on sale", answers={200: PacksShape})
    def get(self, request: Request) -> Response:
        return routes.answer({"packs": [errors.pack_object(pack) for pack in packs.PACKS]})


class TopUp(Route):
    """POST /v1/billing/topup {pack_id}"""

    name = "topup"
    reaches_beyond = True

    @contract.describe(
        summary="Open a checkout for a pack",
        body=TopUpBody,
        answers={201: CheckoutShape},
        refuses=(NotConfigured, Conflict, PaymentProviderFailed),
    )
    def post(self, request: Request) -> Response:
        opened = topups.start(
            company_id=self.company_id,
            pack_id=self.body["pack_id"],
            actor=self.caller.actor,
            base_url=base_url(request._request),
            now=timezone.now(),
        )
        found = {
            "checkout_url": opened.checkout_url,
            "session_id": opened.session_id,
            "pack": errors.pack_object(opened.pack),
            "expires_at": opened.expires_at,
        }
        return routes.answer(found, status=201)


class Ledger(Route):
    """GET /v1/billing/ledger?limit=&cursor=&action="""

    name = "ledger"

    @contract.describe(
        summary="Read the ledger, the latest entry first", query=LedgerQuery, answers={200: LedgerShape}
    )
    def get(self, request: Request) -> Response:
        action = self.query["action"]
        found = entries.page(
            company_id=self.company_id,
            limit=self.query["limit"],
            before_seq=routes.cursor(self.query["cursor"], kind=int),
            actions=[action] if action else (),
        )
        return routes.answer(
            {
                "entries": [entry_object(entry) for entry in found.entries],
                "next_cursor": routes.next_cursor(found.before_seq),
            }
        )


class Statement(Route):
    """GET /v1/billing/statement?month=2026-11"""

    name = "statement"

    @contract.describe(
        summary="Read a month's statement", query=StatementQuery, answers={200: StatementShape}
    )
    def get(self, request: Request) -> Response:
        now = timezone.now()
        first_day = _first_day(self.query["month"], today=now.date())
        month = entries.month(company_id=self.company_id, first_day=first_day, now=now)
        found = {
            "month": f"{first_day:%Y-%m}",
            "starts_at": month.starts_at,
            "ends_at": month.ends_at,
            "is_closed": month.is_closed,
            "company": {"id": self.company_id, "name": self.caller.company_name},
            "opening_balance": wire.amount(month.opening_nanocredits),
            "closing_balance": wire.amount(month.closing_nanocredits),
            "lines": [
                {"action": line.action, "count": line.count, "amount": wire.amount(line.amount_nanocredits)}
                for line in month.sums
            ],
        }
        return routes.answer(found)


def entry_object(entry: Entry) -> dict[str, Any]:
    """What a client reads of an entry; debits are negative."""
    return {
        "id": entry.seq,
        "action": entry.action,
        "amount": wire.amount(entry.amount_nanocredits),
        "balance_after": wire.amount(entry.balance_after_nanocredits),
        "reference": entry.reference,
        "corrects": entry.corrects or None,
        "actor": entry.actor or None,
        "note": entry.note,
        "created_at": entry.created_at,
    }


def base_url(request: HttpRequest) -> str:
    """Where the customer returns to: by PUBLIC_URL, since a Host header is the sender's own word."""
    if settings.PUBLIC_URL:
        return str(settings.PUBLIC_URL)
    if not settings.DEBUG:
        raise NotConfigured(
            "Top-ups are not set up on this platform: PUBLIC_URL missing.",
            details={"missing": ["PUBLIC_URL"]},
        )
    return request.build_absolute_uri("/")


def _first_day(text: str | None, *, today: date) -> date:
    if text is None:
        return today.replace(day=1)
    first_day = date(int(text[:4]), int(text[5:]), 1)
    if first_day > today:
        raise InvalidInput("month: has not begun yet.", details={"field": "month"})
    return first_day
