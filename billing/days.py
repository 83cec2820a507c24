"""Each UTC day's books against upstream's: what we counted, what they say, what explains the difference."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, localcontext
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import F

from billing import alerts
from billing.errors import DayNotFound
from billing.models import Day

log = logging.getLogger(__name__)

# A reading is taken this long after midnight, and upstream has charged by then what it answered before.
SETTLING_S = 600
# Upstream adds its total up in doubles: this part of it is their rounding.
ROUNDING = Decimal("1e-12")
# Upstream tells the activity of this many days back.
DAYS_BACK_MAX = 30
MODELS_MAX = 500
_LOCK = 0x64617973
# Sums of costs of up to 100 digits are never rounded.
_EXACT = Context(prec=400)

# One statement, so that all of it is of one instant.
_FIGURES = """
    SELECT statement_timestamp(),
           (SELECT coalesce(sum(cost_usd), 0) FROM billing_usage),
           (SELECT coalesce(sum(cost_usd), 0) FROM billing_usage
             WHERE hour >= date_trunc('hour', statement_timestamp() - make_interval(secs => %(settling)s), 'UTC')),
           open.calls, open.usd, estimated.calls, estimated.usd, lost.calls, lost.usd,
           (SELECT coalesce(sum(posted_nanocredits), 0) FROM billing_wallet WHERE posted_nanocredits > 0)
      FROM (SELECT count(*) AS calls,
                   coalesce(sum(o.amount_nanocredits * h.credit_value_usd / h.markup / 1000000000), 0) AS usd
              FROM billing_open_hold o JOIN billing_hold h USING (company_id, hold_id)) open,
           (SELECT count(*) AS calls,
                   coalesce(sum((h.amount_nanocredits + coalesce(more.nanocredits, 0))
                                * h.credit_value_usd / h.markup / 1000000000), 0) AS usd
              FROM (SELECT company_id, hold_id FROM billing_second_look
                     UNION SELECT company_id, hold_id FROM billing_anomaly a
                            WHERE kind = 'never_confirmed' AND NOT EXISTS (
                                  SELECT FROM billing_decision d WHERE (d.kind, d.reference) = (a.kind, a.reference)))
                   unsure
              JOIN billing_hold h USING (company_id, hold_id)
             CROSS JOIN LATERAL billing_standing(company_id, hold_id) standing
             CROSS JOIN LATERAL (SELECT sum(e.amount_nanocredits) AS nanocredits FROM billing_hold_extension e
                                  WHERE (e.company_id, e.hold_id) = (h.company_id, h.hold_id)) more
             WHERE standing.source = 'estimate') estimated,
           (SELECT count(*) AS calls,
                   coalesce(sum(h.amount_nanocredits * h.credit_value_usd / h.markup / 1000000000), 0) AS usd
              FROM billing_settlement s JOIN billing_hold h USING (company_id, hold_id)
             WHERE s.source = 'no_evidence' AND s.created_at > %(since)s
               AND NOT EXISTS (SELECT FROM billing_correction c
                                WHERE (c.company_id, c.hold_id) = (s.company_id, s.hold_id))) lost
"""
_MODELS = """
    SELECT model, sum(cost_usd) FROM billing_usage
     WHERE hour >= %s::date AT TIME ZONE 'UTC' AND hour < (%s::date + 1) AT TIME ZONE 'UTC' GROUP BY model
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """What upstream says its key has used since it was made. Units: USD; `key` tells one key from another."""

    usage_usd: Decimal
    key: str


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What upstream says one model has cost on one UTC day. Units: USD."""

    model: str
    slug: str
    usage_usd: Decimal


@dataclass(frozen=True, slots=True)
class _Figures:
    """Our side at one instant. Units: USD; those of open, estimated and unattributed calls are bounds."""

    read_at: datetime
    ours_total_usd: Decimal
    fresh_usd: Decimal
    open_calls: int
    open_usd: Decimal
    estimated_calls: int
    estimated_usd: Decimal
    unattributed_calls: int
    unattributed_usd: Decimal
    unspent_nanocredits: Decimal


def due(*, now: datetime) -> list[date]:
    """Return the days that are over and not closed, the earliest first; the last one is always yesterday.

    Shape: days that nobody looked at are among them, as far back as upstream tells of.
    """
    yesterday = now.astimezone(UTC).date() - timedelta(days=1)
    earliest = yesterday - timedelta(days=DAYS_BACK_MAX - 1)
    newest = Day.objects.order_by("-day").values_list("day", flat=True).first()
    if Day.objects.filter(day=yesterday, closed_at__isnull=False).exists():
        return []
    first = yesterday if newest is None else max(earliest, min(newest + timedelta(days=1), yesterday))
    return [first + timedelta(days=n) for n in range((yesterday - first).days + 1)]


def read(*, first: date, last: date) -> list[Day]:
    """Return what was found out about these days, the latest first; a day that nobody looked at is left out."""
    return list(Day.objects.filter(day__range=(first, last)).order_by("-day"))


def close(*, day: date, reading: Reading | None, activity: Sequence[ModelUsage] | None) -> Day:
    """Compare a day with upstream's word, write down what was found, and close the books where nothing is left open.

    Shape: `reading` was taken just before this call, and is None for a day that is caught up with: the next reading
    covers it. `activity` is None where upstream does not tell it to this key. Closed once; a day that is open is
    compared anew. What is left unexplained is an anomaly `day_mismatch` and an alert.
    Units: USD, exact.
    Source: docs/reconciliation.md, "Closing a day".
    """
    with transaction.atomic(), localcontext(_EXACT):
        return _close(day, reading, activity)


def accept(*, day: date, actor: str) -> Day:
    """Close a day whose difference a person has looked at: what is unexplained up to it is the operator's loss.

    Shape: what came to be missing on later days stays a question; a second time nothing happens.
    Errors: DayNotFound.
    """
    with transaction.atomic(), localcontext(_EXACT):
        _wait_for_others()
        found = Day.objects.filter(day=day).first()
        if found is None:
            raise DayNotFound(f"{day} was never compared with upstream's books.")
        if found.closed_at is None:
            Day.objects.filter(day__gt=day).update(gap_usd=F("gap_usd") - found.gap_usd)
            found.lost_usd, found.gap_usd = found.lost_usd + found.gap_usd, Decimal(0)
            found.closed_at, found.closed_by = _now(), actor
            found.save()
        alerts.resolve("day_mismatch", reference=str(day))
    return found


def anchor_digest(*, day: date) -> str | None:
    """Reckon a day's anchor from the entries as they stand now; it has to be what the log said then.

    Shape: hex of SHA-256 over every company's number and hash of its last entry; None where no entry was anchored.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT digest FROM billing_anchor_digest(%s)", [day])
        found: str | None = cursor.fetchone()[0]
    return found


