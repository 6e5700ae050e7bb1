"""What each experiment of a graph will run, and what is refused before the first cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from crystallize.datasources.inputs import ExperimentInput, producers
from crystallize.datasources.stored import ArtifactStore
from crystallize.design import Treatment
from crystallize.engine.plan import BASELINE
from crystallize.errors import GraphError, ValidationError
from crystallize.experiments.request import Request, checked_replicates, checked_treatments, validate
from crystallize.experiments.treatment_keys import check_keys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.graphs.graph import ExperimentGraph

__all__ = ["GraphPlan", "PlannedRun", "planned"]


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One experiment of a graph, and what its run is asked for."""

    name: str
    experiment: Experiment
    upstream: tuple[str, ...]
    treatments: list[Treatment]
    replicates: int
    strategy: str | None
    cache: bool | dict[str, bool] | None
    without_hypotheses: bool

    @property
    def arguments(self) -> dict[str, Any]:
        """What `Experiment.run` and `Experiment.arun` are called with."""
        return {
            "treatments": self.treatments,
            "hypotheses": () if self.without_hypotheses else None,
            "replicates": self.replicates,
            "strategy": self.strategy,
            "cache": self.cache,
        }


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """All runs of a graph, each after those that it depends on."""

    runs: Mapping[str, PlannedRun]


def planned(
    graph: ExperimentGraph,
    treatments: Iterable[Treatment] | None,
    replicates: int | None,
    strategy: str | Mapping[str, str] | None,
    *,
    cache: bool | Mapping[str, bool] | None = None,
    without: Collection[str] = (),
) -> GraphPlan:
    """Settle what every experiment runs, and check it.

    Raises
    ------
    ArgumentTypeError, ValidationError, GraphError
        Something cannot be run as asked.
    """
    graph.validate()
    given = None if treatments is None else checked_treatments(treatments)
    count = None if replicates is None else checked_replicates(replicates)
    strategies = _strategies(graph, strategy)
    caches = _caches(graph, cache)
    edges = graph.edges()
    runs: dict[str, PlannedRun] = {}
    for name in graph.order:
        experiment = graph.experiments[name]
        above = tuple(edges[name])
        own = given if given is not None else _with_inherited(name, experiment, [runs[parent] for parent in above])
        kept = [treatment for treatment in own if treatment.name not in without]
        run = PlannedRun(
            name,
            experiment,
            above,
            kept,
            _replicates(name, experiment, count, runs),
            strategies.get(name),
            caches.get(name),
            len(kept) < len(own) and all(treatment.name == BASELINE for treatment in kept),
        )
        _check(run, runs)
        runs[name] = run
    return GraphPlan(runs)


def _strategies(graph: ExperimentGraph, strategy: str | Mapping[str, str] | None) -> dict[str, str | None]:
    if not isinstance(strategy, Mapping):
        return dict.fromkeys(graph.order, strategy)
    for name in strategy:
        graph.upstream(name)  # which raises where there is none
    return dict(strategy)


def _caches(
    graph: ExperimentGraph, cache: bool | Mapping[str, bool] | None
) -> dict[str, bool | dict[str, bool] | None]:
    """Return what is asked of each experiment's cache; steps are named ``experiment.step``."""
    if not isinstance(cache, Mapping):
        return dict.fromkeys(graph.order, cache)
    found: dict[str, dict[str, bool]] = {name: {} for name in graph.order}
    for address, wanted in cache.items():
        name = max((each for each in graph.order if str(address).startswith(f"{each}.")), key=len, default=None)
        if name is None:
            raise ValidationError(
                f"cache names {address!r}, which is no step of an experiment of the graph: write it as "
                f"'experiment.step'; the experiments are {', '.join(graph.order)}"
            )
        found[name][address[len(name) + 1 :]] = wanted
    return {name: asked or None for name, asked in found.items()}


def _check(run: PlannedRun, runs: Mapping[str, PlannedRun]) -> None:
    try:
        validate(run.experiment, Request(**run.arguments))
        check_keys(run.experiment, run.treatments)
    except (TypeError, ValueError) as exc:
        # The error itself, which says what to do, and in which of the experiments.
        exc.args = (f"experiment {run.name!r} of the graph: {exc}", *exc.args[1:])
        raise
    for producer in producers(run.experiment.datasource):
        if not any(isinstance(plugin, ArtifactStore) for plugin in runs[producer.name].experiment.plugins):
            raise GraphError(
                f"experiment {run.name!r} reads what {producer.name!r} stores, and {producer.name!r} has no plugin "
                "that stores its runs: add ArtifactPlugin to its plugins (pip install crystallize-plugins)",
                experiment=run.name,
            )


def _with_inherited(name: str, experiment: Experiment, parents: list[PlannedRun]) -> list[Treatment]:
    """Return an experiment's own treatments, and those of its parents that have other names."""
    found = {treatment.name: treatment for treatment in experiment.treatments}
    own = set(found)
    origins: dict[str, str] = {}
    for parent in parents:
        for treatment in parent.treatments:
            if treatment.name in own:
                continue
            known = found.get(treatment.name)
            found[treatment.name] = (
                treatment if known is None else _joined(name, known, treatment, origins[treatment.name], parent.name)
            )
            origins.setdefault(treatment.name, parent.name)
    return list(found.values())


def _joined(name: str, first: Treatment, second: Treatment, one: str, other: str) -> Treatment:
    """Make one treatment of two that came by one name from two parents."""
    if first is second or first.applied is second.applied:
        return first
    why = "one of them is a function"
    if not first.is_callable and not second.is_callable:
        left, right = (cast("dict[str, Any]", treatment.applied) for treatment in (first, second))
        differing = sorted(key for key in left.keys() & right.keys() if not _same(left[key], right[key]))
        if not differing:
            return Treatment(first.name, {**left, **right})
        why = f"they differ in {', '.join(map(repr, differing))}"
    raise GraphError(
        f"experiment {name!r} inherits a treatment {first.name!r} from {one!r} and another from {other!r}, and {why}: "
        f"give {name!r} a treatment {first.name!r} of its own, which then counts there",
        experiment=name,
    )


def _same(left: Any, right: Any) -> bool:
    from crystallize.fingerprint import value_of

    return left is right or value_of(left) == value_of(right)


def _replicates(name: str, experiment: Experiment, count: int | None, runs: Mapping[str, PlannedRun]) -> int:
    if count is not None:
        return count
    if experiment._replicates is not None:
        return experiment._replicates
    offered = _offered(experiment.datasource, runs)
    if len(set(offered.values())) > 1:
        raise ValidationError(
            f"experiment {name!r} of the graph: its inputs offer different numbers of replicates: "
            f"{', '.join(f'{label} {number}' for label, number in offered.items())}. Let them agree, or give the "
            "experiment replicates=... of its own"
        )
    return checked_replicates(next(iter(offered.values()), 1), what="replicates of the data source")


def _offered(source: Any, runs: Mapping[str, PlannedRun], label: str = "") -> dict[str, int]:
    """Say how many replicates each input has, those that are about to run by what is planned for them."""
    if isinstance(source, ExperimentInput):
        return {
            key: number
            for part, inner in source.sources.items()
            for key, number in _offered(inner, runs, f"{label}{part}").items()
        }
    assigned = getattr(source, "_replicates", None)
    if assigned is not None:
        return {label: assigned}
    found = producers(source)
    if found:
        return {label: runs[found[0].name].replicates}
    offered = getattr(source, "replicates", None)
    return {} if offered is None else {label: offered}
