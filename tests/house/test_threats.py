"""Every row of the threats to the proxy and the typed routes has a test over real sockets that is named after it."""

import re

from tests.house.test_size import ROOT

# How many of each were worked out: paths, heads, bodies, and the answers of upstream.
ROWS = {"P": 30, "H": 12, "B": 19, "R": 7}
# A test that is named after its row, or a key of a table whose every entry is tested.
NAME = re.compile(r'^def test_([phbr])(\d\d)_|^    "([PHBR])(\d+)": \[', re.MULTILINE)


def test_each_row_has_its_test() -> None:
    texts = [path.read_text() for path in (ROOT / "tests/e2e").glob("test_threats_*.py")]
    found = {
        f"{(letter or other).upper()}{int(number or place)}"
        for text in texts
        for letter, number, other, place in NAME.findall(text)
    }
    assert found == {f"{letter}{number}" for letter, most in ROWS.items() for number in range(1, most + 1)}
