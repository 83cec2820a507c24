"""Child processes started, watched, restarted and stopped together; knows nothing of what they do."""

import ctypes
import dataclasses
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from naive_platform import logs

# <linux/prctl.h>
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

# The wait before each restart; a child that lived for STEADY_S begins again at the first.
RESTART_WAITS_S = (0.1, 0.3, 1.0, 2.0, 5.0)
STEADY_S = 30.0
# So many deaths of one child within STEADY_S, before everything is up, end the start.
DEATHS_AT_START = 5
TICK_S = 0.2
SAME_SIGNAL_S = 1.0


class Stopped(Exception):
    """A signal asked for the end while something was being waited for."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.strsignal(signum))
        self.signum = signum


class StartFailed(Exception):
    """What was started does not come up; the message is for a person and names the log."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user a child runs as."""

    uid: int
    gid: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a child runs, and how it ends: `stage` 0 stops last; `prepare` runs before each start."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    stage: int = 0
    identity: Identity | None = None
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 10.0
    orphan_signal: int = signal.SIGKILL
    pass_fds: tuple[int, ...] = ()
    prepare: Callable[[], None] | None = None


@dataclasses.dataclass(slots=True)
class Child:
    """One program's running process, and its recent deaths (monotonic seconds)."""

    program: Program
    process: subprocess.Popen[bytes]
    deaths: list[float] = dataclasses.field(default_factory=list)
    restart_at: float | None = None

    @property
    def pid(self) -> int:
        return self.process.pid


