"""One run: a database, an upstream and a platform of its own, load and harm, the drain, and the audit."""

import contextlib
import json
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from naive_platform import folders
from tests.chaos import audits, books, grounds, mutants, plans, upstream
from tests.chaos.audits import Audit
from tests.chaos.grounds import Grounds
from tests.chaos.plans import Plan
from tests.chaos.upstream import Upstream

LOOK_EVERY_S = 1.0
SECRET = "chaos-broadcast"
START_S = 30.0
LAST_CALLS_S = 60.0
# So many at once in the beginning; and more than must be, for some fall on nobody.
FIRST_KILLS = 2
KILLS_MARGIN = 1.2


class RunFailed(Exception):
    """The run could not be carried out; the message says where it stopped."""


@dataclass(slots=True)
class Outcome:
    """What was done to the platform, and what the audit says."""

    plan: Plan
    folder: Path
    deaths: dict[str, int] = field(default_factory=dict)
    restarts: int = 0
    flushes: int = 0
    stolen: int = 0
    load_s: float = 0.0
    drain_s: float = 0.0
    total_s: float = 0.0
    left: list[str] = field(default_factory=list)
    audit: Audit = field(default_factory=Audit)

    @property
    def kills(self) -> int:
        """Processes that a signal ended: from outside, and at their crash points."""
        return sum(count for how, count in self.deaths.items() if how.endswith((" killed", " crashed")))

    @property
    def is_as_expected(self) -> bool:
        """Whether nothing is wrong, or what is missing from a mutant was noticed."""
        noticed = {
            "": not self.problems,
            "no-spool": bool(self.audit.lost),
            "no-unique-settlement": bool(self.audit.doubled),
        }
        return noticed[self.plan.mutant]

    @property
    def problems(self) -> list[str]:
        """Everything that must not be, in words."""
        found = self.audit.problems(is_told_of_all=self.plan.is_broadcasting)
        if self.left:
            found.append(f"not drained: {', '.join(self.left)}")
        ended = {how: count for how, count in self.deaths.items() if " ended" in how}
        if ended.pop("payer ended", 0) != 1:
            found.append("whoever tops up did not end well")
        found += [f"{how} by itself: {count}" for how, count in ended.items()]
        for name in ("kills", "restarts"):
            if getattr(self, name) < getattr(self.plan, name):
                found.append(f"{getattr(self, name)} {name} are fewer than {getattr(self.plan, name)}")
        if self.audit.calls < self.plan.calls:
            found.append(f"{self.audit.calls} calls reached upstream, fewer than {self.plan.calls}")
        return found


