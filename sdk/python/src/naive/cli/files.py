"""Files that hold a key: replaced whole or not at all, readable by their owner alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PRIVATE = 0o600


def replace(path: Path, text: str) -> None:
    """Put `text` in the place of a file; a link is followed, so that it stays one."""
    target = path.resolve()
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp's files are 0600 from the start.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def back_up(path: Path) -> Path:
    """Copy a file beside itself under a name that is free, and return that."""
    target = path.resolve()
    number = 1
    while (copy := target.with_name(f"{target.name}.backup-{number}")).exists():
        number += 1
    replace(copy, read(target))
    return copy


def read(path: Path) -> str:
    """Return a file's text with its own line ends."""
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()
