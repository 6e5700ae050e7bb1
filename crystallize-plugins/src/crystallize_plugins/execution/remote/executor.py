"""`ClusterExecution`: what plugins that run cells on somebody's cluster have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003 - settings are read of the annotations
from typing import TYPE_CHECKING, Any, ClassVar

from crystallize.errors import ConfigurationError, ValidationError
from crystallize.hooks import BASELINE, ExecutorPlugin
from crystallize.hooks.tools import check_count, check_flag, check_mapping, did_you_mean
from crystallize_plugins.execution.executor import Executor
from crystallize_plugins.execution.remote.parcel import check_patterns

if TYPE_CHECKING:
    from crystallize import Result
    from crystallize.hooks import ExperimentView

__all__ = ["ClusterExecution"]


class ClusterExecution(Executor):
    """Checks settings, keeps the connection of each run, and records who ran its cells."""

    engine: ClassVar[str]
    """What the record calls it."""

    def __init__(
        self,
        *,
        isolate: bool,
        ship: Sequence[str],
        max_losses: int,
        resources: Mapping[str, float] | None,
        condition_resources: Mapping[str, Mapping[str, float]] | None,
        progress: bool,
    ) -> None:
        super().__init__(progress=progress)
        self.isolate = check_flag(isolate, what="isolate")
        self.ship = check_patterns(ship)
        self.max_losses = check_count(max_losses, what="max_losses", minimum=0)
        self.resources = _checked(resources, "resources")
        self.condition_resources = {
            name: _checked(wanted, f"condition_resources[{name!r}]")
            for name, wanted in check_mapping(condition_resources or {}, what="condition_resources").items()
        }
        self._clusters: dict[str, Any] = {}
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

    def collect_provenance(self, experiment: ExperimentView) -> Mapping[str, Any]:
        """Record who ran the cells, where no later executor did."""
        if [plugin for plugin in experiment.plugins if isinstance(plugin, ExecutorPlugin)][-1:] != [self]:
            return {}
        return {"execution": {"type": self.engine, **self._facts.get(experiment.run.id, {})}}

    def after_run(self, experiment: ExperimentView, result: Result) -> None:
        """Put the bar away, and leave the cluster."""
        super().after_run(experiment, result)
        self._facts.pop(experiment.run.id, None)
        cluster = self._clusters.pop(experiment.run.id, None)
        if cluster is not None:
            cluster.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_clusters": {}, "_facts": {}}


def _checked(wanted: Mapping[str, float] | None, what: str) -> dict[str, float]:
    checked: dict[str, float] = {}
    for name, amount in check_mapping(wanted or {}, what=what).items():
        if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not amount > 0:
            raise ValidationError(f"{what}[{name!r}] must be a number above 0, not {amount!r:.80}")
        checked[str(name)] = amount
    return checked
