"""The demo company's first thirty days: written by the books' own functions, each at the instant it tells of."""

import dataclasses
import functools
import heapq
import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from django.conf import settings

from accounts import ids
from accounts.models import APIKey, TenantUser, User
from billing import (
    anomalies,
    clock,
    economics,
    holds,
    ledger,
    money,
    movements,
    packs,
    second_looks,
    settlement,
    statements,
    topups,
)
from billing.errors import InsufficientCredits
from billing.holds import HoldRequest
from billing.models import Day, Settlement
from billing.payment_models import Checkout, CreditEvent
from billing.payments import fake
from billing.payments.provider import News
from billing.second_looks import SecondLook
from naive_platform.demo_data import calls, company, records
from naive_platform.demo_data.calls import Call
from naive_platform.demo_data.company import Cast

# How much is told, and what makes it the same everywhere.
DAYS = 30
SEED = 20_260_101
# Days after the founding.
TOPUPS = ((8, "medium"), (21, "medium"))
ESTIMATED = (4, 13, 21)
DECIDED, REFUNDED, KEY_REVOKED, TRANSFERRED = 11, 16, 19, 24
TRANSFER_CREDITS = Decimal(20)
# Of the calls above this much one is refunded.
DEAR_USD = Decimal("0.05")
# How long ago the anomaly came that nobody has decided about.
LEFT_OPEN = timedelta(hours=30)
DECIDED_AFTER = timedelta(hours=5)
LOOKED_UP_AFTER = timedelta(seconds=3)
# What upstream says in an absurd moment. Unit: USD.
ABSURD_USD = Decimal("187.5")
# As many minutes after midnight as the real day is closed.
CLOSED_AFTER = timedelta(minutes=10)
UPSTREAM = "demo"

_USED = "SELECT coalesce(sum(cost_usd), 0) FROM billing_usage"

type Act = Callable[[datetime], None]


def write(*, company_id: UUID, default_kit_id: UUID, owner: User, operator: User, now: datetime) -> None:
    """Have a company that was founded DAYS ago live until now.

    Shape: one transaction, as the owner of the books (billing.clock); the same calls wherever it is done.
    Source: docs/demo.md.
    """
    with clock.told() as tell:
        founded_at = now - timedelta(days=DAYS)
        tell(founded_at)
        cast = company.furnish(
            company_id=company_id,
            owner=owner,
            operator=operator,
            default_kit_id=default_kit_id,
            at=founded_at,
        )
        _Past(cast, founded_at=founded_at, now=now, tell=tell).live()


