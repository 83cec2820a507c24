"""Rounds of a worker that writes exports: claim one, add chunk after chunk, leave the rest to the next round.

What is written is written with how far it goes, in one transaction: whoever is interrupted, by a crash or by the end of
a round, leaves a file that the next one goes on with.
"""

import logging
import threading
import time
import zlib
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F

from accounts import ids
from naive_platform import sheets
from naive_platform.exports import files, kinds
from naive_platform.models import Export, ExportChunk

log = logging.getLogger(__name__)

# A round takes new work for so long: what else a worker does waits for no file.
ROUND_S = 10.0
# Who has claimed an export and adds nothing for so long has died.
LEASE = timedelta(seconds=60)
# So many claims without a chunk, and nobody tries again.
ATTEMPTS_MAX = 5
BROKEN = "It could not be written. Try again, or tell the operator its id."
# Text of this kind shrinks to a fifth; more effort gains little.
EFFORT = 3

_one_at_a_time = threading.Lock()


def write_due(*, clock: Callable[[], datetime]) -> int:
    """Write at what is due until nothing is, or the round is over; how many chunks were added.

    Shape: one round a process at a time; where one runs already this one ends at once. Safe beside other workers.
    """
    if not _one_at_a_time.acquire(blocking=False):
        return 0
    try:
        ends_at = time.monotonic() + ROUND_S
        added = 0
        while time.monotonic() < ends_at and (export := claim(now=clock())) is not None:
            added += _write(export, clock=clock, ends_at=ends_at)
        return added
    finally:
        _one_at_a_time.release()


@transaction.atomic
def claim(*, now: datetime) -> Export | None:
    """Take the export that has waited longest, for LEASE; None where none is due. Who tried too often has failed."""
    due = Export.objects.filter(state__in=(Export.State.QUEUED, Export.State.RUNNING), due_at__lte=now)
    for export in due.select_for_update(skip_locked=True).order_by("due_at")[: ATTEMPTS_MAX * 2]:
        if export.attempts < ATTEMPTS_MAX and export.kind in kinds.KINDS:
            export.state, export.claim = Export.State.RUNNING.value, ids.uuid7()
            export.attempts, export.due_at = export.attempts + 1, now + LEASE
            export.save(update_fields=["state", "claim", "attempts", "due_at"])
            return export
        export.state, export.error, export.claim = Export.State.FAILED.value, BROKEN, None
        export.ended_at, export.expires_at = now, now + files.KEPT
        export.save(update_fields=["state", "error", "claim", "ended_at", "expires_at"])
    return None


def add(export: Export, *, now: datetime) -> bool:
    """Add the next chunk to an export that was claimed; whether there is more to add.

    Shape: False, too, where somebody else has it by now, or it was deleted: nothing is added then.
    Errors: what its kind's `read` raises.
    """
    kind = kinds.get(export.kind)
    piece = kind.read(export.company_id, export.wanted, export.position)
    text = sheets.written([list(kind.columns), *piece.rows] if export.chunks == 0 else piece.rows)
    changes = {
        "position": piece.position or "",
        "chunks": export.chunks + 1,
        "rows": F("rows") + len(piece.rows),
        "size_bytes": F("size_bytes") + len(text),
        "percent": piece.percent,
        "attempts": 0,
        "due_at": now + LEASE,
    }
    if piece.position is None:
        changes |= {
            "state": Export.State.DONE,
            "claim": None,
            "ended_at": now,
            "expires_at": now + files.KEPT,
        }
    with transaction.atomic():
        mine = Export.objects.filter(id=export.id, claim=export.claim, state=Export.State.RUNNING)
        if not mine.update(**changes):
            return False
        ExportChunk.objects.create(
            export_id=export.id, number=export.chunks + 1, body=zlib.compress(text, EFFORT)
        )
    export.chunks, export.position = export.chunks + 1, piece.position or ""
    return piece.position is not None


def _write(export: Export, *, clock: Callable[[], datetime], ends_at: float) -> int:
    before = export.chunks
    try:
        while add(export, now=clock()):
            if time.monotonic() >= ends_at:
                # Behind the others that wait.
                Export.objects.filter(id=export.id, claim=export.claim).update(
                    due_at=clock(), attempts=0, claim=None
                )
                break
    except Exception:
        # The lease runs out, and another round tries again.
        log.exception("Export %s: it could not be written on", export.id)
    return export.chunks - before
