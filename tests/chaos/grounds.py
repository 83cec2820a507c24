"""What a run stands on: a PostgreSQL cluster of its own, as in production, Valkey, and a fresh database each."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import redis
from psycopg import sql

from naive_platform import embedded, folders, supervisor
from naive_platform.supervisor import Program, Supervisor

ROOT = Path(__file__).parents[2]
UPSTREAM_KEY = "sk-or-v1-chaos"
MIGRATE_S = 120.0
STOP_S = 10.0
KEPT_NAMES = ("PATH", "HOME", "TMPDIR", "LANG")
OWNER, APPLICATION = "DATABASE_OWNER_URL", "DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Grounds:
    """The servers, kept alive by `children`; `environ` leads to the template that every run's database is made of."""

    children: Supervisor
    folder: Path
    environ: Mapping[str, str]

    @property
    def owner_url(self) -> str:
        return self.environ.get(OWNER) or self.environ[APPLICATION]

    @property
    def socket_folder(self) -> str:
        return psycopg.conninfo.conninfo_to_dict(self.owner_url)["host"]  # type: ignore[return-value]

    def look_after(self) -> None:
        """Start again what has died; takes up to a fifth of a second."""
        turns = iter((False, True))
        self.children.watch(lambda: next(turns))

    def make_database(self, name: str) -> None:
        with psycopg.connect(named(self.owner_url, "postgres"), autocommit=True) as server:
            template = sql.Identifier(urlsplit(self.owner_url).path.strip("/"))
            server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))

    def crash_postgres(self) -> None:
        """What `pg_ctl stop -m immediate` sends; the supervisor then starts it again, and it recovers."""
        self.children.children["postgres"].process.send_signal(signal.SIGQUIT)

    def flush_valkey(self) -> None:
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.environ["REDIS_URL"]) as broker:
            broker.flushall()


@contextlib.contextmanager
def standing() -> Iterator[Grounds]:
    """The servers in a folder of their own, which goes with them."""
    folder = folders.data_folder(Path(tempfile.mkdtemp(prefix="naive-chaos-")))
    try:
        with (
            (folder / "supervisor.log").open("w", buffering=1) as log,
            folders.locked(folder),
            Supervisor(say=lambda message: print(message, file=log)) as children,
        ):
            (folder / "logs").mkdir(exist_ok=True)
            urls = embedded.start(children, folder=folder, environ={}, fast=False)
            # Nothing of a platform that this shell may be set up for.
            environ = {name: os.environ[name] for name in KEPT_NAMES if name in os.environ}
            environ |= {**urls, "DEBUG": "1", "PYTHONUNBUFFERED": "1"}
            environ |= {
                "SECRET_KEY": "chaos-only",
                "KEY_PEPPER": "chaos-only",
                "NAIVE_DATA_DIR": str(folder),
            }
            children.run(_migrate(folder, environ), timeout_s=MIGRATE_S)
            yield Grounds(children, folder, environ)
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a data folder, and what had to lie outside it."""
    outside = folder / "outside"
    if outside.is_symlink():
        shutil.rmtree(outside.resolve(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def named(url: str, database: str) -> str:
    """The same server and login, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def through(url: str, socket_folder: Path) -> str:
    """The same login and database, through another socket."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@{quote(str(socket_folder), safe='')}:5432"))


@contextlib.contextmanager
def running(
    name: str, *arguments: str, environ: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[str]]:
    """A Python module as a process with a pipe to its ends, for as long as the block lasts."""
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", name, *arguments],
            cwd=ROOT,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            preexec_fn=supervisor.die_with_parent(signal.SIGKILL),
        )
    with process:
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def _migrate(folder: Path, environ: Mapping[str, str]) -> Program:
    return Program(
        name="migrate",
        argv=(sys.executable, "manage.py", "migrate", "--no-input"),
        env=environ,
        cwd=ROOT,
        log=folder / "logs" / "migrate.log",
    )
