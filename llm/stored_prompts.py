"""Stored prompts: read by those who may, which is audited, and deleted when their time is over; llm/prompts.py writes.

A kit's switch decides at every look: what was stored under it is readable only while it is on, within its days.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from accounts import audit
from accounts.errors import NotFound
from accounts.models import AccountKit, CompanyStatus
from llm import prompt_texts, prompts
from llm.prompt_models import StoredPrompt
from llm.prompt_texts import Turn

BATCH_ROWS = 500
# A purge ends after so many batches; the next one goes on.
BATCHES_MAX = 200
# Kits that are named at once where the switch is on.
KITS_MAX = 50

# One step in the index from kit to kit, and to the oldest row of each, however many there are.
_WITHDRAWN = """
WITH RECURSIVE kit AS (
    (SELECT company_id, kit_id, called_at FROM llm_stored_prompt ORDER BY company_id, kit_id, called_at LIMIT 1)
    UNION ALL
    SELECT next.company_id, next.kit_id, next.called_at FROM kit, LATERAL (
        SELECT p.company_id, p.kit_id, p.called_at FROM llm_stored_prompt p
         WHERE (p.company_id, p.kit_id) > (kit.company_id, kit.kit_id)
         ORDER BY p.company_id, p.kit_id, p.called_at LIMIT 1) next
), judged AS (
    SELECT kit.*,
           CASE WHEN c.id IS NULL OR k.prompt_retention_days IS NULL THEN 'infinity'::timestamptz
                ELSE greatest(k.prompts_since_at, %(now)s - k.prompt_retention_days * interval '1 day') END AS since
      FROM kit LEFT JOIN accounts_accountkit k ON (k.company_id, k.id) = (kit.company_id, kit.kit_id)
      LEFT JOIN accounts_company c ON c.id = kit.company_id AND c.status <> 'closed'
)
SELECT company_id, kit_id, since::text FROM judged WHERE called_at < since
"""
# Rows that another purge deletes at this moment are its own.
_DELETE = """
DELETE FROM llm_stored_prompt WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM llm_stored_prompt WHERE {which} LIMIT %s FOR UPDATE SKIP LOCKED))
"""
_EXPIRED = _DELETE.format(which="expires_at <= %s ORDER BY expires_at")
_OF_KIT = _DELETE.format(which="company_id = %s AND kit_id = %s AND called_at < %s::timestamptz")


@dataclass(frozen=True, slots=True)
class Text:
    """What was stored of one side, as it was sent; `is_cut` where it was longer. What is no UTF-8 is replaced."""

    text: str = field(repr=False)
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """One call's prompt and answer, until when they are stored, and both as they are read."""

    hold_id: UUID
    called_at: datetime
    expires_at: datetime
    request: Text
    answer: Text | None
    turns: Sequence[Turn] = field(repr=False)
    answered: str = field(repr=False)


def is_stored(*, company_id: UUID, hold_id: UUID, now: datetime) -> bool:
    """Whether `read` would find something; that is not audited."""
    return _find(company_id, hold_id, now) is not None


@transaction.atomic
def read(*, company_id: UUID, hold_id: UUID, now: datetime) -> Prompt:
    """One call's stored prompt; that it was read is written into the audit log, each time.

    Errors: NotFound, for another company's and for one that is past its time alike.
    """
    found = _find(company_id, hold_id, now)
    request = None if found is None else _open(found[0], prompts.REQUEST, found[0].request)
    if found is None or request is None:
        raise NotFound(
            f"No prompt is stored for gen_{hold_id}.",
            hint="Prompts are stored from when an Account Kit says so, and for as many days as it says.",
        )
    row, expires_at = found
    answer = None if row.answer is None else _open(row, prompts.ANSWER, row.answer)
    audit.record(
        company_id=company_id,
        action="prompt.read",
        target_kind="generation",
        target_id=f"gen_{hold_id}",
        now=now,
    )
    return Prompt(
        hold_id=hold_id,
        called_at=row.called_at,
        expires_at=expires_at,
        request=Text(_text(request), is_cut=row.is_request_cut),
        answer=None if answer is None else Text(_text(answer), is_cut=row.is_answer_cut),
        turns=prompt_texts.turns(request),
        answered="" if answer is None else prompt_texts.answered(answer),
    )


def kits_that_store(*, company_id: UUID) -> list[AccountKit]:
    """The company's kits whose switch is on, by name, the first KITS_MAX of them."""
    rows = AccountKit.objects.filter(company_id=company_id, prompt_retention_days__isnull=False)
    return list(rows.order_by("name")[:KITS_MAX])


def purge(*, now: datetime, batch_rows: int = BATCH_ROWS) -> int:
    """Delete what is past its days, and what its kit no longer stores; return how many calls' that was.

    Shape: by index and in batches, each in a transaction of its own; safe to run twice, and beside itself. A kit that
    was turned off or deleted stores nothing, nor does a company that was closed.
    """
    deleted = _delete_all(_EXPIRED, [now], batch_rows)
    with connection.cursor() as cursor:
        cursor.execute(_WITHDRAWN, {"now": now})
        withdrawn = cursor.fetchall()
    return deleted + sum(_delete_all(_OF_KIT, list(one), batch_rows) for one in withdrawn)


def _delete_all(statement: str, parameters: list[Any], batch_rows: int) -> int:
    deleted = 0
    for _ in range(BATCHES_MAX):
        with connection.cursor() as cursor:
            cursor.execute(statement, [*parameters, batch_rows])
            deleted += cursor.rowcount
            if cursor.rowcount < batch_rows:
                break
    return deleted


def _find(company_id: UUID, hold_id: UUID, now: datetime) -> tuple[StoredPrompt, datetime] | None:
    """The row as long as it may be read, and until when that is."""
    row = StoredPrompt.objects.filter(company_id=company_id, hold_id=hold_id).first()
    if row is None:
        return None
    kits = AccountKit.objects.filter(
        company_id=company_id, id=row.kit_id, prompts_since_at__lte=row.called_at
    )
    kit = kits.exclude(company__status=CompanyStatus.CLOSED).first()
    if kit is None or kit.prompt_retention_days is None:
        return None
    expires_at = min(row.expires_at, row.called_at + timedelta(days=kit.prompt_retention_days))
    return (row, expires_at) if now < expires_at else None


def _open(row: StoredPrompt, part: bytes, sealed: bytes | memoryview) -> bytes | None:
    return prompts.unseal(bytes(sealed), company_id=row.company_id, hold_id=row.hold_id, part=part)


def _text(found: bytes) -> str:
    return found.decode(errors="replace")
