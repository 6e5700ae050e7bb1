"""`DaskExecution`: the plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - settings are read of the annotations
from typing import TYPE_CHECKING, Any

from crystallize.errors import ConfigurationError, ValidationError
from crystallize.hooks import BASELINE, ExecutorPlugin
from crystallize.hooks.tools import check_count, check_flag, check_integer, check_mapping, did_you_mean
from crystallize_plugins.execution.executor import Executor
from crystallize_plugins.execution.remote.parcel import check_patterns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crystallize import Result
    from crystallize.hooks import Cell, CellOutcome, ExperimentView, RunCell
    from crystallize_plugins.execution.dask.cluster import Cluster

__all__ = ["DaskExecution"]


class DaskExecution(Executor):
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
        super().__init__(progress=progress)
        if address is not None and client is not None:
            raise ValidationError("address and client are two clusters: give DaskExecution one of them")
        if workers is not None and (address is not None or client is not None):
            raise ValidationError("workers is for a cluster of the run's own: a given one has the workers that it has")
        self.address = address
        self.client: Any = client
        self.workers = None if workers is None else check_count(workers, what="workers")
        self.priority = check_integer(priority, what="priority")
        self.isolate = check_flag(isolate, what="isolate")
        self.ship = check_patterns(ship)
        self.max_losses = check_count(max_losses, what="max_losses", minimum=0)
        self.resources = _checked(resources, "resources")
        self.condition_resources = {
            name: _checked(wanted, f"condition_resources[{name!r}]")
            for name, wanted in check_mapping(condition_resources or {}, what="condition_resources").items()
        }
        self._clusters: dict[str, Cluster] = {}
        self._facts: dict[str, dict[str, Any]] = {}

    @property
    def cells_leave_process(self) -> bool:
        """Return whether cells run elsewhere: they do."""
        return True

    @property
    def ends_overdue_cells(self) -> bool:
        """Return whether a plain function that takes too long can be ended: in worker processes of its own, it can."""
        return self.isolate

    def before_run(self, experiment: ExperimentView) -> None:
        """Refuse resources of conditions that there are not."""
        if experiment.run.kind == "trial":
            return
        names = [BASELINE, *(treatment.name for treatment in experiment.treatments)]
        for name in self.condition_resources:
            if name not in names:
                raise ConfigurationError(
                    f"condition_resources names the condition {name!r}, which the experiment does not have"
                    f"{did_you_mean(name, names)}"
                )

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

    def collect_provenance(self, experiment: ExperimentView) -> Mapping[str, Any]:
        """Record who ran the cells, where no later executor did."""
        if [plugin for plugin in experiment.plugins if isinstance(plugin, ExecutorPlugin)][-1:] != [self]:
            return {}
        return {"execution": {"type": "dask", **self._facts.get(experiment.run.id, {})}}

    def after_run(self, experiment: ExperimentView, result: Result) -> None:
        """Put the bar away, and leave the cluster."""
        super().after_run(experiment, result)
        self._facts.pop(experiment.run.id, None)
        cluster = self._clusters.pop(experiment.run.id, None)
        if cluster is not None:
            cluster.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_clusters": {}, "_facts": {}, "client": None}


def _checked(wanted: Mapping[str, float] | None, what: str) -> dict[str, float]:
    checked: dict[str, float] = {}
    for name, amount in check_mapping(wanted or {}, what=what).items():
        if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not amount > 0:
            raise ValidationError(f"{what}[{name!r}] must be a number above 0, not {amount!r:.80}")
        checked[str(name)] = amount
    return checked
