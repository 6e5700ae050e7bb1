"""An optimisation under way: ask, run, tell, as one run whose conditions are the trials.

Resuming is the same loop: an optimiser that is told the same asks the same, so that each batch's outcomes are taken
from the store as far as they are there, and the rest is run. The store compares what is asked and told with its record.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from crystallize.design import Objective, Treatment
from crystallize.engine.plan import BASELINE, plan_cells
from crystallize.engine.record import condition_records
from crystallize.errors import (
    ArgumentTypeError,
    MissingMetricError,
    OptimizationError,
    TrialFailedError,
    ValidationError,
)
from crystallize.hooks.settings import describe_settings
from crystallize.names import check_distinct
from crystallize.optimization.replay import Journal
from crystallize.optimization.result import OptimizationResult
from crystallize.optimization.trial import (
    ConditionNames,
    Report,
    TrialResult,
    numbers_by_replicate,
    trial_result,
    was_pruned,
)
from crystallize.results.result import build_result
from crystallize.results.statistics import mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from crystallize.engine.run import Run
    from crystallize.experiments.experiment import Experiment
    from crystallize.results.outcome import Cell, CellOutcome, Event
    from crystallize.results.result import Result

__all__ = ["Optimization", "check_optimizer", "extract_objective", "objectives_of"]

_LOGGER = logging.getLogger("crystallize")
_REPORTED = frozenset({"name", "value", "step"})


class Optimization:
    """One optimisation.

    Parameters
    ----------
    run : Run
        The run that the trials are conditions of; its view's treatments grow with every batch.
    optimizer : BaseOptimizer
    num_trials : int
        How often it is asked.
    extract : callable of Result, optional
        Returns the mapping that is told, in place of the objective's means.

    Attributes
    ----------
    results : list of TrialResult
    baseline : TrialResult or None
    replayed : int
        How many of `results` were taken from a store as they were.
    """

    def __init__(
        self,
        run: Run,
        optimizer: Any,
        num_trials: int,
        extract: Callable[[Result], Mapping[str, Any]] | None = None,
    ) -> None:
        self.results: list[TrialResult] = []
        self.baseline: TrialResult | None = None
        self.replayed = 0
        self._run = run
        self._journal = Journal(run.view)
        self._optimizer = optimizer
        self._count = num_trials
        self._objectives = objectives_of(optimizer)
        self._replicates = run.view.replicates
        self._extract = extract
        self._tell_trials = getattr(optimizer, "tell_trials", None)
        self._names = ConditionNames()
        self._resumes = run.view.run.strategy == "resume"
        self._heard: dict[Cell, list[tuple[int, str, float, int]]] = {}
        self._order = 0
        self._pruned: set[str] = set()
        self._broken: Exception | None = None
        self._should_prune: Callable[[str, Report], bool] | None = getattr(optimizer, "should_prune", None)
        if self._should_prune is not None:
            run.runner.listen(self._hear)
            run.annotators.append(self._attach_reports)

    def execute(self) -> Treatment:
        """Ask, run and tell in the calling thread."""
        with self._run.interrupts, self._finished():
            self._begin()
            self._consume()
        return self._best()

    def _consume(self) -> None:
        # Apart: Ctrl-C may be raised where a loop begins anew, and there no `with` of the same function ends.
        for cells in self._batches():
            for _ in self._run.consume(cells):
                pass

    async def aexecute(self) -> Treatment:
        """Run in the running event loop; ask and tell beside it, since both may take their time."""
        # Where there is a running loop, all that this imports is there already.
        from crystallize.engine.bridge import HelperThread

        with contextlib.closing(HelperThread()) as thread:
            with self._finished():
                self._begin()
                batches = self._batches()
                while (cells := await thread.call(next, batches, None)) is not None:
                    await self._run.aconsume(cells)
            return await thread.call(self._best)

    def outcome(self, experiment: Experiment) -> OptimizationResult:
        """Return the trials so far, once the run is over."""
        return OptimizationResult(
            self.results,
            self._objectives,
            baseline=self.baseline,
            result=self._run.result,
            experiment=experiment,
            replayed=self.replayed,
        )

    @contextlib.contextmanager
    def _finished(self) -> Iterator[None]:
        """Finish the run, whatever happens."""
        stopped_by: BaseException | None = None
        try:
            yield
        except BaseException as exc:
            stopped_by = exc
            if isinstance(exc, OptimizationError) and not exc.trials:
                exc.trials = tuple(self.results)  # whoever raised it, such as a store, knows nothing of them
            raise
        finally:
            self._run.finish(stopped_by)

    def _begin(self) -> None:
        run, optimizer = self._run, self._optimizer
        settings, _ = describe_settings(optimizer)
        drawn = getattr(optimizer, "drawn_seed", None)
        fields: dict[str, Any] = {
            "optimizer": f"{type(optimizer).__module__}:{type(optimizer).__qualname__}",
            "settings": settings,
            "seed": None,
            "num_trials": self._count,
            "replicates": self._replicates,
            "objectives": [(objective.metric, objective.direction) for objective in self._objectives],
            "baseline": bool(getattr(optimizer, "needs_baseline", False)),
            "optimizer_seed": drawn,
        }
        self._journal.open(fields)
        run.begin([])
        fields["seed"] = run.view.run.seed
        if not self._journal.confirm():
            fields["optimizer_seed"] = drawn  # a new run, to which the recorded one is nothing
        if drawn is not None and fields["optimizer_seed"] != drawn:
            optimizer.adopt_seed(fields["optimizer_seed"])
        self._record("optimization_started", **fields)

    def _record(self, name: str, **fields: Any) -> None:
        """Compare with the record, or have stored, and tell plugins, what is asked or told."""
        self._journal.add(name, fields)
        dispatch = self._run.dispatch
        dispatch.progress(name, **fields)
        dispatch.check()

    def _best(self) -> Treatment:
        best = self._optimizer.get_best_treatment()
        if not isinstance(best, Treatment):
            raise ArgumentTypeError(
                f"{type(self._optimizer).__name__}.get_best_treatment() must return a Treatment, "
                f"not {type(best).__name__}"
            )
        return best

    # -- batches ----------------------------------------------------------------------------------

    def _batches(self) -> Iterator[Sequence[Cell]]:
        """Return the cells of one batch after the other; each is told of once its cells have run."""
        if getattr(self._optimizer, "needs_baseline", False):
            yield self._left_to_run([BASELINE])[0]
            self._tell_baseline()
        for batch in range(self._count):
            if getattr(self._optimizer, "exhausted", False):
                _LOGGER.info(
                    "%s has nothing left to propose: the optimisation ends after %d of at most %d rounds",
                    type(self._optimizer).__name__,
                    batch,
                    self._count,
                )
                return
            treatments = self._asked()
            conditions = self._admitted(treatments)
            asked = [
                (condition, treatment.name, treatment.applied)
                for condition, treatment in zip(conditions, treatments, strict=True)
            ]
            self._record("trials_asked", batch=batch, trials=asked)
            cells, replayed = self._left_to_run(conditions)
            yield cells
            if self._broken is not None:
                raise self._broken
            trials = [
                self._result(len(self.results) + offset, batch, treatment, condition)
                for offset, (treatment, condition) in enumerate(zip(treatments, conditions, strict=True))
            ]
            self.results.extend(trials)
            self.replayed += replayed
            self._run.runner.dismiss(conditions)
            self._tell(trials)

    def _left_to_run(self, conditions: list[str]) -> tuple[Sequence[Cell], int]:
        """Return the cells of which no store has the outcome, and how many of the conditions have none of them."""
        cells = plan_cells(conditions, self._replicates)
        if not self._resumes:
            return cells, 0
        left = self._run.without_completed(cells)
        if len(left) == len(cells):
            return cells, 0
        kept = set(cells).difference(left)
        if self._should_prune is not None:
            self._hear_again([self._run.outcomes[cell] for cell in cells if cell in kept])
        running = {cell.condition for cell in left}
        return left, sum(condition not in running for condition in conditions)

    def _tell_baseline(self) -> None:
        adjusted = (treatment for treatment in self._run.view.treatments if treatment.name == BASELINE)
        self.baseline = self._result(-1, -1, next(adjusted, None) or Treatment(BASELINE, {}), BASELINE)
        if self.baseline.state != "complete":
            raise self._failure(self.baseline, "the baseline, which the optimiser needs,")
        tell_baseline = getattr(self._optimizer, "tell_baseline", None)
        if tell_baseline is not None:
            tell_baseline(self.baseline)

    def _asked(self) -> list[Treatment]:
        name = type(self._optimizer).__name__
        try:
            asked = self._optimizer.ask()
        except StopIteration as exc:  # which would end this generator in words that nobody understands
            raise OptimizationError(
                f"{name}.ask() raised StopIteration after {len(self.results)} trials: it has nothing left to propose, "
                "so give num_trials no more than it has",
                trials=self.results,
            ) from exc
        if isinstance(asked, (Treatment, str, bytes)) or not hasattr(asked, "__iter__"):
            raise ArgumentTypeError(f"{name}.ask() must return a list of treatments, not {type(asked).__name__}")
        treatments = list(asked)
        if not treatments:
            raise ValidationError(f"{name}.ask() returned no treatment: return at least one for each trial")
        for treatment in treatments:
            if not isinstance(treatment, Treatment):
                raise ArgumentTypeError(
                    f"{name}.ask() must return treatments, not {type(treatment).__name__}: "
                    'Treatment("name", {"parameter": value})'
                )
        if len(treatments) == 1:
            return treatments
        check_distinct([treatment.name for treatment in treatments], what="treatment")
        if self._tell_trials is None and self._extract is None:
            raise OptimizationError(
                f"{name}.ask() returned {len(treatments)} treatments, and its tell() takes one trial's values: give it "
                "tell_trials(trials), which gets them all, or override _extract_objective_from_result on the "
                "experiment and tell what it returns",
                trials=self.results,
            )
        return treatments

    def _admitted(self, treatments: Sequence[Treatment]) -> list[str]:
        """Make conditions of treatments: under their own names, numbered where one comes again."""
        admitted = self._names.distinct(treatments)
        self._run.admit(admitted)
        return [treatment.name for treatment in admitted]

    def _result(self, number: int, batch: int, treatment: Treatment, condition: str) -> TrialResult:
        outcomes = [self._run.outcomes[cell] for cell in plan_cells([condition], self._replicates)]
        return trial_result(number, batch, treatment, condition, outcomes)

    def _tell(self, trials: list[TrialResult]) -> None:
        if self._tell_trials is not None and self._extract is None:
            self._note(trials, "tell_trials", None)
            self._tell_trials(trials)
            return
        try:
            values = self._values(trials)
        except Exception:
            self._note(trials, None, None)
            raise
        self._note(trials, "tell", values)
        self._optimizer.tell(values)

    def _values(self, trials: list[TrialResult]) -> dict[str, Any]:
        for trial in trials:
            if trial.state != "complete":
                raise self._failure(trial, f"trial {trial.number}, treatment {trial.treatment.name!r},")
        if self._extract is not None:
            return dict(self._extract(self._result_of(trials)))
        return {objective.metric: trials[0].mean(objective.metric) for objective in self._objectives}

    def _note(self, trials: list[TrialResult], how: str | None, values: dict[str, Any] | None) -> None:
        """Say what is about to be told, and how; None where there is no way to tell it."""
        states = [trial.state for trial in trials]
        self._record("trials_told", batch=trials[0].batch, states=states, how=how, values=values)

    def _failure(self, trial: TrialResult, what: str) -> TrialFailedError:
        first = next(iter(trial.errors.values()), None)
        error = TrialFailedError(
            f"{what} is {trial.state}: {first}. {type(self._optimizer).__name__} has only tell(), which takes numbers: "
            "give it tell_trials(trials) to learn of trials that fail, or make the steps record a number instead",
            trials=self.results,
        )
        error.__cause__ = getattr(first, "original_exception", None) or first
        return error

    def _result_of(self, trials: list[TrialResult]) -> Result:
        conditions = [trial.condition for trial in trials]
        return build_result(
            conditions=condition_records(self._run.view, conditions),
            outcomes=[self._run.outcomes[cell] for cell in plan_cells(conditions, self._replicates)],
            replicates=self._replicates,
            facts={},
        )

    # -- what steps report ------------------------------------------------------------------------

    def _hear(self, event: Event) -> bool:
        """Hand an event on; of a report, say whether the cell is to stop there."""
        dispatch = self._run.dispatch
        dispatch.event(event)
        # A step may emit an event of that name, too.
        if event.name != "report" or event.cell is None or not event.fields.keys() >= _REPORTED:
            return False
        fields = event.fields
        with dispatch.lock:
            report = (self._order, fields["name"], fields["value"], fields["step"])
            self._order += 1
            self._heard.setdefault(event.cell, []).append(report)
            return self._judge(event.cell, report)

    def _judge(self, cell: Cell, report: tuple[int, str, float, int]) -> bool:
        """Ask the optimiser whether the trial of a cell goes on."""
        condition, replicate = cell
        if self._broken is None and condition not in self._pruned and self._should_prune is not None:
            try:
                if self._should_prune(condition, Report(replicate, *report[1:])):
                    self._pruned.add(condition)
            except Exception as exc:  # noqa: BLE001 - the optimiser's own: no step's failure, raised once the batch is over
                self._broken = exc
        return self._broken is not None or condition in self._pruned

    def _attach_reports(self, outcome: CellOutcome) -> None:
        """Keep with a cell what it reported, so that it can be heard again."""
        with self._run.dispatch.lock:
            outcome.reports = tuple(self._heard.pop(outcome.cell, ()))

    def _hear_again(self, outcomes: Sequence[CellOutcome]) -> None:
        """Tell the optimiser what stored cells had reported, in the order in which it was heard."""
        reports = [(report, outcome.cell) for outcome in outcomes for report in outcome.reports]
        for report, cell in sorted(reports, key=lambda heard: heard[0][0]):
            self._order = report[0] + 1
            self._judge(cell, report)
        if self._broken is not None:
            raise self._broken
        self._pruned.update(outcome.cell.condition for outcome in outcomes if was_pruned(outcome))


def check_optimizer(optimizer: Any) -> None:
    """Refuse what is no optimiser.

    Raises
    ------
    ArgumentTypeError
        Saying what it lacks.
    """
    for method in ("ask", "tell", "get_best_treatment"):
        if isinstance(optimizer, type) or not callable(getattr(optimizer, method, None)):
            raise ArgumentTypeError(
                f"optimizer must be a BaseOptimizer, not {optimizer!r}: it needs ask, tell and get_best_treatment"
            )
    objectives_of(optimizer)


def objectives_of(optimizer: Any) -> list[Objective]:
    """Return an optimiser's objectives.

    Raises
    ------
    ArgumentTypeError
        One of them is none.
    """
    found = getattr(optimizer, "objective", None)
    objectives: list[Any] = list(found) if isinstance(found, (list, tuple)) else [found]
    for objective in objectives:
        if not isinstance(objective, Objective):
            raise ArgumentTypeError(
                f"{type(optimizer).__name__}.objective must be an Objective, not {type(objective).__name__}: call "
                'super().__init__(objective) with Objective("metric", "minimize")'
            )
    return objectives


def extract_objective(result: Result, objective: Objective | Sequence[Objective]) -> dict[str, float]:
    """Return each objective's metric and its mean over the replicates of a result's one treatment."""
    trials = [recorded for name, recorded in result.metrics.treatments.items() if name in result.succeeded]
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
