"""The dashboard's first page: what a company has, spends and calls, and how it makes its first call."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from accounts import kit_configs
from accounts.errors import InvalidInput
from accounts.kit_configs import LLMRules
from accounts.models import AccountKit, APIKey, Membership, TenantUser, User
from billing import ledger
from billing.errors import WalletNotFound
from billing.ledger import Balance
from llm.models import Generation

DAY = timedelta(days=1)
MONTH = timedelta(days=30)
GENERATIONS_SHOWN = 20
KITS_SHOWN = 20
KEYS_SHOWN = 3
# So many calls of a window are added up, which takes some 0.1 s; where there are more, the page says so.
CALLS_SUMMED = 50_000


@dataclass(frozen=True, slots=True)
class Spend:
    """What the calls begun in a window have cost so far, corrections included; of the newest only if `is_partial`."""

    calls: int
    nanocredits: int
    is_partial: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One generation with what its row does not name: its user, and its tokens where they are known."""

    generation: Generation
    user: TenantUser | None
    tokens_prompt: int | None
    tokens_completion: int | None

    @property
    def is_overrun(self) -> bool:
        charged = self.generation.charged_nanocredits
        return charged is not None and charged > self.generation.held_nanocredits


@dataclass(frozen=True, slots=True)
class KitLine:
    """A kit and what it says about llm; `rules` is None where its configuration cannot be read."""

    kit: AccountKit
    rules: LLMRules | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything the page shows of one company."""

    wallet: Balance
    day: Spend
    month: Spend
    lines: list[Line]
    kits: list[KitLine]
    has_more_kits: bool
    keys: list[APIKey]

    @property
    def is_first_run(self) -> bool:
        return not self.lines


@require_safe
@login_required
@cache_control(private=True, no_store=True)
def overview(request: HttpRequest) -> HttpResponse:
    membership = first_membership(cast("User", request.user))
    if membership is None:
        return render(request, "dashboard/no_company.html", status=403)
    context = {
        "company": membership.company,
        "overview": read(company_id=membership.company_id, now=timezone.now()),
        "base_url": settings.PUBLIC_URL.rstrip("/") or request.build_absolute_uri("/").rstrip("/"),
        "credit_value_usd": settings.CREDIT_VALUE_USD,
        "is_simulated": settings.UPSTREAM_IS_SIMULATOR,
        "is_configured": bool(settings.OPENROUTER_API_KEY or settings.UPSTREAM_IS_SIMULATOR),
    }
    return render(request, "dashboard/overview.html", context)


def first_membership(person: User) -> Membership | None:
    """The place a person came to first; which of several companies to show is not chosen yet."""
    places = Membership.objects.filter(user=person).select_related("company")
    return places.order_by("created_at", "id").first()


def read(*, company_id: UUID, now: datetime) -> Overview:
    """Read the page's content: a fixed number of queries, each of them of this company alone."""
    kits = _kits(company_id)
    return Overview(
        wallet=_wallet(company_id),
        day=spend(company_id=company_id, since=now - DAY),
        month=spend(company_id=company_id, since=now - MONTH),
        lines=_last_generations(company_id),
        kits=kits[:KITS_SHOWN],
        has_more_kits=len(kits) > KITS_SHOWN,
        keys=list(APIKey.objects.live(now).filter(company_id=company_id).order_by("created_at")[:KEYS_SHOWN]),
    )


def _wallet(company_id: UUID) -> Balance:
    try:
        return ledger.balance(company_id=company_id)
    except WalletNotFound:
        # Founded past onboarding: such a company has as much as an empty wallet.
        return Balance(balance_nanocredits=0, held_nanocredits=0, floor_nanocredits=0, is_frozen=False)


def spend(*, company_id: UUID, since: datetime, calls_max: int = CALLS_SUMMED) -> Spend:
    """Add up what the calls begun since then have cost, at most the newest `calls_max` of them.

    Units: nanocredits. Which calls those are is read from their ids: the books have an index on (company_id, hold_id).
    """
    calls = Generation.objects.filter(company_id=company_id, hold_id__gte=_first_id(since))
    newest = calls.order_by("-hold_id").values("charged_nanocredits")[:calls_max]
    found = newest.aggregate(calls=Count("*"), nanocredits=Sum("charged_nanocredits", default=0))
    return Spend(
        calls=found["calls"],
        nanocredits=int(found["nanocredits"]),
        is_partial=found["calls"] == calls_max,
    )


def _last_generations(company_id: UUID) -> list[Line]:
    # By id, which is the order of time to the millisecond.
    rows = list(Generation.objects.filter(company_id=company_id).order_by("-hold_id")[:GENERATIONS_SHOWN])
    users = TenantUser.objects.filter(company_id=company_id).in_bulk({row.tenant_user_id for row in rows})
    return [
        Line(
            generation=row,
            user=users.get(row.tenant_user_id),
            tokens_prompt=_count(row, "tokens_prompt"),
            tokens_completion=_count(row, "tokens_completion"),
        )
        for row in rows
    ]


def _count(row: Generation, name: str) -> int | None:
    found = row.facts.get(name)
    return found if isinstance(found, int) else None


def _kits(company_id: UUID) -> list[KitLine]:
    kits = AccountKit.objects.filter(company_id=company_id).order_by("-is_default", "name")[: KITS_SHOWN + 1]
    return [KitLine(kit=kit, rules=_rules(kit)) for kit in kits]


def _rules(kit: AccountKit) -> LLMRules | None:
    try:
        return kit_configs.parse(kit.primitives_config)
    except InvalidInput:
        return None


def _first_id(at: datetime) -> UUID:
    """The least UUIDv7 of a millisecond: ids made at `at` or later are not below it."""
    return UUID(int=int(at.timestamp() * 1000) << 80)
