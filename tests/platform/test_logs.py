"""Errors in a child's log reach the terminal, and nothing else does."""

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from naive_platform import logs
from tests.platform.conftest import ENVIRONMENT, ROOT

TRACEBACK = """\
Traceback (most recent call last):
  File "billing/holds.py", line 1, in place
    raise ValueError
ValueError: no
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.log"
    path.write_text("")
    return path


def relay(log: Path) -> list[str]:
    said: list[str] = []
    logs.Relay("gateway", log, say=said.append).pump()
    return said


@pytest.mark.parametrize(
    "line",
    [
        "ERROR:    boom",
        "2026-01-01 00:00:00 [error    ] boom",
        '{"event": "boom", "level": "error"}',
        "2026-01-01T00:00:00.000Z ERROR billing.holds: boom",
        "[2026-01-01 00:00:00,000: CRITICAL/MainProcess] boom",
    ],
)
def test_error_is_said_whatever_wrote_it(log: Path, line: str) -> None:
    log.write_text(f"INFO:     all is well\n{line}\nINFO:     still well\n")
    assert relay(log) == [f"gateway | {line}"]


def test_traceback_is_said_to_its_last_line(log: Path) -> None:
    log.write_text(TRACEBACK + "INFO:     the next call\n")
    assert relay(log) == [f"gateway | {line}" for line in TRACEBACK.splitlines()]


def test_line_is_said_once_and_when_it_is_whole(log: Path) -> None:
    said: list[str] = []
    reader = logs.Relay("gateway", log, say=said.append)
    for text, expected in [("ERROR: bo", 0), ("om\n", 1), ("INFO: fine\n", 1)]:
        with log.open("a") as file:
            file.write(text)
        reader.pump()
        assert len(said) == expected


def test_flood_is_cut_and_the_log_named(log: Path) -> None:
    log.write_text("ERROR: boom\n" * 100)
    assert relay(log)[logs.LINES_AT_ONCE :] == [f"gateway | … 60 lines more in {log}"]


STARTS = {
    "gateway": "import uvicorn; uvicorn.Config('naive_platform.asgi:application').load()",
    "worker": "from naive_platform.celery import app; app.log.setup(loglevel='info')",
    "command": "import django; django.setup()",
}
SPEAK = """
import logging
logging.getLogger("billing.settlement").info("charged %s", 1)
logging.getLogger("billing.settlement").error("kept %s", "a\\nb")
logging.getLogger("uvicorn.error").info("of a library")
logging.getLogger("django.request").error("of Django")
try: 1 / 0
except ZeroDivisionError as exc: logging.getLogger("billing.spool").error("broke", exc_info=exc)
"""
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "


@pytest.mark.parametrize("start", STARTS)
def test_our_errors_reach_the_terminal_from_every_process(log: Path, start: str) -> None:
    environ = ENVIRONMENT | {"DEBUG": "1", "DJANGO_SETTINGS_MODULE": "naive_platform.settings"}
    with log.open("w") as file:
        subprocess.run(
            [sys.executable, "-c", STARTS[start] + SPEAK], cwd=ROOT, env=environ, stderr=file, check=True
        )
    lines = log.read_text().splitlines()
    assert re.fullmatch(TIME + "INFO billing.settlement: charged 1", lines[0])
    assert "of a library" not in log.read_text()
    said = relay(log)
    assert re.fullmatch(r"gateway \| " + TIME + r"ERROR billing.settlement: kept a\\nb", said[0])
    assert re.fullmatch(r"gateway \| " + TIME + "ERROR django.request: of Django", said[1])
    assert re.fullmatch(r"gateway \| " + TIME + "ERROR billing.spool: broke", said[2])
    assert said[-1] == "gateway | ZeroDivisionError: division by zero"


def test_what_a_client_sent_does_not_begin_a_line() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 1, "GET %s", ("/a\r\n2026 ERROR",), None)
    assert logs.LineFormatter().format(record).endswith(r"INFO x: GET /a\r\n2026 ERROR")
