"""Running means as curves; imported when there is something to draw, since what draws them brings NumPy."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING

from textual_plot import HiResMode, PlotWidget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["COLOURS", "Curves"]

COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red")
"""In the order of the conditions; further ones begin anew."""


class Curves(PlotWidget):
    """The mean of a metric over the replicates so far, one curve a condition."""

    DEFAULT_CSS = "Curves { height: 10; margin-top: 1; }"
    can_focus = False

    def __init__(self) -> None:
        super().__init__(allow_pan_and_zoom=False)
        self._seen: tuple[object, ...] = ()

    def show(self, metric: str, values: Mapping[str, Sequence[float]]) -> None:
        """Draw the running means; nothing is drawn anew where nothing has come."""
        seen = (metric, *((name, len(each)) for name, each in values.items()))
        if seen == self._seen:
            return
        self._seen = seen
        self.clear()
        for number, each in enumerate(values.values()):
            finite = [value for value in each if math.isfinite(value)]
            if len(finite) > 1:
                counts = range(1, len(finite) + 1)
                means = [total / count for total, count in zip(accumulate(finite), counts, strict=True)]
                self.plot(list(counts), means, COLOURS[number % len(COLOURS)], HiResMode.BRAILLE)
        self.set_xlabel("replicates")
        self.set_ylabel(f"mean {metric}")
