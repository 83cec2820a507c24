"""Answers about who asks: companies, people, API keys, sign-ins."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from naive.types.model import Model, Money, Role
from naive.types.tenants import User

CapPeriod = Literal["day", "week", "month", "total"]


class APIKey(Model):
    """An API key without its secret; `last_4` is how that ends."""

    id: str
    name: str
    last_4: str
    role: Role
    created_by: str | None
    account_kit_id: str | None
    active_tenant_user_id: str | None
    cap_credits: Money | None
    cap_period: CapPeriod | None
    requests_per_minute: int | None
    rotated_from: str | None
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    revoked: bool
    revoked_at: datetime | None


class IssuedKey(APIKey):
    """A new key with its secret, `api_key`, which is shown only here."""

    api_key: str = Field(repr=False)


class NamedCompany(Model):
    id: str
    name: str


class Company(NamedCompany):
    status: Literal["active", "suspended", "closed"]


class Registered(Model):
    """A new company, and the key to it, which is shown only here."""

    api_key: str = Field(repr=False)
    company_id: str
    company_name: str
    user_id: str
    credits_remaining: Money
    hint: str


class LoggedIn(Model):
    """A new key with your role in the company; `companies` are those you may select."""

    api_key: str = Field(repr=False)
    company_id: str
    company_name: str
    role: Role
    companies: list[NamedCompany]


class Selected(Model):
    """The company that was chosen, with a key for it."""

    api_key: str | None = Field(repr=False)
    company_id: str
    company_name: str
    role: Role
    companies: list[NamedCompany]


class OwnKey(Model):
    """The API key that asks, or that issued the session token."""

    id: str
    name: str
    cap_credits: Money | None
    cap_period: CapPeriod | None
    requests_per_minute: int | None


class Person(Model):
    id: str
    name: str
    email: str


class Me(Model):
    """Who asks, and what that opens."""

    kind: Literal["key", "session", "person"]
    role: Role
    is_narrow: bool
    company: Company
    user: User
    account_kit_id: str | None
    active_tenant_user_id: str | None
    expires_at: datetime | None
    session_id: str | None
    key: OwnKey | None
    person: Person | None
    companies: list[NamedCompany]


class Agent(Model):
    """The credential that asks; `user_id` is for whom its calls are where they name nobody."""

    key_id: str | None
    role: Role
    user_id: str


class Credits(Model):
    """`available` is the balance without what running calls hold."""

    balance: Money
    held: Money
    available: Money
    is_frozen: bool


class Status(Model):
    """Who asks, for which company, and what is left."""

    agent: Agent
    company: Company
    credits: Credits
