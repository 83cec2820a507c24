"""What must outlive this process while the database is away: one append-only file of JSON lines per process.

A file belongs to the process that holds its lock; once the lock is free, whoever replays first applies and removes
it. A record is one `write`, so a killed process loses none. It is synced to the disk only by `rotate`, which
follows within a second when a settlement was spooled: a machine that loses its power can lose that second.
A record that is refused, and a line that is none, stand in nobody's way: they alone are kept, for a person.
"""

import fcntl
import logging
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from django.conf import settings
from django.db import close_old_connections

from billing.errors import BooksUnavailable

log = logging.getLogger(__name__)

# A live file is replaced past this size, so that its records are applied while the process lives on.
FILE_BYTES_MAX = 8 * 1024 * 1024
# Unit: seconds. What settlement spools becomes applicable this soon.
ROTATE_AFTER_S = 1.0
SUFFIX = ".jsonl"
# The lines of a file that nobody understands, or that were refused, are kept under this name for a person.
DAMAGED_SUFFIX = ".damaged"
# A replay that met the database away this often ends: one locked wallet is no outage.
UNAVAILABLE_FILES_MAX = 3

type Record = Mapping[str, Any]

_appliers: dict[str, Callable[[list[Record]], None]] = {}
# The first guards what is written to, and is never kept while the disk works; the second lets one file go at a time.
_lock = threading.Lock()
_letting_go = threading.Lock()


@dataclass(slots=True)
class _LiveFile:
    path: Path
    fd: int
    size_bytes: int = 0
    is_torn: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    """A record as it was read, and the bytes it was read from."""

    record: Record
    text: bytes


_live: _LiveFile | None = None
# Let go of, and not closed yet.
_leaving: _LiveFile | None = None
_rotation: threading.Timer | None = None


def applies(kind: str) -> Callable[[Callable[[list[Record]], None]], Callable[[list[Record]], None]]:
    """Name the function that carries out spooled records of this kind: idempotent, raising BooksUnavailable only."""

    def register(function: Callable[[list[Record]], None]) -> Callable[[list[Record]], None]:
        _appliers[kind] = function
        return function

    return register


def append(record: Record) -> bool:
    """Write one record down; False, and an error in the log, when the disk refuses it or JSON cannot say it.

    Shape: `record["kind"]` names who applies it; UUIDs, dates and Decimals become strings.
    """
    try:
        line = orjson.dumps(record, default=str) + b"\n"
        with _lock:
            _write(line)
    except (OSError, TypeError, ValueError) as exc:
        log.error("Spool: a %s record could not be written: %s", record.get("kind"), exc)
        return False
    return True


def rotate() -> None:
    """Sync the live file and let go of it, so that its records can be applied; the next record opens another."""
    global _live, _leaving
    with _letting_go:
        with _lock:
            _leaving, _live = _live, None
        # Those who write go on with the next file while the disk works on this one.
        if _leaving is not None:
            _close(_leaving, sync=True)
        _leaving = None


def rotate_soon() -> None:
    """Rotate within ROTATE_AFTER_S, together with all that is written until then."""
    global _rotation
    with _lock:
        if _rotation is None:
            _rotation = threading.Timer(ROTATE_AFTER_S, _rotate_on_time)
            _rotation.daemon = True
            _rotation.start()


def close() -> None:
    """Let go of the live file when the process ends."""
    global _rotation
    with _lock:
        timer, _rotation = _rotation, None
    if timer is not None:
        timer.cancel()
        timer.join()
    rotate()


def replay() -> int:
    """Apply and remove the files that no process writes any more; return how many records they held.

    Shape: safe to run twice and in parallel; a file is removed only after all of it was applied, or kept for a
    person. A file that cannot be read is passed over.
    Errors: BooksUnavailable, and the files that could not be applied stay; the others are applied all the same.
    """
    paths = sorted(settings.SPOOL_DIR.glob(f"*{SUFFIX}"))
    if not paths:
        return 0
    # Outside a request nobody else notices that this thread's connection died.
    close_old_connections()
    found = 0
    unavailable: list[BooksUnavailable] = []
    for path in paths:
        try:
            found += _replay_file(path)
        except OSError as exc:
            log.error("Spool: %s is passed over: %s", path, exc)
        except BooksUnavailable as exc:
            unavailable.append(exc)
            if len(unavailable) == UNAVAILABLE_FILES_MAX:
                break
    if unavailable:
        raise unavailable[0]
    return found


def _rotate_on_time() -> None:
    global _rotation
    with _lock:
        # What is written from here on asks for a rotation of its own.
        _rotation = None
    rotate()


