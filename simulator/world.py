"""Everything the simulator remembers while it runs, and its clock."""

import datetime
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from simulator import faults
from simulator.broadcasts import Broadcasts
from simulator.generations import Generations
from simulator.journal import Journal
from simulator.ledger import Ledger
from simulator.traffic import Body

CACHE_MAX = 1_000
JOBS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds to the first token and between data frames."""

    first_token_s: float
    chunk_s: float


PACES = {"real": Pace(0.2, 0.02), "instant": Pace(0, 0)}


@dataclass(slots=True)
class World:
    """State of one simulator process."""

    pace: Pace = PACES["real"]
    generation_delay_s: float = 2.0
    url: str = ""
    ledger: Ledger = field(default_factory=Ledger)
    generations: Generations = field(default_factory=Generations)
    journal: Journal = field(default_factory=Journal)
    broadcasts: Broadcasts = field(default_factory=Broadcasts)
    # How far tests have moved the clock.
    shift_s: int = 0
    # The text of the global knobs, see `faults.combine`.
    knobs: str = ""
    # Response cache: (key, path, body) to (generation id, stored at, lives s).
    cached: OrderedDict[tuple[str, str, bytes], tuple[str, float, float]] = field(default_factory=OrderedDict)
    # Video jobs by id: (key, ready at, job as it reads when done).
    jobs: OrderedDict[str, tuple[str, float, Body]] = field(default_factory=OrderedDict)

    def knobs_for(self, scope: str) -> str:
        """The global knobs, when they apply to that kind of route."""
        if not self.knobs:
            return ""
        chosen = faults.combine(self.knobs).on
        return self.knobs if chosen in {scope, "all"} else ""

    def clock(self) -> float:
        return time.monotonic() + self.shift_s

    def unix_ns(self) -> int:
        return time.time_ns() + self.shift_s * 1_000_000_000

    def unix_time(self) -> int:
        return self.unix_ns() // 1_000_000_000

    def today(self) -> datetime.date:
        """The UTC day by this world's clock."""
        return datetime.datetime.fromtimestamp(self.unix_time(), datetime.UTC).date()
