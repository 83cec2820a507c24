"""What the Python SDK promises to those who write programs on it, beside what runs with all pages (test_pages.py)."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import pages

README = pages.ROOT / "sdk/python/README.md"
TIMEOUT_S = 120


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def test_tests_in_the_readme_pass(tmp_path: Path) -> None:
    [block] = [step.block.text for step in pages.steps(README, "python") if "FakePlatform" in step.block.text]
    (tmp_path / "test_greeting.py").write_text(block)
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:django", ".", cwd=tmp_path)
    assert "2 passed" in done.stdout


@pytest.mark.skipif(shutil.which("node") is None, reason="pyright runs on Node")
def test_keyword_that_is_misspelt_is_wrong_for_pyright(tmp_path: Path) -> None:
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    (tmp_path / "wrong.py").write_text("import naive\n\nnaive.Naive().llm.chat(modle='x')\n")
    done = run("-m", "pyright", "--pythonpath", sys.executable, cwd=tmp_path)
    assert '"modle"' in done.stdout
    assert "1 error, 0 warnings" in done.stdout
