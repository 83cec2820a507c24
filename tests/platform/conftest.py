"""Real runs in data folders of their own: started as a user would, and never left behind."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
# What a run under test must not inherit from the run that tests it.
OURS = {
    *(
        "DATABASE_URL",
        "DATABASE_OWNER_URL",
        "REDIS_URL",
        "NAIVE_DATA_DIR",
        "SPOOL_DIR",
        "PUBLIC_URL",
        "SECRET_KEY",
        "KEY_PEPPER",
    ),
    *("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "UPSTREAM_IS_SIMULATOR"),
}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in OURS}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run something as another user")
needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")


@dataclasses.dataclass
class Ground:
    """One data folder, which need not be there yet, and what was started on it."""

    folder: Path
    database_url: str = ""
    redis_url: str = ""
    started: list[subprocess.Popen[str]] = dataclasses.field(default_factory=list)

    def embedded(self, *words: str, prefix: tuple[str, ...] = (), **environ: str) -> subprocess.Popen[str]:
        """Start `python -m naive_platform.embedded … WORDS` on this folder."""
        module = ("-m", "naive_platform.embedded", "--fast", "--data-dir", str(self.folder))
        return self.python(*module, *words, prefix=prefix, **environ)

    def python(self, *words: str, prefix: tuple[str, ...] = (), **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*prefix, sys.executable, *words],
            cwd=ROOT,
            env=ENVIRONMENT | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def outcome(
        self, *words: str, prefix: tuple[str, ...] = (), **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end: code, stdout, stderr."""
        process = self.embedded(*words, prefix=prefix, **environ)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, stdout, stderr)

    def answer(self, code: str, **environ: str) -> str:
        """What a Python program with both URLs prints."""
        done = self.outcome("--", sys.executable, "-c", PRELUDE + code, prefix=(), **environ)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def urls(self) -> tuple[str, str]:
        """Start both servers for as long as this ground lasts: database, broker."""
        script = "echo $DATABASE_URL; echo $REDIS_URL; exec sleep 600"
        process = self.embedded("sh", "-c", script)
        assert process.stdout is not None
        return process.stdout.readline().strip(), process.stdout.readline().strip()

    def holding(self, code: str = "") -> subprocess.Popen[str]:
        """Start a program that says it is there and stays until somebody ends it."""
        process = self.embedded(
            "--", sys.executable, "-uc", PRELUDE + code + "\nprint('there'); time.sleep(60)"
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == "there\n", (line, process.stderr and process.stderr.read())
        return process

    def processes(self) -> dict[int, str]:
        """Everything alive that works in or names this folder, by /proc: pid and command line."""
        found = {}
        places = {str(self.folder), str((self.folder / "outside").resolve())}
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                command = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    if entry.name.isdigit()
                    else ""
                )
                environ = (entry / "environ").read_bytes().decode(errors="replace") if command else ""
                cwd = str((entry / "cwd").readlink()) if command else ""
                if any(place in command or cwd.startswith(place) or place in environ for place in places):
                    found[int(entry.name)] = command
        found.pop(os.getpid(), None)
        return found

    def remove(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        outside = self.folder / "outside"
        if outside.is_symlink():
            shutil.rmtree(outside.readlink(), ignore_errors=True)


PRELUDE = """
import os, signal, sys, time, psycopg, redis
db = psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True)
broker = redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
def value(statement): return db.execute(statement).fetchone()[0]
"""


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass through; pytest's own is 0700."""
    path = Path(tempfile.mkdtemp(prefix="naive-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def base() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@pytest.fixture(scope="session")
def used_folder() -> Iterator[Path]:
    """A data folder after its first run, for tests that are not about the first run."""
    with open_folder() as base:
        ground = Ground(base / "data")
        assert ground.outcome("true").returncode == 0
        yield ground.folder


@pytest.fixture
def new_ground(base: Path) -> Iterator[Callable[..., Ground]]:
    grounds: list[Ground] = []

    def make(folder: Path | str = "data") -> Ground:
        grounds.append(Ground(base / folder))
        return grounds[-1]

    yield make
    for ground in grounds:
        ground.remove()


@pytest.fixture
def ground(new_ground: Callable[..., Ground], used_folder: Path) -> Ground:
    ground = new_ground()
    subprocess.run(["cp", "-a", used_folder, ground.folder], check=True)
    return ground


def until(happened: Callable[[], object], *, within_s: float = 15.0) -> bool:
    """Wait for something to happen; False when it did not."""
    deadline = time.monotonic() + within_s
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
