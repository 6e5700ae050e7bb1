"""Metrics by condition, in replicate order whatever order the outcomes came in."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from crystallize.results.columns import CellColumns
from crystallize.results.outcome import Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crystallize.results.columns import LazyOutcomes
    from crystallize.results.outcome import CellOutcome
    from crystallize.results.provenance import ConditionRecord

__all__ = [
    "BASELINE",
    "NO_METRIC",
    "ExperimentMetrics",
    "HypothesisResult",
    "MetricValues",
    "TreatmentMetrics",
    "collect_metrics",
    "group_outcomes",
]

BASELINE = "baseline"
"""Name of the condition that treatments are compared with."""

NO_METRIC = (
    'no step recorded a metric: return (data, {"name": value}) from a step, or call ctx.metrics.add("name", value)'
)
"""What is said of a run that recorded nothing."""

_by_replicate = attrgetter("cell.replicate")


class MetricValues(list[Any]):
    """The values of one metric in one condition: a list, in replicate order.

    Parameters
    ----------
    values : iterable
        The values; a cell may have recorded several.
    replicates : iterable of int, optional
        Which replicate each value came from, in ascending order. Left out, one value per replicate from 0 on.

    Attributes
    ----------
    replicates : list of int
        As long as the list itself.
    tags : dict of int to mapping
        The tags of the values that were recorded with some, by position in the list.

    Examples
    --------
    >>> values = MetricValues([0.5, 0.75], replicates=[0, 2])
    >>> values, values.replicates
    ([0.5, 0.75], [0, 2])
    """

    __slots__ = ("replicates", "tags")

    replicates: list[int]
    tags: dict[int, Mapping[str, Any]]

    def __init__(self, values: Iterable[Any] = (), replicates: Iterable[int] | None = None) -> None:
        super().__init__(values)
        self.replicates = list(range(len(self)) if replicates is None else replicates)
        self.tags = {}

    def by_replicate(self) -> dict[int, list[Any]]:
        """Give the values of each replicate that recorded any, for pairing conditions.

        Returns
        -------
        dict of int to list
            In replicate order.

        Examples
        --------
        >>> MetricValues([1, 2, 3], replicates=[0, 0, 4]).by_replicate()
        {0: [1, 2], 4: [3]}
        """
        values: dict[int, list[Any]] = {}
        for replicate, value in zip(self.replicates, self, strict=True):
            values.setdefault(replicate, []).append(value)
        return values

    def __copy__(self) -> MetricValues:
        copied = MetricValues(self, self.replicates)
        copied.tags = dict(self.tags)
        return copied

    copy = __copy__

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_values, (list(self), self.replicates, self.tags)


def _rebuild_values(values: list[Any], replicates: list[int], tags: dict[int, Mapping[str, Any]]) -> MetricValues:
    rebuilt = MetricValues(values, replicates)
    rebuilt.tags = tags
    return rebuilt


@dataclass(frozen=True, slots=True)
class TreatmentMetrics:
    """What one condition recorded.

    Attributes
    ----------
    metrics : dict of str to MetricValues
        Name of a metric to its values, in replicate order.
    """

    metrics: dict[str, MetricValues] = field(default_factory=dict)


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
    """

    name: str
    results: dict[str, Any]
    ranking: dict[str, Any]
    errors: dict[str, BaseException] = field(default_factory=dict)
    metrics: Any = None

    def get_for_treatment(self, treatment: str) -> Any:
        """Give what the verifier returned for `treatment`, or None."""
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


def group_outcomes(
    outcomes: Iterable[CellOutcome], conditions: Sequence[ConditionRecord], kept: LazyOutcomes | None = None
) -> dict[str, list[CellOutcome] | CellColumns]:
    """Sort outcomes by condition, in the order of `conditions`, and within each by replicate.

    A condition all of whose cells were kept is given by column.
    """
    grouped: dict[str, list[CellOutcome]] = {condition.name: [] for condition in conditions}
    for outcome in outcomes:
        grouped.setdefault(outcome.cell.condition, []).append(outcome)
    by_column: dict[str, CellColumns] = {}
    if kept is not None:
        for name in kept.conditions:
            columns = kept.columns(name)
            if grouped.get(name):
                grouped[name] += [kept[Cell(name, replicate)] for replicate in columns.replicates]
            else:
                by_column[name] = columns
    for members in grouped.values():
        members.sort(key=_by_replicate)
    return {**grouped, **by_column}


def collect_metrics(
    outcomes: Iterable[CellOutcome], conditions: Sequence[ConditionRecord], *, kept: LazyOutcomes | None = None
) -> ExperimentMetrics:
    """Bring the metrics of many cells together.

    Parameters
    ----------
    outcomes : iterable of CellOutcome
        In any order.
    conditions : sequence of ConditionRecord
        In the order in which the treatments are to appear.
    kept : LazyOutcomes, optional
        Those of other cells, which were not run again.

    Returns
    -------
    ExperimentMetrics
        Without hypotheses.
    """
    collected = ExperimentMetrics()
    for name, members in group_outcomes(outcomes, conditions, kept).items():
        if isinstance(members, CellColumns):
            # The lists of a result belong to whoever has it.
            joined = {metric: values.copy() for metric, values in members.metrics.items()}
        else:
            joined = _join([outcome for outcome in members if outcome.error is None])
        if name == BASELINE:
            collected.baseline.metrics.update(joined)
        else:
            collected.treatments[name] = TreatmentMetrics(joined)
    return collected


def _join(outcomes: Sequence[CellOutcome]) -> dict[str, MetricValues]:
    return _by_column(outcomes) or _by_cell(outcomes)


def _by_column(outcomes: Sequence[CellOutcome]) -> dict[str, MetricValues] | None:
    """Join cells that all recorded one value of the same metrics, as nearly all do, a metric at a time."""
    cells = [outcome.metrics for outcome in outcomes]
    names = [*cells[0]] if cells else []
    if any(len(cell) != len(names) for cell in cells) or any(outcome.tags for outcome in outcomes):
        return None
    replicates = [outcome.cell.replicate for outcome in outcomes]
    try:
        return {
            name: MetricValues([value for (value,) in [cell[name] for cell in cells]], replicates) for name in names
        }
    except (KeyError, ValueError):
        return None


def _by_cell(outcomes: Iterable[CellOutcome]) -> dict[str, MetricValues]:
    joined: dict[str, MetricValues] = {}
    for outcome in outcomes:
        replicate = outcome.cell.replicate
        for name, values in outcome.metrics.items():
            target = joined.get(name)
            if target is None:
                target = joined[name] = MetricValues()
            for index, tags in outcome.tags.get(name, {}).items() if outcome.tags else ():
                target.tags[len(target) + index] = tags
            target.extend(values)
            target.replicates.extend([replicate] * len(values))
    return joined
