"""`optimize`: an experiment in the hands of an optimiser, with and without an event loop."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crystallize.checks import check_count
from crystallize.design import Objective, Treatment
from crystallize.engine.plan import BASELINE
from crystallize.engine.trials import Trials
from crystallize.errors import ArgumentTypeError, MissingMetricError, OptimizationError
from crystallize.experiments.optimization import OptimizationResult
from crystallize.experiments.readable import check_keys
from crystallize.experiments.setup import Request
from crystallize.hooks.settings import arguments_of, describe_settings
from crystallize.results.statistics import mean
from crystallize.results.trials import numbers_by_replicate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crystallize.engine.run import Run
    from crystallize.experiments.experiment import Experiment
    from crystallize.results import Result

__all__ = ["aoptimize", "extract_objective", "optimize"]


def optimize(
    experiment: Experiment, optimizer: Any, num_trials: int, replicates: int, strategy: str | None = None
) -> Treatment:
    """Ask, run and tell in the calling thread."""
    trials, run = _prepared(experiment, optimizer, num_trials, replicates, strategy)
    with run.interrupts, _kept(experiment, trials, run):
        _begin(run, optimizer, num_trials)
        _consume(trials, run, num_trials)
    return _best(optimizer)


def _consume(trials: Trials, run: Run, num_trials: int) -> None:
    # Apart: Ctrl-C may be raised where a loop begins anew, and there no `with` of the same function ends.
    for cells in trials.batches(num_trials):
        for _ in run.consume(cells):
            pass


async def aoptimize(
    experiment: Experiment, optimizer: Any, num_trials: int, replicates: int, strategy: str | None = None
) -> Treatment:
    """Run in the running event loop; ask and tell beside it, since both may take their time."""
    # Where there is a running loop, all that this imports is there already.
    from crystallize.engine.bridge import HelperThread

    trials, run = _prepared(experiment, optimizer, num_trials, replicates, strategy)
    with contextlib.closing(HelperThread()) as thread:
        with _kept(experiment, trials, run):
            _begin(run, optimizer, num_trials)
            batches = trials.batches(num_trials)
            while (cells := await thread.call(next, batches, None)) is not None:
                await run.aconsume(cells)
        return await thread.call(_best, optimizer)


def extract_objective(result: Result, objective: Objective | Sequence[Objective]) -> dict[str, float]:
    """Give each objective's metric and its mean over the replicates of a result's one treatment."""
    trials = [recorded for name, recorded in result.metrics.treatments.items() if name in result._succeeded]
    if len(trials) != 1:
        raise OptimizationError(
            f"one number is told of one treatment, and the result has metrics of {len(trials)}: override "
            "_extract_objective_from_result on the experiment, and give a mapping of what to tell"
        ) from next(iter(result.errors.values()), None)
    metrics = trials[0].metrics
    means: dict[str, float] = {}
    for metric in [one.metric for one in ([objective] if isinstance(objective, Objective) else objective)]:
        if metric not in metrics:
            raise MissingMetricError(metric, metrics, where="the trial")
        means[metric] = mean(numbers_by_replicate(metric, metrics[metric]))
    return means


def _prepared(
    experiment: Experiment, optimizer: Any, num_trials: int, replicates: int, strategy: str | None
) -> tuple[Trials, Run]:
    for method in ("ask", "tell", "get_best_treatment"):
        if isinstance(optimizer, type) or not callable(getattr(optimizer, method, None)):
            raise ArgumentTypeError(
                f"optimizer must be a BaseOptimizer, not {optimizer!r}: it needs ask, tell and get_best_treatment"
            )
    check_count(num_trials, what="num_trials")
    check_count(replicates, what="replicates_per_trial")
    objectives = _objectives(optimizer)
    # Of the experiment's own treatments only one that adjusts the baseline counts.
    adjusting = [treatment for treatment in experiment.treatments if treatment.name == BASELINE]
    request = Request(adjusting, (), replicates, strategy, kind="trial")
    run = experiment._run_of(request, baseline=getattr(optimizer, "needs_baseline", False))
    space = getattr(optimizer, "space", None)
    if isinstance(space, Mapping):  # what is asked is checked, too, but only once the baseline has run
        check_keys(experiment, [Treatment(f"the space of {type(optimizer).__name__}", space)])
    return Trials(run, optimizer, replicates, objectives, _own_extraction(experiment, optimizer)), run


def _objectives(optimizer: Any) -> list[Objective]:
    found = getattr(optimizer, "objective", None)
    objectives: list[Any] = list(found) if isinstance(found, (list, tuple)) else [found]
    for objective in objectives:
        if not isinstance(objective, Objective):
            raise ArgumentTypeError(
                f"{type(optimizer).__name__}.objective must be an Objective, not {type(objective).__name__}: call "
                'super().__init__(objective) with Objective("metric", "minimize")'
            )
    return objectives


def _own_extraction(experiment: Experiment, optimizer: Any) -> Callable[[Result], Mapping[str, Any]] | None:
    from crystallize.experiments.experiment import Experiment

    if type(experiment)._extract_objective_from_result is Experiment._extract_objective_from_result:
        return None  # the trials' own means are the same numbers, without a result for each trial

    def extract(result: Result) -> Mapping[str, Any]:
        return experiment._extract_objective_from_result(result, optimizer.objective)

    return extract


def _begin(run: Run, optimizer: Any, num_trials: int) -> None:
    if not run.dispatch.listens("optimization_started"):
        run.begin([])
        return
    settings, _ = describe_settings(arguments_of(optimizer))
    drawn = getattr(optimizer, "drawn_seed", None)
    fields: dict[str, Any] = {
        "optimizer": f"{type(optimizer).__module__}:{type(optimizer).__qualname__}",
        "settings": settings,
        "seed": None,
        "num_trials": num_trials,
        "replicates": run.view.replicates,
        "objectives": [(objective.metric, objective.direction) for objective in _objectives(optimizer)],
        "baseline": bool(getattr(optimizer, "needs_baseline", False)),
        "optimizer_seed": drawn,
    }
    run.view.run.optimization = fields
    run.begin([])
    # What plugins know: the one seeds the cells, the other drew the optimiser's seed when the recorded run began.
    fields["seed"] = run.view.run.seed
    if drawn is not None and fields["optimizer_seed"] != drawn:
        optimizer.adopt_seed(fields["optimizer_seed"])
    run.dispatch.progress("optimization_started", **fields)
    run.dispatch.check()


@contextlib.contextmanager
def _kept(experiment: Experiment, trials: Trials, run: Run) -> Iterator[None]:
    """Finish the run, whatever happens, and keep the trials in hand."""
    stopped_by: BaseException | None = None
    try:
        yield
    except BaseException as exc:
        stopped_by = exc
        if isinstance(exc, OptimizationError) and not exc.trials:
            exc.trials = tuple(trials.results)  # whoever raised it, such as a store, knows nothing of them
        raise
    finally:
        try:
            run.finish(stopped_by)
        finally:
            experiment.last_optimization = OptimizationResult(
                trials.results,
                trials.objectives,
                baseline=trials.baseline,
                result=run.result,
                experiment=experiment,
                replayed=trials.replayed,
            )


def _best(optimizer: Any) -> Treatment:
    best = optimizer.get_best_treatment()
    if not isinstance(best, Treatment):
        raise ArgumentTypeError(
            f"{type(optimizer).__name__}.get_best_treatment() must return a Treatment, not {type(best).__name__}"
        )
    return best
