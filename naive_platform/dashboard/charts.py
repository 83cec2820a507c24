"""The one chart of all pages: series over time, drawn by uPlot, and as a table where there is no script."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

type Unit = Literal["credits", "usd", "count", "percent", "ms"]


@dataclass(frozen=True, slots=True)
class Series:
    """One line or stack of bars. Units: `values` in the chart's unit (credits, not nanocredits); None is a gap."""

    title: str
    values: Sequence[Decimal | int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What components/_chart.html shows. Shape: one value of each series for each instant, the oldest first."""

    name: str
    title: str
    unit: Unit
    instants: Sequence[datetime]
    series: Sequence[Series]
    is_stacked: bool = True
    is_hourly: bool = False

    @property
    def data(self) -> dict[str, Any]:
        """For the script. Numbers lose what a pixel cannot show; the table below the chart is exact."""
        return {
            "unit": self.unit,
            "stacked": self.is_stacked,
            "hourly": self.is_hourly,
            "titles": [one.title for one in self.series],
            "data": [
                [int(instant.timestamp()) for instant in self.instants],
                *([None if value is None else float(value) for value in one.values] for one in self.series),
            ],
        }

    @property
    def as_json(self) -> str:
        # Inside a script element nothing may look like its end.
        return json.dumps(self.data).replace("<", "\\u003c")

    @property
    def rows(self) -> list[tuple[datetime, list[Decimal | int | None]]]:
        """The same as a table, the latest first, hours or days with nothing left out."""
        found = [
            (instant, [one.values[place] for one in self.series])
            for place, instant in enumerate(self.instants)
        ]
        return [row for row in reversed(found) if any(row[1])]
