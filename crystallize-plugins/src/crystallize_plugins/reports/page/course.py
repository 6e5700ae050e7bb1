"""Metrics over replicates, and intervals over the looks of a test that may be looked at again and again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from crystallize.errors import CrystallizeError
from crystallize.hooks import BASELINE, MetricValues
from crystallize_plugins.reports.page.elements import Markup, element, joined, number, section
from crystallize_plugins.reports.page.panels import drawing, stretched
from crystallize_plugins.reports.page.samples import listed
from crystallize_plugins.reports.page.scale import Scale
from crystallize_plugins.reports.page.verdicts import state_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crystallize import Result
    from crystallize.hooks import Verdict
    from crystallize_plugins.reports.page.samples import Sample

__all__ = ["course_section"]

_HEIGHT = 66
_HEIGHT_OF_LOOKS = 150
_EDGE = 6
_RAIL = 12
_MOST_STRIPS = 48
_MOST_POINTS = 400
"""Of a strip: above that, what lies between the smallest and the largest of so many parts."""
_MOST_LOST = 60
_MOST_LOOKS = 40
_MOST_SEQUENCES = 12
_MOST_COUNTS = 8


def course_section(result: Result, samples: Mapping[str, Sequence[Sample]]) -> Markup | None:
    """Return the section of metrics over replicates; None where there is nothing to draw."""
    last = max((max(log.replicates, default=0) for log in result.logs.values()), default=0)
    parts: list[object] = []
    room = _MOST_STRIPS
    left = []
    for metric, of_conditions in samples.items():
        if len(of_conditions) > room:
            left.append(metric)
            continue
        room -= len(of_conditions)
        if last > 0:
            parts.append(_metric(metric, of_conditions, last, name=f"course-{len(parts)}"))
    if left and last > 0:
        parts.append(element("p", f"Not drawn, for there are too many conditions: {', '.join(left)}.", class_="note"))
    parts += _sequences(result, samples)
    if not parts:
        return None
    reading = (
        "From left to right in the order of replicates, with the mean so far; a cross is a replicate that was lost."
    )
    return section("Over the replicates", element("p", reading, class_="note"), *parts)


def _metric(metric: str, samples: Sequence[Sample], last: int, *, name: str) -> Markup:
    scale = Scale((value for sample in samples for value in sample.values), top=_EDGE, bottom=_HEIGHT)
    rows = [
        element(
            "div",
            element("div", element("strong", sample.condition), class_="strip-label"),
            _strip(metric, sample, scale, last, name=f"{name}-{place}"),
            class_="strip-row",
        )
        for place, sample in enumerate(samples)
    ]
    style = f"--gutter:{scale.gutter}px"
    return element("figure", element("h3", metric), element("div", *rows, class_="strips", style=style))


def _strip(metric: str, sample: Sample, scale: Scale, last: int, *, name: str) -> Markup:
    told = f"{sample.condition}: mean {number(sample.mean)} of {len(sample.values)} values"
    if sample.values:
        told += f": {listed(sample.values)}"
    if sample.lost:
        told += f"; lost: replicate {', '.join(map(str, list(sample.lost)[:_MOST_LOST]))}"
    places = [100 * (replicate + 0.5) / (last + 1) for replicate in sample.replicates]
    return drawing(
        f"{metric} of {sample.condition} over the replicates",
        f"{told}.",
        scale.drawn(),
        stretched(_dots(places, [scale.at(value) for value in sample.values]), scale.bottom, "dots"),
        stretched(_mean_so_far(places, sample.values, scale), scale.bottom, "running"),
        _lost(sample, last, scale.bottom + _RAIL / 2 + 2),
        name=name,
        height=_HEIGHT + _RAIL + 4,
        class_="panel",
    )


def _dots(places: Sequence[float], heights: Sequence[float]) -> Iterable[str]:
    if len(places) <= _MOST_POINTS:
        return (f"M{x:.3f} {y:.2f}h0" for x, y in zip(places, heights, strict=True))
    ends: dict[int, tuple[float, float]] = {}
    for x, y in zip(places, heights, strict=True):
        part = min(_MOST_POINTS - 1, int(x * _MOST_POINTS / 100))
        low, high = ends.get(part, (y, y))
        ends[part] = min(low, y), max(high, y)
    return (f"M{100 * (part + 0.5) / _MOST_POINTS:.3f} {low:.2f}V{high:.2f}" for part, (low, high) in ends.items())


def _mean_so_far(places: Sequence[float], values: Sequence[float], scale: Scale) -> Iterable[str]:
    every = max(1, len(values) // _MOST_POINTS)
    mean = 0.0
    for count, (x, value) in enumerate(zip(places, values, strict=True), start=1):
        mean += value / count - mean / count
        if count == 1 or count % every == 0 or count == len(values):
            yield f"{'M' if count == 1 else 'L'}{x:.3f} {scale.at(mean):.2f}"


def _lost(sample: Sample, last: int, y: float) -> Markup | None:
    places = {replicate: 100 * (replicate + 0.5) / (last + 1) for replicate in sample.lost}
    if len(places) > _MOST_LOST:
        ticks = (f"M{x:.3f} {y - _RAIL / 2:g}v{_RAIL / 2:g}" for x in places.values())
        return stretched(ticks, y + _RAIL, "lost")
    return joined(
        *(
            element("use", href="#mark-lost", class_="lost", x=f"{x:.3f}%", y=y, data_replicate=replicate)
            for replicate, x in places.items()
        )
    )


def _sequences(result: Result, samples: Mapping[str, Sequence[Sample]]) -> list[Markup]:
    stopping = result.provenance.get("stopping") or {}
    figures: list[Markup] = []
    for tested in result.metrics.hypotheses:
        for verdict in tested.verdicts:
            if verdict.verifier != "sequential" or len(verdict.metrics) != 1 or len(figures) >= _MOST_SEQUENCES:
                continue
            of_metric = {sample.condition: sample for sample in samples.get(verdict.metrics[0], ())}
            recorded = stopping.get("looks") if stopping.get("hypothesis") == tested.name else None
            looks = _looks(verdict, of_metric, recorded)
            if len(looks) > 1:
                reason = stopping.get("reason", "") if recorded else ""
                figures.append(_sequence(tested.name, verdict, looks, reason, name=f"looks-{len(figures)}"))
    return figures


def _counts(looks: Sequence[int], y: float) -> list[Markup]:
    """Return the numbers of replicates below the looks, as many as there is room for."""
    every = -(-len(looks) // _MOST_COUNTS)
    shown = looks[::-1][::every][::-1]
    return [element("text", count, class_="tick-x", x=f"{96 * count / looks[-1]:.3f}%", y=y) for count in shown]


def _looks(
    verdict: Verdict, samples: Mapping[str, Sample], recorded: Sequence[int] | None
) -> list[tuple[int, Verdict]]:
    """Return the verdict as it was at each look; where none are recorded, at replicates spread over the run."""
    base, treatment = samples.get(BASELINE), samples.get(verdict.treatment)
    if base is None or treatment is None:
        return []
    try:
        from crystallize_plugins.verifiers import sequential

        settings: dict[str, Any] = {name: verdict.details[name] for name in ("g", "bounds") if name in verdict.details}
        verify = sequential(alpha=verdict.alpha, alternative=verdict.alternative, **settings)
        whole = max([*base.replicates, *treatment.replicates], default=-1) + 1
        counts = recorded or sorted({max(3, round(whole * part / _MOST_LOOKS)) for part in range(1, _MOST_LOOKS + 1)})
        looks = [
            (count, cast("Verdict", verify({"": _first(base, count)}, {"": _first(treatment, count)})))
            for count in counts
        ]
    except (CrystallizeError, ImportError):
        # Without SciPy, or of a run that another version made, the verdict alone is shown.
        return []
    return [(count, each) for count, each in looks if math.isfinite(each.estimate) and not math.isnan(each.ci[0])]


def _first(sample: Sample, count: int) -> MetricValues:
    pairs = [(replicate, value) for replicate, value in sample.by_replicate.items() if replicate < count]
    return MetricValues([value for _, value in pairs], [replicate for replicate, _ in pairs])


def _sequence(
    hypothesis: str, verdict: Verdict, looks: Sequence[tuple[int, Verdict]], reason: str, *, name: str
) -> Markup:
    # Early intervals may be a hundred times as wide as the last: what is shown is what the later half needs.
    late = looks[len(looks) // 3 :]
    ends = [end for _, each in late for end in (*each.ci, each.estimate)]
    scale = Scale([0.0, *ends], top=_EDGE, bottom=_HEIGHT_OF_LOOKS)
    last = looks[-1][0]
    zero = scale.at(0.0)
    stop = f"stopped after {last} replicates: {reason}" if reason else "by the number of replicates"
    told = [
        f"after {count}: {number(each.estimate)}, {number(each.ci[0])} to {number(each.ci[1])}" for count, each in looks
    ]
    drawn = []
    for count, each in looks:
        x = f"{96 * count / last:.3f}%"
        low, high = (max(scale.top, min(scale.bottom, scale.at(end))) for end in each.ci)
        drawn.append(element("line", class_="interval", x1=x, x2=x, y1=low, y2=high, data_replicates=count))
    height = scale.bottom
    centres = [
        f"M{96 * count / last:.3f} {max(scale.top, min(height, scale.at(each.estimate))):.2f}h0"
        for count, each in looks
    ]
    kind = state_of(verdict)
    panel = drawing(
        f"{hypothesis}: the interval of {verdict.treatment} at each look",
        f"{'; '.join(told)}. {stop}.",
        scale.drawn(),
        element("line", class_="zero", x1=0, x2="100%", y1=zero, y2=zero),
        *drawn,
        stretched(centres, height, "dots"),
        element("use", href=f"#mark-{kind}", class_="mark", x="96%", y=scale.at(looks[-1][1].estimate)),
        *_counts([count for count, _ in looks], height + 15),
        name=name,
        height=height + 20,
        class_=f"panel estimate {kind}",
    )
    title = f"{', '.join(verdict.metrics)}, {verdict.treatment}: the interval over the looks"
    style = f"--gutter:{scale.gutter}px"
    return element(
        "figure", element("h3", title), element("p", f"{hypothesis}: {stop}", class_="panel-title"),
        element("div", panel, class_="canvas", style=style),
    )  # fmt: skip
