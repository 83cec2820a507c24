"""The TypeScript SDK: built and tried without a platform, then its tests against a whole one.

`make test` installs what builds it where Node is (bin/setup-node); where it is not, these tests say so and are skipped.
Its README is run with all other pages (test_pages.py).
"""

from collections.abc import Callable

import pytest

from tests import factories
from tests.e2e import charges
from tests.e2e.conftest import Platform
from tests.sdk.conftest import TYPESCRIPT

UNIT = sorted(path.name for path in (TYPESCRIPT / "test/unit").glob("*.test.mjs"))
# How many calls of each file upstream is paid for.
CALLS = {"product-page": 7, "resources": 0, "faults": 10}


@pytest.mark.parametrize("name", UNIT)
def test_without_a_platform(name: str, typescript: Callable[..., str]) -> None:
    assert "# fail 0" in typescript("--test", "--test-reporter=tap", f"test/unit/{name}")


@pytest.mark.parametrize("name", CALLS)
def test_against_a_platform(
    name: str, typescript: Callable[..., str], clean: Platform, acme: factories.Cast
) -> None:
    clean.upstream.faults(generation_delay_ms=0)
    file = f"test/platform/{name}.test.mjs"
    broke = factories.initech().secret
    environ = {"NAIVE_BASE_URL": clean.url, "NAIVE_API_KEY": acme.secret, "NAIVE_BROKE_KEY": broke}
    assert "# fail 0" in typescript("--test", "--test-reporter=tap", file, **environ)
    charges.require_each_charged(clean, acme, calls=CALLS[name])
