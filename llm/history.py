"""A company's generations as a list and one by one: read within bounds, however many there are; nothing is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import Q

from accounts import ids
from accounts.errors import NotFound
from billing import statements
from billing.models import Correction, Hold, HoldExtension, OpenHold, Settlement
from llm.models import Generation

# So many calls are looked at for a page of those that a filter lets through (docs/dashboard.md, "Generations").
LOOKED_AT_MAX = 20_000
# Percentiles are of the newest so many calls of a time: adding up cannot make them, and looking at all takes long.
TIMED_MAX = 2_000
OURS = "gen_"
STATES = tuple(Generation.State.values)
_OPEN = frozenset(
    {Generation.State.HELD.value, Generation.State.DISPATCHED.value, Generation.State.PARKED.value}
)
_FIRST_ANSWER = """
    SELECT count(*), percentile_disc(0.5) WITHIN GROUP (ORDER BY ms), percentile_disc(0.95) WITHIN GROUP (ORDER BY ms)
      FROM (SELECT CASE WHEN jsonb_typeof(s.details -> 'latency_ms') = 'number'
                         AND h.details @> '{"streamed": true}' THEN (s.details -> 'latency_ms')::numeric END AS ms
              FROM billing_hold h
              LEFT JOIN billing_settlement s
                     ON (s.company_id, s.hold_id) = (h.company_id, h.hold_id) AND s.kind = 'post'
             WHERE h.company_id = %s AND h.hold_id >= %s AND h.hold_id < %s
             ORDER BY h.hold_id DESC LIMIT %s) newest
     WHERE ms IS NOT NULL
"""

# Settlements are bounded by the same ids as holds: whatever PostgreSQL makes of it, it reads no more of them.
_MATCHING = """
    SELECT h.hold_id FROM billing_hold h
      LEFT JOIN billing_settlement s ON s.company_id = %(company)s AND s.hold_id = h.hold_id
                                    AND s.hold_id >= %(least)s AND s.hold_id < %(end)s
      LEFT JOIN LATERAL (
           SELECT k.charged_nanocredits FROM billing_correction k
            WHERE k.company_id = h.company_id AND k.hold_id = h.hold_id ORDER BY k.number DESC LIMIT 1) c ON true
     WHERE h.company_id = %(company)s AND h.hold_id >= %(least)s AND h.hold_id < %(end)s {conditions}
     ORDER BY h.hold_id {order} LIMIT %(limit)s
"""
_CONDITIONS = {
    "model": "coalesce(s.details ->> 'model', h.details ->> 'model', '') = %(model)s",
    "tenant_user_id": "h.tenant_user_id = %(tenant_user_id)s",
    "key_id": "h.key_id = %(key_id)s",
    "kit_id": "h.kit_id = %(kit_id)s",
    "least_nanocredits": "coalesce(c.charged_nanocredits, s.charged_nanocredits) >= %(least_nanocredits)s",
    "most_nanocredits": "coalesce(c.charged_nanocredits, s.charged_nanocredits) <= %(most_nanocredits)s",
}
_STILL_OPEN = (
    "h.hold_id IN (SELECT hold_id FROM billing_open_hold WHERE company_id = %(company)s AND stage = '{}')"
)
_STATE_IS = {
    "settled": "s.kind = 'post'",
    "voided": "s.kind = 'void'",
    **{stage: _STILL_OPEN.format(stage) for stage in sorted(_OPEN)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which calls are wanted: begun from `since` on and before `until`, and each of the others that is given.

    Units: `least` and `most` are what a call is charged, in nanocredits, both included. `state` is one of STATES.
    """

    since: datetime
    until: datetime
    model: str | None = None
    tenant_user_id: UUID | None = None
    key_id: UUID | None = None
    kit_id: UUID | None = None
    state: str | None = None
    least_nanocredits: int | None = None
    most_nanocredits: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some generations in the order asked for.

    Shape: the next ones come after `after_id`, and there are none where that is None. Where `looked_at` is given, so
    many calls were looked at, up to the moment `looked_to`, and the page ends there though it may not be full.
    """

    generations: list[Generation]
    after_id: UUID | None
    looked_at: int | None = None
    looked_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class FirstAnswers:
    """How long streams took to begin, in milliseconds: half of them at most p50, 95 of 100 at most p95.

    Shape: both None where there was no stream; `calls` is how many there were among the newest TIMED_MAX calls.
    """

    calls: int
    p50_ms: int | None
    p95_ms: int | None


@dataclass(frozen=True, slots=True)
class Story:
    """One call with all that happened to it."""

    generation: Generation
    hold: Hold
    extensions: Sequence[HoldExtension]
    settlement: Settlement | None
    corrections: Sequence[Correction]


def page(
    *,
    company_id: UUID,
    filters: Filters,
    limit: int,
    after_id: UUID | None = None,
    is_oldest_first: bool = False,
    looked_at_max: int = LOOKED_AT_MAX,
) -> Page:
    """A company's generations, the newest first or the oldest.

    Shape: at most `limit`, and of at most `looked_at_max` calls: of both a page may be short, or empty, and not the
    last. Calls are in the order of their ids, which is that of time to the millisecond.
    """
    least, end = ids.first_at(filters.since), ids.first_at(filters.until)
    if after_id is not None:
        least, end = (max(least, _next(after_id)), end) if is_oldest_first else (least, min(end, after_id))
    order = "hold_id" if is_oldest_first else "-hold_id"
    last, has_more = None, False
    # Calls that are still open are few, and in a table of their own: they need no bound.
    if _narrows(filters) and filters.state not in _OPEN:
        calls = Hold.objects.filter(company_id=company_id, hold_id__gte=least, hold_id__lt=end).order_by(
            order
        )
        edge = list(calls.values_list("hold_id", flat=True)[looked_at_max - 1 : looked_at_max + 1])
        last, has_more = (edge[0] if edge else None), len(edge) > 1
    if last is not None:
        least, end = (least, _next(last)) if is_oldest_first else (last, end)
    found = _matching(company_id, filters, least, end, limit=limit + 1, is_oldest_first=is_oldest_first)
    rows = Generation.objects.filter(company_id=company_id, hold_id__in=found[:limit])
    shown = list(rows.order_by(order)) if found else []
    if len(found) > limit:
        return Page(shown, after_id=found[limit - 1])
    if last is not None and has_more:
        return Page(shown, after_id=last, looked_at=looked_at_max, looked_to=moment(last))
    return Page(shown, after_id=None)


def read(*, company_id: UUID, hold_id: UUID) -> Story:
    """One call of this company's with its hold, extensions, settlement and corrections. Errors: NotFound."""
    generation = Generation.objects.filter(company_id=company_id, hold_id=hold_id).first()
    if generation is None:
        raise _unknown(f"{OURS}{hold_id}")
    of_call = {"company_id": company_id, "hold_id": hold_id}
    hold = Hold.objects.get(**of_call)
    extensions = HoldExtension.objects.filter(**of_call).order_by("number")
    return Story(
        generation=generation,
        hold=hold,
        extensions=list(extensions) if generation.held_nanocredits != hold.amount_nanocredits else [],
        settlement=Settlement.objects.filter(**of_call).first(),
        corrections=list(Correction.objects.filter(**of_call).order_by("number")),
    )


