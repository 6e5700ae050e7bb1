"""`RayExecution`: the plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - settings are read of the annotations
from typing import TYPE_CHECKING

from crystallize.errors import ValidationError
from crystallize.hooks.tools import check_count
from crystallize_plugins.execution.remote.executor import ClusterExecution

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crystallize.hooks import Cell, CellOutcome, ExperimentView, RunCell

__all__ = ["RayExecution"]


class RayExecution(ClusterExecution):
    """Run cells on a Ray cluster.

    The run has actors, one for each cell that runs at the same time, each with a process of the run's own: crashes of
    cells are named and tried once more, time-outs of plain functions are kept, and the cluster has nothing of the run
    when it is over. The project's code travels along; see `crystallize_plugins.execution.remote`.

    Parameters
    ----------
    address : str, optional
        Where the cluster's head is, such as ``"10.0.0.7:6379"``, or ``"auto"`` on one of its machines; by default what
        the environment variable ``RAY_ADDRESS`` says. Without either, the run uses the Ray that the program is
        connected to, and leaves it up; or has one of its own on this machine.
    workers : int, optional
        How many cells run at the same time at most. By default as many as the cluster has room for.
    num_cpus : float, default 1
        What each cell takes of its machine's CPUs.
    num_gpus : float, default 0
        And of its GPUs; a part of one is shared.
    isolate : bool, default True
        False runs cells in the actors themselves, without what is said above of crashes, time-outs and output.
    ship : sequence of str, default empty
        Patterns of files that the steps read, such as ``"data/*.csv"``, relative to the working folder; 512 MB at most.
    max_losses : int, default 2
        How often a cell may be lost with its actor; once more, and it has failed with a `WorkerCrashError`.
    resources : mapping of str to float, optional
        What else each cell takes, as ``ray start --resources`` declares it; ``"cpu"``, ``"gpu"`` and ``"memory"``
        (bytes) are Ray's own.
    condition_resources : mapping of str to mapping, optional
        The same by condition, in place of `resources`: ``{"big": {"gpu": 1}}``.
    progress : bool, default False
        Show cells done, failed, rate and time left on a terminal or in a notebook.

    Raises
    ------
    ArgumentTypeError, ValidationError
        An argument cannot be used; at the run, the program is connected to another Ray cluster.
    MissingExtraError
        At the run: Ray is not installed (``pip install "crystallize-plugins[ray]"``).
    WorkerMismatchError
        At the run, before the first cell: no machine has what the program has.

    Notes
    -----
    `workers` of ``result.provenance["execution"]`` says what ran where. Ray repeats nothing by itself: a cell whose
    machine died is handed out again by the run.

    Examples
    --------
    >>> RayExecution("auto", condition_resources={"big": {"gpu": 1}}).address
    'auto'
    """

    engine = "ray"

    def __init__(
        self,
        address: str | None = None,
        *,
        workers: int | None = None,
        num_cpus: float = 1,
        num_gpus: float = 0,
        isolate: bool = True,
        ship: Sequence[str] = (),
        max_losses: int = 2,
        resources: Mapping[str, float] | None = None,
        condition_resources: Mapping[str, Mapping[str, float]] | None = None,
        progress: bool = False,
    ) -> None:
        super().__init__(
            isolate=isolate,
            ship=ship,
            max_losses=max_losses,
            resources=resources,
            condition_resources=condition_resources,
            progress=progress,
        )
        if not num_cpus > 0 or num_gpus < 0:
            raise ValidationError(f"num_cpus must be above 0 and num_gpus not below, not {num_cpus} and {num_gpus}")
        self.address = address
        self.workers = None if workers is None else check_count(workers, what="workers")
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus

    def run_experiment_loop(
        self, experiment: ExperimentView, cells: Sequence[Cell], run_cell: RunCell
    ) -> Iterable[list[CellOutcome]]:
        """Run the cells on the cluster."""
        from crystallize_plugins.execution.ray.cluster import Cluster
        from crystallize_plugins.execution.ray.loop import RayLoop

        self._show_progress(experiment, cells)
        if experiment.run.id not in self._clusters:
            cpus = None if self.workers is None else self.workers * self.num_cpus
            self._clusters[experiment.run.id] = Cluster(self.address, cpus)
        return RayLoop(self, experiment, cells, run_cell, self._facts.setdefault(experiment.run.id, {}))
