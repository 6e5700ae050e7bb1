"""Constraints relative to the baseline, such as latency at most 1.1 times the baseline's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crystallize.errors import ArgumentTypeError, ValidationError

if TYPE_CHECKING:
    from crystallize.hooks import TrialResult

__all__ = ["RelativeConstraint"]


@dataclass(frozen=True, slots=True)
class RelativeConstraint:
    """A metric of a trial is bounded by a multiple of the baseline's.

    Parameters
    ----------
    metric : str
    at_most, at_least : float, optional
        Exactly one of them: the multiple of the baseline's mean that the trial's mean may not exceed, or
        must reach.

    Examples
    --------
    >>> RelativeConstraint("latency", at_most=1.1)
    RelativeConstraint(metric='latency', at_most=1.1, at_least=None)
    """

    metric: str
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        _check_metric(self.metric)
        if (self.at_most is None) == (self.at_least is None):
            raise ValidationError(f"the constraint on {self.metric!r} needs either at_most or at_least")
        _check_bound(self.metric, self.at_least if self.at_most is None else self.at_most)

    def violation(self, trial: TrialResult, baseline: TrialResult) -> float:
        """Return by how much a trial breaks the constraint: at most 0 where it keeps it, infinite for NaN."""
        value, reference = trial.mean(self.metric), baseline.mean(self.metric)
        if self.at_most is not None:
            violation = value - self.at_most * reference
        else:
            violation = float(self.at_least or 0.0) * reference - value
        return math.inf if math.isnan(violation) else violation


def _check_metric(metric: object) -> None:
    if not isinstance(metric, str) or not metric:
        raise ArgumentTypeError(f"metric must be the name of a metric, not {metric!r}")


def _check_bound(metric: str, bound: object) -> None:
    if isinstance(bound, bool) or not isinstance(bound, (int, float)):
        raise ArgumentTypeError(f"the bound on {metric!r} must be a number, not {bound!r}")
    if not math.isfinite(bound):
        raise ValidationError(f"the bound on {metric!r} must be finite, not {bound!r}")