def _write(line: bytes) -> None:
    global _live
    if _live is None or _live.path.parent != settings.SPOOL_DIR:
        _drop_live()
        _live = _open()
    if _live.is_torn:
        line = b"\n" + line
    written = os.write(_live.fd, line)
    _live.is_torn = written != len(line)
    _live.size_bytes += written
    if _live.is_torn:
        raise OSError(f"{written} of {len(line)} bytes written to {_live.path}")
    if _live.size_bytes >= FILE_BYTES_MAX:
        _drop_live()


def _open() -> _LiveFile:
    settings.SPOOL_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        path = settings.SPOOL_DIR / f"{os.getpid()}-{uuid4().hex}{SUFFIX}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        # Between the two steps a replay may have taken the new file for a dead process's empty one.
        if _try_lock(fd) and _is_still(path, fd):
            return _LiveFile(path=path, fd=fd)
        os.close(fd)


def _drop_live() -> None:
    global _live
    live, _live = _live, None
    if live is not None:
        _close(live, sync=False)


def _close(live: _LiveFile, *, sync: bool) -> None:
    try:
        if sync:
            os.fdatasync(live.fd)
        if live.size_bytes == 0:
            live.path.unlink(missing_ok=True)
    except OSError as exc:
        log.error("Spool: %s could not be synced: %s", live.path, exc)
    finally:
        os.close(live.fd)


def _replay_file(path: Path) -> int:
    with _taken(path) as text:
        if text is None:
            return 0
        lines, damaged = _read(path, text)
        refused = _apply(path, lines)
        if damaged or refused:
            _keep(path.with_suffix(DAMAGED_SUFFIX), damaged + refused)
        path.unlink()
    return len(lines) - len(refused)


@contextmanager
def _taken(path: Path) -> Iterator[bytes | None]:
    """The file's content while this process alone has it; None when it lives, or went away meanwhile."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        if _try_lock(fd) and _is_still(path, fd):
            with open(fd, "rb", closefd=False) as file:
                yield file.read()
        else:
            yield None
    finally:
        os.close(fd)


def _read(path: Path, text: bytes) -> tuple[list[_Line], list[bytes]]:
    """Every record of a file, and the lines that are none; a line that a kill cut off at the end does not count."""
    found: list[_Line] = []
    damaged: list[bytes] = []
    *lines, last = text.split(b"\n")
    for line in filter(None, lines):
        try:
            record = orjson.loads(line)
            is_known = record["kind"] in _appliers
        except (orjson.JSONDecodeError, TypeError, KeyError):
            is_known = False
        if is_known:
            found.append(_Line(record, line))
        else:
            damaged.append(line)
            log.error("Spool: %s has a line of %d bytes that is no record", path, len(line))
    if last:
        log.warning("Spool: %s ends in %d bytes of a record that was never finished", path, len(last))
    return found, damaged


def _apply(path: Path, lines: list[_Line]) -> list[bytes]:
    """Apply what can be applied; return the lines that were refused."""
    by_kind: dict[str, list[_Line]] = defaultdict(list)
    for line in lines:
        by_kind[line.record["kind"]].append(line)
    refused: list[bytes] = []
    for kind, found in by_kind.items():
        try:
            _appliers[kind]([line.record for line in found])
        except BooksUnavailable:
            raise
        except Exception as exc:
            # One bad record fails the others with it, so each is tried on its own; applied twice is applied once.
            log.warning("Spool: the %s records of %s are applied one by one: %s", kind, path, exc)
            refused += [line.text for line in found if not _is_applied(path, line)]
    return refused


def _is_applied(path: Path, line: _Line) -> bool:
    try:
        _appliers[line.record["kind"]]([line.record])
    except BooksUnavailable:
        raise
    except Exception:
        log.exception("Spool: a %s record of %s is kept: it was refused", line.record["kind"], path)
        return False
    return True


def _keep(path: Path, lines: list[bytes]) -> None:
    """Put lines on the disk for a person; a second time, after a crash in between, they are the same."""
    with path.open("wb") as file:
        file.writelines(line + b"\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, fd: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(fd).st_ino
    except FileNotFoundError:
        return False


def _forget_in_child() -> None:
    """A forked child shares the parent's lock: it must leave the file alone and open its own."""
    global _live, _leaving, _lock, _letting_go, _rotation
    _lock, _letting_go, _rotation = threading.Lock(), threading.Lock(), None
    for file in (_live, _leaving):
        if file is not None:
            os.close(file.fd)
    _live = _leaving = None


os.register_at_fork(after_in_child=_forget_in_child)
