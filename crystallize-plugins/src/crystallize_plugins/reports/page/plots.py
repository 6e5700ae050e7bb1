"""Observations and estimates: a figure for each metric, its panels one above the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from crystallize.hooks import BASELINE
from crystallize.hooks.tools import compare, counted
from crystallize_plugins.reports.page.elements import Markup, element, number, section, table
from crystallize_plugins.reports.page.panels import (
    COLUMN,
    Estimate,
    estimates_panel,
    observations_panel,
    scale_of,
    scale_of_estimates,
)
from crystallize_plugins.reports.page.verdicts import state_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize import Result
    from crystallize.hooks import Verdict
    from crystallize.hooks.tools import ComparisonRow
    from crystallize_plugins.reports.page.samples import Sample

__all__ = ["plots_section"]

_MOST_TREATMENTS = 8
"""Side by side in a figure; further ones get another, with the baseline in it."""
_MOST_FIGURES = 24
_MOST_POINTS = 4000
"""Of the page: above that, every condition is drawn as a strip."""
_POINTS_OF_STRIPS = 200


def plots_section(result: Result, samples: Mapping[str, Sequence[Sample]]) -> Markup | None:
    """Return the section of observations and estimates; None where nothing was recorded."""
    others = [name for name in result.metric_names if name not in samples]
    told = f"Not drawn, for not all of their values are numbers: {', '.join(others)}." if others else None
    others_note = element("p", told, class_="note") if told else None
    if not samples:
        return None if others_note is None else section("Observations and estimates", others_note)
    rows = compare(result, list(samples))
    drawn = sum(
        len(sample.values) for each in samples.values() for sample in each if len(sample.values) <= _POINTS_OF_STRIPS
    )
    figures: list[Markup] = []
    left: list[str] = []
    for metric, of_conditions in samples.items():
        parts = _parts(of_conditions)
        if len(figures) + len(parts) > _MOST_FIGURES:
            left.append(metric)
            continue
        families = _families(result, metric, rows)
        for number_of_part, part in enumerate(parts):
            name = f"plot-{len(figures)}"
            heading = metric if len(parts) == 1 else f"{metric}, {number_of_part + 1} of {len(parts)}"
            figures.append(
                _figure(metric, heading, part, of_conditions, families, name, as_strips=drawn > _MOST_POINTS)
            )
    note = f"Not drawn, for there are too many: {', '.join(left)}. Their numbers are in the table." if left else None
    return section(
        "Observations and estimates",
        element("p", _reading(result), class_="note"),
        *figures,
        *_groups(result),
        element("p", note, class_="note") if note else None,
        others_note,
        element("details", element("summary", "All conditions in numbers"), _numbers(rows), open=bool(left) or None),
    )


def _reading(result: Result) -> str:
    told = "Every value that was observed, with the mean of each condition; values of one replicate are joined."
    if BASELINE not in result.logs or len(result.logs) == 1:
        return told
    interval = "the verifier's own interval" if result.metrics.hypotheses else "Student's 95 % interval"
    return f"Above: e{told[1:]} Below: how far each treatment is from the baseline, with {interval}."


def _parts(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Divide the conditions among figures, each with the baseline first."""
    base = [sample for sample in samples if sample.condition == BASELINE]
    others = [sample for sample in samples if sample.condition != BASELINE]
    steps = range(0, max(1, len(others)), _MOST_TREATMENTS)
    return [[*base, *others[start : start + _MOST_TREATMENTS]] for start in steps]


def _families(result: Result, metric: str, rows: Sequence[ComparisonRow]) -> list[tuple[str, list[Estimate]]]:
    """Return the estimates of a metric by what they estimate: one list for each hypothesis that tested it."""
    families = []
    for tested in result.metrics.hypotheses:
        verdicts = [each for each in tested.verdicts if each.metrics == (metric,) and math.isfinite(each.estimate)]
        if verdicts:
            families.append((f"{tested.name}: {_told(verdicts[0])}", [_estimate(each) for each in verdicts]))
    if not families:
        estimates = [
            Estimate(row.condition, row.difference, row.low, row.high, "estimate")
            for row in rows
            if row.metric == metric and math.isfinite(row.difference)
        ]
        if estimates:
            was_tested = any(
                metric in verdict.metrics for each in result.metrics.hypotheses for verdict in each.verdicts
            )
            families.append(
                (
                    f"Mean difference, Student's 95 % interval{'' if was_tested else '; no hypothesis tested it'}",
                    estimates,
                )
            )
    return families


