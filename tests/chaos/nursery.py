"""The preloaded parent: imports the platform once, forks its processes, kills them, and forks them again at once.

    python -m tests.chaos.nursery FOLDER

Orders come as words, one a line, on standard input; each is answered by one line of JSON:

    port        where the gateways listen
    pay         begin to top up and to correct
    chaos N     kill at random times, N processes in all so far
    deaths      how many died of what
    calm        kill no more, take the crash points away and have everything started anew
    decide      let a person decide what waits for one
    verify      run `verify_ledger` into verified.json
    end         kill everything and say how many died of what
"""

import gc
import json
import os
import random
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

# What a gateway, a worker or beat would import when it starts.
import celery.apps.beat
import celery.apps.worker
import celery.bin.beat
import celery.bin.worker
import celery.concurrency.thread  # noqa: F401
import kombu.transport.redis  # noqa: F401
from django.db import connections
from uvicorn.config import STARTUP_FAILURE

import naive_platform.asgi
import naive_platform.connections  # noqa: F401
from llm import crashpoints
from naive_platform import stack, supervisor
from naive_platform.celery import app
from tests.chaos import plans, roles

KILL_SHARES = {"gateway": 0.68, "worker": 0.27, "beat": 0.05}
# A child that ends by itself is a bug of its own; it is started again, but not in a circle.
SELF_ENDED_PAUSE_S = 0.1


class Nursery:
    """The children by pid, and what became of those that died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._plan = plans.of_json(json.loads((folder / "plan.json").read_text()))
        self._chance = random.Random(f"{self._plan.seed}:kills")
        self._listener = stack.listen(0)
        self._children: dict[int, str] = {}
        self._killed: set[int] = set()
        self._deaths: Counter[str] = Counter()
        self._kill_at: float | None = None
        self._kills_allowed = 0
        self._is_over = False

    def run(self) -> None:
        """Take orders until `end`."""
        roles.prepare(self._plan)
        self._once("founder", lambda: roles.found_companies(self._folder))
        self._start()
        pending = b""
        while not self._is_over:
            timeout = None if self._kill_at is None else max(self._kill_at - time.monotonic(), 0)
            readable, _, _ = select.select([0, _wake.fileno()], [], [], timeout)
            if _wake.fileno() in readable:
                _wake.recv(4096)
            self._reap()
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill_one()
            if 0 in readable:
                more = os.read(0, 4096)
                if not more:
                    return
                *orders, pending = (pending + more).split(b"\n")
                for order in orders:
                    name, *arguments = order.decode().split()
                    answer = getattr(self, f"do_{name}")(*map(int, arguments))
                    sys.stdout.write(json.dumps(answer) + "\n")
                    sys.stdout.flush()

    def do_port(self) -> int:
        return int(self._listener.getsockname()[1])

    def do_pay(self) -> bool:
        self._fork("payer", lambda: roles.pay_in(self._folder, self._plan.seed))
        return True

    def do_chaos(self, kills: int) -> bool:
        self._kills_allowed = kills
        if self._kill_at is None:
            self._kill_later()
        return True

    def do_deaths(self) -> dict[str, int]:
        return dict(self._deaths)

    def do_calm(self) -> bool:
        self._kill_at = None
        crashpoints.arm("")
        for pid, name in list(self._children.items()):
            if name == "payer":
                os.kill(pid, signal.SIGTERM)
            else:
                self._kill(pid)
        return True

    def do_decide(self) -> bool:
        return self._once("person", lambda: roles.decide(self._folder))

    def do_verify(self) -> bool:
        return self._once("verifier", lambda: roles.verify(self._folder))

    def do_end(self) -> dict[str, int]:
        self._is_over = True
        found = dict(self._deaths)
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)
        return found

    def _start(self) -> None:
        for number in range(self._plan.gateways):
            self._start_one(f"gateway-{number}")
        for number in range(self._plan.workers):
            self._start_one(f"worker-{number}")
        self._start_one("beat-0")

    def _start_one(self, name: str) -> None:
        role, _, number = name.partition("-")
        work: dict[str, Callable[[], None]] = {
            "gateway": lambda: roles.gateway(self._listener),
            "worker": lambda: roles.worker(int(number)),
            "beat": lambda: roles.beat(self._folder),
        }
        self._fork(name, work[role])

    def _fork(self, name: str, work: Callable[[], None]) -> int:
        connections.close_all()
        sys.stdout.flush()
        sys.stderr.flush()
        if threading.active_count() > 1:
            raise RuntimeError(f"Forked beside threads: {threading.enumerate()}.")
        pid = os.fork()
        if pid == 0:
            _become(self._folder / "logs" / f"{name.partition('-')[0]}.log", work)
        self._children[pid] = name
        return pid

    def _once(self, name: str, work: Callable[[], None]) -> bool:
        """Run something to its end; whether it ended well."""
        pid = self._fork(name, work)
        _, status = os.waitpid(pid, 0)
        del self._children[pid]
        return status == 0

    def _kill_later(self) -> None:
        self._kill_at = time.monotonic() + self._chance.uniform(*self._plan.kill_every_s)

    def _kill_one(self) -> None:
        self._kill_later()
        if len(self._killed) >= self._kills_allowed:
            return
        (role,) = self._chance.choices(list(KILL_SHARES), list(KILL_SHARES.values()))
        there = sorted(pid for pid, name in self._children.items() if name.startswith(role))
        if there:
            self._kill(self._chance.choice(there))

    def _kill(self, pid: int) -> None:
        self._killed.add(pid)
        os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            name = self._children.pop(pid)
            role = name.partition("-")[0]
            died_by = os.waitstatus_to_exitcode(status)
            if died_by != -signal.SIGKILL:
                # A gateway that finds no database when it starts gives up; that is its supervisor's to mend.
                how = "unstarted" if (role, died_by) == ("gateway", STARTUP_FAILURE) else "ended"
                how += f" with {died_by}" if how == "ended" and died_by else ""
                time.sleep(SELF_ENDED_PAUSE_S)
            else:
                how = "killed" if pid in self._killed else "crashed"
            self._deaths[f"{role} {how}"] += 1
            if role in KILL_SHARES:
                self._start_one(name)


def _become(log: Path, work: Callable[[], None]) -> None:
    """Leave the parent's things alone, do the work, and end."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if _tie is not None:
            _tie()
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for end, target in ((null, 0), (descriptor, 1), (descriptor, 2)):
            os.dup2(end, target)
        _wake.close()
        _waker.close()
        work()
        status = 0
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else int(bool(exc.code))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _note(_number: int, _frame: FrameType | None) -> None:
    """A handler, if only an empty one, is what makes a child's end wake the loop."""


_tie = supervisor.die_with_parent(signal.SIGKILL)
_wake, _waker = socket.socketpair()


def main() -> None:
    _waker.setblocking(False)
    signal.set_wakeup_fd(_waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _note)
    app.loader.import_default_modules()
    app.finalize()
    # What is here now is shared by all children: no collector need touch it.
    gc.collect()
    gc.freeze()
    Nursery(Path(sys.argv[1])).run()


if __name__ == "__main__":
    main()
