"""`ParallelExecution`: cells in several threads or several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from crystallize.hooks import ExecutorPlugin
from crystallize.hooks.tools import check_choice, check_count
from crystallize_plugins.environment.cores import usable_cores
from crystallize_plugins.execution.executor import Executor
from crystallize_plugins.execution.library_threads import threads_for_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crystallize import Result
    from crystallize.hooks import Cell, CellOutcome, ExperimentView, RunCell
    from crystallize_plugins.execution.processes.worker_pool import WorkerPool

__all__ = ["ParallelExecution"]


class ParallelExecution(Executor):
    """Run cells at the same time, in threads or in processes.

    Results do not depend on it: every cell has its own seed and its own context, and metrics come in the order of
    replicates. Threads are for steps that wait; processes for steps that compute. In a process a cell that brings
    its worker down costs nobody else anything: it is tried again on a new worker, then recorded as failed.

    Parameters
    ----------
    max_workers : int, optional
        How many threads or processes at most. By default as many as there are cores that this process may use.
    executor_type : {"thread", "process"}, default "thread"
        Of what kind.
    progress : bool, default False
        Show cells done, failed, rate and time left on a terminal or in a notebook.

    Attributes
    ----------
    max_workers : int or None
        As given.
    executor_type : str

    Raises
    ------
    ArgumentTypeError
        If `max_workers` is no integer, `executor_type` no text, `progress` no bool.
    ValidationError
        If `max_workers` is smaller than 1 or `executor_type` unknown.

    Notes
    -----
    Lambdas, closures, and what a script, a notebook or an interactive session defines travel to worker processes; a
    script needs no ``if __name__ == "__main__"``. Arrays of 128 KiB and more that the experiment carries are mapped by
    all workers and copied by none. In each process BLAS and OpenMP get their share of the cores; how many that is, says
    ``result.provenance["execution"]``.

    Examples
    --------
    >>> ParallelExecution(max_workers=4, executor_type="process").executor_type
    'process'
    """

    def __init__(
        self,
        max_workers: int | None = None,
        executor_type: Literal["thread", "process"] = "thread",
        progress: bool = False,
    ) -> None:
        super().__init__(progress=progress)
        self.max_workers = None if max_workers is None else check_count(max_workers, what="max_workers")
        self.executor_type = check_choice(executor_type, ("thread", "process"), what="executor_type")
        self._pools: dict[str, WorkerPool] = {}
        self._counted: dict[str, int] = {}

    @property
    def cells_leave_process(self) -> bool:
        """Return whether cells run elsewhere, so that those of several experiments share no global random state."""
        return self.executor_type == "process"

    @property
    def ends_overdue_cells(self) -> bool:
        """Return whether a plain function that takes too long can be ended: a process can, a thread cannot."""
        return self.executor_type == "process"

    def before_run(self, experiment: ExperimentView) -> None:
        """Have what starts worker processes made before other plugins start threads."""
        if self.executor_type == "process" and experiment.run.kind not in ("apply", "debug"):
            self._pool(experiment)

    def run_experiment_loop(
        self, experiment: ExperimentView, cells: Sequence[Cell], run_cell: RunCell
    ) -> Iterable[CellOutcome | list[CellOutcome]]:
        """Run the cells on the workers."""
        self._show_progress(experiment, cells)
        if self.executor_type == "process":
            return self._pool(experiment).loop(experiment, cells, run_cell)
        workers = self._workers(experiment)
        if self.max_workers != 1:  # One that this machine's only core makes it is several on the next.
            self._warn_where_seeding_is_unsound(
                experiment,
                "The threads of ParallelExecution",
                "use executor_type='process'",
            )
        from crystallize_plugins.execution.threads import ThreadLoop

        return ThreadLoop(cells, run_cell, workers=workers)

    def collect_provenance(self, experiment: ExperimentView) -> Mapping[str, Any]:
        """Record what the last bits of floating-point results may depend on, where no later executor runs the cells."""
        if [plugin for plugin in experiment.plugins if isinstance(plugin, ExecutorPlugin)][-1:] != [self]:
            return {}
        facts: dict[str, Any] = {
            "type": self.executor_type,
            "workers": self._workers(experiment),
            "cores": self._cores(experiment),
        }
        if self.executor_type == "process":
            pool = self._pools.get(experiment.run.id)
            facts["start_method"] = None if pool is None else pool.method
            facts["blas_threads"] = self._library_threads(experiment)
        return {"execution": facts}

    def after_run(self, experiment: ExperimentView, result: Result) -> None:
        """Put the bar away, and keep or end what starts workers."""
        super().after_run(experiment, result)
        self._counted.pop(experiment.run.id, None)
        pool = self._pools.pop(experiment.run.id, None)
        if pool is not None:
            pool.close()

    def _pool(self, experiment: ExperimentView) -> WorkerPool:
        from crystallize_plugins.execution.processes.worker_pool import WorkerPool

        pool = self._pools.get(experiment.run.id)
        if pool is None:
            pool = self._pools[experiment.run.id] = WorkerPool(
                experiment, workers=self._workers(experiment), library_threads=self._library_threads(experiment)
            )
        return pool

    def _cores(self, experiment: ExperimentView) -> int:
        # Counted once for a run: it takes a dozen files to find out.
        if experiment.run.id not in self._counted:
            self._counted[experiment.run.id] = usable_cores()
        return self._counted[experiment.run.id]

    def _workers(self, experiment: ExperimentView) -> int:
        return self.max_workers or self._cores(experiment)

    def _library_threads(self, experiment: ExperimentView) -> int:
        return threads_for_each(cores=self._cores(experiment), workers=self._workers(experiment))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_pools": {}, "_counted": {}}
