"""Crash points: nothing unless asked, and then exactly the ones that were asked for."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from llm import crashpoints

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
import django
from django.conf import settings
settings.configure(CRASH_AT=sys.argv[1])
from llm import crashpoints
for point in sys.argv[2]:
    crashpoints.reach(point)
"""


def run(crash_at: str, points: str) -> int:
    """Return the exit code of a process that reaches those points; minus the signal that ended it."""
    command = [sys.executable, "-c", PROGRAM, crash_at, points]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode


def test_unset_setting_names_no_point() -> None:
    assert crashpoints.parse("") == {}
    assert not any(map(crashpoints.is_armed, crashpoints.POINTS))


def test_point_alone_is_certain_and_a_number_is_a_probability() -> None:
    assert crashpoints.parse("C") == {"C": 1.0}
    assert crashpoints.parse("A:0.01, F:0.02,") == {"A": 0.01, "F": 0.02}


@pytest.mark.parametrize("text", ["H", "a", "AB", "A:", "A:often", "A:nan", "A:-0.1", "A:1.1", "A=1"])
def test_what_is_no_point_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="CRASH_AT"):
        crashpoints.parse(text)


def test_process_dies_at_its_point_as_by_kill_9() -> None:
    assert run("F", "ABCDEF") == -signal.SIGKILL


@pytest.mark.parametrize("crash_at", ["", "G", "F:0"])
def test_process_lives_past_every_other_point(crash_at: str) -> None:
    assert run(crash_at, "ABCDEF") == 0


def test_probability_kills_some_and_not_others() -> None:
    assert run("A:0.5", "A" * 60) == -signal.SIGKILL
    assert run("A:0.0001", "A") == 0


def test_worker_can_be_given_points_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashpoints, "_chances", {})
    crashpoints.arm("D:0.25")
    assert crashpoints.is_armed("D")
    crashpoints.arm("")
    assert not crashpoints.is_armed("D")