def _told(verdict: Verdict) -> str:
    level = 100 * verdict.details.get("level", 1 - verdict.alpha)
    return f"{verdict.estimand or 'estimate'}, {level:.4g} % interval"


def _estimate(verdict: Verdict) -> Estimate:
    return Estimate(verdict.treatment, verdict.estimate, *verdict.ci, state_of(verdict))


def _figure(
    metric: str,
    heading: str,
    part: Sequence[Sample],
    samples: Sequence[Sample],
    families: Sequence[tuple[str, list[Estimate]]],
    name: str,
    *,
    as_strips: bool,
) -> Markup:
    conditions = [sample.condition for sample in part]
    observed = scale_of(samples)
    below = [(title, estimates, scale_of_estimates(estimates)) for title, estimates in families]
    gutter = max(observed.gutter, *(scale.gutter for _, _, scale in below), 0)
    above = observations_panel(part, observed, name=name, metric=metric, as_strips=as_strips)
    groups = [_group(above, _labels(part))]
    for place, (title, estimates, scale) in enumerate(below):
        shown = [each for each in estimates if each.condition in conditions]
        if shown:
            panel = estimates_panel(shown, conditions, scale, name=f"{name}-{place}", title=f"{metric}, {title}")
            groups.append(_group(element("p", title, class_="panel-title"), panel))
    strips = as_strips or any(len(sample.values) > _POINTS_OF_STRIPS for sample in part)
    note = "Where there are too many values to draw each, a strip shows how they are distributed." if strips else None
    return element(
        "figure",
        element("h3", heading),
        _canvas(groups, gutter, len(part), f"Plot of {heading}"),
        element("figcaption", note) if note else None,
    )


def _group(*panels: Markup) -> Markup:
    """Return what stays together on paper, where a figure is taller than a page."""
    return element("div", *panels, class_="group")


def _canvas(panels: Sequence[object], gutter: int, columns: int, label: str) -> Markup:
    style = f"--gutter:{gutter}px;--columns:{columns};min-width:{gutter + columns * COLUMN}px"
    inner = element("div", *panels, class_="canvas", style=style)
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=label)


def _labels(part: Sequence[Sample]) -> Markup:
    return element(
        "div",
        *(
            element(
                "div",
                element("strong", sample.condition),
                element("span", number(sample.mean)) if sample.values else None,
                element("span", f"n = {len(sample.by_replicate)}"),
                element("span", f"{len(sample.lost)} lost", class_="lost-note") if sample.lost else None,
            )
            for sample in part
        ),
        class_="labels",
    )


def _groups(result: Result) -> list[Markup]:
    """Return the figures of verdicts on several metrics at once, which have no observations of their own."""
    figures: list[Markup] = []
    for tested in result.metrics.hypotheses:
        by_metrics: dict[tuple[str, ...], list[Verdict]] = {}
        for verdict in tested.verdicts:
            if len(verdict.metrics) > 1 and math.isfinite(verdict.estimate):
                by_metrics.setdefault(verdict.metrics, []).append(verdict)
        for metrics, verdicts in list(by_metrics.items())[:_MOST_FIGURES]:
            estimates = [_estimate(verdict) for verdict in verdicts[: 2 * _MOST_TREATMENTS]]
            scale = scale_of_estimates(estimates)
            conditions = [each.condition for each in estimates]
            title = f"{tested.name}: {_told(verdicts[0])}"
            name = f"group-{len(figures)}"
            labels = element("div", *(element("div", element("strong", each)) for each in conditions), class_="labels")
            panel = estimates_panel(estimates, conditions, scale, name=name, title=title)
            about = ", ".join(metrics)
            left = len(verdicts) - len(estimates)
            figures.append(
                element(
                    "figure",
                    element("h3", about),
                    _canvas(
                        [element("p", title, class_="panel-title"), panel, labels],
                        scale.gutter, len(conditions), f"Plot of {about}",
                    ),
                    element("figcaption", f"{counted(left, 'verdict')} more are not drawn.") if left else None,
                )
            )  # fmt: skip
    return figures


def _numbers(rows: Sequence[ComparisonRow]) -> Markup:
    listed = [
        [
            row.condition,
            row.metric,
            row.replicates,
            *("" if math.isnan(value) else number(value) for value in (row.mean, row.spread)),
            "" if math.isnan(row.difference) else number(row.difference, sign=True),
        ]
        for row in rows
    ]
    heading = ["condition", "metric", "n", "mean", "sd", "difference"]
    return table(heading, listed, label="All conditions in numbers", right=range(2, 6))
