"""Bare wallets without a company above them, and short ways to hold, settle and look into the books."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
from django.db import connection

from accounts import database, ids
from billing import holds, ledger, money, settlement
from billing.holds import Cap, HoldRequest, Placed
from billing.settlement import Evidence, HoldKey, Settlement

CREDIT = money.NANOCREDITS_PER_CREDIT
MARKUP = Decimal("1.25")
CREDIT_VALUE_USD = Decimal("0.50")
# What one credit buys upstream at these prices.
CREDIT_COST_USD = Decimal("0.4")
MONTH = date(2026, 11, 1)

_ever_longer_ago_s = itertools.count(10**8)


@dataclass(frozen=True, slots=True)
class Wallet:
    """A wallet of a company that only the books know."""

    company_id: UUID = field(default_factory=uuid4)
    key_id: UUID = field(default_factory=uuid4)
    tenant_user_id: UUID = field(default_factory=uuid4)

    def request(self, wanted: int = CREDIT, **changes: Any) -> HoldRequest:
        """A hold request over `wanted` nanocredits, nothing less."""
        request = HoldRequest(
            hold_id=ids.uuid7(),
            company_id=self.company_id,
            key_id=self.key_id,
            kit_id=uuid4(),
            tenant_user_id=self.tenant_user_id,
            wanted_nanocredits=wanted,
            least_nanocredits=wanted,
            markup=MARKUP,
            credit_value_usd=CREDIT_VALUE_USD,
            ttl_s=900,
        )
        return replace(request, **changes)

    def key_cap(self, limit: int) -> Cap:
        return Cap(
            scope="key", scope_id=self.key_id, period="month", period_start=MONTH, limit_nanocredits=limit
        )

    def user_cap(self, limit: int) -> Cap:
        return replace(self.key_cap(limit), scope="user", scope_id=self.tenant_user_id)

    def balance(self) -> ledger.Balance:
        return ledger.balance(company_id=self.company_id)

    def state(self) -> tuple[int, int]:
        """(balance, held) in nanocredits."""
        balance = self.balance()
        return balance.balance_nanocredits, balance.held_nanocredits


def wallet(nanocredits: int = 10 * CREDIT) -> Wallet:
    """A new wallet with one grant in it."""
    made = Wallet()
    ledger.open_wallet(company_id=made.company_id)
    if nanocredits:
        ledger.post(
            company_id=made.company_id, amount_nanocredits=nanocredits, action="grant", reference="opening"
        )
    return made


def key(request: HoldRequest) -> HoldKey:
    return HoldKey(
        company_id=request.company_id,
        hold_id=request.hold_id,
        markup=request.markup,
        credit_value_usd=request.credit_value_usd,
    )


def cost(usd: str | int | Decimal | None, **more: Any) -> Evidence:
    """Inline evidence of a cost, with a generation id of its own."""
    amount = Decimal(usd) if isinstance(usd, str) else usd
    given: dict[str, Any] = {"source": "inline", "cost_usd": amount, "generation_id": f"gen-{uuid4().hex}"}
    return Evidence(**(given | more))


async def held(made: Wallet, wanted: int = CREDIT, **changes: Any) -> HoldRequest:
    """A hold that was granted in full."""
    request = made.request(wanted, **changes)
    placed: Placed = await holds.place(request)
    assert placed.granted_nanocredits == wanted
    return request


async def settled(
    made: Wallet, usd: str = "0.4", wanted: int = CREDIT, source: str = "inline", **changes: Any
) -> HoldRequest:
    """A hold that was placed and charged `usd`."""
    request = await held(made, wanted, **changes)
    ended: Settlement = await settlement.settle(hold=key(request), evidence=cost(usd, source=source))
    assert ended.outcome == "posted"
    return request


def rows(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
    return found


@contextlib.contextmanager
def wallet_kept(made: Wallet) -> Iterator[None]:
    """Another transaction keeps the wallet's lock."""
    with psycopg.connect(database.conninfo()) as outside:
        outside.execute("SELECT 1 FROM billing_wallet WHERE company_id = %s FOR UPDATE", [made.company_id])
        yield
        outside.rollback()


def violations(made: Wallet) -> list[tuple[Any, ...]]:
    return rows("SELECT * FROM billing_violations WHERE company_id = %s", made.company_id)


def entries(made: Wallet) -> list[tuple[Any, ...]]:
    """(seq, action, amount, balance after) of every entry."""
    return rows(
        "SELECT seq, action, amount_nanocredits, balance_after_nanocredits FROM billing_entry"
        " WHERE company_id = %s ORDER BY seq",
        made.company_id,
    )


def anomalies(made: Wallet) -> list[str]:
    found = rows(
        "SELECT kind FROM billing_anomaly WHERE company_id = %s ORDER BY created_at", made.company_id
    )
    return [kind for (kind,) in found]


def open_hold(request: HoldRequest) -> dict[str, Any] | None:
    found = rows(
        "SELECT stage, generation_id, attempts, next_at, extract(epoch FROM next_at - clock_timestamp())"
        " FROM billing_open_hold WHERE (company_id, hold_id) = (%s, %s)",
        request.company_id,
        request.hold_id,
    )
    names = ("stage", "generation_id", "attempts", "next_at", "due_in_s")
    return dict(zip(names, found[0], strict=True)) if found else None


def make_first_due(request: HoldRequest) -> None:
    """Let the hold's look-up be due, longer than any other's."""
    rows(
        "UPDATE billing_open_hold SET next_at = clock_timestamp() - make_interval(secs => %s)"
        " WHERE (company_id, hold_id) = (%s, %s)",
        next(_ever_longer_ago_s),
        request.company_id,
        request.hold_id,
    )


def tidy_up(*company_ids: UUID) -> None:
    """Give every open hold back and forget the second looks, so that other tests do not meet them."""
    found = rows(
        "SELECT company_id, hold_id FROM billing_open_hold WHERE company_id = ANY (%s)", [*company_ids]
    )
    for company_id, hold_id in found:
        hold = HoldKey(
            company_id=company_id, hold_id=hold_id, markup=MARKUP, credit_value_usd=CREDIT_VALUE_USD
        )
        settlement.void_now(hold=hold, evidence=Evidence(source="operator"))
    rows("DELETE FROM billing_second_look WHERE company_id = ANY (%s)", [*company_ids])


def expire(request: HoldRequest) -> None:
    """Let the hold have been placed long ago."""
    rows(
        "UPDATE billing_open_hold SET created_at = created_at - interval '1 day', next_at = created_at"
        " WHERE (company_id, hold_id) = (%s, %s)",
        request.company_id,
        request.hold_id,
    )