class _Past:
    """What happens in time: acts wait in a queue and are carried out in the order of their instants."""

    def __init__(
        self, cast: Cast, *, founded_at: datetime, now: datetime, tell: Callable[[datetime], None]
    ) -> None:
        self._cast, self._founded_at, self._now, self._tell = cast, founded_at, now, tell
        self._rng = random.Random(SEED)  # noqa: S311 - no secret.
        self._number = itertools.count()
        self._queue: list[tuple[datetime, int, Act]] = []
        self._last_used: dict[UUID, datetime] = {}
        self._last_active: dict[UUID, datetime] = {}
        self._dear: list[UUID] = []
        self._used_usd = Decimal(0)

    def live(self) -> None:
        """Carry out everything from the founding to now."""
        revoked_at = self._plan()
        first_at = self._founded_at + timedelta(hours=2)
        for call in calls.between(first_at, self._now, old_key_until=revoked_at, rng=self._rng):
            self._at(call.at, functools.partial(self._begin, call))
        while self._queue:
            at, _, act = heapq.heappop(self._queue)
            self._tell(at)
            act(at)
        self._note_activity()

    def _plan(self) -> datetime:
        """Put what is no ordinary call into the queue; returns when the old key ends."""
        for after, pack_id in TOPUPS:
            self._at(self._on(after), functools.partial(self._top_up, pack_id))
        for after in ESTIMATED:
            self._at(self._on(after), self._estimate)
        self._at(self._on(DECIDED), functools.partial(self._say_absurd, is_decided=True))
        self._at(self._now - LEFT_OPEN, functools.partial(self._say_absurd, is_decided=False))
        self._at(self._on(REFUNDED), self._refund)
        self._at(self._on(TRANSFERRED), self._transfer)
        revoked_at = self._on(KEY_REVOKED)
        self._at(revoked_at, lambda at: company.revoke(self._cast, name="Old backend", now=at))
        midnight = self._founded_at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for after in range(1, DAYS + 1):
            self._at(midnight + timedelta(days=after) + CLOSED_AFTER, self._close_day)
        return revoked_at

    def _at(self, at: datetime, act: Act) -> None:
        # What would come later is the platform's own to do.
        if at < self._now:
            heapq.heappush(self._queue, (at, next(self._number), act))

    def _on(self, days_after: int) -> datetime:
        return self._founded_at + timedelta(days=days_after, minutes=self._rng.uniform(60, 600))

    def _begin(self, call: Call, _: datetime) -> None:
        request = self._place(call)
        if request is not None:
            self._at(call.ended_at, functools.partial(self._end, call, request))

    def _end(self, call: Call, request: HoldRequest, at: datetime) -> None:
        if call.ending == "refused":
            settlement.void_now(hold=records.key(request), evidence=records.refused(call))
        elif call.ending == "looked_up":
            # Its client had left; upstream's record named the cost soon after.
            self._at(at + LOOKED_UP_AFTER, functools.partial(self._find_record, call, request))
        else:
            _settle(request, call, source=call.ending)
            if call.cost_usd > DEAR_USD:
                self._dear.append(request.hold_id)

    def _place(self, call: Call) -> HoldRequest | None:
        """Set aside what the call could cost; None where a limit refuses it."""
        request = records.request(call, self._cast)
        try:
            holds.place_now(request)
        except InsufficientCredits:
            return None
        self._last_used[request.key_id] = self._last_active[request.tenant_user_id] = call.at
        return request

    def _find_record(self, call: Call, request: HoldRequest, at: datetime) -> None:
        _settle(request, call, source="generation")
        self._look_again(call, request, source="generation", cost_usd=call.cost_usd, at=at)

    def _estimate(self, at: datetime) -> None:
        """A stream is cut, and upstream's record comes only after the call was estimated."""
        call = calls.one(at, rng=self._rng)
        request = self._place(call)
        if request is not None:
            estimated_at = at + timedelta(seconds=settings.ESTIMATE_AFTER_S)
            self._at(estimated_at, functools.partial(self._settle_estimate, call, request))

    def _settle_estimate(self, call: Call, request: HoldRequest, at: datetime) -> None:
        seen = dataclasses.replace(call, completion=call.completion // 2)
        _settle(request, seen, source="estimate")
        self._look_again(call, request, source="estimate", cost_usd=seen.cost_usd, at=at)

    def _look_again(
        self, call: Call, request: HoldRequest, *, source: str, cost_usd: Decimal, at: datetime
    ) -> None:
        """Let each second look find upstream's record, when it is due."""
        for number, pause_s in enumerate(settings.SECOND_LOOK_S, start=1):
            look = SecondLook(
                company_id=request.company_id,
                hold_id=request.hold_id,
                generation_id=records.generation_id(request),
                number=number,
                markup=request.markup,
                credit_value_usd=request.credit_value_usd,
                source=source,
                cost_usd=cost_usd,
                created_at=at,
                age_s=Decimal(str(pause_s)),
                details={},
            )
            self._at(at + timedelta(seconds=pause_s), functools.partial(_confirm, look, call.cost_usd))
            source, cost_usd = "generation", call.cost_usd

    def _say_absurd(self, at: datetime, *, is_decided: bool) -> None:
        """Upstream names a cost that nobody can believe: the hold is kept for a person."""
        call = calls.one(at, rng=self._rng)
        request = self._place(call)
        if request is not None:
            _settle(request, call, source="inline", cost_usd=ABSURD_USD)
            if is_decided:
                self._at(at + DECIDED_AFTER, functools.partial(self._decide, call, request))

    def _decide(self, call: Call, request: HoldRequest, at: datetime) -> None:
        found = anomalies.list_open(limit=anomalies.LIST_MAX).anomalies
        for anomaly in found:
            if anomaly.hold_id == request.hold_id:
                with company.acting(self._cast.operator, at, is_operator=True):
                    anomalies.decide(
                        kind=anomaly.kind,
                        reference=anomaly.reference,
                        decision="charge",
                        actor=f"operator:{self._cast.operator.email}",
                        reason="Upstream's own log names this cost; theirs was a slip.",
                        cost_usd=call.cost_usd,
                    )

    def _top_up(self, pack_id: str, at: datetime) -> None:
        """A checkout that its customer has paid, as the stand-in for Stripe tells of it."""
        pack, owner = packs.get(pack_id), self._cast.owner
        number = f"{self._rng.getrandbits(96):024x}"
        with company.acting(owner, at):
            row = Checkout.objects.create(
                id=ids.uuid7(at),
                company_id=self._cast.company_id,
                pack_id=pack.id,
                credits_nanocredits=pack.credits * money.NANOCREDITS_PER_CREDIT,
                amount_cents=pack.price_cents,
                provider=fake.NAME,
                session_id=f"cs_fake_{number}",
                actor=f"user:{owner.id}",
                created_at=at - timedelta(minutes=2),
                expires_at=at + fake.SESSION_TTL,
            )
            news = News(
                event_id=f"evt_fake_{number}",
                kind="paid",
                said_at=at,
                session_id=row.session_id,
                checkout_id=row.id,
                company_id=row.company_id,
                payment_id=f"pi_fake_{number}",
                amount_cents=row.amount_cents,
                currency=topups.CURRENCY,
            )
            topups.complete(row, news=news, now=at)

    def _transfer(self, at: datetime) -> None:
        self._move(
            at,
            action="credit_topup",
            credits=TRANSFER_CREDITS,
            reason="Bank transfer",
            reference="invoice:2041",
        )

    def _refund(self, at: datetime) -> None:
        """Goodwill for one of the dearer calls."""
        hold_id = self._rng.choice(self._dear)
        charged = Settlement.objects.get(
            company_id=self._cast.company_id, hold_id=hold_id
        ).charged_nanocredits
        self._move(
            at,
            action="refund",
            credits=money.credits_from_nanocredits(charged),
            reason="The answer was cut by our own restart",
            reference="ticket:318",
            corrects=f"{ledger.CALL_PREFIX}{hold_id}",
        )

    def _move(
        self, at: datetime, *, action: movements.Movement, credits: Decimal, reason: str, reference: str,
        corrects: str = "",
    ) -> None:  # fmt: skip
        operator = self._cast.operator
        with company.acting(operator, at, is_operator=True):
            movements.post(
                company_id=self._cast.company_id,
                action=action,
                credits=credits,
                actor=f"operator:{operator.email}",
                reason=reason,
                reference=reference,
                corrects=corrects,
                now=at,
            )

    def _close_day(self, at: datetime) -> None:
        """The day before agrees with upstream's books, and every chain is anchored."""
        day = (at - timedelta(days=1)).date()
        (used_usd,) = statements.row(_USED)
        digest, companies = statements.row("SELECT digest, companies FROM billing_anchor_heads(%s)", day)
        of_day_usd, self._used_usd = used_usd - self._used_usd, used_usd
        Day.objects.get_or_create(
            day=day,
            defaults={
                "read_at": at,
                "basis": Day.Basis.KEY.value,
                "ours_usd": of_day_usd,
                "theirs_usd": of_day_usd,
                "difference_usd": Decimal(0),
                "ours_total_usd": used_usd,
                "theirs_total_usd": used_usd,
                "key": UPSTREAM,
                "anchor": digest or "",
                "anchor_companies": companies,
                "closed_at": at,
                "unspent_nanocredits": Decimal(economics.owed().unspent_nanocredits),
            },
        )

    def _note_activity(self) -> None:
        for key_id, at in self._last_used.items():
            APIKey.objects.filter(id=key_id).update(last_used_at=at)
        for user_id, at in self._last_active.items():
            TenantUser.objects.filter(id=user_id).update(last_active_at=at)
        # Letters about what is long past are not sent.
        CreditEvent.objects.filter(company_id=self._cast.company_id, mailed_at=None).update(
            mailed_at=self._now
        )


def _confirm(look: SecondLook, cost_usd: Decimal, _: datetime) -> None:
    second_looks.apply_record(look, cost_usd=cost_usd)


def _settle(
    request: HoldRequest, call: Call, *, source: settlement.Source, cost_usd: Decimal | None = None
) -> None:
    evidence = records.answered(call, request, source=source, cost_usd=cost_usd)
    settlement.settle_now(hold=records.key(request), evidence=evidence)
