"""The audit log: who changed what, from where, before and after; one entry per mutation, in its transaction."""

import contextlib
import ipaddress
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import TextField
from django.db.models.functions import Cast
from django.utils import timezone

from accounts import ids
from accounts.models import AuditEntry

LABEL_LENGTH_MAX = 200
TARGET_ID_LENGTH_MAX = 255
REASON_LENGTH_MAX = 2_000
MASKED = "[secret]"
# A net under the callers, who hand in no secrets: the value of such a name is never written, at any depth. By the end
# of the name, since `max_tokens` is a number and `api_key_id` an id.
_SECRET_NAME = re.compile(
    r"(?:secrets?|password|passphrase|token|digest|authorization|cookie|credentials?"
    r"|(?:api|private|secret|access|signing)[-_ ]?key)\d?\Z",
    re.IGNORECASE,
)
# Nor is what looks like one, wherever it stands: our keys and tokens, a webhook's secret, upstream's, Stripe's.
_SECRET_VALUE = re.compile(
    r"(?:nv_(?:sk|sess|inv)_|whsec_|sk-or-|sk-ant-|[rs]k_(?:live|test)_|Bearer )[\w+/=.~-]{8,}", re.ASCII
)
# A request does not run so long: an entry's moment is that close to the moment in its id.
_ID_SLACK = timedelta(minutes=10)

_EVERYTHING = """
    WITH latest AS (
        SELECT c.id AS company_id FROM accounts_company c CROSS JOIN LATERAL (
               SELECT e.id FROM accounts_audit_entry e WHERE e.company_id = c.id AND {where}
                ORDER BY e.id DESC LIMIT 1) head
         ORDER BY head.id DESC LIMIT %(limit)s
    ), found AS (
        SELECT e.* FROM latest CROSS JOIN LATERAL (
               SELECT * FROM accounts_audit_entry e WHERE e.company_id = latest.company_id AND {where}
                ORDER BY e.id DESC LIMIT %(limit)s) e
         UNION ALL
       (SELECT e.* FROM accounts_audit_entry e WHERE e.company_id IS NULL AND {where}
         ORDER BY e.id DESC LIMIT %(limit)s)
    )
    SELECT id, action, actor_kind, actor_id, actor_label, person_id, host(ip), request_id, target_kind, target_id,
           target_label, reason, created_at, before::text, after::text, company_id
      FROM found ORDER BY id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a key, a session token, a person signed in, an operator, or the platform itself.

    Shape: `id` is the credential's or the person's; `person_id` is the person behind it, if one is known.
    """

    kind: AuditEntry.Actor
    id: UUID | None = None
    label: str = ""
    person_id: UUID | None = None
    ip: str | None = None
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries are wanted; each that is given narrows them. `since` is the first moment, `until` the one after."""

    action: str | None = None
    actor_kind: str | None = None
    actor_id: UUID | None = None
    target_kind: str | None = None
    target_id: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One entry as it is read; `before` and `after` are the JSON that the database keeps, numbers exact."""

    id: UUID
    action: str
    actor_kind: str
    actor_id: UUID | None
    actor_label: str
    person_id: UUID | None
    ip: str | None
    request_id: str
    target_kind: str
    target_id: str
    target_label: str
    reason: str
    created_at: datetime
    before: str | None
    after: str | None
    company_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, the latest first; the next ones are before `before_id`, and there are none where that is None."""

    lines: list[Line]
    before_id: UUID | None


PLATFORM = Actor(kind=AuditEntry.Actor.PLATFORM)

_reason: ContextVar[str] = ContextVar("audit_reason", default="")
_acting: ContextVar[Actor] = ContextVar("audit_actor", default=PLATFORM)
_dated: ContextVar[datetime | None] = ContextVar("audit_dated", default=None)


@contextlib.contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """Whoever acts inside this block is `actor`; set once at a door (a route, a page, a command)."""
    token = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(token)


@contextlib.contextmanager
def dated(at: datetime) -> Iterator[None]:
    """What is done inside this block was done at `at`: for the past of a demo company."""
    token = _dated.set(at)
    try:
        yield
    finally:
        _dated.reset(token)


@contextlib.contextmanager
def because(reason: str) -> Iterator[None]:
    """What is recorded inside this block was done for that reason, where its entry gives none of its own."""
    token = _reason.set(reason)
    try:
        yield
    finally:
        _reason.reset(token)


def name(actor: Actor) -> None:
    """Say who acts inside the `acting` block that is open, where the door learns it only on the way."""
    _acting.set(actor)


def actor() -> Actor:
    """Who acts now; the platform where no door has said."""
    return _acting.get()


def record(
    *,
    company_id: UUID | None,
    action: str,
    target_kind: str,
    target_id: object,
    target_label: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
    now: datetime | None = None,
) -> None:
    """Add one entry in the caller's transaction, so that there is a mutation with its entry or neither.

    Shape: `action` is `<noun>.<past participle>`, such as `account_kit.updated`; of `before` and `after` only what
    differs is kept, secrets masked; `company_id` None is the operator's own.
    Errors: RuntimeError where no transaction is open, a bug.
    """
    if not connection.in_atomic_block:
        raise RuntimeError(f"{action}: an audit entry is written in its mutation's own transaction.")
    who = _acting.get()
    was, became = _difference(before, after)
    past = _dated.get()
    AuditEntry.objects.create(
        id=ids.uuid7(past),
        company_id=company_id,
        actor_kind=who.kind.value,
        actor_id=who.id,
        actor_label=_plain(who.label)[:LABEL_LENGTH_MAX],
        person_id=who.person_id,
        ip=_address(who.ip),
        request_id=who.request_id,
        action=action,
        target_kind=target_kind,
        target_id=str(target_id)[:TARGET_ID_LENGTH_MAX],
        target_label=_plain(target_label)[:LABEL_LENGTH_MAX],
        before=was,
        after=became,
        reason=_plain(reason or _reason.get())[:REASON_LENGTH_MAX],
        created_at=past or now or timezone.now(),
    )


def page(
    *,
    company_id: UUID | None,
    filters: Filters,
    limit: int,
    before_id: UUID | None = None,
    without_actions_of: str = "",
) -> Page:
    """A company's entries, the latest first: one query, by an index whatever is asked for.

    Shape: the operator's own where the company is None; without actions that begin with `without_actions_of`.
    """
    given = {
        name: getattr(filters, name)
        for name in ("action", "actor_kind", "actor_id", "target_kind", "target_id", "request_id")
        if getattr(filters, name) is not None
    }
    rows = AuditEntry.objects.filter(company_id=company_id, **given)
    if without_actions_of:
        rows = rows.exclude(action__startswith=without_actions_of)
    if before_id is not None:
        rows = rows.filter(id__lt=before_id)
    if filters.since is not None:
        rows = rows.filter(
            created_at__gte=filters.since, id__gte=ids.first_at(filters.since, ahead=-_ID_SLACK)
        )
    if filters.until is not None:
        rows = rows.filter(created_at__lt=filters.until, id__lt=ids.first_at(filters.until, ahead=_ID_SLACK))
    found = rows.order_by("-id").values_list(
        *("id", "action", "actor_kind", "actor_id", "actor_label", "person_id", "ip", "request_id"),
        *("target_kind", "target_id", "target_label", "reason", "created_at"),
        Cast("before", TextField()),
        Cast("after", TextField()),
        "company_id",
    )
    lines = [Line(*row) for row in found[: limit + 1]]
    return Page(lines=lines[:limit], before_id=lines[limit - 1].id if len(lines) > limit else None)


def get(*, company_id: UUID | None, entry_id: UUID) -> Line | None:
    """One of a company's entries; None where it has no such."""
    after_it = UUID(int=min(entry_id.int + 1, 2**128 - 1))
    found = page(company_id=company_id, filters=Filters(), limit=1, before_id=after_it).lines
    return found[0] if found and found[0].id == entry_id else None


