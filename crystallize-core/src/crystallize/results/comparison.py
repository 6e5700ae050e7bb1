"""Each condition beside the baseline, metric by metric, in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crystallize.errors import MissingMetricError
from crystallize.results.metrics import BASELINE
from crystallize.results.samples import as_number, pairs_of, per_replicate
from crystallize.results.statistics import confidence_interval, mean, standard_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from crystallize.results.columns import MetricValues
    from crystallize.results.result import Result

__all__ = ["ComparisonRow", "compare", "metrics_by_condition", "numeric_metrics"]

# What varies by less than this part of its size varies by rounding alone.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One condition in one metric.

    Attributes
    ----------
    condition, metric : str
    replicates : int
        Number of replicates that recorded the metric.
    mean, spread : float
        Mean and standard deviation over the replicates, each counted once by the mean of what it recorded. NaN
        without replicates, and with a single one for the spread.
    difference : float
        To the baseline: the mean over the replicates that both have of treatment less baseline; where they have none in
        common, the difference of the means. NaN for the baseline itself.
    low, high : float
        Student's interval of the mean difference, of the confidence that was asked for; NaN where fewer than two
        replicates can be paired, or the difference is the same in all of them.
    pairs : int
        Number of replicates that were paired.
    """

    condition: str
    metric: str
    replicates: int
    mean: float
    spread: float
    difference: float
    low: float
    high: float
    pairs: int


def compare(
    result: Result, metrics: str | Sequence[str] | None = None, *, confidence: float = 0.95
) -> list[ComparisonRow]:
    """Compare every condition with the baseline.

    Parameters
    ----------
    result : Result
    metrics : str or list of str, optional
        By default every metric whose values are numbers.
    confidence : float, default 0.95
        Of the interval for the difference. Replicates share their seed, so differences are taken within them.

    Returns
    -------
    list of ComparisonRow
        By metric in the order of recording, and in each by condition. A condition that recorded nothing of a metric has
        a row too, of NaN.

    Raises
    ------
    MissingMetricError
        No condition recorded a metric that was asked for.
    TypeError
        A value of a metric that was asked for is no number.

    Examples
    --------
    >>> from crystallize.hooks import Cell, CellOutcome, ConditionRecord, build_result
    >>> outcomes = [
    ...     CellOutcome(Cell(condition, replicate), {"loss": [loss + replicate]})
    ...     for condition, loss in [("baseline", 5), ("fast", 3)]
    ...     for replicate in range(3)
    ... ]
    >>> conditions = [ConditionRecord("baseline"), ConditionRecord("fast")]
    >>> result = build_result(conditions=conditions, outcomes=outcomes, replicates=3, facts={})
    >>> [(row.condition, row.mean, row.difference) for row in compare(result, "loss")]
    [('baseline', 6.0, nan), ('fast', 4.0, -2.0)]
    """
    recorded = metrics_by_condition(result)
    if metrics is None:
        chosen = numeric_metrics(recorded)
    else:
        chosen = [metrics] if isinstance(metrics, str) else list(metrics)
        known = list(dict.fromkeys(name for values in recorded.values() for name in values))
        for metric in chosen:
            if metric not in known:
                raise MissingMetricError(metric, known, where="the result")
    return [
        _row(condition, metric, recorded, confidence)
        for metric in chosen
        for condition in _conditions(result, recorded)
    ]


def metrics_by_condition(result: Result) -> dict[str, Mapping[str, MetricValues]]:
    """Return the metrics of the baseline and of each treatment that has some."""
    treatments = {name: condition.metrics for name, condition in result.metrics.treatments.items()}
    return {BASELINE: result.metrics.baseline.metrics, **treatments}


def numeric_metrics(recorded: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[str]:
    """Return the metrics of which every value, in every condition, is a number."""
    names = dict.fromkeys(name for values in recorded.values() for name in values)
    return [
        name
        for name in names
        if all(as_number(value) is not None for values in recorded.values() for value in values.get(name, ()))
    ]


def _conditions(result: Result, recorded: Mapping[str, object]) -> list[str]:
    named = [condition.name for condition in result.conditions]
    return named or list(recorded)


def _row(
    condition: str, metric: str, recorded: Mapping[str, Mapping[str, MetricValues]], confidence: float
) -> ComparisonRow:
    samples = _samples(recorded, condition, metric)
    numbers = list(samples.values())
    difference = low = high = math.nan
    pairs: list[tuple[float, float]] = []
    baseline = _samples(recorded, BASELINE, metric)
    if condition != BASELINE and baseline and samples:
        pairs = pairs_of(baseline, samples)
        differences = [after - before for before, after in pairs]
        difference = mean(differences) if pairs else mean(numbers) - mean(list(baseline.values()))
        # An interval of no width would claim a certainty that nobody has.
        if differences and max(differences) - min(differences) > _ROUNDING * max(
            abs(value) for pair in pairs for value in pair
        ):
            low, high = confidence_interval(differences, confidence)
    return ComparisonRow(
        condition=condition,
        metric=metric,
        replicates=len(numbers),
        mean=mean(numbers),
        spread=standard_error(numbers) * math.sqrt(len(numbers)),
        difference=difference,
        low=low,
        high=high,
        pairs=len(pairs),
    )


def _samples(recorded: Mapping[str, Mapping[str, MetricValues]], condition: str, metric: str) -> dict[int, float]:
    return per_replicate(recorded.get(condition, {}).get(metric, []), metric=metric)
