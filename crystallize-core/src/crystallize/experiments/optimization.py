"""`OptimizationResult`: the trials behind the treatment that `optimize` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crystallize.engine.run import Run
    from crystallize.engine.trials import Trials
    from crystallize.experiments.experiment import Experiment
    from crystallize.results import Result
    from crystallize.results.trials import TrialResult

__all__ = ["OptimizationResult"]


class OptimizationResult:
    """What an optimisation tried, and what it found.

    Attributes
    ----------
    trials : list of TrialResult
        In order; those of a batch in the order in which they were asked for.
    baseline : TrialResult or None
        Where the optimiser needed it.
    result : Result or None
        The run behind it, whose conditions are the trials.
    """

    def __init__(self, experiment: Experiment, trials: Trials, run: Run) -> None:
        self._experiment = experiment
        self.trials: list[TrialResult] = trials.results
        self.baseline: TrialResult | None = trials.baseline
        self.result: Result | None = run.result