def everything(*, filters: Filters, limit: int, before_id: UUID | None = None) -> Page:
    """The entries of all companies and the operator's own, the latest first: one query, by indexes that begin with the
    company.

    Shape: as `page`, and each line names its company. Of all companies those are read whose latest entry is among the
    latest, so it takes one look for each company and no more.
    """
    conditions: list[str] = ["true"]
    parameters: dict[str, Any] = {"limit": limit + 1}
    for column in ("action", "actor_kind", "actor_id", "target_kind", "target_id", "request_id"):
        if getattr(filters, column) is not None:
            conditions.append(f"e.{column} = %({column})s")
            parameters[column] = getattr(filters, column)
    if before_id is not None:
        conditions.append("e.id < %(before_id)s")
        parameters["before_id"] = before_id
    if filters.since is not None:
        conditions.append("e.created_at >= %(since)s AND e.id >= %(since_id)s")
        parameters |= {"since": filters.since, "since_id": ids.first_at(filters.since, ahead=-_ID_SLACK)}
    if filters.until is not None:
        conditions.append("e.created_at < %(until)s AND e.id < %(until_id)s")
        parameters |= {"until": filters.until, "until_id": ids.first_at(filters.until, ahead=_ID_SLACK)}
    with connection.cursor() as cursor:
        cursor.execute(_EVERYTHING.replace("{where}", " AND ".join(conditions)), parameters)
        lines = [Line(*row) for row in cursor.fetchall()]
    return Page(lines=lines[:limit], before_id=lines[limit - 1].id if len(lines) > limit else None)


def _difference(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if before is None or after is None:
        return _masked(before), _masked(after)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        _masked({name: before.get(name) for name in changed}),
        _masked({name: after.get(name) for name in changed}),
    )


def _masked(value: Any) -> Any:
    """The same without secrets, at any depth: neither under a secret's name nor by a secret's look."""
    match value:
        case str():
            return _plain(value)
        case Mapping():
            return {
                _plain(str(name)): MASKED
                if inner is not None and _SECRET_NAME.search(str(name))
                else _masked(inner)
                for name, inner in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_masked(inner) for inner in value]
    return value


def _address(text: str | None) -> str | None:
    """An address that the database takes, in its one spelling; a proxy may say anything."""
    try:
        found = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    return str(getattr(found, "ipv4_mapped", None) or found)


def _plain(text: str) -> str:
    return _SECRET_VALUE.sub(MASKED, text)
