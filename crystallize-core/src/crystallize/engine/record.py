"""What is kept of a run, and of each condition: its context and its steps' parameters, described."""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, overload

from crystallize.engine.failure import is_cancellation, say_how_to_go_on
from crystallize.engine.plan import treatments_by_condition
from crystallize.engine.program import injected_keys
from crystallize.results.description import describe
from crystallize.results.metrics import NO_METRIC
from crystallize.results.provenance import ConditionRecord, StepRecord

if TYPE_CHECKING:
    from crystallize.design import Treatment
    from crystallize.hooks import ExperimentView
    from crystallize.pipelines import Pipeline
    from crystallize.results.columns import LazyOutcomes
    from crystallize.results.metrics import ExperimentMetrics
    from crystallize.results.result import Result

__all__ = [
    "Described",
    "condition_records",
    "run_record",
    "tell_how_to_go_on",
    "tell_of_no_metrics",
    "without_success",
]

_LOGGER = logging.getLogger("crystallize")


class Described(Mapping[str, Any]):
    """A context of which each value is described when somebody looks."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return describe(self._values[key], key=key)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __reduce__(self) -> tuple[Any, ...]:
        # The values may be clients, locks or gigabytes; what is told of them always travels.
        return dict, (dict(self),)


class _Steps(Sequence[StepRecord]):
    """The steps of a condition, described when somebody looks.

    What a step of a user's class says of its parameters is taken down at once: it may change with the object.

    Parameters
    ----------
    pipeline : Pipeline
    context : mapping
    shared : dict of int to StepRecord
        What was found out of steps to which no context can give anything, for all conditions.
    cell_may_address : bool
        Whether a cell may write a key that means a parameter of one step.
    """

    __slots__ = ("_addressed", "_addresses", "_context", "_labels", "_shared", "_steps")

    def __init__(
        self,
        pipeline: Pipeline,
        context: Mapping[str, Any],
        shared: dict[int, StepRecord],
        *,
        cell_may_address: bool = False,
    ) -> None:
        self._context = context
        self._addresses = pipeline.addresses
        self._addressed = cell_may_address
        self._labels = pipeline.labels
        self._shared = shared
        self._steps = [
            step if step.declared_as() else StepRecord(label, Described(step._effective_params(context)))
            for step, label in zip(pipeline.steps, pipeline.labels, strict=True)
        ]

    @overload
    def __getitem__(self, index: int) -> StepRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[StepRecord]: ...
    def __getitem__(self, index: int | slice) -> StepRecord | Sequence[StepRecord]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        step = self._steps[index]
        if isinstance(step, StepRecord):
            return step
        known = self._shared.get(index)
        if known is None:
            addresses = self._addresses[index]
            injected = injected_keys(step, addresses if self._addressed else ())
            params = Described(step._effective_params(self._context, addresses))
            known = StepRecord(self._labels[index], params, injected)
            if not injected:
                self._shared[index] = known
        return known

    def __len__(self) -> int:
        return len(self._steps)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def condition_records(
    view: ExperimentView, conditions: Sequence[str], setup: Mapping[str, Any] | None = None
) -> list[ConditionRecord]:
    """Describe every condition of a run.

    Parameters
    ----------
    view : ExperimentView
    conditions : sequence of str
    setup : mapping, optional
        What the steps' ``setup`` added to every cell's context, as far as it is known.
    """
    treatments = _treatments_of(view, conditions)
    records = []
    shared: dict[int, StepRecord] = {}
    for name in conditions:
        treatment = treatments.get(name)
        context: Mapping[str, Any] = view.initial_ctx
        if setup:
            context = ChainMap(cast("dict[str, Any]", context), dict(setup))
        if treatment is not None:
            # In layers: a large context is not copied for every condition of every run.
            context = ChainMap(dict(treatment.apply_map), cast("dict[str, Any]", context))
        by_function = treatment is not None and treatment.is_callable
        steps = _Steps(view.pipeline, context, shared, cell_may_address=by_function)
        records.append(ConditionRecord(name, Described(context), steps))
    return records


def run_record(view: ExperimentView, *, duration: float, stopped_by: BaseException | None) -> dict[str, Any]:
    """Return the facts about a run that are in its provenance as ``run``.

    Parameters
    ----------
    view : ExperimentView
    duration : float
        Seconds.
    stopped_by : BaseException or None
        What ended it early.
    """
    run = view.run
    return {
        "id": run.id,
        "experiment": view.name,
        "kind": run.kind,
        "strategy": run.strategy,
        "cache": None if run.cache is None else dict(zip(view.pipeline.labels, run.cache, strict=True)),
        "version": run.version,
        "folder": run.folder,
        "seed": run.seed,
        "started": run.started,
        "duration": duration,
        "stopped_by": None if stopped_by is None else type(stopped_by).__name__,
    }


def tell_how_to_go_on(stopped_by: BaseException | None, view: ExperimentView, result: Result) -> None:
    """Say in what stopped a run, where that is Ctrl-C, or in the log, how to go on."""
    if stopped_by is None or view.run.kind in ("apply", "debug"):
        return
    if isinstance(stopped_by, KeyboardInterrupt):
        say_how_to_go_on(stopped_by, _how_to_go_on(view, result))
    elif is_cancellation(stopped_by):
        # Ctrl-C, maybe: `asyncio.run` makes an exception of its own of it.
        _LOGGER.info("cancelled: %s", _how_to_go_on(view, result))


def _how_to_go_on(view: ExperimentView, result: Result) -> str:
    """Say what is left of a run that was interrupted, and how it is resumed."""
    counts = result.provenance["cells"].values()
    left = sum(cells["missing"] for cells in counts)
    ended = sum(cells["completed"] + cells["failed"] + cells.get("pruned", 0) for cells in counts)
    optimised = view.run.kind == "trial"  # how many cells the trials to come would have had, nobody knows
    done = f"{ended} cells had ended" if optimised else f"{ended} of {ended + left} cells had ended"
    if view.run.folder is None:
        return f"{done}, and are in this exception's .result"
    call = "optimize(..., " if optimised else "run("
    return f'{done}, and are stored in {view.run.folder}. To go on: {call}strategy="resume")'


def _treatments_of(view: ExperimentView, conditions: Sequence[str]) -> dict[str, Treatment]:
    if view.run.kind != "trial":
        return treatments_by_condition(view.treatments)
    # From the end, where those of an optimisation's last batch are: to go through thousands for each is quadratic.
    wanted, found = set(conditions), {}
    for treatment in reversed(view.treatments):
        if not wanted:
            break
        if treatment.name in wanted:
            wanted.discard(treatment.name)
            found[treatment.name] = treatment
    return found


def without_success(metrics: ExperimentMetrics, outcomes: LazyOutcomes) -> list[str]:
    """Return the treatments of which no cell succeeded."""
    return [
        name
        for name, recorded in metrics.treatments.items()
        if not recorded.names and not (name in outcomes.conditions and outcomes.columns(name).succeeded)
    ]


def tell_of_no_metrics(result: Result) -> None:
    """Say that no step recorded a metric in a whole run, unless cells failed: that has to be looked at first."""
    about = result.facts["run"]
    if about["kind"] != "run" or about.get("stopped_by"):
        return
    if result.metric_names or not result.succeeded or any(log.failed for log in result.logs.values()):
        return
    # No warning: an experiment may be there for its files, or for what its steps do.
    _LOGGER.info("%s", NO_METRIC)
