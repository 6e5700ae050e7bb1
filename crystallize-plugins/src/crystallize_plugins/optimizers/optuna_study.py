"""`OptunaOptimizer`: any Optuna sampler, pruner and search space, through ask and tell."""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from crystallize import BaseOptimizer, Treatment
from crystallize.errors import ArgumentTypeError, MissingExtraError, OptimizationError, PrunedError
from crystallize.hooks.tools import check_count, check_integer
from crystallize_plugins.optimizers.constraints import RelativeConstraint
from crystallize_plugins.optimizers.spaces import Choice, Floating, Integer, check_space

try:
    import optuna
except ImportError as error:
    raise MissingExtraError("OptunaOptimizer needs Optuna: pip install 'crystallize-plugins[optuna]'") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from crystallize import FrozenContext, Objective
    from crystallize.hooks import Report, TrialResult

__all__ = ["OptunaOptimizer"]

_SEEDS = 2**32
_EXHAUSTIVE = (optuna.samplers.GridSampler, optuna.samplers.BruteForceSampler)


class OptunaOptimizer(BaseOptimizer):
    """Lets an Optuna study propose the treatments.

    With one treatment a batch and one seed, the parameters are those that Optuna itself would propose.

    Parameters
    ----------
    space : mapping or callable
        Parameters and their values: `floating`, `integer`, `choice`, a list, or Optuna's own distributions;
        or a function of an Optuna trial that calls ``trial.suggest_...`` and returns a mapping of parameters. One that
        raises ``optuna.TrialPruned`` prunes the trial: it counts as one of `num_trials`, and no step of it runs.
    objective : Objective or sequence of Objective
        With several, the study is multi-objective, and the best treatment is the one of the Pareto front
        with the best value of the first objective.
    sampler : optuna.samplers.BaseSampler, optional
        By default Optuna's TPE, with `seed`. Where one has nothing left to propose (`GridSampler` and
        `BruteForceSampler`), the optimisation ends.
    pruner : optuna.pruners.BasePruner, optional
        Decides, from what the steps say with ``ctx.report``, which trials end early. Reports of a trial's
        first replicate count. By default nothing is pruned. For a single objective.
    seed : int, optional
        Of the default sampler. With none, one is drawn and stored with the trials, so that a stored optimisation can be
        resumed. A sampler of your own needs its own seed for that.
    batch_size : int, default 1
        How many treatments are asked for, and run, together.
    constraints : sequence of RelativeConstraint, optional
        Bounds relative to the baseline, which is then run once, first.

    Attributes
    ----------
    study : optuna.Study
        In memory; the trials are stored with the run.
    drawn_seed : int or None
        The seed of the default sampler, where none was given.

    Raises
    ------
    MissingExtraError
        If Optuna is not installed.

    Examples
    --------
    >>> from crystallize import Objective
    >>> from crystallize_plugins.optimizers import OptunaOptimizer, floating
    >>> optimizer = OptunaOptimizer({"x": floating(-5.0, 5.0)}, Objective("loss"), seed=1)
    >>> -5.0 <= optimizer.ask()[0].apply_map["x"] <= 5.0
    True
    """

    def __init__(
        self,
        space: Mapping[str, Any] | Callable[[optuna.Trial], Mapping[str, Any]],
        objective: Objective | Sequence[Objective],
        *,
        sampler: optuna.samplers.BaseSampler | None = None,
        pruner: optuna.pruners.BasePruner | None = None,
        seed: int | None = None,
        batch_size: int = 1,
        constraints: Sequence[RelativeConstraint] = (),
    ) -> None:
        super().__init__(objective)
        self._objectives: list[Objective] = list(objective) if isinstance(objective, (list, tuple)) else [objective]  # type: ignore[list-item]
        self.batch_size = check_count(batch_size, what="batch_size")
        self.constraints = tuple(_checked_constraints(constraints))
        self.seed = seed
        self.needs_baseline = bool(self.constraints)
        self._space = space if callable(space) else _distributions(space)
        self.drawn_seed: int | None = None
        if sampler is None:
            if seed is None:
                self.drawn_seed = SystemRandom().randrange(_SEEDS)
            sampler = optuna.samplers.TPESampler(
                seed=self.drawn_seed if seed is None else check_integer(seed, what="seed")
            )
        elif seed is not None:
            raise ArgumentTypeError("seed is for the default sampler: give it to your own, TPESampler(seed=...)")
        self.study = _new_study(
            directions=[found.direction for found in self._objectives],
            sampler=sampler,
            pruner=optuna.pruners.NopPruner() if pruner is None else pruner,
        )
        self._trials: dict[str, optuna.Trial] = {}
        self._parameters: dict[int, dict[str, Any]] = {}
        self._baseline: TrialResult | None = None
        self._prunes = pruner is not None
        if self._prunes and len(self._objectives) > 1:
            raise ArgumentTypeError("a pruner looks at one objective, and several were given: leave out pruner")

    def adopt_seed(self, seed: int) -> None:
        """Take the place of an optimiser that drew another seed, before anything is asked."""
        self.drawn_seed = seed
        self.study.sampler = optuna.samplers.TPESampler(seed=seed)

    @property
    def exhausted(self) -> bool:
        """Whether the sampler, or whoever else may stop a study, has had it end."""
        return self.study.stopped

    def ask(self) -> list[Treatment]:
        """Let the study propose treatments."""
        proposed = [self._proposed()]
        exhaustive = isinstance(self.study.sampler, _EXHAUSTIVE)
        while len(proposed) < self.batch_size:
            with _quiet(optuna.logging.ERROR) if exhaustive else nullcontext():
                treatment = self._proposed()
            if exhaustive and self._repeats(treatment):
                # Of what the sampler has left, all is in this batch.
                self.study.tell(self._trials.pop(treatment.name), state=optuna.trial.TrialState.FAIL)
                break
            proposed.append(treatment)
        return proposed

    def _proposed(self) -> Treatment:
        if callable(self._space):
            trial = self.study.ask()
            try:
                parameters = dict(self._space(trial))
            except optuna.TrialPruned as pruned:
                treatment = Treatment(f"trial_{trial.number}", _Pruned(str(pruned) or "its space pruned the trial"))
                self._trials[treatment.name] = trial
                return treatment
        else:
            trial = self.study.ask(self._space)
            parameters = dict(trial.params)
        treatment = Treatment(f"trial_{trial.number}", parameters)
        self._trials[treatment.name] = trial
        self._parameters[trial.number] = parameters
        return treatment

    def _repeats(self, treatment: Treatment) -> bool:
        trial = self._trials[treatment.name]
        others = self.study.get_trials(deepcopy=False)
        return any(other.params == trial.params for other in others if other.number != trial.number)

    def tell(self, objective_values: Mapping[str, float]) -> None:
        """Tell the study what its one open trial gave."""
        name, trial = next(iter(self._trials.items()))
        if self.constraints:
            raise OptimizationError("constraints need whole trials: they are told through tell_trials")
        self._tell_values(trial, [objective_values[found.metric] for found in self._objectives])
        del self._trials[name]

    def _tell_values(self, trial: optuna.Trial, values: list[float]) -> None:
        # As Optuna's own loop does it: a trial that gave no number has failed.
        if any(math.isnan(value) for value in values):
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(trial, values)

    def tell_baseline(self, trial: TrialResult) -> None:
        """Keep what constraints are relative to."""
        for constraint in self.constraints:
            trial.mean(constraint.metric)
        self._baseline = trial

    def tell_trials(self, trials: Sequence[TrialResult]) -> None:
        """Tell the study what a batch gave, in the order in which it was asked for."""
        states = optuna.trial.TrialState
        for result in trials:
            trial = self._trials.pop(result.treatment.name)
            if result.state == "complete":
                if self._baseline is not None:
                    for number, constraint in enumerate(self.constraints):
                        violation = constraint.violation(result, self._baseline)
                        trial.set_constraint(f"{number}:{constraint.metric}", violation)
                self._tell_values(trial, [result.mean(found.metric) for found in self._objectives])
            elif result.state == "pruned":
                self.study.tell(trial, state=states.PRUNED)
            else:
                self.study.tell(trial, state=states.FAIL)

    @property
    def should_prune(self) -> Callable[[str, Report], bool] | None:
        """Whether a trial is to end early; None where there is no pruner."""
        return self._should_prune if self._prunes else None

    def _should_prune(self, condition: str, report: Report) -> bool:
        trial = self._trials.get(condition)
        if trial is None or report.replicate != 0:
            return False
        trial.report(report.value, report.step)
        return trial.should_prune()

    def get_best_treatment(self) -> Treatment:
        """Return the best treatment that keeps the constraints.

        Raises
        ------
        OptimizationError
            If no trial is complete and keeps them.
        """
        completed = self.study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
        kept = [trial for trial in completed if all(value <= 0 for value in trial.constraints.values())]
        if not kept:
            states = [trial.state for trial in self.study.get_trials(deepcopy=False)]
            pruned = states.count(optuna.trial.TrialState.PRUNED)
            why = "is complete and keeps the constraints" if completed else "is complete, so no treatment is best"
            told = f" ({pruned} of {len(states)} were pruned)" if pruned else ""
            raise OptimizationError(f"no trial {why}{told}: see experiment.last_optimization.trials")
        sign = -1 if self._objectives[0].direction == "maximize" else 1
        best = min(kept, key=lambda trial: (sign * trial.values[0], trial.number))
        return Treatment(f"trial_{best.number}", self._parameters[best.number])


