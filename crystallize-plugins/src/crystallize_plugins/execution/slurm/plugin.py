"""`SlurmExecution`: cells in the jobs of a cluster that SLURM manages."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.hooks import ExecutorPlugin
from crystallize.hooks.tools import check_choice, check_count, check_flag, check_mapping, check_seconds, did_you_mean
from crystallize_plugins.execution.executor import Executor
from crystallize_plugins.execution.remote.parcel import check_patterns
from crystallize_plugins.execution.slurm.commands import checked_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike

    from crystallize import Result
    from crystallize.hooks import Cell, CellOutcome, ExperimentView, RunCell
    from crystallize_plugins.execution.slurm.loop import ArrayLoop

__all__ = ["SlurmExecution"]


class SlurmExecution(Executor):
    """Run cells in job arrays of SLURM.

    Each run has a folder that this process and the jobs share. Jobs take cells from it and write down what came of
    them, so they go on when this process is killed: ``run(strategy="resume")`` then takes up what they have finished
    and follows those that still run. A job that is preempted goes on with other cells once it is requeued.

    Parameters
    ----------
    jobs : int, default 8
        How many jobs at most, for each set of options, wait or run at a time.
    sbatch : mapping of str to object, optional
        Options of sbatch for all jobs: ``{"partition": "long", "time": "4:00:00", "mem": "8G"}``. True is a flag.
    condition_sbatch : mapping of str to mapping, optional
        More of them for the cells of some conditions: ``{"large": {"gres": "gpu:1"}}``. Conditions with the same
        options share their jobs.
    setup : sequence of str
        Lines of shell that come before Python in each job: ``["module load cuda"]``.
    python : str, optional
        The interpreter on the nodes. By default this one, by its path.
    folder : path, default "jobs"
        Where the folders of runs are, as ``<folder>/<experiment>/<run id>/``; on a file system that the nodes share.
    poll : float, default 1.0
        Seconds between two looks at the folder and the queue.
    on_interrupt : {"cancel", "leave"}, default "cancel"
        Whether Ctrl-C cancels the jobs, or leaves them for a run that resumes.
    processes : int, default 1
        How many cells each job runs at a time; ask for as many cores.
    isolate : bool, default True
        Whether cells run in processes of their own on the nodes, so that a crash costs one cell.
    ship : sequence of str
        Patterns of files, relative to the working folder, that cells are to find in theirs.
    max_losses : int, default 2
        How often a cell may have lost its job before it has failed.
    progress : bool, default False
        Show cells done, failed, rate and time left on a terminal or in a notebook.

    Raises
    ------
    ArgumentTypeError
        If an argument has the wrong type.
    ValidationError
        If a number is too small, a choice unknown, or an option of sbatch is one that is set here.

    Notes
    -----
    ``sbatch``, ``squeue``, ``scancel`` and ``scontrol`` have to be installed where this runs; no accounting is needed.
    What SLURM refuses is a `WorkerStartError` in sbatch's words. A job begins no cell for which its time is too short,
    going by what cells have taken so far.

    Examples
    --------
    >>> SlurmExecution(jobs=4, sbatch={"time": "1:00:00"}, condition_sbatch={"large": {"gres": "gpu:1"}}).jobs
    4
    """

    def __init__(
        self,
        jobs: int = 8,
        *,
        sbatch: Mapping[str, Any] | None = None,
        condition_sbatch: Mapping[str, Mapping[str, Any]] | None = None,
        setup: Sequence[str] = (),
        python: str | None = None,
        folder: str | PathLike[str] = "jobs",
        poll: float = 1.0,
        on_interrupt: Literal["cancel", "leave"] = "cancel",
        processes: int = 1,
        isolate: bool = True,
        ship: Sequence[str] = (),
        max_losses: int = 2,
        progress: bool = False,
    ) -> None:
        super().__init__(progress=progress)
        self.jobs = check_count(jobs, what="jobs")
        self._options = checked_options(sbatch, what="sbatch")
        self.sbatch = dict(sbatch or {})
        by_condition = check_mapping(condition_sbatch or {}, what="condition_sbatch")
        self._condition_options = {
            name: checked_options(options, what=f"condition_sbatch[{name!r}]") for name, options in by_condition.items()
        }
        self.condition_sbatch = {name: dict(options) for name, options in by_condition.items()}
        self.setup = _texts(setup, what="setup")
        if python is not None and not isinstance(python, str):
            raise ArgumentTypeError(f"python takes the path of an interpreter on the nodes, not {python!r:.80}")
        self.python = python
        self.folder = folder
        self.poll = check_seconds(poll, what="poll")
        self.on_interrupt = check_choice(on_interrupt, ("cancel", "leave"), what="on_interrupt")
        self.processes = check_count(processes, what="processes")
        self.isolate = check_flag(isolate, what="isolate")
        self.ship = check_patterns(ship)
        self.max_losses = check_count(max_losses, what="max_losses", minimum=0)
        self._loops: dict[str, list[ArrayLoop]] = {}

    @property
    def cells_leave_process(self) -> bool:
        """Cells run elsewhere, so that those of several experiments share no global random state."""
        return True

    @property
    def ends_overdue_cells(self) -> bool:
        """Whether a plain function that takes too long can be ended: a process of its own can."""
        return self.isolate

    def before_run(self, experiment: ExperimentView) -> None:
        """Have what makes cells what they are looked at, before cells change it."""
        if experiment.run.kind not in ("apply", "debug"):
            experiment.cell_identities()

    def run_experiment_loop(
        self, experiment: ExperimentView, cells: Sequence[Cell], run_cell: RunCell
    ) -> Iterable[list[CellOutcome]]:
        """Run the cells in jobs."""
        from crystallize_plugins.execution.slurm.loop import ArrayLoop, Settings

        self._check_conditions(experiment)
        self._show_progress(experiment, cells)
        settings = Settings(
            jobs=self.jobs,
            processes=self.processes,
            options=self._options,
            condition_options=self._condition_options,
            setup=self.setup,
            python=self.python or sys.executable,
            folder=str(self.folder),
            poll=self.poll,
            leaves=self.on_interrupt == "leave",
            isolate=self.isolate,
            ship=self.ship,
            max_losses=self.max_losses,
        )
        loop = ArrayLoop(experiment, cells, run_cell, settings)
        self._loops.setdefault(experiment.run.id, []).append(loop)
        return loop

    def _check_conditions(self, experiment: ExperimentView) -> None:
        known = ["baseline", *(treatment.name for treatment in experiment.treatments), *experiment.declared]
        for name in self.condition_sbatch:
            if name not in known:
                raise ValidationError(
                    f"condition_sbatch names the condition {name!r}, which this experiment does not have"
                    f"{did_you_mean(name, known)}"
                )

    def collect_provenance(self, experiment: ExperimentView) -> Mapping[str, Any]:
        """Record where the cells have run, where no later executor runs them."""
        if [plugin for plugin in experiment.plugins if isinstance(plugin, ExecutorPlugin)][-1:] != [self]:
            return {}
        from crystallize_plugins.execution.slurm.commands import version

        followed = [each for loop in self._loops.get(experiment.run.id, ()) for each in loop.followed]
        workers: dict[str, dict[str, Any]] = {}
        for each in followed:
            for name, facts in each.ledger.workers.items():
                known = workers.setdefault(name, {"name": name, "host": "", "cells": 0, "seconds": 0.0, "losses": 0})
                known["host"] = known["host"] or facts["host"]
                for key in ("cells", "seconds", "losses"):
                    known[key] += facts[key]
        return {
            "execution": {
                "type": "slurm",
                "version": version() if followed else "",
                "workers": list(workers.values()),
                "losses": sum(each.ledger.losses for each in followed),
                "refused": [str(refusal) for each in followed for refusal in each.refused],
                "drift": list(dict.fromkeys(sentence for each in followed for sentence in each.drift)),
                "jobs": [job for each in followed for job in each.jobs.values()],
            }
        }

    def after_run(self, experiment: ExperimentView, result: Result) -> None:
        """Put the bar away."""
        super().after_run(experiment, result)
        self._loops.pop(experiment.run.id, None)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_loops": {}}


def _texts(given: Sequence[str], *, what: str) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(each, str) for each in given):
        raise ArgumentTypeError(f"{what} takes several texts, such as a list of them, not {given!r:.80}")
    return tuple(given)
