"""Opening a stored optimisation: the trials, rebuilt from the journal and the cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from crystallize import Objective, Treatment
from crystallize.errors import RunStateError, StoreError
from crystallize.hooks import BASELINE, Cell, OptimizationResult, plan_cells, trial_result
from crystallize_plugins.artifacts.database.schema import ASKED, STARTED, TOLD
from crystallize_plugins.artifacts.reading.stored import StoredRun

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from crystallize import Experiment
    from crystallize.hooks import AskedTrial, CellOutcome, JournalEntry, TrialResult

__all__ = ["open_optimization"]


def open_optimization(path: str | os.PathLike[str], *, experiment: Experiment | None = None) -> OptimizationResult:
    """Open a stored optimisation as what `experiment.last_optimization` was.

    Nothing is unpickled or imported, so that a folder from anywhere can be opened.

    Parameters
    ----------
    path : path
        The run's folder, ``<root>/<experiment>/v<N>``.
    experiment : Experiment, optional
        The experiment that was optimised, built anew: `OptimizationResult.reevaluate` runs it.

    Returns
    -------
    OptimizationResult
        With the trials that ran to their end; of an optimisation that was cut short, those up to there. A treatment
        that was a function, or whose values have no exact encoding, can be looked at, and is refused by `reevaluate`.

    Raises
    ------
    StoreError
        There is no run, it is no optimisation, or it is damaged.

    Examples
    --------
    >>> found = open_optimization("data/tuning/v0")  # doctest: +SKIP
    >>> print(found.statement())  # doctest: +SKIP
    """
    run = StoredRun(path)
    entries = run.journal()
    # A resumption under other settings says so in an entry of its own.
    begun = next((entry for entry in reversed(entries) if entry.name == STARTED), None)
    if begun is None:
        raise StoreError(
            f"no optimisation is stored in {run.path}: "
            + (
                "it was cut short before its first trial"
                if run.metadata.get("kind") == "trial"
                else "it is an ordinary run, which open_run() opens"
            )
        )
    outcomes = {outcome.cell: outcome for outcome in run.outcomes()}
    replicates = begun.fields["replicates"]
    trials: list[TrialResult] = []
    inexact = []
    for asked in _told_batches(entries):
        for trial in asked.fields["trials"]:
            trials.append(_trial(len(trials), asked.fields["batch"], trial, outcomes, replicates))
            if not trial.is_exact:
                inexact.append(trial.condition)
    return OptimizationResult(
        trials,
        [Objective(metric, direction) for metric, direction in begun.fields["objectives"]],
        baseline=_baseline(outcomes, replicates) if begun.fields["baseline"] else None,
        result=run.result(),
        experiment=experiment,
        inexact=inexact,
    )


def _told_batches(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """Return what was asked and told of; what was asked last may never have been."""
    told = {entry.fields["batch"] for entry in entries if entry.name == TOLD}
    return [entry for entry in entries if entry.name == ASKED and entry.fields["batch"] in told]


def _trial(
    number: int,
    batch: int,
    asked: AskedTrial,
    outcomes: Mapping[Cell, CellOutcome],
    replicates: int,
) -> TrialResult:
    treatment = Treatment(asked.name, _Forgotten(asked.name) if asked.is_callable else asked.value)
    found = [outcomes[cell] for cell in plan_cells([asked.condition], replicates)]
    return trial_result(number, batch, treatment, asked.condition, found)


def _baseline(outcomes: Mapping[Cell, CellOutcome], replicates: int) -> TrialResult | None:
    cells = plan_cells([BASELINE], replicates)
    if not all(cell in outcomes for cell in cells):
        return None  # cut short before it was done
    return trial_result(-1, -1, Treatment(BASELINE, {}), BASELINE, [outcomes[cell] for cell in cells])


class _Forgotten:
    """Stands for the function of a treatment, which is not stored."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, ctx: Any) -> NoReturn:  # noqa: ARG002 - as treatments are called
        raise RunStateError(f"treatment {self._name!r} was a function, and functions are not stored: make it again")
