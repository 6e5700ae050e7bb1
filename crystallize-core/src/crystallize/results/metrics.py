"""Metrics by condition, in replicate order whatever order the outcomes came in."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crystallize.results.collected import collected
from crystallize.results.columns import CellColumns, MetricValues

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crystallize.design.verdicts import Verdict
    from crystallize.results.columns import LazyOutcomes, MetricColumn
    from crystallize.results.outcome import CellOutcome
    from crystallize.results.provenance import ConditionRecord

__all__ = [
    "BASELINE",
    "NO_METRIC",
    "ExperimentMetrics",
    "HypothesisResult",
    "MetricValues",
    "TreatmentMetrics",
    "by_condition",
    "collect_metrics",
    "metrics_of",
]

BASELINE = "baseline"
"""Name of the condition that treatments are compared with."""

NO_METRIC = (
    'no step recorded a metric: return (data, {"name": value}) from a step, or call ctx.metrics.add("name", value)'
)
"""What is said of a run that recorded nothing."""


class TreatmentMetrics:
    """What one condition recorded.

    Parameters
    ----------
    metrics : dict of str to MetricValues, optional
    columns : mapping of str to MetricColumn, optional
        The same by column; lists are made of them when somebody looks.

    Attributes
    ----------
    metrics : dict of str to MetricValues
        Name of a metric to its values, in replicate order.
    """

    __slots__ = ("_columns", "_metrics")

    def __init__(
        self,
        metrics: dict[str, MetricValues] | None = None,
        *,
        columns: Mapping[str, MetricColumn] | None = None,
    ) -> None:
        self._columns = columns or {}
        self._metrics = {} if metrics is None and columns is None else metrics

    @property
    def metrics(self) -> dict[str, MetricValues]:
        """Name of a metric to its values, in replicate order."""
        if self._metrics is None:
            self._metrics = self.unpacked()
            self._columns = {}
        return self._metrics

    @property
    def names(self) -> list[str]:
        """The names of the metrics."""
        return [*(self._columns if self._metrics is None else self._metrics)]

    def unpacked(self) -> dict[str, MetricValues]:
        """Return `metrics`, which are not kept unless somebody has looked at them before."""
        if self._metrics is not None:
            return self._metrics
        return {name: column.unpacked() for name, column in self._columns.items()}

    def copied(self) -> TreatmentMetrics:
        """Return the same metrics in lists of their own."""
        if self._metrics is None:
            return TreatmentMetrics(columns=self._columns)
        return TreatmentMetrics({name: copy.copy(values) for name, values in self._metrics.items()})

    def values(self, name: str) -> MetricValues:
        """Return those of one metric, which are not kept unless somebody has looked at `metrics` before."""
        return self._columns[name].unpacked() if self._metrics is None else self._metrics[name]

    def __eq__(self, other: object) -> bool:
        return self.metrics == other.metrics if isinstance(other, TreatmentMetrics) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return TreatmentMetrics, (self.metrics,)

    def __repr__(self) -> str:
        return f"TreatmentMetrics(metrics={self.metrics!r})"


@dataclass(frozen=True, slots=True)
class HypothesisResult:
    """What testing one hypothesis gave.

    Attributes
    ----------
    name : str
        The hypothesis.
    results : dict of str to mapping, or to list of mapping
        What the verifier returned for each treatment; a list, one per group, where the hypothesis groups its metrics.
    ranking : dict
        ``"best"``: the name of the treatment with the lowest score, None where no score is a number; ``"ranked"``:
        pairs of name and score, best first, those without a score (NaN) last.
    errors : dict of str to BaseException
        What went wrong, by treatment.
    metrics : str, list of str, list of lists of str, or None
        The metrics that it was tested on, as the hypothesis names them; None for all.
    verdicts : tuple of Verdict
        One for each treatment and metric, or group of metrics, adjusted for their number; what a verifier of the
        user's own says is among them.
    comparisons : int
        Their number, together with those that could not be made.
    correction : str
        How p-values were adjusted.
    state : str
        How far the verdicts may be believed, the worst of them; see `Verdict`.
    reason : str
        Why.
    """

    name: str
    results: dict[str, Any]
    ranking: dict[str, Any]
    errors: dict[str, BaseException] = field(default_factory=dict)
    metrics: Any = None
    verdicts: tuple[Verdict, ...] = ()
    comparisons: int = 0
    correction: str = "none"
    state: str = ""
    reason: str = ""

    def get_for_treatment(self, treatment: str) -> Any:
        """Return what the verifier returned for `treatment`, or None."""
        return self.results.get(treatment)


@dataclass(frozen=True, slots=True)
class ExperimentMetrics:
    """The metrics of a run.

    Attributes
    ----------
    baseline : TreatmentMetrics
        Empty where the baseline did not run, or failed in every replicate.
    treatments : dict of str to TreatmentMetrics
        In the order of the treatments; one without a single successful cell has no metrics.
    hypotheses : list of HypothesisResult
        In the order in which they were given.
    """

    baseline: TreatmentMetrics = field(default_factory=TreatmentMetrics)
    treatments: dict[str, TreatmentMetrics] = field(default_factory=dict)
    hypotheses: list[HypothesisResult] = field(default_factory=list)


def collect_metrics(
    outcomes: Iterable[CellOutcome] | LazyOutcomes, conditions: Sequence[ConditionRecord]
) -> ExperimentMetrics:
    """Bring the metrics of many cells together.

    Parameters
    ----------
    outcomes : iterable of CellOutcome, or LazyOutcomes
        In any order.
    conditions : sequence of ConditionRecord
        In the order in which the treatments are to appear.

    Returns
    -------
    ExperimentMetrics
        Without hypotheses.
    """
    return metrics_of(by_condition(collected(outcomes), conditions))


def metrics_of(columns: Mapping[str, CellColumns]) -> ExperimentMetrics:
    """Return the metrics of conditions, of which the columns are given by name."""
    found = {name: TreatmentMetrics(columns=each.metrics) for name, each in columns.items()}
    return ExperimentMetrics(found.pop(BASELINE, TreatmentMetrics()), found)


def by_condition(outcomes: LazyOutcomes, conditions: Sequence[ConditionRecord]) -> dict[str, CellColumns]:
    """Return the columns of each condition, in the order of `conditions`."""
    known = set(outcomes.conditions)
    names = dict.fromkeys((*(condition.name for condition in conditions), *outcomes.conditions))
    return {name: outcomes.columns(name) if name in known else CellColumns() for name in names}
