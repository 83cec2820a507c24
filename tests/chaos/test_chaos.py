"""The harness in short: nothing is lost, doubled or wrong, and two missing safeguards do not pass unnoticed."""

import json
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from tests.chaos import audits, grounds

# Well past what a form takes on a machine that does other things besides.
TIMEOUT_S = 600
NOTHING_WRONG: dict[str, list[str]] = {name: [] for name in (*audits.FINDINGS, "problems")}


def carry_out(form: str) -> list[dict[str, Any]]:
    """The form's runs, by a harness in a process of its own: on its own servers, with its own settings."""
    command = [sys.executable, "-m", "tests.chaos", "--form", form, "--json"]
    done = subprocess.run(
        command, cwd=grounds.ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["runs"]
    return found


def test_every_cost_is_charged_exactly_once_whatever_crashes() -> None:
    (run,) = carry_out("short")
    assert {name: run[name] for name in NOTHING_WRONG} == NOTHING_WRONG
    assert run["calls"] >= 2_000
    assert run["kills"] >= 20
    assert run["restarts"] >= 1
    assert Decimal(run["upstream_usd"]) > 0
    assert Decimal(run["difference_usd"]) == 0
    assert (run["open_holds"], run["held_nanocredits"]) == (0, 0)


@pytest.fixture(scope="module")
def mutants() -> dict[str, dict[str, Any]]:
    """Two situations, each with its safeguard and without: the runs by their names."""
    return {run["name"]: run for run in carry_out("mutants")}


@pytest.mark.parametrize("name", ["dying streams", "lost answers"])
def test_safeguard_holds_where_it_is_needed(mutants: dict[str, dict[str, Any]], name: str) -> None:
    run = mutants[name]
    assert {word: run[word] for word in NOTHING_WRONG if word != "unattributed"} == {
        word: [] for word in NOTHING_WRONG if word != "unattributed"
    }


def test_missing_spool_is_noticed(mutants: dict[str, dict[str, Any]]) -> None:
    run = mutants["no spool"]
    assert run["mutant"] == "no-spool"
    assert run["lost"]


def test_second_settlement_of_a_hold_is_noticed(mutants: dict[str, dict[str, Any]]) -> None:
    run = mutants["settles twice"]
    assert run["mutant"] == "no-unique-settlement"
    assert run["doubled"]
