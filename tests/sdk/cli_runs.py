"""Runs of the command line as a person and as a program have it: a process of its own, on a terminal or in a pipe."""

import contextlib
import errno
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAIVE = str(Path(sys.executable).parent / "naive")
STYLES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
SPINNER = re.compile(r"[⠀-⣿] [^\n]*?(?=[⠀-⣿]|\n|$)")
TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a run; on a terminal both streams are one."""

    code: int
    out: str
    err: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def result(self) -> Any:
        assert self.code == 0, self.out
        return self.json["result"]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at a machine: a home, and what they have set."""

    home: Path
    environ: Mapping[str, str]

    def run(self, *arguments: str, given: str | bytes = "", **environ: str) -> Ran:
        """Run `naive` in a pipe."""
        data = given.encode() if isinstance(given, str) else given
        done = subprocess.run(
            [NAIVE, *arguments],
            input=data,
            env=self._environ(environ),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    def watch(
        self, *arguments: str, typed: Mapping[str, str] | None = None, columns: int = 100, **environ: str
    ) -> Ran:
        """Run `naive` on a terminal. `typed`: what is answered when these words are shown, in this order."""
        main, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        # A session of its own, so that Ctrl-C reaches it as a signal.
        process = subprocess.Popen(
            [NAIVE, *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=self._environ({"TERM": "xterm-256color", **environ}),
            preexec_fn=_take_terminal,
        )
        os.close(terminal)
        try:
            shown = _talk(main, dict(typed or {}))
            return Ran(process.wait(TIMEOUT_S), shown)
        finally:
            process.kill()
            process.wait()
            os.close(main)

    def _environ(self, more: Mapping[str, str]) -> dict[str, str]:
        own = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8", **self.environ, **more}
        return {name: value for name, value in own.items() if value}


def _take_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _talk(main: int, typed: dict[str, str]) -> str:
    shown = b""
    while True:
        ready, _, _ = select.select([main], [], [], TIMEOUT_S)
        assert ready, f"silent for {TIMEOUT_S} s; shown: {shown.decode()}"
        try:
            piece = os.read(main, 65536)
        except OSError as exc:
            # How Linux says that nobody has the terminal any more.
            if exc.errno != errno.EIO:
                raise
            break
        if not piece:
            break
        shown += piece
        for words, answer in list(typed.items()):
            if words.encode() not in shown:
                break
            with contextlib.suppress(OSError):
                os.write(main, answer.encode())
            del typed[words]
    assert not typed, f"never asked: {typed}; shown: {shown.decode()}"
    return shown.decode().replace("\r\n", "\n")


def plain(text: str) -> str:
    """What is left on the screen, without styles."""
    return SPINNER.sub("", STYLES.sub("", text).replace("\r", ""))
