"""What a run of the harness does to the platform: how many calls, which harm, at what pace."""

import dataclasses
from typing import Any, Literal

type Mutant = Literal["", "no-spool", "no-unique-settlement"]

# Every pause of the platform at a pace at which a run ends in minutes; their order stays what it is in production:
# a spool is replayed many times before a hold's time is over, a lease ends before the next worker would miss it.
PACE = {
    "SWEEP_INTERVAL_S": "0.3",
    "LOOKUP_BACKOFF_S": ",".join(["0.3", "0.3", "0.4", "0.5", *["1"] * 40]),
    "HOLD_TTL_S": "8",
    "SETTLE_RETRY_S": "1",
    "ESTIMATE_AFTER_S": "5",
    "SECOND_LOOK_S": "1,4",
    "LOOKUPS_PER_S": "1000",
    "BROADCAST_GRACE_S": "0.5",
}
PLAIN_PACE = {"SECOND_LOOK_S": "1"}
# The same for what is no setting: module, name, value.
CONSTANTS: tuple[tuple[str, str, float], ...] = (
    ("billing.reconciliation", "LEASE_S", 3),
    ("naive_platform.gateway", "REPLAY_INTERVAL_S", 0.5),
    ("llm.pumps", "CLIENT_STALL_S", 1.0),
    ("llm.sweeps", "LOOK_AGAIN_S", 1),
    ("llm.lookups", "REST_S", 0.5),
    ("llm.lookups", "REST_MAX_S", 2.0),
)
TICK_S = {"replay-spool": 0.5, "look-again": 0.5}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run. `calls` are those that upstream carried out; load and harm go on until all three counts are reached.

    Kills and restarts are spread over the calls, so that a slow machine has no harder run than a quick one.
    `lost_holds` and `lost_settlements` are the shares of the database's answers that never arrive though the statement
    was carried out; with `is_noting_lost` no open hold ever learns its generation id from its own gateway. With
    `is_plain` upstream does nothing wrong, and no client leaves.
    """

    name: str
    seed: int
    calls: int
    kills: int
    restarts: int
    at_once: int = 32
    gateways: int = 3
    workers: int = 2
    kill_every_s: tuple[float, float] = (0.05, 0.5)
    flush_every_s: tuple[float, float] = (3.0, 8.0)
    crash_at: str = ""
    lost_holds: float = 0.003
    lost_settlements: float = 0.003
    is_noting_lost: bool = False
    is_broadcasting: bool = True
    is_plain: bool = False
    mutant: Mutant = ""
    load_s_max: float = 300.0
    drain_s_max: float = 90.0

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def of_json(found: dict[str, Any]) -> Plan:
    """The plan that another process of this harness wrote down."""
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
    }
    return Plan(**given)


# The share of calls that die at each point: before the hold is committed (A), after it (B), after sending (C), after
# the headers (D), in the middle of a stream (E), after the cost is seen (F), after the settlement (G).
CRASHES = "A:0.001,B:0.001,C:0.001,D:0.001,E:0.0005,F:0.002,G:0.001"


def full(seeds: tuple[int, ...]) -> list[Plan]:
    """What `make chaos` proves: at least 20,000 calls, 150 kills and 5 immediate restarts in all."""
    share = len(seeds)
    return [
        Plan(
            name="full",
            seed=seed,
            calls=-(-20_100 // share),
            kills=-(-151 // share),
            restarts=max(2, -(-5 // share)),
            crash_at=CRASHES,
        )
        for seed in seeds
    ]


def short(seeds: tuple[int, ...]) -> list[Plan]:
    """What `make test` runs."""
    return [
        Plan(
            name="short",
            seed=seed,
            calls=2_010,
            kills=21,
            restarts=1,
            crash_at=CRASHES,
        )
        for seed in seeds
    ]


def mutants(seeds: tuple[int, ...]) -> list[Plan]:
    """Two situations that one safeguard each is there for, first with it and then without.

    Nothing goes wrong but what is meant to, and that often enough: of two hundred calls, a hundred are streams of which
    every tenth dies in its middle, and every fifth settlement of the others loses its answer.
    """
    found = []
    for seed in seeds:
        dying = Plan(
            name="dying streams",
            seed=seed,
            calls=200,
            kills=3,
            restarts=0,
            crash_at="E:0.1",
            lost_holds=0.0,
            lost_settlements=0.0,
            # Only the spool has the generation id of a call that dies.
            is_noting_lost=True,
            is_broadcasting=False,
            is_plain=True,
        )
        unheard = Plan(
            name="lost answers",
            seed=seed,
            calls=200,
            kills=0,
            restarts=0,
            lost_holds=0.0,
            lost_settlements=0.2,
            is_plain=True,
        )
        found += [dying, dataclasses.replace(dying, name="no spool", mutant="no-spool", drain_s_max=20.0)]
        found += [
            unheard,
            dataclasses.replace(
                unheard, name="settles twice", mutant="no-unique-settlement", drain_s_max=5.0
            ),
        ]
    return found


FORMS = {"full": full, "short": short, "mutants": mutants}
