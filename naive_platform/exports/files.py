"""Exports of a company: asked for, listed, taken away, deleted; who writes them is writers.py."""

import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from accounts import audit, locks
from accounts.errors import Conflict, NotFound
from naive_platform.exports import kinds
from naive_platform.models import Export, ExportChunk

KEPT = timedelta(hours=24)
# Of one company: being written at once, and kept in all.
UNFINISHED_MAX = 3
KEPT_MAX = 20
# Deleted in one statement, chunks and all.
FORGOTTEN_AT_ONCE = 10


@transaction.atomic
def ask(*, company_id: UUID, kind: str, query: Mapping[str, str], person_id: UUID, now: datetime) -> Export:
    """Have a file written by a worker.

    Shape: `query` is what the kind's page has in its URL; its times are fixed now.
    Errors: NotFound (the kind), InvalidInput (the query), Conflict (so many are unfinished, or kept, already).
    """
    wanted = kinds.get(kind).prepare(company_id, query, now)
    locks.hold("exports", str(company_id))
    states = list(Export.objects.filter(company_id=company_id).values_list("state", flat=True))
    unfinished = sum(state in (Export.State.QUEUED, Export.State.RUNNING) for state in states)
    if unfinished >= UNFINISHED_MAX:
        raise Conflict(f"{unfinished} exports are being written.", hint="Wait for one of them, or delete it.")
    if len(states) >= KEPT_MAX:
        raise Conflict(f"{len(states)} exports are kept.", hint="Delete one that you no longer need.")
    export = Export.objects.create(
        company_id=company_id, asked_by_id=person_id, kind=kind, wanted=wanted, due_at=now, created_at=now
    )
    _note("export.created", export, now=now, after={"kind": kind, "wanted": wanted})
    return export


def of_company(*, company_id: UUID) -> list[Export]:
    """A company's exports, the latest first; no more than KEPT_MAX are kept."""
    rows = Export.objects.filter(company_id=company_id).select_related("asked_by")
    return list(rows.order_by("-id")[:KEPT_MAX])


def get(*, company_id: UUID, export_id: UUID) -> Export:
    """Errors: NotFound, for another company's and for what is past its day."""
    found = Export.objects.filter(company_id=company_id, id=export_id).first()
    if found is None:
        raise NotFound(
            "There is no such export.", hint="It is deleted a day after it was written; make a new one."
        )
    return found


def take(*, company_id: UUID, export_id: UUID, now: datetime) -> Export:
    """A file that can be taken away. Errors: NotFound, Conflict (it is not written to its end)."""
    export = get(company_id=company_id, export_id=export_id)
    if export.expires_at is not None and export.expires_at <= now:
        raise NotFound("This export is past its day.", hint="Make a new one.")
    if export.state != Export.State.DONE:
        raise Conflict(f"This export is {export.state}.", hint="Wait until it is done, or make a new one.")
    return export


def chunk(*, export_id: UUID, number: int) -> bytes | None:
    """A piece of a file, counted from 1; None where there is none any more."""
    found = (
        ExportChunk.objects.filter(export_id=export_id, number=number).values_list("body", flat=True).first()
    )
    return None if found is None else zlib.decompress(found)


@transaction.atomic
def delete(*, company_id: UUID, export_id: UUID, now: datetime) -> None:
    """Delete an export, written or not: whoever writes it finds nothing to go on with. Errors: NotFound."""
    export = get(company_id=company_id, export_id=export_id)
    _note("export.deleted", export, now=now, before={"kind": export.kind, "rows": export.rows})
    export.delete()


def forget(*, now: datetime) -> int:
    """Delete what is past its day; how many files. Safe to run twice, and beside itself."""
    return sum(iter(lambda: _forget(now), 0))


def _forget(now: datetime) -> int:
    past = Export.objects.filter(expires_at__lte=now).values_list("id", flat=True)[:FORGOTTEN_AT_ONCE]
    _, counts = Export.objects.filter(id__in=list(past)).delete()
    return counts.get("naive_platform.Export", 0)


def _note(
    action: str,
    export: Export,
    *,
    now: datetime,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    audit.record(
        company_id=export.company_id,
        action=action,
        target_kind="export",
        target_id=export.id,
        target_label=kinds.get(export.kind).title,
        before=before,
        after=after,
        now=now,
    )
