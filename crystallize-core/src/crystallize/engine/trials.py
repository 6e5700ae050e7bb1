"""An optimisation under way: ask, run, tell, as one run whose conditions are the trials."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from crystallize.design import Treatment
from crystallize.engine.plan import BASELINE, plan_cells
from crystallize.engine.record import condition_records
from crystallize.errors import ArgumentTypeError, OptimizationError, TrialFailedError, ValidationError
from crystallize.names import check_distinct
from crystallize.results import build_result
from crystallize.results.trials import Report, TrialResult, trial_result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from crystallize.design import Objective
    from crystallize.engine.run import Run
    from crystallize.results import Result
    from crystallize.results.outcome import Cell, Event

__all__ = ["ConditionNames", "Trials"]

_REPORTED = frozenset({"name", "value", "step"})


class Trials:
    """The trials of one optimisation.

    Parameters
    ----------
    run : Run
        The run that they are conditions of; its view's treatments grow with every batch.
    optimizer : BaseOptimizer
    replicates : int
        For each trial.
    objectives : sequence of Objective
    extract : callable of Result, or None
        Gives the mapping that is told, in place of the objective's means.

    Attributes
    ----------
    results : list of TrialResult
    baseline : TrialResult or None
    """

    def __init__(
        self,
        run: Run,
        optimizer: Any,
        replicates: int,
        objectives: Sequence[Objective],
        extract: Callable[[Result], Mapping[str, Any]] | None,
    ) -> None:
        self.results: list[TrialResult] = []
        self.baseline: TrialResult | None = None
        self._run = run
        self._optimizer = optimizer
        self.objectives = list(objectives)
        self._replicates = replicates
        self._extract = extract
        self._tell_trials = getattr(optimizer, "tell_trials", None)
        self._names = ConditionNames()
        self._reports: dict[str, list[Report]] = {}
        self._pruned: set[str] = set()
        self._broken: Exception | None = None
        should_prune: Callable[[str, Report], bool] | None = getattr(optimizer, "should_prune", None)
        if should_prune is not None:
            self._listen(should_prune)

    def batches(self, count: int) -> Iterator[list[Cell]]:
        """Give the cells of one batch after the other; each is told of once its cells have run."""
        if getattr(self._optimizer, "needs_baseline", False):
            yield plan_cells([BASELINE], self._replicates)
            self._tell_baseline()
        dispatch = self._run.dispatch
        for batch in range(count):
            treatments = self._asked()
            conditions = self._admitted(treatments)
            if dispatch.listens("trials_asked"):
                asked = [
                    (condition, treatment.name, treatment._apply_value)
                    for condition, treatment in zip(conditions, treatments, strict=True)
                ]
                dispatch.progress("trials_asked", batch=batch, trials=asked)
            yield plan_cells(conditions, self._replicates)
            if self._broken is not None:
                raise self._broken
            trials = [
                self._result(len(self.results) + offset, batch, treatment, condition)
                for offset, (treatment, condition) in enumerate(zip(treatments, conditions, strict=True))
            ]
            self.results.extend(trials)
            self._run.runner.dismiss(conditions)
            self._tell(trials)

    def _tell_baseline(self) -> None:
        adjusted = (treatment for treatment in self._run.view.treatments if treatment.name == BASELINE)
        self.baseline = self._result(-1, -1, next(adjusted, None) or Treatment(BASELINE, {}), BASELINE)
        if self.baseline.state != "complete":
            raise self._failure(self.baseline, "the baseline, which the optimiser needs,")
        tell_baseline = getattr(self._optimizer, "tell_baseline", None)
        if tell_baseline is not None:
            tell_baseline(self.baseline)

    def _asked(self) -> list[Treatment]:
        asked = self._optimizer.ask()
        name = type(self._optimizer).__name__
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
        conditions = [self._names.free(treatment.name) for treatment in treatments]
        self._run.admit(
            [
                treatment if treatment.name == name else Treatment(name, treatment._apply_value)
                for treatment, name in zip(treatments, conditions, strict=True)
            ]
        )
        return conditions

    def _result(self, number: int, batch: int, treatment: Treatment, condition: str) -> TrialResult:
        outcomes = [self._run.outcomes[cell] for cell in plan_cells([condition], self._replicates)]
        return trial_result(number, batch, treatment, condition, outcomes, self._reports.pop(condition, ()))

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
        return {objective.metric: trials[0].mean(objective.metric) for objective in self.objectives}

    def _note(self, trials: list[TrialResult], how: str | None, values: dict[str, Any] | None) -> None:
        """Say what is about to be told, and how; None where there is no way to tell it."""
        dispatch = self._run.dispatch
        if dispatch.listens("trials_told"):
            dispatch.progress(
                "trials_told",
                batch=trials[0].batch,
                states=[trial.state for trial in trials],
                how=how,
                values=values,
                reports=[[(r.replicate, r.name, r.value, r.step) for r in trial.reports] for trial in trials],
            )

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

    def _listen(self, should_prune: Callable[[str, Report], bool]) -> None:
        """Ask the optimiser at every report whether the cell goes on."""
        runner, dispatch = self._run.runner, self._run.dispatch

        def heard(event: Event) -> bool:
            dispatch.event(event)
            # A step may emit an event of that name, too.
            if event.name != "report" or event.cell is None or not event.fields.keys() >= _REPORTED:
                return False
            condition, replicate = event.cell
            report = Report(replicate, event.fields["name"], event.fields["value"], event.fields["step"])
            with dispatch.lock:
                self._reports.setdefault(condition, []).append(report)
                if self._broken is None and condition not in self._pruned:
                    try:
                        if should_prune(condition, report):
                            self._pruned.add(condition)
                    except Exception as exc:  # noqa: BLE001 - the optimiser's own: no step's failure, raised once the batch is over
                        self._broken = exc
            return self._broken is not None or condition in self._pruned

        runner.listen(heard)


class ConditionNames:
    """The names of a run's conditions: a name that comes again is numbered."""

    def __init__(self) -> None:
        self._next = {_folded(BASELINE): 2}

    def free(self, name: str) -> str:
        """Take a name, or the next of its kind."""
        key = _folded(name)
        again = self._next.get(key)
        if again is None:
            self._next[key] = 2
            return name
        while (numbered := _folded(f"{name}_{again}")) in self._next:
            again += 1
        self._next[key] = again + 1
        self._next[numbered] = 2
        return f"{name}_{again}"


def _folded(name: str) -> str:
    # As `check_distinct` compares: names that would share a folder on macOS or Windows are one.
    if name.isascii():
        return name.casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
