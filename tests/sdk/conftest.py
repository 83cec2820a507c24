"""The platform that the SDKs are tested against: as in tests/e2e, but one for all files here, on two gateways."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.e2e import conftest as e2e
from tests.e2e.conftest import ROOT, Platform, Simulator

upstream, clean, acme = e2e.upstream, e2e.clean, e2e.acme
TYPESCRIPT = ROOT / "sdk/typescript"
NODE_TIMEOUT_S = 120


@pytest.fixture(scope="package")
def platform(upstream: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with e2e.running(upstream, tmp_path_factory.mktemp("platform"), workers=2) as started:
        yield started


@pytest.fixture(scope="session")
def typescript(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[..., str]:
    """What runs Node in the TypeScript SDK's folder, once the package is built: once for all workers of a run."""
    if shutil.which("node") is None:
        pytest.skip("Node is not on this machine")
    if not (TYPESCRIPT / "node_modules/naive-setup").is_file():
        pytest.skip("bin/setup-node has not run")
    base = tmp_path_factory.getbasetemp()
    built = (base if worker_id == "master" else base.parent) / "typescript-built"
    with built.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if not built.stat().st_size:
            node("scripts/build.mjs")
            file.write("built")
    return node


def node(*arguments: str, **environ: str) -> str:
    """Run Node in the SDK's folder and return what it wrote; what it said when it failed is the failure."""
    done = subprocess.run(
        ["node", *arguments],
        cwd=TYPESCRIPT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=NODE_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
