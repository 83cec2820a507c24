"""A process of its own that spools: `die FOLDER RECORD` ends without a word, `fill FOLDER` meets a full disk,
`fork FOLDER` spools before and after it forks."""

import os
import resource
import signal
import sys
from pathlib import Path

import orjson
from django.conf import settings

from billing import spool


def die(record: str) -> None:
    assert spool.append(orjson.loads(record))
    os._exit(9)


def fill() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    assert spool.append({"kind": "a"})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (25, hard))
    assert not spool.append({"kind": "b" * 20})
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert spool.append({"kind": "c"})


def fork() -> None:
    assert spool.append({"kind": "parent"})
    pid = os.fork()
    if pid == 0:
        os._exit(0 if spool.append({"kind": "child"}) else 1)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    _, work, folder, *arguments = sys.argv
    settings.configure(SPOOL_DIR=Path(folder))
    if work == "die":
        die(*arguments)
    if work == "fork":
        fork()
    fill()