class _Study(optuna.Study):
    """A study that may be stopped though nobody optimises with it: Optuna's own refuses that to whoever asks and tells.

    Attributes
    ----------
    stopped : bool
        Whether the sampler has nothing left, or somebody else wanted it to end.
    """

    stopped = False

    def stop(self) -> None:
        """Have no further trial asked for."""
        self.stopped = True


@dataclass(frozen=True)
class _Pruned:
    """What is done in each cell of a trial that its space has pruned."""

    message: str

    def __call__(self, ctx: FrozenContext) -> None:
        del ctx
        raise PrunedError(self.message)


def _new_study(
    directions: list[Any], sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner
) -> _Study:
    """Make a study without Optuna's line that says so: our run says what happens, under our own logger."""
    storage = optuna.storages.InMemoryStorage()
    with _quiet(optuna.logging.WARNING):
        made = optuna.create_study(storage=storage, directions=directions)
    return _Study(made.study_name, storage, sampler=sampler, pruner=pruner)


@contextmanager
def _quiet(level: int) -> Iterator[None]:
    """Have Optuna say nothing below a level."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, before))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _checked_constraints(constraints: Any) -> Sequence[RelativeConstraint]:
    listed = [constraints] if isinstance(constraints, RelativeConstraint) else list(constraints)
    for constraint in listed:
        if not isinstance(constraint, RelativeConstraint):
            raise ArgumentTypeError(
                f"constraints must be RelativeConstraints, not {type(constraint).__name__}: "
                'RelativeConstraint("latency", at_most=1.1)'
            )
    return listed


def _distributions(space: Any) -> dict[str, optuna.distributions.BaseDistribution]:
    own = {
        name: value
        for name, value in getattr(space, "items", dict)()
        if isinstance(value, optuna.distributions.BaseDistribution)
    }
    others = {name: value for name, value in space.items() if name not in own} if hasattr(space, "items") else space
    checked = {} if own and not others else check_space(others)
    return {name: own.get(name) or _distribution(checked[name]) for name in space}


def _distribution(parameter: Any) -> optuna.distributions.BaseDistribution:
    if isinstance(parameter, Floating):
        return optuna.distributions.FloatDistribution(parameter.low, parameter.high, log=parameter.log)
    if isinstance(parameter, Integer):
        return optuna.distributions.IntDistribution(parameter.low, parameter.high, log=parameter.log)
    values: Choice = parameter
    return optuna.distributions.CategoricalDistribution(values.values)
