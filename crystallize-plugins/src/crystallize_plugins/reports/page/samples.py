"""What is drawn of a metric: the values of each condition, and the replicates that were lost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crystallize.hooks import BASELINE, MetricValues
from crystallize.hooks.tools import as_number
from crystallize_plugins.reports.page.elements import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crystallize import Result

__all__ = ["Sample", "listed", "samples_of"]

_MOST_LISTED = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """The values of one metric in one condition.

    Attributes
    ----------
    condition : str
    values : list of float
        The finite ones.
    replicates : list of int
        Which replicate each value came from.
    lost : dict of int to str
        The replicates without a finite value, and why.
    """

    condition: str
    values: list[float]
    replicates: list[int]
    lost: dict[int, str]

    @property
    def by_replicate(self) -> dict[int, float]:
        """The mean of each replicate that was not lost: what tests and pairs are made of."""
        grouped: dict[int, list[float]] = {}
        for replicate, value in zip(self.replicates, self.values, strict=True):
            if replicate not in self.lost:
                grouped.setdefault(replicate, []).append(value)
        return {replicate: math.fsum(values) / len(values) for replicate, values in grouped.items()}

    @property
    def mean(self) -> float:
        """The mean over replicates; NaN where there is none."""
        means = self.by_replicate.values()
        return sum(value / len(means) for value in means) if means else math.nan


def samples_of(result: Result) -> dict[str, list[Sample]]:
    """Return by metric the sample of each condition, baseline first; of the metrics whose values are numbers."""
    conditions = {BASELINE: result.metrics.baseline, **result.metrics.treatments}
    recorded = {name: condition.metrics for name, condition in conditions.items()}
    found: dict[str, list[Sample]] = {}
    for metric in result.metric_names:
        columns = {name: values.get(metric, ()) for name, values in recorded.items()}
        if all(as_number(value) is not None for values in columns.values() for value in values):
            found[metric] = [_sample(result, name, columns.get(name, ())) for name in result.logs]
    return found


def listed(values: Iterable[float]) -> str:
    """Return numbers in a line, for those who do not see them drawn."""
    shown = list(values)
    told = ", ".join(map(number, shown[:_MOST_LISTED]))
    return told if len(shown) <= _MOST_LISTED else f"{told}, and {len(shown) - _MOST_LISTED} more"


def _sample(result: Result, condition: str, recorded: Sequence[object]) -> Sample:
    values, replicates = [], []
    lost: dict[int, str] = {}
    log = result.logs.get(condition)
    of_values = recorded.replicates if isinstance(recorded, MetricValues) else range(len(recorded))
    if log is not None:
        seen = set(of_values)
        lost = {
            replicate: "failed" if replicate in log.failed else "pruned" if replicate in log.pruned else "no value"
            for replicate in log.replicates
            if replicate not in seen
        }
    for replicate, value in zip(of_values, recorded, strict=True):
        found = as_number(value)
        if found is not None and math.isfinite(found):
            values.append(found)
            replicates.append(replicate)
        else:
            # The mean of a replicate is as little a number as any of its values.
            lost[replicate] = "not finite"
    return Sample(condition, values, replicates, dict(sorted(lost.items())))
