"""What a company's calls came to in a stretch of time, split by time, model and user in one reading of the rollups."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from billing import rollups, statements

# Who spent most; nobody reads more of them at a glance, and there may be thousands.
USERS_SHOWN = 5
# Rows with an instant are slices of models, the others users.
_SPLIT = """
    SELECT instant, name, sum(calls), sum(voided_calls), sum(tokens_prompt), sum(tokens_completion),
           sum(charged_nanocredits)
      FROM by_model GROUP BY instant, name
     UNION ALL
    (SELECT NULL, name, sum(calls), sum(voided_calls), sum(tokens_prompt), sum(tokens_completion),
            sum(charged_nanocredits)
       FROM by_user GROUP BY name ORDER BY 7 DESC, 3 DESC, name LIMIT %(users_shown)s)
"""


@dataclass(frozen=True, slots=True)
class Sum:
    """What some calls came to. Units: nanocredits; what was given back counts in `voided_calls` alone."""

    calls: int
    voided_calls: int
    tokens_prompt: int
    tokens_completion: int
    charged_nanocredits: int

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(
            self.calls + other.calls,
            self.voided_calls + other.voided_calls,
            self.tokens_prompt + other.tokens_prompt,
            self.tokens_completion + other.tokens_completion,
            self.charged_nanocredits + other.charged_nanocredits,
        )

    @property
    def ended(self) -> int:
        return self.calls + self.voided_calls

    @property
    def tokens(self) -> int:
        return self.tokens_prompt + self.tokens_completion


_NOTHING = Sum(0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Slice:
    """What one model's calls came to in one hour or day, which begins at `instant`."""

    instant: datetime
    model: str
    sum: Sum


@dataclass(frozen=True, slots=True)
class Breakdown:
    """One time, split: models and users with the dearest first (USERS_SHOWN of them), slices with the oldest first."""

    total: Sum
    models: list[tuple[str, Sum]]
    users: list[tuple[UUID, Sum]]
    slices: list[Slice]


def read(*, company_id: UUID, since: datetime, until: datetime, is_hourly: bool) -> Breakdown:
    """What the calls came to that were settled from the hour of `since` to before `until`; hours and days are UTC's.

    Shape: one query, of the rollups alone, so that it agrees with `usage.summary` to the last nanocredit.
    Errors: BooksUnavailable.
    """
    head = rollups.by_hour("model", "user") if is_hourly else rollups.by_day("model", "user")
    found = [
        (instant, name, Sum(*(int(amount) for amount in amounts)))
        for instant, name, *amounts in statements.rows(
            head + _SPLIT, company_id=company_id, since=since, until=until, users_shown=USERS_SHOWN
        )
    ]
    slices = sorted(
        (Slice(instant, model, its) for instant, model, its in found if instant is not None),
        key=lambda one: (one.instant, *_dearest_first((one.model, one.sum))),
    )
    models: dict[str, Sum] = {}
    for one in slices:
        models[one.model] = models.get(one.model, _NOTHING) + one.sum
    return Breakdown(
        total=sum(models.values(), _NOTHING),
        models=sorted(models.items(), key=_dearest_first),
        users=sorted(
            ((UUID(user_id), its) for instant, user_id, its in found if instant is None), key=_dearest_first
        ),
        slices=slices,
    )


def _dearest_first(one: tuple[object, Sum]) -> tuple[int, int, str]:
    name, its = one
    return -its.charged_nanocredits, -its.calls, str(name)
