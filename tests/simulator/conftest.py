"""One simulator process for the whole run, and a key of its own for each test."""

import itertools
from collections.abc import Iterator

import pytest

from tests.simulator import process
from tests.simulator.process import Simulator

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def sim() -> Iterator[Simulator]:
    delay = str(process.GENERATION_DELAY_MS)
    with process.running("--speed", "instant", "--generation-delay-ms", delay) as started:
        yield started
        started.client.close()


@pytest.fixture
def key() -> str:
    """A good key nobody used before, so that its ledger starts at zero."""
    return f"sk-or-v1-test-{next(_numbers)}"


@pytest.fixture
def healthy(sim: Simulator) -> Iterator[None]:
    """Clears the global knobs after a test that sets them."""
    yield
    sim.control("POST", "faults", {})
