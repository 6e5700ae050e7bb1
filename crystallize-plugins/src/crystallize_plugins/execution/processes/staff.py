"""`Staff`: the worker processes of one run, whatever way they are started."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from crystallize_plugins.execution.library_threads import loaded_libraries
from crystallize_plugins.execution.processes.starters import idle_starter, leave_for_later, start_method
from crystallize_plugins.execution.processes.surroundings import surroundings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.engine.runner import CellRunner
    from crystallize.hooks import ExperimentView
    from crystallize.results.outcome import Cell
    from crystallize_plugins.execution.processes.starters import Starter
    from crystallize_plugins.execution.processes.supervisor import ProcessLoop

__all__ = ["Staff", "new_starter"]

_USUAL = ("crystallize.engine.runner", "cloudpickle")


class Staff:
    """Makes ready to start workers at once, while the program may still be single-threaded.

    Parameters
    ----------
    experiment : ExperimentView
    workers : int
        How many processes at most.
    library_threads : int
        How many threads BLAS and OpenMP may use in each.

    Attributes
    ----------
    method : str
        ``"fork"``, ``"forkserver"`` or ``"spawn"``: how workers are started.
    """

    def __init__(self, experiment: ExperimentView, *, workers: int, library_threads: int) -> None:
        self._workers = workers
        self._library_threads = library_threads
        self._only_once = experiment.run.kind != "trial"
        self._starter: Starter | None = new_starter(_needs(experiment))
        self._starter.prepare(library_threads, min(workers, _sure_cells(experiment)))
        if self._starter.main is not None:
            # They are forks of what this process is at this moment.
            self._starter.surroundings = surroundings(library_threads)
        self.method = self._starter.method

    def loop(self, experiment: ExperimentView, cells: Sequence[Cell], run_cell: CellRunner) -> ProcessLoop:
        """Give the outcomes of cells."""
        from crystallize_plugins.execution.processes.supervisor import ProcessLoop

        starter, self._starter = self._starter or new_starter([]), None
        return ProcessLoop(
            experiment,
            cells,
            run_cell,
            workers=self._workers,
            library_threads=self._library_threads,
            starter=starter,
            give_back=self._take_back,
        )

    def leave(self) -> None:
        """End the run's part: what starts workers is kept for the next run where that pays."""
        starter, self._starter = self._starter, None
        if starter is not None:
            leave_for_later(starter)

    def _take_back(self, starter: Starter) -> None:
        self._starter = starter
        if self._only_once and not starter.keeps:
            starter.dismiss()  # it can end while the run does


def _needs(experiment: ExperimentView) -> list[str]:
    """Name what every worker will import, as far as it is known to start no threads."""
    ours, _, _ = __name__.partition(".")
    modules = {type(plugin).__module__ for plugin in experiment.plugins}
    seeds = any(getattr(plugin, "seeds_global_state", False) for plugin in experiment.plugins)
    needed = sorted(name for name in modules if name.startswith(f"{ours}."))
    return ["threadpoolctl", *needed, *(["numpy.random"] if seeds else [])]


def _sure_cells(experiment: ExperimentView) -> int:
    """Count the cells that are to be run for certain; the baseline may be left out, and what is kept is not run."""
    if experiment.run.kind == "trial" or experiment.run.strategy == "resume":
        return 0
    return experiment.replicates * max(len(experiment.treatments), 1)


def new_starter(needs: Sequence[str]) -> Starter:
    """Make or find what starts workers: by a fork where that is sound, kept from an earlier run, or new.

    Parameters
    ----------
    needs : sequence of str
        Modules that every worker will want: what is loaded before workers are forked is loaded once.
    """
    if start_method() == "spawn":
        from crystallize_plugins.execution.processes.spawned import SpawnStarter

        return SpawnStarter()
    from crystallize_plugins.execution.processes.nursery import ZygoteStarter

    if ZygoteStarter.may_fork():
        for name in needs:
            importlib.import_module(name)
        loaded_libraries()  # it takes its time, and every fork of this process would look for them
        forked = ZygoteStarter.forked()
        if forked is not None:
            return forked
    return idle_starter() or ZygoteStarter.launched([*_USUAL, *needs])
