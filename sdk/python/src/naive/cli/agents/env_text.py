"""Files of `NAME=value` lines, as dotenv reads them."""

from __future__ import annotations

import re

from naive.cli.agents import agent


def with_value(text: str, name: str, value: str) -> str:
    """Return `text` in which `name` is `value`, once."""
    pattern = re.compile(rf"\s*(?:export\s+)?{re.escape(name)}\s*=")
    lines, end = agent.lines_of(text)
    places = [place for place, line in enumerate(lines) if pattern.match(line)]
    line = f"{name}={value}"
    if not places:
        return end.join([*lines, line]) + end
    kept = [line if at == places[0] else old for at, old in enumerate(lines) if at not in places[1:]]
    return end.join(kept) + end
