"""The processes of a run: built, pinned to their cores, measured through /proc, and ended by pid."""

import contextlib
import dataclasses
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from naive_platform import supervisor

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
SOURCES = {"upstream": ("upstream.c", "answers.c", "turns.c"), "load": ("load.c", "response.c")}
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STOP_S = 15.0


class BenchFailed(Exception):
    """The run cannot go on; the message is one line for a person."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cores:
    """Who runs where: the gateway has a core of its own as soon as there are two."""

    gateway: frozenset[int]
    rest: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> "Cores":
        usable = sorted(os.sched_getaffinity(0))
        return cls(gateway=frozenset(usable[-1:]), rest=frozenset(usable[:1]))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of a process and its descendants, in kB; PSS counts a shared page by its share."""

    rss_kb: int
    pss_kb: int


def build() -> None:
    """Compile the mock upstream and the load generator into bench/build."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise BenchFailed("no C compiler (cc, gcc or clang) on PATH; install one, such as Debian's gcc.")
    BUILD.mkdir(exist_ok=True)
    for name, sources in SOURCES.items():
        argv = [compiler, *FLAGS, "-o", str(BUILD / name), *(str(HERE / source) for source in sources)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchFailed(f"{Path(compiler).name} cannot build {name}: {done.stderr.strip()[-2000:]}")


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    *,
    cores: frozenset[int],
    env: Mapping[str, str],
    stdout: int | IO[str],
    stderr: int | IO[str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[str]]:
    """Run a process on these cores for as long as the block lasts; it never outlives us."""
    process = subprocess.Popen(
        argv,
        env=dict(env),
        cwd=HERE.parent,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        pass_fds=tuple(pass_fds),
        # Ctrl-C is for us; who ends when is then our order.
        start_new_session=True,
        preexec_fn=_pin(cores),
    )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process to end, and end it when it does not; one that has ended is left alone."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _pin(cores: frozenset[int]) -> Callable[[], None]:
    wish = supervisor.die_with_parent(signal.SIGKILL)

    def prepare() -> None:
        os.sched_setaffinity(0, cores)
        if wish is not None:
            wish()

    return prepare


def cpu_s(root: int) -> float:
    """CPU seconds of a process, its living descendants, and those of them that were waited for."""
    return sum(sum(_stat(pid)[2:]) for pid in _tree(root)) / TICKS_PER_S


def own_cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def machine_cpu_s() -> float:
    """CPU seconds of everything on this machine; also those that its host took away."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def memory(root: int) -> Memory:
    """Memory of a process and its descendants."""
    rolls = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in _tree(root)]
    return Memory(
        rss_kb=sum(_kb(roll, "Rss:") for roll in rolls), pss_kb=sum(_kb(roll, "Pss:") for roll in rolls)
    )


def postmaster(backend_pid: int) -> int | None:
    """The parent of a PostgreSQL backend; None when that server is not on this machine."""
    with contextlib.suppress(OSError):
        if (Path("/proc") / str(backend_pid) / "comm").read_text().startswith("postgres"):
            return int(_stat(backend_pid)[1])
    return None


def _kb(roll: str, name: str) -> int:
    return next(int(line.split()[1]) for line in roll.splitlines() if line.startswith(name))


def _stat(pid: int) -> tuple[int, int, int, int, int, int]:
    """(pid, parent, utime, stime, cutime, cstime), times in ticks; zeros for one that is gone."""
    try:
        # The name stands in parentheses and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return (pid, 0, 0, 0, 0, 0)
    return (pid, int(fields[1]), int(fields[11]), int(fields[12]), int(fields[13]), int(fields[14]))


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            pid = int(entry.name)
            children.setdefault(_stat(pid)[1], []).append(pid)
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return tree