def _close(day: date, reading: Reading | None, activity: Sequence[ModelUsage] | None) -> Day:
    _wait_for_others()
    found = Day.objects.filter(day=day).first() or Day(day=day)
    if found.closed_at is not None:
        return found
    before = Day.objects.filter(day__lt=day, theirs_total_usd__isnull=False).order_by("-day").first()
    figures = _figures(since=before.read_at if before else datetime(1970, 1, 1, tzinfo=UTC))
    _note(found, figures)
    _compare_models(found, activity)
    is_explained = _compare_totals(found, figures, before, reading)
    found.anchor, found.anchor_companies = _anchor(day)
    if reading is not None and is_explained:
        found.closed_at = figures.read_at
    found.save()
    _tell(found, is_explained=is_explained)
    return found


def _figures(*, since: datetime) -> _Figures:
    with connection.cursor() as cursor:
        cursor.execute(_FIGURES, {"settling": SETTLING_S, "since": since})
        return _Figures(*cursor.fetchone())


def _note(found: Day, figures: _Figures) -> None:
    found.read_at = figures.read_at
    found.open_calls, found.open_usd = figures.open_calls, figures.open_usd
    found.estimated_calls, found.estimated_usd = figures.estimated_calls, figures.estimated_usd
    found.unattributed_calls, found.unattributed_usd = figures.unattributed_calls, figures.unattributed_usd
    found.note = ""
    # As the anchors: of the first look, and of the day that has just ended.
    if (
        found.unspent_nanocredits is None
        and found.day == (figures.read_at - timedelta(days=1)).astimezone(UTC).date()
    ):
        found.unspent_nanocredits = figures.unspent_nanocredits


def _compare_models(found: Day, activity: Sequence[ModelUsage] | None) -> None:
    """Set ours against theirs model by model; where a day has no reading of its own, their sum stands for it."""
    ours = _ours_by_model(found.day)
    found.ours_usd = sum(ours.values(), Decimal(0))
    found.theirs_usd, found.difference_usd, found.basis, found.by_model = None, None, Day.Basis.NONE, None
    if activity is None:
        _say(
            found,
            "Upstream does not tell this key its activity (a management key may ask): not compared by model.",
        )
        return
    names = {usage.slug: usage.model for usage in activity if usage.slug}
    mine = _summed((names.get(name, name), usd) for name, usd in ours.items())
    theirs = _summed((usage.model, usage.usage_usd) for usage in activity)
    rows = [(name, mine.get(name, Decimal(0)), theirs.get(name, Decimal(0))) for name in {*mine, *theirs}]
    rows.sort(key=lambda row: (-abs(row[2] - row[1]), row[0]))
    found.by_model = [
        {
            "model": name,
            "ours_usd": _plain(our),
            "theirs_usd": _plain(their),
            "difference_usd": _plain(their - our),
        }
        for name, our, their in rows[:MODELS_MAX]
    ]
    found.theirs_usd = sum(theirs.values(), Decimal(0))
    found.difference_usd, found.basis = found.theirs_usd - found.ours_usd, Day.Basis.ACTIVITY


