"""Answers about money: usage, ledger, packs, statements."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from naive.types.model import Model, Money

Action = Literal["llm_call", "credit_topup", "grant", "refund", "correction", "chargeback"]
GroupBy = Literal["hour", "day", "model", "user", "key", "kit"]


class Entry(Model):
    """One line of the ledger; debits are negative."""

    id: int
    action: Action
    amount: Money
    balance_after: Money
    reference: str
    corrects: str | None
    actor: str | None
    note: str
    created_at: datetime


class Totals(Model):
    calls: int
    voided_calls: int
    tokens_prompt: int
    tokens_completion: int
    cost_usd: Money
    credits_used: Money
    overrun: Money


class Group(Totals):
    """The calls of one date, hour, model or id."""

    group: str


class Summary(Totals):
    """All calls of the days; `groups` where `group_by` was given."""

    since: datetime
    days: int
    group_by: GroupBy | None = None
    groups: list[Group] | None = None


class Usage(Model):
    """What is left, what was used, and the latest entries of the ledger."""

    balance: Money
    held: Money
    transactions: list[Entry]
    next_cursor: str | None
    summary: Summary
    # Of one user's usage.
    user_id: str | None = None


class Pack(Model):
    """A number of credits at a price."""

    id: str
    name: str
    credits: int
    price_usd: Money
    badge: str | None


class Packs(Model):
    packs: list[Pack]


class Checkout(Model):
    """A checkout that has been opened: the page on which it is paid, and until when."""

    checkout_url: str
    session_id: str
    pack: Pack
    expires_at: datetime


class StatementCompany(Model):
    id: str
    name: str


class StatementLine(Model):
    action: Action
    count: int
    amount: Money


class Statement(Model):
    """A month of the ledger: opening balance + lines = closing balance."""

    month: str
    starts_at: datetime
    ends_at: datetime
    is_closed: bool
    company: StatementCompany
    opening_balance: Money
    closing_balance: Money
    lines: list[StatementLine]
