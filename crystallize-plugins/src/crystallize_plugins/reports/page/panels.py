"""The two panels of an estimation plot: all observations of all conditions, and the estimates beside zero.

Conditions lie side by side, in parts of the width, so that a plot is as wide as its page; values lie in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from crystallize_plugins.reports.page.elements import Markup, element, joined, number
from crystallize_plugins.reports.page.samples import listed
from crystallize_plugins.reports.page.scale import Scale

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crystallize_plugins.reports.page.samples import Sample

__all__ = [
    "COLUMN",
    "MARKS",
    "Estimate",
    "drawing",
    "estimates_panel",
    "observations_panel",
    "scale_of",
    "scale_of_estimates",
    "stretched",
]

COLUMN = 64
"""Pixels that a condition takes at least."""
_HEIGHT = 240
_HEIGHT_OF_ESTIMATES = 160
_EDGE = 8
_ROOM_FOR_VALUES = 20
_RAIL = 14
_WIDEST_SWARM = 24
_NARROW = 5
"""Columns for which points and means are made; where there are fewer, they do not spread."""
_FEW = 60
_MOST_PAIRS = 50
_MOST_POINTS = 200
_MOST_LOST = 8
_BINS = 24

MARKS = element(
    "svg",
    element(
        "defs",
        element("path", id="mark-holds", d="M0-6L6 6H-6Z"),
        element("path", id="mark-not-shown", d="M-5 0A5 5 0 1 1 5 0A5 5 0 1 1-5 0Z"),
        element("path", id="mark-no-telling", d="M-6-1.5H6V1.5H-6Z"),
        element("path", id="mark-estimate", d="M0-6L6 0L0 6L-6 0Z"),
        element("path", id="mark-lost", d="M-3.5-3.5L3.5 3.5M3.5-3.5L-3.5 3.5"),
    ),
    class_="marks",
    aria_hidden="true",
    width=0,
    height=0,
)
"""The shapes that panels refer to; a verdict's differs from the others not in colour alone."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate as it is drawn.

    Attributes
    ----------
    condition : str
    value, low, high : float
        In the unit of the axis; an end that is infinite is drawn as an arrow, one that is NaN not at all.
    kind : str
        ``"holds"``, ``"not-shown"``, ``"no-telling"``, or ``"estimate"`` where nothing was claimed.
    """

    condition: str
    value: float
    low: float
    high: float
    kind: str

    def __str__(self) -> str:
        told = f"{self.condition}: {number(self.value, sign=True)}"
        if not (math.isnan(self.low) or math.isnan(self.high)):
            told += f", interval {number(self.low)} to {number(self.high)}"
        return f"{told}, {self.kind.replace('-', ' ')}"


def drawing(title: str, description: str, *content: object, name: str, height: float, class_: str) -> Markup:
    """Return a drawing as wide as its box, with what it shows in words."""
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *content,
        role="img",
        class_=class_,
        height=height,
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-desc",
    )


def stretched(path: Iterable[str], height: float, class_: str) -> Markup | None:
    """Return a path whose horizontal unit is a hundredth of the width; None where there is nothing to draw."""
    text = "".join(path)
    if not text:
        return None
    return element(
        "svg",
        element("path", class_=class_, d=text),
        viewBox=f"0 0 100 {height:g}",
        preserveAspectRatio="none",
        width="100%",
        height=height,
    )


def observations_panel(samples: Sequence[Sample], scale: Scale, *, name: str, metric: str, as_strips: bool) -> Markup:
    """Return what was observed: each value of each condition, pairs joined, means, and what was lost."""
    columns = [100 * (place + 0.5) / len(samples) for place in range(len(samples))]
    drawn, told = [], []
    places: list[dict[int, tuple[float, float]]] = []
    for sample, x in zip(samples, columns, strict=True):
        strip = as_strips or len(sample.values) > _MOST_POINTS
        offsets = [] if strip else _swarm([scale.at(value) for value in sample.values])
        unit = 100 / max(len(samples), _NARROW) / COLUMN
        at = [round(x + unit * offset, 3) for offset in offsets]
        marks: list[object] = []
        if sample.values:
            y = scale.at(sample.mean)
            reach = 100 / max(len(samples), _NARROW) * 0.35
            marks.append(element("line", class_="mean", x1=_percent(x - reach), x2=_percent(x + reach), y1=y, y2=y))
        marks.append(_strip(sample, x, scale, len(samples)) if strip else _points(sample, at, scale))
        if strip:
            # Over the strip, and below single points, of which it would hide some.
            marks.reverse()
        drawn.append(element("g", *marks, _lost(sample, x, unit, scale.bottom), data_condition=sample.condition))
        told.append(_in_words(sample, strip=strip))
        means = sample.by_replicate
        single = len(means) == len(sample.values) and not strip
        where = dict(zip(sample.replicates, at, strict=True)) if single else dict.fromkeys(means, x)
        places.append({replicate: (where[replicate], scale.at(value)) for replicate, value in means.items()})
    return drawing(
        f"{metric}: what was observed",
        " ".join(told),
        scale.drawn(),
        stretched(_pairs(places), scale.bottom, "pair"),
        *drawn,
        name=name,
        height=scale.bottom + _EDGE + (_RAIL if any(sample.lost for sample in samples) else 0),
        class_="panel",
    )


def scale_of(samples: Iterable[Sample]) -> Scale:
    """Return the axis of all observations of a metric."""
    return Scale((value for sample in samples for value in sample.values), top=_EDGE, bottom=_HEIGHT)


def scale_of_estimates(estimates: Iterable[Estimate]) -> Scale:
    """Return the axis of differences, with zero on it."""
    ends = (end for each in estimates for end in (each.value, each.low, each.high))
    return Scale([0.0, *ends], top=_ROOM_FOR_VALUES, bottom=_HEIGHT_OF_ESTIMATES)


def estimates_panel(
    estimates: Sequence[Estimate], conditions: Sequence[str], scale: Scale, *, name: str, title: str
) -> Markup:
    """Return each estimate with its interval, below its condition, on an axis with a line at zero."""
    zero = scale.at(0.0)
    drawn = [element("line", class_="zero", x1=0, x2="100%", y1=zero, y2=zero)]
    for each in estimates:
        x = _percent(100 * (conditions.index(each.condition) + 0.5) / len(conditions))
        y = scale.at(each.value)
        drawn.append(
            element(
                "g",
                _interval(each, x, scale),
                element("use", href=f"#mark-{each.kind}", class_="mark", x=x, y=y, data_value=each.value),
                element("text", number(each.value, sign=True), class_="value above", x=x, y=_top_of(each, scale) - 9),
                class_=f"estimate {each.kind}",
                data_condition=each.condition,
            )
        )
    return drawing(
        title,
        f"{'. '.join(map(str, estimates))}. The line is at 0.",
        scale.drawn(),
        *drawn,
        name=name,
        height=scale.bottom + _EDGE,
        class_="panel",
    )


def _top_of(each: Estimate, scale: Scale) -> float:
    return min(scale.at(each.value), scale.at(each.value if math.isnan(each.high) else each.high))


def _interval(each: Estimate, x: str, scale: Scale) -> Markup | None:
    if math.isnan(each.low) or math.isnan(each.high):
        return None
    low, high = scale.at(each.low), scale.at(each.high)
    arrows = [
        element("svg", element("path", class_="arrow", d=path), x=x, y=y, class_="at")
        for end, y, path in ((each.low, low, "M-4-6L0 0L4-6"), (each.high, high, "M-4 6L0 0L4 6"))
        if math.isinf(end)
    ]
    line = element("line", class_="interval", x1=x, x2=x, y1=low, y2=high, data_low=each.low, data_high=each.high)
    return joined(line, *arrows)


def _percent(share: float) -> str:
    return f"{share:.3f}%"


def _points(sample: Sample, at: Sequence[float], scale: Scale) -> list[object]:
    radius = 3 if len(sample.values) <= _FEW else 2
    return [
        element("circle", class_="point", cx=_percent(x), cy=scale.at(value), r=radius, data_replicate=replicate)
        for x, value, replicate in zip(at, sample.values, sample.replicates, strict=True)
    ]


def _swarm(heights: Sequence[float]) -> list[float]:
    """Return how far each point is moved aside, in pixels, so that none hides another."""
    size = 6 if len(heights) <= _FEW else 4
    rows: dict[int, list[int]] = {}
    for index in sorted(range(len(heights)), key=heights.__getitem__):
        rows.setdefault(round(heights[index] / size), []).append(index)
    offsets = [0.0] * len(heights)
    for row in rows.values():
        apart = min(size, 2 * _WIDEST_SWARM / max(1, len(row) - 1))
        for place, index in enumerate(row):
            # Middle, right, left, further right, …
            offsets[index] = apart * ((place + 1) // 2) * (1 if place % 2 else -1)
    return offsets


def _bins(sample: Sample, scale: Scale) -> list[int]:
    counts = [0] * _BINS
    height = (scale.bottom - scale.top) / _BINS
    for value in sample.values:
        counts[min(_BINS - 1, int((scale.at(value) - scale.top) / height))] += 1
    return counts


def _strip(sample: Sample, x: float, scale: Scale, columns: int) -> Markup | None:
    """Return a histogram that lies on its side."""
    counts = _bins(sample, scale)
    most = max(counts) or 1
    height = (scale.bottom - scale.top) / _BINS
    widest = 100 / columns * 0.38
    path = (
        f"M{x - widest * count / most:.3f} {scale.top + place * height:.2f}"
        f"H{x + widest * count / most:.3f}v{height - 0.75:.2f}H{x - widest * count / most:.3f}Z"
        for place, count in enumerate(counts)
        if count
    )
    return stretched(path, scale.bottom, "strip")


def _lost(sample: Sample, x: float, unit: float, bottom: float) -> list[Markup]:
    """Return a cross below the axis for each replicate that was lost; for many, their number beside one."""
    y = bottom + _EDGE + 4
    shown = list(sample.lost.items()) if len(sample.lost) <= _MOST_LOST else []
    first = x - unit * _EDGE * (len(shown) - 1) / 2
    marks = [
        element(
            "use", element("title", f"replicate {replicate}: {why}"), href="#mark-lost", class_="lost",
            x=_percent(first + unit * _EDGE * place), y=y, data_replicate=replicate,
        )
        for place, (replicate, why) in enumerate(shown)
    ]  # fmt: skip
    if len(sample.lost) > _MOST_LOST:
        marks.append(element("use", href="#mark-lost", class_="lost", x=_percent(x), dx=-10, y=y))
        marks.append(
            element("text", len(sample.lost), class_="value lost-count", x=_percent(x), dx=8, y=y, dy="0.35em")
        )
    return marks


def _pairs(places: Sequence[dict[int, tuple[float, float]]]) -> Iterable[str]:
    if not places or len(places[0]) > _MOST_PAIRS:
        return
    for before, after in pairwise(places):
        for replicate in sorted(before.keys() & after.keys()) if len(after) <= _MOST_PAIRS else ():
            (x1, y1), (x2, y2) = before[replicate], after[replicate]
            yield f"M{x1:g} {y1:g}L{x2:g} {y2:g}"


def _in_words(sample: Sample, *, strip: bool) -> str:
    told = f"{sample.condition}: {len(sample.values)} values"
    if sample.values:
        told += f", mean {number(sample.mean)}, from {number(min(sample.values))} to {number(max(sample.values))}"
        told += ", drawn as a histogram" if strip else f": {listed(sample.values)}"
    if sample.lost:
        named = [f"replicate {replicate} ({why})" for replicate, why in list(sample.lost.items())[:_FEW]]
        told += f"; lost: {', '.join(named)}{', …' if len(sample.lost) > _FEW else ''}"
    return f"{told}."