def _compare_totals(found: Day, figures: _Figures, before: Day | None, reading: Reading | None) -> bool:
    """Set what we charged since the reading before against what upstream did; False where that leaves a question."""
    found.ours_total_usd, found.theirs_total_usd, found.key = figures.ours_total_usd, None, ""
    found.gap_usd, found.lost_usd = before.gap_usd if before else Decimal(0), Decimal(0)
    if reading is None:
        _say(found, "Covered by the next reading.")
        return True
    found.theirs_total_usd, found.key = reading.usage_usd, reading.key
    if before is None:
        _say(found, "The first reading: totals are compared from here on.")
    elif before.key != reading.key:
        _say(found, "Another key than the day before: totals start anew.")
    else:
        found.basis = Day.Basis.KEY
        found.ours_usd = figures.ours_total_usd - (before.ours_total_usd or Decimal(0))
        found.theirs_usd = reading.usage_usd - (before.theirs_total_usd or Decimal(0))
        found.difference_usd = found.theirs_usd - found.ours_usd
        found.gap_usd += found.difference_usd
    return _is_explained(found, figures)


def _say(found: Day, sentence: str) -> None:
    found.note = f"{found.note} {sentence}".strip()


def _is_explained(found: Day, figures: _Figures) -> bool:
    """Whether what is missing on either side may still be on its way, or went with calls nobody heard of.

    Units: `gap_usd` is what upstream charged and we did not, over all days; below 0 it is the other way round.
    """
    if abs(found.gap_usd) <= ROUNDING * max(figures.ours_total_usd, found.theirs_total_usd or Decimal(0)):
        found.lost_usd, found.gap_usd = found.gap_usd, Decimal(0)
        return True
    on_its_way = figures.open_usd + figures.estimated_usd
    if found.gap_usd < 0:
        return -found.gap_usd <= figures.fresh_usd + figures.estimated_usd
    if found.gap_usd > on_its_way + _unattributed_usd(found):
        return False
    # What cannot be on its way is lost, and is not asked after again tomorrow.
    found.lost_usd = max(found.gap_usd - on_its_way, Decimal(0))
    found.gap_usd -= found.lost_usd
    return True


def _unattributed_usd(found: Day) -> Decimal:
    """Return what the calls nobody heard of can have cost since nothing was missing the last time, less what they did.

    A day without a reading counted those of the next reading, too.
    """
    read = Day.objects.filter(day__lt=found.day, theirs_total_usd__isnull=False)
    even = read.filter(gap_usd=0).order_by("-day").first()
    since = read.filter(day__gt=even.day) if even else read
    bounds = since.values_list("unattributed_usd", "lost_usd")
    return sum((bound - lost for bound, lost in bounds), found.unattributed_usd)


def _ours_by_model(day: date) -> dict[str, Decimal]:
    with connection.cursor() as cursor:
        cursor.execute(_MODELS, [day, day])
        return dict(cursor.fetchall())


def _summed(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for name, usd in amounts:
        found[name] = found.get(name, Decimal(0)) + usd
    return found


def _anchor(day: date) -> tuple[str, int]:
    """Remember the head of every company's chain, and say what they come to."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT digest, companies FROM billing_anchor_heads(%s)", [day])
        digest, companies = cursor.fetchone()
    return digest or "", companies


def _tell(found: Day, *, is_explained: bool) -> None:
    """Write the day into the log, where no hand in the database reaches it, and raise or resolve its alert."""
    log.info(
        "Day %s: %s; ours %s USD, theirs %s USD; anchor %s over %d companies", found.day,
        "closed" if found.closed_at else "open", _plain(found.ours_usd), _plain(found.theirs_usd),
        found.anchor, found.anchor_companies,
    )  # fmt: skip
    if is_explained:
        if found.closed_at:
            _close_earlier(found)
        return
    names = (
        "ours_usd",
        "theirs_usd",
        "difference_usd",
        "gap_usd",
        "open_usd",
        "estimated_usd",
        "unattributed_usd",
    )
    told = {name: _plain(getattr(found, name)) for name in names}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT billing_quarantine('day_mismatch', %s, NULL, NULL, %s::jsonb)",
            [str(found.day), orjson.dumps(told).decode()],
        )
    alerts.raise_alert(
        "day_mismatch",
        reference=str(found.day),
        message=f"{found.day}: upstream charged {told['gap_usd']} USD that the books do not have, beyond what is open."
        if found.gap_usd > 0
        else f"{found.day}: the books have {_plain(-found.gap_usd)} USD that upstream did not charge.",
        details=told,
    )


def _close_earlier(found: Day) -> None:
    """Whatever was missing on the days before has been found: nothing is open any more."""
    earlier: Any = Day.objects.filter(day__lt=found.day, closed_at__isnull=True)
    earlier.update(closed_at=found.closed_at)
    alerts.resolve("day_mismatch")


def _plain(amount_usd: Decimal | None) -> str:
    """An amount as people write it; in a context that rounds nothing."""
    return "unknown" if amount_usd is None else f"{amount_usd.normalize():f}"


def _wait_for_others() -> None:
    """One at a time closes days or accepts them: neither undoes what the other has just written."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        found: datetime = cursor.fetchone()[0]
    return found
