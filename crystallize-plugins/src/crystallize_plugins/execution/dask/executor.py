"""`DaskExecution`: the plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - settings are read of the annotations
from typing import TYPE_CHECKING, Any

from crystallize.errors import ValidationError
from crystallize.hooks.tools import check_count, check_integer
from crystallize_plugins.execution.remote.executor import ClusterExecution

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crystallize.hooks import Cell, CellOutcome, ExperimentView, RunCell

__all__ = ["DaskExecution"]


class DaskExecution(ClusterExecution):
    """Run cells on the workers of a Dask cluster.

    On each Dask worker a process of the run's own keeps worker processes, one for each of its threads: crashes of cells
    are named and tried once more, time-outs of plain functions are kept, and the cluster has nothing of the run when it
    is over. The project's code travels along; see `crystallize_plugins.execution.remote`.

    Parameters
    ----------
    address : str, optional
        Where the scheduler is, such as ``"tcp://10.0.0.7:8786"``, or the path of its scheduler file. Without it, and
        without `client`, the run has a cluster of its own on this machine.
    client : distributed.Client, optional
        The same, connected already; it is left open.
    workers : int, optional
        How many workers a cluster of the run's own has. By default as many as there are cores that this process may
        use.
    priority : int, default 0
        Of the run's tasks among those of others in the cluster; more is earlier.
    isolate : bool, default True
        False runs cells in the Dask workers themselves, without what is said above of crashes, time-outs and output.
    ship : sequence of str, default empty
        Patterns of files that the steps read, such as ``"data/*.csv"``, relative to the working folder; 512 MB at most.
    max_losses : int, default 2
        How often a cell may be lost with its Dask worker; once more, and it has failed with a `WorkerCrashError`.
    resources : mapping of str to float, optional
        What each cell takes of its worker's resources, as ``dask worker --resources`` declares them.
    condition_resources : mapping of str to mapping, optional
        The same by condition, in place of `resources`: ``{"big": {"gpu": 1}}``.
    progress : bool, default False
        Show cells done, failed, rate and time left on a terminal or in a notebook.

    Raises
    ------
    ArgumentTypeError, ValidationError
        An argument cannot be used, or both `address` and `client` are given.
    MissingExtraError
        At the run: Dask is not installed (``pip install "crystallize-plugins[dask]"``).
    WorkerMismatchError
        At the run, before the first cell: no worker has what the program has.

    Notes
    -----
    `workers` of ``result.provenance["execution"]`` says what ran where. The scheduler that is lost ends the run;
    ``run(strategy="resume")`` goes on where it ended.

    Examples
    --------
    >>> DaskExecution("tcp://10.0.0.7:8786", condition_resources={"big": {"gpu": 1}}).address
    'tcp://10.0.0.7:8786'
    """

    engine = "dask"

    def __init__(
        self,
        address: str | None = None,
        *,
        client: object = None,
        workers: int | None = None,
        priority: int = 0,
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
        if address is not None and client is not None:
            raise ValidationError("address and client are two clusters: give DaskExecution one of them")
        if workers is not None and (address is not None or client is not None):
            raise ValidationError("workers is for a cluster of the run's own: a given one has the workers that it has")
        self.address = address
        self.client: Any = client
        self.workers = None if workers is None else check_count(workers, what="workers")
        self.priority = check_integer(priority, what="priority")

    def run_experiment_loop(
        self, experiment: ExperimentView, cells: Sequence[Cell], run_cell: RunCell
    ) -> Iterable[CellOutcome | list[CellOutcome]]:
        """Run the cells on the cluster."""
        from crystallize_plugins.execution.dask.cluster import Cluster
        from crystallize_plugins.execution.dask.loop import DaskLoop

        self._show_progress(experiment, cells)
        cluster = self._clusters.get(experiment.run.id)
        if cluster is None:
            cluster = self._clusters[experiment.run.id] = Cluster(self.address, self.client, self.workers)
        facts = self._facts.setdefault(experiment.run.id, {})
        return DaskLoop(self, cluster, experiment, cells, run_cell, facts)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "client": None}
