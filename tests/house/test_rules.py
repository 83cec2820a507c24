"""Rules of the house that no linter knows."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.house.test_size import ROOT, sources

APPS = ["naive_platform", "accounts", "billing", "llm"]
# Where money is reckoned: integers and Decimal only (docs/books.md, "Exact numbers").
MONEY = [
    *sources("billing"), ROOT / "llm/metering.py", ROOT / "llm/pricing.py", ROOT / "llm/calls.py",
    ROOT / "llm/shapes/media.py", ROOT / "llm/shapes/reports.py", ROOT / "llm/proxy/accounts.py",
]  # fmt: skip
VAGUE_NAMES = {"utils", "helpers", "common", "services", "service", "manager", "misc"}
# The environment is read in settings.py; before Django is there, by what starts it.
READS_ENVIRONMENT = {
    "naive_platform/settings.py", "naive_platform/celery.py", "naive_platform/asgi.py", "naive_platform/embedded.py",
    "naive_platform/supervisor.py", "naive_platform/folders.py", "naive_platform/management/commands/up.py",
}  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MONEY, ids=name_of)
def test_no_float_stands_near_money(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        used = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        assert used not in {"FloatField", "fsum"}, f"{name_of(path)}:{getattr(node, 'lineno', 0)} uses {used}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            is_money_call = node.func.id == "float" or (
                node.func.id == "round" and "ms" not in ast.dump(node)
            )
            assert not is_money_call, f"{name_of(path)}:{node.lineno} calls {node.func.id}"


@pytest.mark.parametrize("path", sources(*APPS, "simulator", "sdk/python/src"), ids=name_of)
def test_modules_are_named_by_noun(path: Path) -> None:
    assert path.stem not in VAGUE_NAMES


@pytest.mark.parametrize("path", sources(*APPS), ids=name_of)
def test_environment_is_read_in_one_place(path: Path) -> None:
    if name_of(path) not in READS_ENVIRONMENT:
        assert "os.environ" not in path.read_text()
        assert "getenv" not in path.read_text()


@pytest.mark.parametrize("path", sources(*APPS, "simulator", "sdk/python/src"), ids=name_of)
def test_modules_say_what_lives_in_them(path: Path) -> None:
    text = path.read_text()
    if text.strip() and path.name not in {"__init__.py", "apps.py"}:
        assert ast.get_docstring(ast.parse(text)), f"{name_of(path)} has no docstring"


def test_lock_files_name_no_host() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text()


def test_makefile_has_few_documented_targets() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):", text, re.MULTILINE)
    documented = re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE)
    assert targets == documented
    assert len(targets) <= 12
    assert {"setup", "run", "test", "lint", "fix", "bench"} <= set(targets)


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_tracked_files_hold_no_secret_key() -> None:
    """The published shape of a key, and of the operator's, in anything git tracks."""
    pattern = r"nv_sk_live_[0-9A-Za-z]{38}|sk-or-v1-[0-9a-f]{64}"
    found = subprocess.run(
        ["git", "grep", "-lE", pattern, "--", "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