class Supervisor:
    """Starts programs, restarts those that die, and on leaving stops all, highest stage first.

    To be used from the main thread: children are tied to the thread that started them.
    """

    def __init__(self, *, say: Callable[[str], None]) -> None:
        self.children: dict[str, Child] = {}
        self.say = say
        self._steady = False
        self._pending: int | None = None
        self._signalled_at = -SAME_SIGNAL_S
        self._stopping = self._hurried = False
        self._wake, self._waker = socket.socketpair()
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._waker.settimeout(0)
        self._wake.settimeout(0)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signums = [signal.SIGINT, signal.SIGTERM]
        # Under nohup the terminal's end is none of ours.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signums.append(signal.SIGHUP)
        for signum in signums:
            self._handlers[signum] = signal.signal(signum, self._note_signal)
        # A handler, if only an empty one, is what makes a child's end wake the loop.
        self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(exc, Stopped) and self.children:
            self.say("Stopping; once more to stop at once.")
        try:
            self.stop()
        finally:
            signal.set_wakeup_fd(-1)
            for signum, handler in self._handlers.items():
                signal.signal(signum, handler)
            self._wake.close()
            self._waker.close()

    def start(self, program: Program) -> Child:
        """Start a program; from now on it is restarted when it dies."""
        if program.prepare:
            program.prepare()
        logs.rotate(program.log)
        child = Child(program, spawn(program))
        self.children[program.name] = child
        return child

    def run(self, program: Program, *, timeout_s: float) -> None:
        """Run a program that ends by itself; StartFailed, with its last lines, when it ends badly."""
        logs.rotate(program.log)
        process = spawn(program)
        try:
            self.wait(lambda: process.poll() is not None, timeout_s=timeout_s, what=program.name)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode != 0:
            raise StartFailed(_obituary(program, process.returncode))

    def wait(self, ready: Callable[[], bool], *, timeout_s: float, what: str) -> None:
        """Watch the children until `ready`; Stopped on a signal, StartFailed when it takes too long."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > deadline:
                raise StartFailed(f"{what} did not come up in {timeout_s:.0f} s.")
            self._tick(0.05)

    def watch(self, ended: Callable[[], bool] = lambda: False) -> None:
        """Everything is up: keep it so until `ended`, or until a signal (Stopped)."""
        self._steady = True
        while not ended():
            self._tick(TICK_S)

    def stop(self) -> None:
        """Stop all children, stage by stage; a signal that comes now cuts every wait short."""
        self._stopping = True
        for stage in sorted({child.program.stage for child in self.children.values()}, reverse=True):
            self._stop_stage([c for c in self.children.values() if c.program.stage == stage])
        self.children.clear()

    def _stop_stage(self, children: list[Child]) -> None:
        begun = time.monotonic()
        for child in children:
            if child.process.poll() is None:
                child.process.send_signal(child.program.stop_signal)
        while waiting := [child for child in children if child.process.poll() is None]:
            for child in waiting:
                if self._hurried or time.monotonic() - begun > child.program.stop_timeout_s:
                    self.say(f"{child.program.name} (pid {child.pid}) did not stop in time; killed.")
                    _kill(child)
            self._sleep(0.05)

    def _tick(self, timeout_s: float) -> None:
        for child in list(self.children.values()):
            self._look_after(child)
        if self._pending is None:
            self._sleep(timeout_s)
        if self._pending is not None:
            signum, self._pending = self._pending, None
            raise Stopped(signum)

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.restart_at is None:
            if child.process.poll() is not None:
                self._mourn(child, now)
        elif now >= child.restart_at:
            if child.program.prepare:
                child.program.prepare()
            child.process = spawn(child.program)
            child.restart_at = None

    def _mourn(self, child: Child, now: float) -> None:
        child.deaths = [died for died in child.deaths if now - died < STEADY_S] + [now]
        code = child.process.returncode
        if not self._steady and len(child.deaths) >= DEATHS_AT_START:
            raise StartFailed(f"Gave up after {DEATHS_AT_START} starts. {_obituary(child.program, code)}")
        wait_s = RESTART_WAITS_S[min(len(child.deaths), len(RESTART_WAITS_S)) - 1]
        child.restart_at = now + wait_s
        # What it says when it dies again and again is the same.
        told = _obituary(child.program, code, in_full=len(child.deaths) == 1)
        self.say(f"{told}\nIt starts again in {wait_s:g} s.")

    def _note_signal(self, signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        # Some senders (timeout(1), a shell and its group) send one signal twice.
        self._hurried |= self._stopping and now - self._signalled_at > SAME_SIGNAL_S
        self._signalled_at, self._pending = now, signum

    def _sleep(self, timeout_s: float) -> None:
        select.select([self._wake], [], [], timeout_s)
        try:
            while self._wake.recv(4096):
                pass
        except BlockingIOError:
            pass


def spawn(program: Program) -> subprocess.Popen[bytes]:
    """Start a process in its own session (the terminal's Ctrl-C is for us), tied to our life."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    log = os.open(program.log, flags, 0o600)
    user: dict[str, Any] = {}
    if program.identity:
        user = {"user": program.identity.uid, "group": program.identity.gid, "extra_groups": []}
    try:
        return subprocess.Popen(  # noqa: S603 - argv is ours, there is no shell.
            program.argv,
            env=dict(program.env),
            cwd=program.cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
            pass_fds=program.pass_fds,
            preexec_fn=die_with_parent(program.orphan_signal),
            **user,
        )
    finally:
        os.close(log)


def _kill(child: Child) -> None:
    # PostgreSQL first gets the chance to take its own children along.
    child.process.send_signal(child.program.orphan_signal)
    try:
        child.process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.process.kill()
        child.process.wait()


def die_with_parent(signum: int) -> Callable[[], None] | None:
    """What a child does between fork and exec so that the kernel sends it `signum` when we die (Linux).

    subprocess calls it after it has changed the user, which would have cleared the wish.
    """
    if _LIBC is None:
        return None
    prctl, parent = _LIBC.prctl, os.getpid()
    arguments = (ctypes.c_int(PR_SET_PDEATHSIG), *(ctypes.c_ulong(n) for n in (signum, 0, 0, 0)))

    def wish() -> None:
        if prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        # The parent may have died before the wish was made.
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return wish


def _obituary(program: Program, returncode: int, *, in_full: bool = True) -> str:
    cause = f"exit code {returncode}" if returncode >= 0 else signal.strsignal(-returncode)
    # Of a child that somebody killed the log has nothing to tell.
    told = logs.last_lines(program.log) if in_full and returncode != -signal.SIGKILL else ""
    return f"{program.name} ended ({cause}); its log is {program.log}{told}"
