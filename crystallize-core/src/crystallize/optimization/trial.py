"""`TrialResult`: what one treatment gave in an optimisation."""

from __future__ import annotations

import contextlib
import unicodedata
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

from crystallize.design import Treatment
from crystallize.engine.plan import BASELINE
from crystallize.errors import ArgumentTypeError, MissingMetricError
from crystallize.results.collected import columns_of
from crystallize.results.statistics import confidence_interval, mean, standard_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.results.columns import MetricValues
    from crystallize.results.outcome import CellOutcome

__all__ = ["ConditionNames", "Report", "TrialResult", "numbers_by_replicate", "trial_result", "was_pruned"]

_TIME_OUTS = frozenset({"CellTimeoutError", "StepTimeoutError"})


@dataclass(frozen=True, slots=True)
class Report:
    """An intermediate value that a step reported with ``ctx.report``."""

    replicate: int
    name: str
    value: float
    step: int


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One treatment of an optimisation, evaluated.

    Attributes
    ----------
    number : int
        Counted from 0, over all batches.
    batch : int
        Which ``ask()`` proposed it, counted from 0.
    treatment : Treatment
    condition : str
        Its name among the conditions of the stored run: the treatment's, numbered where it comes again.
    metrics : mapping of str to MetricValues
        Every value of the successful replicates.
    seeds : tuple of int or None
        One per replicate.
    state : {"complete", "failed", "pruned", "timed out"}
        Complete if at least one replicate succeeded and none was stopped by the optimiser; what failed
        replicates there were is in `errors`.
    durations : tuple of float
        Seconds, one per replicate.
    errors : mapping of str to exception
        By cell, as in `Result.errors`.
    reports : tuple of Report
        Intermediate values in order of arrival.
    """

    number: int
    batch: int
    treatment: Treatment
    condition: str
    metrics: Mapping[str, MetricValues]
    seeds: tuple[int | None, ...] = ()
    state: str = "complete"
    durations: tuple[float, ...] = ()
    errors: Mapping[str, Exception] = field(default_factory=dict)
    reports: tuple[Report, ...] = ()

    def per_replicate(self, metric: str) -> list[float]:
        """Return one number for each successful replicate: the mean of what it recorded.

        Raises
        ------
        MissingMetricError
            If no replicate recorded `metric`.
        ArgumentTypeError
            If a value is no number.
        """
        values = self.metrics.get(metric)
        if values is None:
            raise MissingMetricError(metric, self.metrics, where=f"trial {self.number} ({self.treatment.name!r})")
        return numbers_by_replicate(metric, values)

    def mean(self, metric: str) -> float:
        """Return the mean over the replicates; see `per_replicate`."""
        return mean(self.per_replicate(metric))

    def standard_error(self, metric: str) -> float:
        """Return the standard error of that mean; NaN of a single replicate."""
        return standard_error(self.per_replicate(metric))

    def confidence_interval(self, metric: str, level: float = 0.95) -> tuple[float, float]:
        """Return Student's interval of that mean; NaN of a single replicate."""
        return confidence_interval(self.per_replicate(metric), level)


def trial_result(
    number: int,
    batch: int,
    treatment: Treatment,
    condition: str,
    outcomes: Sequence[CellOutcome],
) -> TrialResult:
    """Make a trial's result of its cells' outcomes, in replicate order."""
    reports = [(report, outcome.cell.replicate) for outcome in outcomes for report in outcome.reports]
    reports.sort(key=lambda heard: heard[0][0])
    metrics = columns_of(outcomes).metrics
    return TrialResult(
        number,
        batch,
        treatment,
        condition,
        {name: column.unpacked() for name, column in metrics.items()},
        tuple(outcome.seed for outcome in outcomes),
        _state(outcomes),
        tuple(outcome.duration for outcome in outcomes),
        {outcome.cell.key: outcome.error for outcome in outcomes if outcome.error is not None},
        tuple(Report(replicate, *report[1:]) for report, replicate in reports),
    )


def numbers_by_replicate(metric: str, values: MetricValues) -> list[float]:
    """Return one number for each replicate that recorded a metric: the mean of its values.

    Raises
    ------
    ArgumentTypeError
        If a value is no number.
    """
    return [mean([_number(metric, value) for value in found]) for found in _grouped(values)]


def was_pruned(outcome: CellOutcome) -> bool:
    """Whether a cell was ended by the optimiser."""
    return outcome.error is not None and outcome.error.pruned


def _state(outcomes: Sequence[CellOutcome]) -> str:
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if any(error.pruned for error in errors):
        return "pruned"
    if len(errors) < len(outcomes):
        return "complete"
    return "timed out" if all(error.error_type in _TIME_OUTS for error in errors) else "failed"


def _grouped(values: MetricValues) -> list[list[Any]]:
    if len(set(values.replicates)) == len(values):
        return [[value] for value in values]
    return list(values.by_replicate().values())


def _number(metric: str, value: Any) -> float:
    if isinstance(value, Real) or hasattr(value, "__float__"):
        with contextlib.suppress(TypeError):  # an array of several numbers
            return float(value)
    raise ArgumentTypeError(f"metric {metric!r} holds {value!r:.200}, which is no number: an optimiser needs numbers")


class ConditionNames:
    """The names of a run's conditions: a treatment of a name that comes again is numbered."""

    def __init__(self) -> None:
        self._next = {_folded(BASELINE): 2}

    def distinct(self, treatments: Sequence[Treatment]) -> list[Treatment]:
        """Return the treatments under names that none before them has."""
        named = [(self._free(treatment.name), treatment) for treatment in treatments]
        return [
            treatment if treatment.name == name else Treatment(name, treatment.applied) for name, treatment in named
        ]

    def _free(self, name: str) -> str:
        key = _folded(name)
        again = self._next.get(key)
        if again is None:
            self._next[key] = 2
            return name
        while (numbered := _folded(f"{name}_{again}")) in self._next:
            again += 1
        self._next[key] = again + 1
        self._next[numbered] = 2
        return f"{name}_{again}"


def _folded(name: str) -> str:
    # As `check_distinct` compares: names that would share a folder on macOS or Windows are one.
    if name.isascii():
        return name.casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
