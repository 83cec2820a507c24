"""Every way a call can fail has a test that is named after its row in the list of failures."""

import re

from tests.house.test_size import ROOT

# How each failure resolves, row by row, as docs/money.md's promise was worked out.
ROWS = range(1, 56)
# None is owed.
OWED: set[int] = set()
NAME = re.compile(r"^def test_row_(\d\d)_\w+", re.MULTILINE)


def test_each_row_has_its_test() -> None:
    texts = [path.read_text() for path in (ROOT / "tests/failures").glob("test_*.py")]
    found = {int(number) for text in texts for number in NAME.findall(text)}
    assert found == set(ROWS)
    assert not OWED & found, "a row that is owed no longer is: move it to ROWS"
