"""docs/configuration.md names every setting that the environment may give, with the default that the code has."""

import ast
import re
from decimal import Decimal

import pytest

from tests.house.test_size import ROOT

ROW = re.compile(r"^\| `([A-Z_]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)


def defaults() -> dict[str, str | None]:
    """What each name is when it is unset, as the page writes it; None where that follows from something else."""
    found: dict[str, str | None] = {}
    for node in ast.walk(ast.parse((ROOT / "naive_platform/settings.py").read_text())):
        if isinstance(node, ast.Call) and re.fullmatch(r"env\.\w+", ast.unparse(node.func)):
            name = ast.literal_eval(node.args[0])
            found.setdefault(name, written(node.args[1] if len(node.args) > 1 else ast.Constant("")))
    return found


def written(default: ast.expr) -> str | None:
    if isinstance(default, ast.Call) and ast.unparse(default.func) == "Decimal":
        return f"`{Decimal(ast.literal_eval(default.args[0])):f}`"
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return None
    if isinstance(value, list):
        return f"`{','.join(map(str, value))}`"
    number = int(value) if isinstance(value, bool | float) and value == int(value) else value
    return f"`{number}`" if value != "" else "unset"


def rows() -> dict[str, tuple[str, str]]:
    found = ROW.findall((ROOT / "docs/configuration.md").read_text())
    assert len(found) == len({name for name, _, _ in found}), "a setting stands there twice"
    return {name: (default, meaning) for name, default, meaning in found}


def test_every_setting_is_on_the_page_and_nothing_else() -> None:
    assert set(rows()) == set(defaults())


@pytest.mark.parametrize("name", sorted(defaults()))
def test_page_says_the_default_of_the_code(name: str) -> None:
    default, meaning = rows()[name]
    assert default == (defaults()[name] or default)
    assert len(meaning) > 10
