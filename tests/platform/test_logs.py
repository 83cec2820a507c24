"""Errors in a child's log reach the terminal, and nothing else does."""

import json
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


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("start", STARTS)
def test_our_errors_reach_the_terminal_from_every_process(log: Path, start: str, form: str) -> None:
    environ = ENVIRONMENT | {
        "DEBUG": "1",
        "DJANGO_SETTINGS_MODULE": "naive_platform.settings",
        # Unset, it is JSON here: a file is no terminal.
        "LOG_FORMAT": "text" if form == "text" else "",
    }
    with log.open("w") as file:
        subprocess.run(
            [sys.executable, "-c", STARTS[start] + SPEAK], cwd=ROOT, env=environ, stderr=file, check=True
        )
    lines = log.read_text().splitlines()
    if form == "text":
        assert re.fullmatch(TIME + "INFO billing.settlement: charged 1", lines[0])
    else:
        found = [json.loads(line) for line in lines]
        assert (found[0]["level"], found[0]["message"]) == ("info", "charged 1")
        assert found[-1]["exception"].endswith("ZeroDivisionError: division by zero")
    assert "of a library" not in log.read_text()
    said = relay(log)
    assert re.fullmatch(r"gateway \| " + TIME + r"(?i:ERROR) billing.settlement: kept a\\nb", said[0])
    assert re.fullmatch(r"gateway \| " + TIME + "(?i:ERROR) django.request: of Django", said[1])
    assert re.fullmatch(r"gateway \| " + TIME + "(?i:ERROR) billing.spool: broke", said[2])
    assert said[-1] == "gateway | ZeroDivisionError: division by zero"


def record(message: str, *arguments: object, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.INFO, "", 1, message, arguments, None)
    made.fields = fields
    return made


def test_what_a_client_sent_does_not_begin_a_line() -> None:
    assert (
        logs.LineFormatter()
        .format(record("GET %s", "/a\r\n2026 ERROR"))
        .endswith(r"INFO x: GET /a\r\n2026 ERROR")
    )


HOSTILE = "a\x1b[31mb\x00\x07\x7f\x9b\u2028\u202e\r\nc\ud800"


@pytest.mark.parametrize("formatter", [logs.LineFormatter(), logs.JSONFormatter()])
def test_nothing_that_a_terminal_obeys_is_written(formatter: logging.Formatter) -> None:
    text = formatter.format(record("%s", HOSTILE, route=HOSTILE))
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u202e]", text)
    assert "\\x1b[31m" in text or "\\u001b[31m" in text


@pytest.mark.parametrize("formatter", [logs.LineFormatter(), logs.JSONFormatter()])
@pytest.mark.parametrize(
    "secret", ["nv_sk_" + "live_" + "a1B2" * 9, "nv_sess_" + "Zz09" * 8, "sk-or-" + "v1-" + "ab12" * 16]
)
def test_key_in_a_record_is_masked(formatter: logging.Formatter, secret: str) -> None:
    text = formatter.format(record("Not Found: /v1/%s", secret, route=secret))
    assert secret not in text
    assert secret[-8:] not in text


def test_fields_are_in_both_forms() -> None:
    made = record("answered", route="llm/chat/completions", status=200)
    assert (
        logs.LineFormatter().format(made).endswith("INFO x: answered route=llm/chat/completions status=200")
    )
    found = json.loads(logs.JSONFormatter().format(made))
    assert (found["route"], found["status"], found["message"]) == ("llm/chat/completions", 200, "answered")
