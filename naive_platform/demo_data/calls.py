"""The demo's calls before they are made: when, by whom, at which model, how long and how dear; deterministic."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from naive_platform.demo_data import company, models
from naive_platform.demo_data.models import Model

# Calls of a working day, and what is left of them on a Saturday or Sunday.
CALLS_A_DAY = 48
WEEKEND = 0.25
# How much the company grows over the time that is told.
GROWTH = 0.9
# How much of a day falls into each hour (UTC): office hours, a lunch, and what runs by itself at night.
HOURS = (1, 1, 1, 1, 1, 2, 5, 11, 17, 20, 21, 18, 13, 17, 21, 20, 17, 12, 8, 5, 4, 3, 2, 1)
# Shares of the calls; of those by the sealed user, and of all while the old key lives.
STREAMED, REFUSED, LOOKED_UP, CACHED, LOBBY, OLD_BACKEND = 0.45, 0.025, 0.012, 0.2, 0.5, 0.3
# Tokens; the clients' own max_tokens.
COMPLETION_MAX = 2048

type Ending = Literal["inline", "stream", "refused", "looked_up"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call to be. Units: USD, tokens, milliseconds; `bound_usd` is the most it could have cost."""

    at: datetime
    external_id: str
    kit: str
    key: str
    model: Model
    ending: Ending
    is_streamed: bool
    prompt: int
    cached: int
    completion: int
    latency_ms: int
    duration_ms: int

    @property
    def cost_usd(self) -> Decimal:
        return self.model.cost_usd(prompt=self.prompt, completion=self.completion)

    @property
    def bound_usd(self) -> Decimal:
        """A byte of text counts as a token, and four come to one; the answer may take all it was given."""
        return self.model.cost_usd(prompt=self.prompt * 4, completion=max(1024, self.completion * 2))

    @property
    def ended_at(self) -> datetime:
        return self.at + timedelta(milliseconds=self.duration_ms)


def between(
    since: datetime, until: datetime, *, old_key_until: datetime, rng: random.Random
) -> Iterator[Call]:
    """The calls of these days, in the order in which they began."""
    day = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = max((until - since) / timedelta(days=1), 1)
    while day < until:
        grown = 1 - GROWTH / 2 + GROWTH * ((day - since) / timedelta(days=1)) / days
        busy = CALLS_A_DAY * grown * (WEEKEND if day.weekday() > 4 else 1) * rng.uniform(0.85, 1.15)
        hours = sorted(rng.choices(range(24), HOURS, k=round(busy)))
        moments = sorted(day + timedelta(hours=hour, seconds=rng.uniform(0, 3600)) for hour in hours)
        for at in moments:
            call = _any(at, old_key_until, rng)
            if since <= at and call.ended_at < until:
                yield call
        day += timedelta(days=1)


def one(at: datetime, *, rng: random.Random) -> Call:
    """A stream of the busiest user's, for what goes wrong with it."""
    external_id, _, kit, _ = company.USERS[0]
    return _call(at, external_id, kit, "Production", "stream", rng)


def _any(at: datetime, old_key_until: datetime, rng: random.Random) -> Call:
    (external_id, _, kit, _), *_ = rng.choices(company.USERS, [weight for *_, weight in company.USERS])
    key = _key(at, external_id, kit, old_key_until, rng)
    return _call(at, external_id, kit, key, _ending(rng), rng)


def _call(at: datetime, external_id: str, kit: str, key: str, ending: Ending, rng: random.Random) -> Call:
    asked = models.BY_KIT[kit]
    (model, _), *_ = rng.choices(asked, [weight for _, weight in asked])
    is_refused = ending == "refused"
    prompt = _lognormal(3200, 0.9, rng)
    completion = 0 if is_refused else min(_lognormal(420, 0.8, rng), COMPLETION_MAX)
    latency_ms = _lognormal(model.first_token_ms * (0.4 if is_refused else 1), 0.35, rng)
    return Call(
        at=at,
        external_id=external_id,
        kit=kit,
        key=key,
        model=model,
        ending=ending,
        is_streamed=ending != "inline" and not is_refused,
        prompt=prompt,
        cached=prompt // 2 if rng.random() < CACHED else 0,
        completion=completion,
        latency_ms=latency_ms,
        duration_ms=latency_ms + completion * model.token_ms,
    )


def _ending(rng: random.Random) -> Ending:
    chance = rng.random()
    if chance < REFUSED:
        return "refused"
    if chance < REFUSED + LOOKED_UP:
        return "looked_up"
    return "stream" if chance < REFUSED + LOOKED_UP + STREAMED else "inline"


def _key(at: datetime, external_id: str, kit: str, old_key_until: datetime, rng: random.Random) -> str:
    if kit == "Free":
        return "Free tier"
    if external_id == company.SEALED_USER and rng.random() < LOBBY:
        return "Lobby terminal"
    return "Old backend" if at < old_key_until and rng.random() < OLD_BACKEND else "Production"


def _lognormal(median: float, spread: float, rng: random.Random) -> int:
    return max(8, round(rng.lognormvariate(math.log(median), spread)))
