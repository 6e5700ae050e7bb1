"""`OptimizationResult`: the trials behind the treatment that `optimize` returns, and how far to believe them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crystallize.checks import check_count
from crystallize.engine.plan import plan_cells
from crystallize.errors import OptimizationError, RunStateError, UnknownNameError
from crystallize.optimization.trial import ConditionNames
from crystallize.results.outcome import Cell
from crystallize.results.statistics import confidence_interval, mean
from crystallize.results.tabular import pandas_frame

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from crystallize.design import Objective
    from crystallize.experiments.experiment import Experiment
    from crystallize.optimization.trial import TrialResult
    from crystallize.results.result import Result

__all__ = ["OptimizationResult"]


class OptimizationResult:
    """What an optimisation tried, and what it found.

    Parameters
    ----------
    trials : sequence of TrialResult
    objectives : sequence of Objective
    baseline : TrialResult, optional
    result : Result, optional
    experiment : Experiment, optional
        Needed for `reevaluate`.
    inexact : collection of str, optional
        The conditions whose treatments were stored as text, so that they cannot run again.
    replayed : int, default 0

    Attributes
    ----------
    trials : list of TrialResult
        In order; those of a batch in the order in which they were asked for.
    objectives : list of Objective
    baseline : TrialResult or None
        Where the optimiser needed it.
    result : Result or None
        The run behind it, whose conditions are the trials.
    replayed : int
        How many of the trials ``strategy="resume"`` found in the store and did not run again.

    Examples
    --------
    >>> experiment.optimize(optimizer, num_trials=20, replicates_per_trial=5)  # doctest: +SKIP
    >>> print(experiment.last_optimization.statement())  # doctest: +SKIP
    """

    def __init__(
        self,
        trials: Sequence[TrialResult],
        objectives: Sequence[Objective],
        *,
        baseline: TrialResult | None = None,
        result: Result | None = None,
        experiment: Experiment | None = None,
        inexact: Collection[str] = (),
        replayed: int = 0,
    ) -> None:
        self.trials = list(trials)
        self.objectives = list(objectives)
        self.baseline = baseline
        self.result = result
        self.replayed = replayed
        self._experiment = experiment
        self._inexact = frozenset(inexact)

    def __repr__(self) -> str:
        metrics = ", ".join(f"{objective.direction} {objective.metric}" for objective in self.objectives)
        replayed = f" ({self.replayed} of them from the store)" if self.replayed else ""
        return f"<OptimizationResult: {len(self.trials)} trials{replayed}, {metrics}>"

    def ranked(self, metric: str | None = None) -> list[TrialResult]:
        """Return the complete trials, the best first; equal ones in the order in which they were asked for.

        Parameters
        ----------
        metric : str, optional
            An objective's; by default the first one's. A trial that did not record it, or whose mean is
            NaN, is left out.
        """
        objective = self._objective(metric)
        sign = -1.0 if objective.direction == "maximize" else 1.0
        scored = [
            (sign * trial.mean(objective.metric), trial)
            for trial in self.trials
            if trial.state == "complete" and objective.metric in trial.metrics
        ]
        return [trial for score, trial in sorted(scored, key=lambda pair: pair[0]) if not math.isnan(score)]

    def best(self, metric: str | None = None) -> TrialResult:
        """Return the trial with the best mean.

        Raises
        ------
        OptimizationError
            If no trial is complete.
        """
        ranked = self.ranked(metric)
        if not ranked:
            raise OptimizationError("no trial is complete, so none is best: see the trials' errors", trials=self.trials)
        return ranked[0]

    def best_interval(self, metric: str | None = None, level: float = 0.95) -> tuple[float, float]:
        """Return Student's interval of the best trial's mean; NaN where it has a single replicate.

        It is that of one trial, and does not know that this one was chosen for its mean: the best of
        many is, on average, worse than it looks (the winner's curse). `reevaluate` says by how much.
        """
        return self.best(metric).confidence_interval(self._objective(metric).metric, level)

    def difference_of_best_two(
        self, metric: str | None = None, level: float = 0.95
    ) -> tuple[float, tuple[float, float]] | None:
        """Return by how much the second best mean differs from the best, and Student's paired interval.

        Trials see the same seeds, so their replicates are compared in pairs. None where fewer than two
        trials are complete, or where they share fewer than two replicates.
        """
        ranked, name = self.ranked(metric), self._objective(metric).metric
        if len(ranked) < 2:  # noqa: PLR2004 - a difference takes two
            return None
        first, second = (_by_replicate(trial, name) for trial in ranked[:2])
        shared = sorted(first.keys() & second.keys())
        if len(shared) < 2:  # noqa: PLR2004 - and a spread as well
            return None
        differences = [second[replicate] - first[replicate] for replicate in shared]
        return mean(differences), confidence_interval(differences, level)

    def statement(self, metric: str | None = None, level: float = 0.95) -> str:
        """Say in words what was found, and whether the best two can be told apart.

        Parameters
        ----------
        metric : str, optional
        level : float, default 0.95
            Of the intervals.
        """
        objective, best = self._objective(metric), self.best(metric)
        name, value = objective.metric, best.mean(objective.metric)
        low, high = best.confidence_interval(name, level)
        replicates = len(best.per_replicate(name))
        found = f"Best of {len(self.trials)} trials: {best.treatment.name!r} with {name} = {value:.6g}"
        if math.isnan(low):
            return (
                f"{found}, from a single replicate: its spread, and whether it is better than another, are unknown. "
                "Use replicates_per_trial=5 or more, or reevaluate()."
            )
        found += f" ({level:.0%} interval {low:.6g} to {high:.6g}, {replicates} replicates)."
        compared = self.difference_of_best_two(metric, level)
        if compared is None:
            return f"{found} No second trial can be compared with it."
        second = self.ranked(metric)[1].treatment.name
        difference, (below, above) = compared
        interval = f"{difference:.6g} ({level:.0%} interval {below:.6g} to {above:.6g})"
        if below <= 0 <= above:
            return (
                f"{found} It cannot be told apart from the second best, {second!r}: the difference is {interval}. "
                "reevaluate(top=2, replicates=...) compares them on fresh seeds."
            )
        return f"{found} The second best, {second!r}, differs by {interval}."

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each trial: number, batch, name, state, parameters; of each metric mean, error, interval."""
        return [self._row(trial) for trial in self.trials]

    def _row(self, trial: TrialResult) -> dict[str, Any]:
        row: dict[str, Any] = {
            "number": trial.number,
            "batch": trial.batch,
            "treatment": trial.treatment.name,
            "state": trial.state,
            "duration": math.fsum(trial.durations),
        }
        row.update((f"param_{name}", value) for name, value in trial.treatment.apply_map.items())
        for objective in self.objectives:
            name = objective.metric
            if name not in trial.metrics:
                row[name] = None
                continue
            low, high = trial.confidence_interval(name)
            row[name] = trial.mean(name)
            row[f"{name}_standard_error"] = trial.standard_error(name)
            row[f"{name}_low"], row[f"{name}_high"] = low, high
        return row

    def to_frame(self) -> Any:
        """Return the rows as a pandas data frame.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        rows = self.rows()
        names = dict.fromkeys(name for row in rows for name in row)
        return pandas_frame({name: [row.get(name) for row in rows] for name in names}, {}, what="to_frame()")

    def reevaluate(
        self, *, top: int = 3, replicates: int = 10, metric: str | None = None, baseline: bool | None = None
    ) -> Result:
        """Run the best trials again on seeds that no trial has seen.

        The best of many noisy means is too good to be true (the winner's curse); numbers from fresh
        seeds are not chosen by anybody.

        Parameters
        ----------
        top : int, default 3
            How many of the best.
        replicates : int, default 10
            For each of them. They are numbered after those of the trials, which is what makes their
            seeds fresh and, as before, the same for every condition.
        metric : str, optional
            The objective that ranks.
        baseline : bool, optional
            Whether the baseline runs beside them; by default where the optimiser needed it.

        Returns
        -------
        Result

        Raises
        ------
        RunStateError
            If this is a stored optimisation that was opened without its experiment.
        OptimizationError
            If no trial is complete, or the experiment repeats its seeds (``auto_seed=False``).
        """
        if self._experiment is None:
            raise RunStateError("reevaluate() runs the experiment again: open the optimisation with experiment=...")
        check_count(top, what="top")
        check_count(replicates, what="replicates")
        self.best(metric)
        best = self.ranked(metric)[:top]
        forgotten = [trial.treatment.name for trial in best if trial.condition in self._inexact]
        if forgotten:
            raise RunStateError(
                f"treatment {forgotten[0]!r} cannot run again: it is a function or holds values that a store keeps as "
                "text alone; give it to experiment.run(treatments=[...]) as you made it"
            )
        used = max(len(trial.seeds) for trial in self.trials)
        run = self._experiment._run_with(
            ConditionNames().distinct([trial.treatment for trial in best]),
            replicates,
            baseline=self.baseline is not None if baseline is None else baseline,
        )
        cells = [Cell(cell.condition, cell.replicate + used) for cell in plan_cells(run.conditions, replicates)]
        result = run.execute(cells)
        seen = {seed for trial in self.trials for seed in trial.seeds if seed is not None}
        again = seen & {outcome.seed for outcome in run.outcomes.values()}
        if again:
            error = OptimizationError(
                f"the seeds of the re-evaluation are not fresh: {sorted(again)[:3]} were seen by the trials. "
                "SeedPlugin(auto_seed=False) gives every replicate the same seed; leave auto_seed at True",
                trials=self.trials,
            )
            error.result = result  # type: ignore[attr-defined]
            raise error
        return result

    def _objective(self, metric: str | None) -> Objective:
        if metric is None:
            return self.objectives[0]
        for objective in self.objectives:
            if objective.metric == metric:
                return objective
        known = ", ".join(repr(objective.metric) for objective in self.objectives)
        raise UnknownNameError(f"{metric!r} is no objective of this optimisation; its objectives: {known}")


def _by_replicate(trial: TrialResult, metric: str) -> dict[int, float]:
    replicates = dict.fromkeys(trial.metrics[metric].replicates)
    return dict(zip(replicates, trial.per_replicate(metric), strict=True))