class Run:
    """One plan carried out."""

    def __init__(self, plan: Plan, ground: Grounds, folder: Path) -> None:
        self._plan, self._ground, self._folder = plan, ground, folder
        self._outcome = Outcome(plan, folder)
        self._chance = random.Random(f"{plan.seed}:servers")
        self._database = f"chaos_{folder.name.replace('-', '_')}"
        self._owner_url = grounds.named(ground.owner_url, self._database)
        self._flush_at = time.monotonic()

    def carry_out(self) -> Outcome:
        begun = time.monotonic()
        (self._folder / "logs").mkdir(parents=True)
        (self._folder / "plan.json").write_text(json.dumps(self._plan.as_json()))
        self._ground.make_database(self._database)
        mutants.put_in(self._plan.mutant, self._owner_url)
        with self._platform() as (sim, nursery, wire):
            self._load(sim, nursery, wire)
            self._drain(sim, nursery)
            self._outcome.deaths = nursery.ask("end")
            wire.send_signal(signal.SIGTERM)
            self._outcome.stolen = int((wire.stdout or _none()).readline())
            is_told_of_all = self._plan.is_broadcasting
            self._outcome.audit = audits.audit(
                self._folder, sim, self._owner_url, is_told_of_all=is_told_of_all
            )
        self._outcome.total_s = time.monotonic() - begun
        return self._outcome

    @contextlib.contextmanager
    def _platform(self) -> Iterator[tuple[Upstream, "Nursery", "subprocess.Popen[str]"]]:
        logs, plan = self._folder / "logs", self._plan
        with (
            upstream.simulating(dict(self._ground.environ), logs / "simulator.log") as sim,
            self._wire() as wire,
            grounds.running(
                "tests.chaos.nursery",
                str(self._folder),
                environ=self._environ(sim),
                log=logs / "nursery.log",
            ) as process,
        ):
            nursery = Nursery(process)
            port = nursery.ask("port")
            cast = json.loads((self._folder / "cast.json").read_text())
            (self._folder / "cast.json").write_text(json.dumps({**cast, "port": port}))
            self._wait(lambda: _answers(port), START_S, "a gateway answers")
            if plan.is_broadcasting:
                sim.broadcast_to(f"http://127.0.0.1:{port}/v1/broadcast", secret=SECRET)
            yield sim, nursery, wire

    @contextlib.contextmanager
    def _wire(self) -> Iterator["subprocess.Popen[str]"]:
        (self._folder / "wire").mkdir(mode=0o700)
        with grounds.running(
            "tests.chaos.wire",
            str(self._folder),
            f"{self._ground.socket_folder}/{folders.POSTGRES_SOCKET}",
            environ=self._ground.environ,
            log=self._folder / "logs" / "wire.log",
        ) as wire:
            (wire.stdout or _none()).readline()
            yield wire

    def _environ(self, sim: Upstream) -> dict[str, str]:
        url = self._ground.environ[grounds.APPLICATION]
        pace = plans.PACE | (plans.PLAIN_PACE if self._plan.is_plain else {})
        given = {**self._ground.environ, **pace}
        given.pop(grounds.OWNER, None)
        return given | {
            "DATABASE_URL": grounds.through(grounds.named(url, self._database), self._folder / "wire"),
            "OPENROUTER_API_KEY": grounds.UPSTREAM_KEY,
            "OPENROUTER_BASE_URL": f"{sim.url}/api/v1",
            "SPOOL_DIR": str(self._folder / "spool"),
            "BROADCAST_SECRET": SECRET,
            "CRASH_AT": self._plan.crash_at,
        }

    def _load(self, sim: Upstream, nursery: "Nursery", wire: "subprocess.Popen[str]") -> None:
        begun = time.monotonic()
        with grounds.running(
            "tests.chaos.load",
            str(self._folder),
            environ=self._ground.environ,
            log=self._folder / "logs" / "load.log",
        ) as load:
            nursery.ask("pay")
            processes = {"clients": load, "nursery": nursery.process, "wire": wire}
            while not self._is_enough(calls := sim.look(), nursery):
                self._harm(calls, nursery)
                if time.monotonic() - begun > self._plan.load_s_max:
                    break
                self._look_after(processes, for_s=LOOK_EVERY_S)
            load.send_signal(signal.SIGTERM)
            # The last answers still meet dying gateways and lost answers.
            self._wait(lambda: load.poll() is not None, LAST_CALLS_S, "the clients end")
        self._outcome.load_s = time.monotonic() - begun
        wire.send_signal(signal.SIGUSR1)
        nursery.ask("calm")

    def _is_enough(self, calls: int, nursery: "Nursery") -> bool:
        plan, done = self._plan, self._outcome
        if calls < plan.calls or done.restarts < plan.restarts:
            return False
        done.deaths = nursery.ask("deaths")
        return done.kills >= plan.kills

    def _harm(self, calls: int, nursery: "Nursery") -> None:
        """Do what is due after so many calls."""
        plan, done = self._plan, self._outcome
        nursery.ask(
            f"chaos {FIRST_KILLS + int(plan.kills * KILLS_MARGIN * calls / plan.calls) if plan.kills else 0}"
        )
        if done.restarts < plan.restarts and calls >= plan.calls * (done.restarts + 0.5) / plan.restarts:
            self._ground.crash_postgres()
            done.restarts += 1
        if time.monotonic() >= self._flush_at:
            self._flush_at = time.monotonic() + self._chance.uniform(*plan.flush_every_s)
            self._ground.flush_valkey()
            done.flushes += 1

    def _look_after(self, processes: dict[str, "subprocess.Popen[str]"], *, for_s: float) -> None:
        """Keep the servers alive for a while; what is the harness's own must live."""
        ends_at = time.monotonic() + for_s
        while time.monotonic() < ends_at:
            self._ground.look_after()
            for name, process in processes.items():
                if process.poll() is not None:
                    raise RunFailed(f"The {name} ended ({process.returncode}); see {self._folder}/logs.")

    def _drain(self, sim: Upstream, nursery: "Nursery") -> None:
        begun = time.monotonic()
        left: list[str] = []

        def is_drained() -> bool:
            left[:] = self._left(sim)
            return not left

        self._wait(is_drained, self._plan.drain_s_max, "everything is settled", must=False)
        self._outcome.drain_s = time.monotonic() - begun
        self._outcome.left = left
        sim.look()
        nursery.ask("decide")
        nursery.ask("verify")

    def _left(self, sim: Upstream) -> list[str]:
        """What is still to be done, in words."""
        found = books.left(self._owner_url)
        if self._plan.is_broadcasting and (waiting := sim.news_waiting()):
            found.append(f"{waiting} broadcasts")
        if books.has_orphans(self._folder / "spool"):
            found.append("spool files")
        return found

    def _wait(self, ready: Callable[[], bool], timeout_s: float, what: str, *, must: bool = True) -> None:
        ends_at = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > ends_at:
                if must:
                    raise RunFailed(f"Not within {timeout_s:g} s: {what}; see {self._folder}/logs.")
                return
            self._ground.look_after()


class Nursery:
    """The process that forks the platform's processes, and how it is spoken to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def ask(self, order: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RunFailed(f"The nursery ended at {order!r}; see logs/nursery.log.")
        return json.loads(answer)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _none() -> Any:
    raise RunFailed("A process has no output.")
