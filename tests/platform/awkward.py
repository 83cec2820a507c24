"""A company whose books are as awkward as books get, by real settlements; and what its ledger says of them.

The second half adds up nothing but entries, so that it owes nothing to the sums that pages read.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from accounts import ids, keys, kits, tenants
from accounts.models import AccountKit, APIKey, TenantUser
from billing import clock, holds, ledger, money, movements, settlement
from billing.holds import Cap, HoldRequest
from billing.models import Correction, Entry, Hold, OpenHold, Settlement
from tests import factories
from tests.factories import Cast

CREDIT_VALUE_USD = Decimal("0.50")
MARKUPS = (Decimal("1.25"), Decimal("1.0700000001"))
MODELS = ("acme/one", "acme/two-<b>", "acme/three:free")
# More nanocredits than a float can count.
PLENTY = Decimal("9007199.254740993")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Awkward:
    """The company and everything that spends its credits."""

    member: Cast
    users: list[TenantUser]
    keys: list[APIKey]
    kits: list[AccountKit]
    parked: UUID

    @property
    def company_id(self) -> UUID:
        return self.member.company.id


@dataclass(frozen=True, slots=True)
class Charge:
    """One call that has ended, charged what its entries in the ledger add up to."""

    hold: Hold
    settled_at: datetime
    nanocredits: int
    cost_usd: Decimal
    source: str

    @property
    def overrun_nanocredits(self) -> int:
        return max(0, self.nanocredits - self.hold.amount_nanocredits)

    @property
    def model(self) -> str:
        return str(self.hold.details["model"])

    @property
    def day(self) -> date:
        return self.settled_at.astimezone(UTC).date()


class _Life:
    """Acts of the company, each at its instant; they come in the order of time."""

    def __init__(self, tell: Callable[[datetime], None], now: datetime) -> None:
        self._tell, self._now = tell, now
        self.at(timedelta(days=65))
        self.member = factories.acme()
        company_id = self.member.company_id
        self.kits = [self.member.kit, _capped_kit(company_id, now)]
        self.users = [self.member.tenant_user, *_users(company_id, self.kits[1], now)]
        capped = factories.with_key(
            self.member, name="Capped", cap_credits=Decimal("3.000000007"), cap_period="month"
        )
        self.keys = [self.member.key, capped.key]

    def at(self, ago: timedelta) -> datetime:
        self._tell(self._now - ago)
        return self._now - ago

    def begin(
        self, ago: timedelta, *, number: int, held: str, model: str = "", is_price_known: bool = True
    ) -> HoldRequest:
        """Hold for the n-th call: users, keys, kits, models and markups take turns, each in its own beat."""
        at = self.at(ago)
        user, key = self.users[number % 3], self.keys[number % 2]
        request = HoldRequest(
            hold_id=ids.uuid7(at),
            company_id=self.member.company_id,
            key_id=key.id,
            kit_id=user.account_kit_id,
            tenant_user_id=user.id,
            wanted_nanocredits=money.nanocredits_from_credits(Decimal(held)),
            least_nanocredits=1,
            markup=MARKUPS[number % 2],
            credit_value_usd=CREDIT_VALUE_USD,
            ttl_s=900,
            details=orjson.dumps({"model": model or MODELS[number % 3], "models": [], "streamed": False}),
            caps=tuple(_caps(user, self.kits[1], key, at)),
            is_price_known=is_price_known,
        )
        holds.place_now(request)
        return request

    def end(
        self, ago: timedelta, request: HoldRequest, cost_usd: str, source: settlement.Source = "inline"
    ) -> None:
        self.at(ago)
        told = orjson.loads(request.details) | {"tokens_prompt": 1234, "tokens_completion": 56}
        evidence = settlement.Evidence(
            source=source,
            cost_usd=Decimal(cost_usd),
            generation_id=f"gen-{request.hold_id}",
            details=orjson.dumps(told),
        )
        settlement.settle_now(hold=_key(request), evidence=evidence)

    def void(self, ago: timedelta, request: HoldRequest) -> None:
        self.at(ago)
        settlement.void_now(hold=_key(request), evidence=settlement.Evidence(source="inline"))

    def correct(self, ago: timedelta, request: HoldRequest, cost_usd: str, reference: str) -> None:
        self.at(ago)
        ledger.correct(
            company_id=request.company_id,
            hold_id=request.hold_id,
            cost_usd=Decimal(cost_usd),
            source="operator",
            reference=reference,
        )

    def move(self, ago: timedelta, action: movements.Movement, credits: str, corrects: str = "") -> None:
        at = self.at(ago)
        movements.post(
            company_id=self.member.company_id,
            action=action,
            credits=Decimal(credits),
            actor="operator:ada@operator.example",
            reason="As agreed",
            reference=f"{action}:{at:%s%f}",
            corrects=corrects,
            now=at,
        )


def company(now: datetime) -> Awkward:
    """Found it 65 days ago and have it live: two markups, corrections across days, a refund, calls that hold, one that
    is parked, one that took the balance below zero. Takes the login of the books' owner.

    Shape: no call ends within ten hours of where a range of pages begins, so that nothing depends on the minute.
    """
    with clock.told() as tell:
        life = _Life(tell, now)
        _long_ago(life)
        _many_small_ones(life)
        parked = _last_day(life)
    return Awkward(life.member, life.users, life.keys, life.kits, parked)


def _long_ago(life: _Life) -> None:
    life.at(timedelta(days=63))
    factories.give(life.member, credits=PLENTY)
    early = life.begin(timedelta(days=62), number=0, held="40")
    life.end(timedelta(days=61, hours=12), early, "13.333333333333333333")
    life.move(timedelta(days=45), "credit_topup", "100.000000001")
    # Begun in one stretch of every page's range, ended in the next.
    across = life.begin(timedelta(days=30, hours=11), number=1, held="9")
    odd = life.begin(timedelta(days=30, hours=10, minutes=30), number=2, held="1")
    life.end(timedelta(days=29, hours=12), across, "1.0000000000000000001")
    life.end(timedelta(days=29, hours=11), odd, "0.00000000000000000001", "stream")
    life.correct(timedelta(days=12), across, "0.77777777777777777777", "less")
    life.correct(timedelta(days=11), across, "1.5", "more")
    life.move(timedelta(days=10), "refund", "0.123456789", f"gen_{across.hold_id}")
    # A call that was given back, and charged after all.
    late = life.begin(timedelta(days=9, hours=13), number=3, held="2")
    life.void(timedelta(days=9, hours=12, minutes=50), late)
    life.correct(timedelta(days=9, hours=12), late, "0.3", "found")


def _many_small_ones(life: _Life) -> None:
    """More than a page has, over days, a few of them given back or free, one estimated and then known."""
    for number in range(64):
        begun = timedelta(days=8 - number // 9, hours=13) - timedelta(minutes=7 * (number % 9))
        request = life.begin(begun, number=number, held="0.01")
        ended = begun - timedelta(minutes=5)
        match number % 16:
            case 5:
                life.void(ended, request)
            case 7:
                life.end(ended, request, "0")
            case _:
                source: settlement.Source = "estimate" if number == 20 else "stream"
                life.end(ended, request, f"0.000{number:02}333333333333333", source)
        if number == 20:
            estimated = request
    life.correct(timedelta(hours=14), estimated, "0.0019", "record")


def _last_day(life: _Life) -> UUID:
    """Calls that hold, one that is parked, and at last one that takes the balance below zero."""
    life.begin(timedelta(hours=13), number=1, held="0.5", is_price_known=False)
    life.begin(timedelta(hours=12, minutes=59), number=2, held="0.25")
    parked = life.begin(timedelta(hours=12, minutes=50), number=0, held="0.125")
    life.end(timedelta(hours=12, minutes=40), parked, "187.5")
    at = life.at(timedelta(hours=12, minutes=30))
    has = factories.balance_nanocredits(life.member)
    ledger.post(
        company_id=life.member.company_id,
        amount_nanocredits=money.nanocredits_from_credits(Decimal("1.987654321")) - has,
        action="correction",
        reference=f"migrated:{at:%s}",
        actor="operator:ada@operator.example",
        note="Moved to another contract",
        corrects="signup",
    )
    dear = life.begin(timedelta(hours=12, minutes=20), number=4, held="1", is_price_known=False)
    life.end(timedelta(hours=12), dear, "2.4691357801")
    return parked.hold_id


def _capped_kit(company_id: UUID, now: datetime) -> AccountKit:
    config = {"llm": {"enabled": True, "defaults": {"monthly_credits_per_user": 50}}}
    return kits.create(company_id=company_id, name="Capped", primitives_config=config, now=now)


def _users(company_id: UUID, kit: AccountKit, now: datetime) -> list[TenantUser]:
    return [
        tenants.create(company_id=company_id, label=label, account_kit_id=kit_id, now=now)
        for label, kit_id in (("Ada", None), ("Grace & Co", kit.id))
    ]


def _caps(user: TenantUser, capped: AccountKit, key: APIKey, at: datetime) -> Iterable[Cap]:
    first = keys.cap_period_start("month", at)
    if key.cap_credits is not None:
        yield Cap("key", key.family_id, "month", first, money.nanocredits_from_credits(key.cap_credits))
    if user.account_kit_id == capped.id:
        yield Cap("user", user.id, "month", first, money.nanocredits_from_credits(Decimal(50)))


def _key(request: HoldRequest) -> settlement.HoldKey:
    return settlement.HoldKey(
        company_id=request.company_id,
        hold_id=request.hold_id,
        markup=request.markup,
        credit_value_usd=request.credit_value_usd,
    )


def entries(company_id: UUID) -> list[Entry]:
    """The whole ledger, the oldest first."""
    return list(Entry.objects.filter(company_id=company_id).order_by("seq"))


def open_holds(company_id: UUID) -> list[OpenHold]:
    return list(OpenHold.objects.filter(company_id=company_id))


def charges(company_id: UUID) -> list[Charge]:
    """Every call that has ended, by the entries of its own name: its charge, then each correction of it."""
    charged: dict[UUID, int] = {}
    for entry in entries(company_id):
        if entry.reference.startswith(ledger.CALL_PREFIX):
            hold_id = UUID(entry.reference.removeprefix(ledger.CALL_PREFIX).partition(":")[0])
            charged[hold_id] = charged.get(hold_id, 0) - entry.amount_nanocredits
    found = {hold.hold_id: hold for hold in Hold.objects.filter(company_id=company_id)}
    costs: dict[UUID, Settlement | Correction] = {}
    settled = Settlement.objects.filter(company_id=company_id).order_by("created_at")
    for one in settled:
        costs[one.hold_id] = one
    for better in Correction.objects.filter(company_id=company_id).order_by("hold_id", "number"):
        costs[better.hold_id] = better
    return [
        Charge(
            hold=found[one.hold_id],
            settled_at=one.created_at,
            nanocredits=charged.pop(one.hold_id, 0),
            cost_usd=costs[one.hold_id].cost_usd or Decimal(0),
            source=one.source,
        )
        for one in settled
    ]


def within(found: Iterable[Charge], since: datetime, until: datetime | None = None) -> list[Charge]:
    """Those settled from the hour of `since` on."""
    first = since.replace(minute=0, second=0, microsecond=0)
    return [one for one in found if one.settled_at >= first and (until is None or one.settled_at < until)]


def total(found: Iterable[Charge]) -> int:
    """Nanocredits."""
    return sum(one.nanocredits for one in found)


def cost(found: Iterable[Charge]) -> Decimal:
    """USD."""
    return sum((one.cost_usd for one in found), Decimal(0))


def split(found: Iterable[Charge], by: Callable[[Charge], Hashable]) -> dict[Any, list[Charge]]:
    groups: dict[Any, list[Charge]] = {}
    for one in found:
        groups.setdefault(by(one), []).append(one)
    return groups
