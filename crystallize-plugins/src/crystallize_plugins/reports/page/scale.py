"""Axes: where a value lies, and which round values are marked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from crystallize_plugins.reports.page.elements import Markup, element, joined

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Scale"]

_MARGIN = 0.06
"""The part of the range that is left free at its ends."""
_NARROWEST = 1e-9
"""How small a range may be beside its values: below, rounding would be all that is drawn."""
_TICK_EVERY = 44
_LARGE, _SMALL = 1e6, 1e-5
_WIDTH_OF_DIGIT = 7.5
"""Pixels of a digit in the size of the labels, rounded up."""


class Scale:
    """A vertical axis: values from the bottom up, in pixels from the top down.

    Parameters
    ----------
    values : iterable of float
        What has to lie on it; what is not finite is left out.
    top, bottom : float
        Pixels between which the values lie.
    """

    def __init__(self, values: Iterable[float], *, top: float, bottom: float) -> None:
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        # Halves, so that the difference of the largest numbers there are is finite.
        half = max((high / 2 - low / 2) * (1 + 2 * _MARGIN), max(abs(low), abs(high)) * _NARROWEST)
        middle = low / 2 + high / 2
        half = half or 1.0
        self._low, self._high = _bounded(middle - half), _bounded(middle + half)
        self.top, self.bottom = top, bottom

    def at(self, value: float) -> float:
        """Return where a value lies; what is beyond the axis at its end."""
        if not math.isfinite(value):
            return self.top if value > 0 else self.bottom
        share = (self._high / 2 - value / 2) / (self._high / 2 - self._low / 2)
        return round(self.top + share * (self.bottom - self.top), 3)

    def ticks(self) -> list[float]:
        """Return the round values that are marked."""
        step = self._step()
        first, last = math.ceil(self._low / step), math.floor(self._high / step)
        return [number * step for number in range(first, last + 1)]

    def label(self, value: float) -> str:
        """Return a tick's value with as many digits as tell it from its neighbours."""
        step = self._step()
        largest = max(abs(self._low), abs(self._high))
        if largest >= _LARGE or step < _SMALL:
            digits = max(0, math.floor(math.log10(largest)) - math.floor(math.log10(step)) + _odd(step))
            text = f"{value:.{digits}e}" if value else "0"
        else:
            text = f"{value:.{max(0, -math.floor(math.log10(step))) + _odd(step)}f}"
        return text.replace("-", "\N{MINUS SIGN}")

    @property
    def gutter(self) -> int:
        """Pixels that the labels take at the left, with the ticks."""
        return round(max((len(self.label(tick)) for tick in self.ticks()), default=1) * _WIDTH_OF_DIGIT) + 14

    def drawn(self) -> Markup:
        """Return the axis, left of the field whose left end is at 0."""
        ticks = [
            joined(
                element("line", class_="axis", x1=-5, x2=0, y1=self.at(tick), y2=self.at(tick)),
                element("text", self.label(tick), class_="tick", x=-9, y=self.at(tick), dy="0.35em", data_value=tick),
            )
            for tick in self.ticks()
        ]
        return element(
            "g", element("line", class_="axis", x1=0, x2=0, y1=self.top, y2=self.bottom), *ticks, class_="y-axis"
        )

    def _step(self) -> float:
        count = max(3, (self.bottom - self.top) / _TICK_EVERY)
        raw = (self._high / count - self._low / count) or 1.0
        magnitude = 10.0 ** math.floor(math.log10(raw))
        steps = [number * magnitude for number in (1.0, 2.0, 2.5, 5.0, 10.0)]
        return next((step for step in steps if raw <= step < math.inf), raw)


def _bounded(value: float) -> float:
    return max(-1.7e308, min(1.7e308, value))


def _odd(step: float) -> int:
    """Return the digits that a step has beyond its first: one for 2.5 and 25, none for the others."""
    return int(f"{step:.1e}"[2] == "5")