def find(*, company_id: UUID, wanted: str) -> UUID:
    """The call that somebody names: by `gen_<uuid>`, by the bare uuid, or by upstream's `gen-…`.

    Errors: NotFound, for another company's too.
    """
    wanted = wanted.strip()
    ours = ids.parse(wanted.removeprefix(OURS))
    of_company = Q(company_id=company_id)
    if ours is not None and Hold.objects.filter(of_company, hold_id=ours).exists():
        return ours
    if ours is None and wanted and wanted.isprintable():
        named = of_company & Q(generation_id=wanted)
        for rows in (
            Settlement.objects.filter(named),
            Correction.objects.filter(named),
            OpenHold.objects.filter(named),
        ):
            found: UUID | None = rows.values_list("hold_id", flat=True).first()
            if found is not None:
                return found
    raise _unknown(wanted)


def first_answers(*, company_id: UUID, since: datetime, until: datetime) -> FirstAnswers:
    """How long streams took to begin, of the newest TIMED_MAX calls of a time. Errors: BooksUnavailable."""
    calls, p50, p95 = statements.row(
        _FIRST_ANSWER, company_id, ids.first_at(since), ids.first_at(until), TIMED_MAX
    )
    return FirstAnswers(calls, None if p50 is None else int(p50), None if p95 is None else int(p95))


def is_more_than(calls: int, *, company_id: UUID, since: datetime, until: datetime) -> bool:
    """Whether a company began more calls than that in a time; looks at that many entries of an index."""
    rows = Hold.objects.filter(
        company_id=company_id, hold_id__gte=ids.first_at(since), hold_id__lt=ids.first_at(until)
    )
    return rows.order_by("-hold_id").values("hold_id")[calls : calls + 1].exists()


def moment(hold_id: UUID) -> datetime:
    """When a call began, to the millisecond, as its id says."""
    return datetime.fromtimestamp((hold_id.int >> 80) / 1000, tz=UTC)


def fact(generation: Generation, name: str) -> int | None:
    """A count or a time that is known of a call; None where it is not."""
    found = generation.facts.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def tokens(generation: Generation) -> tuple[int, int] | None:
    """Prompt and completion tokens, where either is known."""
    prompt, completion = fact(generation, "tokens_prompt"), fact(generation, "tokens_completion")
    return None if prompt is None and completion is None else (prompt or 0, completion or 0)


def _matching(
    company_id: UUID, filters: Filters, least: UUID, end: UUID, *, limit: int, is_oldest_first: bool
) -> list[UUID]:
    """The calls from `least` to before `end` that the filters let through, in the order asked for."""
    given = {name: getattr(filters, name) for name in _CONDITIONS if getattr(filters, name) is not None}
    conditions = [_CONDITIONS[name] for name in given]
    if filters.state is not None:
        conditions.append(_STATE_IS[filters.state])
    query = _MATCHING.format(
        conditions="".join(f" AND {condition}" for condition in conditions),
        order="ASC" if is_oldest_first else "DESC",
    )
    found = statements.rows(query, company=company_id, least=least, end=end, limit=limit, **given)
    return [hold_id for (hold_id,) in found]


def _next(hold_id: UUID) -> UUID:
    return UUID(int=min(hold_id.int + 1, 2**128 - 1))


def _narrows(filters: Filters) -> bool:
    return filters.state is not None or any(getattr(filters, name) is not None for name in _CONDITIONS)


def _unknown(wanted: str) -> NotFound:
    return NotFound(
        f"There is no generation {wanted[:100]}.",
        hint="Use the id of an answer, or its header X-Naive-Generation-Id.",
    )
