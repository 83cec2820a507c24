"""/v1/billing/*: packs, top-ups, the ledger and its monthly statement."""

import re
from datetime import date
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import fields
from accounts.errors import InvalidInput, NotConfigured
from billing import entries, packs, topups
from billing.models import Entry
from naive_platform import errors
from naive_platform.api import routes, wire
from naive_platform.api.routes import Route

_MONTH = re.compile(r"(20\d{2})-(0[1-9]|1[0-2])", re.ASCII)


class Packs(Route):
    """GET /v1/billing/packs"""

    def get(self, request: Request) -> Response:
        return routes.answer({"packs": [errors.pack_object(pack) for pack in packs.PACKS]})


class TopUp(Route):
    """POST /v1/billing/topup {pack_id}"""

    reaches_beyond = True

    def post(self, request: Request) -> Response:
        fields.known_keys("body", request.data, ("pack_id",))
        opened = topups.start(
            company_id=self.company_id,
            pack_id=request.data.get("pack_id"),
            actor=f"key:{self.principal.key_id}",
            base_url=_base_url(request._request),
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

    def get(self, request: Request) -> Response:
        routes.known_parameters(request, "limit", "cursor", "action")
        wanted = request.query_params.get("action")
        found = entries.page(
            company_id=self.company_id,
            limit=routes.limit(request),
            before_seq=routes.cursor(request),
            actions=[fields.choice("action", wanted, Entry.Action.values)] if wanted else (),
        )
        return routes.answer(
            {
                "entries": [entry_object(entry) for entry in found.entries],
                "next_cursor": routes.next_cursor(found.before_seq),
            }
        )


class Statement(Route):
    """GET /v1/billing/statement?month=2026-11"""

    def get(self, request: Request) -> Response:
        routes.known_parameters(request, "month")
        now = timezone.now()
        first_day = _first_day(request.query_params.get("month"), today=now.date())
        month = entries.month(company_id=self.company_id, first_day=first_day, now=now)
        found = {
            "month": f"{first_day:%Y-%m}",
            "starts_at": month.starts_at,
            "ends_at": month.ends_at,
            "is_closed": month.is_closed,
            "company": {"id": self.company_id, "name": self.principal.company_name},
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


def _base_url(request: HttpRequest) -> str:
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
    if not _MONTH.fullmatch(text):
        raise InvalidInput("month: must be a month such as 2026-11.", details={"field": "month"})
    first_day = date(int(text[:4]), int(text[5:]), 1)
    if first_day > today:
        raise InvalidInput("month: has not begun yet.", details={"field": "month"})
    return first_day
