"""The committed references of the SDKs are what their sources say."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT

TYPESCRIPT = ROOT / "sdk/typescript"


def test_python_reference_is_what_the_sources_say(tmp_path: Path) -> None:
    """Where it fails: `make fix` writes it anew."""
    script = ROOT / "sdk/python/scripts/reference.py"
    subprocess.run([sys.executable, script, tmp_path / "page"], check=True)
    assert (ROOT / "docs/reference/python.md").read_text() == (tmp_path / "page").read_text()


@pytest.mark.skipif(
    shutil.which("node") is None or not (TYPESCRIPT / "node_modules/naive-setup").is_file(),
    reason="Node is not on this machine, or bin/setup-node has not run",
)
def test_typescript_reference_is_what_the_sources_say(tmp_path: Path) -> None:
    """Where it fails: `make fix` writes it anew."""
    subprocess.run(
        ["node", TYPESCRIPT / "scripts/reference.mjs", tmp_path / "page"], cwd=TYPESCRIPT, check=True
    )
    assert (ROOT / "docs/reference/typescript.md").read_text() == (tmp_path / "page").read_text()
