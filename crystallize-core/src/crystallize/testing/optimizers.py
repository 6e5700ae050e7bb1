"""The tests that every optimiser should pass, in a class to inherit."""

from __future__ import annotations

import hashlib
import random
import sys
from typing import TYPE_CHECKING, Any

from crystallize.datasources import data_source
from crystallize.design import Objective, Treatment
from crystallize.errors import OptimizationError
from crystallize.experiments.experiment import Experiment
from crystallize.fingerprint import value_of
from crystallize.hooks import BasePlugin
from crystallize.pipelines import Pipeline, pipeline_step
from crystallize.testing.overriding import check_overrides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from crystallize.context import FrozenContext
    from crystallize.optimization.result import OptimizationResult
    from crystallize.results.outcome import Cell, CellOutcome

__all__ = ["OptimizerConformance"]

_REPLICATES = 2
_REPORTS = 3


class OptimizerConformance:
    """Inherit this, give one fixture, and pytest tries the optimiser in small optimisations.

    The fixture ``make_optimizer`` gives a function of no arguments that makes a new optimiser, with the same settings
    each time. pytest collects the class if its name begins with ``Test``. A test that does not fit can be overridden
    with a stated reason: see `deviates`.

    Examples
    --------
    In a test module of the optimiser's distribution::

        import pytest
        from crystallize import Objective
        from crystallize.testing import OptimizerConformance

        from acme_search import Annealing


        class TestAnnealing(OptimizerConformance):
            @pytest.fixture
            def make_optimizer(self):
                return lambda: Annealing({"rate": (0.0, 1.0)}, Objective("loss"), seed=3)
    """

    trials: int = 6
    """How often it is asked."""
    metrics: Sequence[str] = ()
    """Metrics that it looks at, beside those of its objectives."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        check_overrides(cls)

    def test_an_optimisation_runs_to_its_end(self, make_optimizer: Callable[[], Any]) -> None:
        """What it asks can be run, and in the end it has a best treatment."""
        optimizer = make_optimizer()
        experiment = self._experiment(optimizer)
        best = experiment.optimize(optimizer, self.trials, _REPLICATES)
        _promise(isinstance(best, Treatment), f"get_best_treatment() gave {best!r}, which is no treatment")
        again = optimizer.get_best_treatment()
        _promise(_same([best], [again]), f"asked for the best twice, it gave {best!r} and then {again!r}")

    def test_a_new_one_asks_the_same_when_it_is_told_the_same(self, make_optimizer: Callable[[], Any]) -> None:
        """This is what makes a stored optimisation go on where it was stopped."""
        lived, again = (self._run(make_optimizer()) for _ in range(2))
        _same_sequence(lived, again, "two new ones")

    def test_it_draws_from_nothing_that_others_draw_from(self, make_optimizer: Callable[[], Any]) -> None:
        """Neither the global random state nor the steps change what it asks."""
        first = self._run(make_optimizer())
        _disturb(1)
        try:
            second = self._run(make_optimizer(), disturbs=True)
        finally:
            _disturb(None)
        _same_sequence(first, second, "one of them beside code that draws random numbers, too,")

    def test_it_is_resumed_where_it_was_stopped(self, make_optimizer: Callable[[], Any]) -> None:
        """Told what is stored, a new one goes on as the first would have."""
        whole = self._run(make_optimizer())
        for count in sorted({1, self.trials // 2, self.trials - 1}):
            keeps = _Keeps()
            self._run(make_optimizer(), keeps, trials=count)
            resumed = self._run(make_optimizer(), keeps, strategy="resume")
            _same_sequence(whole, resumed, f"one of them stopped after {count} of {self.trials} questions,")
            told = self._run(make_optimizer(), trials=count)
            _promise(
                resumed.replayed == len(told.trials),
                f"stopped after {len(told.trials)} trials, {resumed.replayed} were told again",
            )

    def test_it_learns_of_trials_that_fail(self, make_optimizer: Callable[[], Any]) -> None:
        """With ``tell_trials``, failed trials are told as such, and it goes on."""
        optimizer = make_optimizer()
        if not hasattr(optimizer, "tell_trials"):
            return  # it has no word for them, and the optimisation ends there
        found = self._run(optimizer, fails=True)
        _promise(
            any(trial.state == "failed" for trial in found.trials)
            and any(trial.state == "complete" for trial in found.trials),
            f"of {len(found.trials)} trials every second one is meant to fail, and those it was told of are "
            f"{[trial.state for trial in found.trials]}",
        )
        _same_sequence(found, self._run(make_optimizer(), fails=True), "two new ones with failing trials")

    def test_without_a_trial_that_succeeded_it_says_that_nothing_is_best(
        self, make_optimizer: Callable[[], Any]
    ) -> None:
        """It does not make up a best treatment: an error says that there is none."""
        optimizer = make_optimizer()
        try:
            best = optimizer.get_best_treatment()
        except Exception as exc:  # noqa: BLE001 - any error will do, as long as it is one
            _promise(bool(str(exc)), f"get_best_treatment() before the first trial raised {exc!r}, which says nothing")
        else:
            _promise(isinstance(best, Treatment), f"get_best_treatment() gave {best!r} before the first trial")

    # -- what it is tried in ----------------------------------------------------------------------

    def _run(
        self,
        optimizer: Any,
        keeps: _Keeps | None = None,
        *,
        trials: int | None = None,
        strategy: str = "rerun",
        **behaviour: bool,
    ) -> OptimizationResult:
        experiment = self._experiment(optimizer, keeps, **behaviour)
        try:
            experiment.optimize(optimizer, self.trials if trials is None else trials, _REPLICATES, strategy=strategy)
        except OptimizationError:
            if not behaviour:
                raise
        found = experiment.last_optimization
        assert found is not None  # noqa: S101 - it was set whatever happened
        return found

    def _experiment(
        self, optimizer: Any, keeps: _Keeps | None = None, *, fails: bool = False, disturbs: bool = False
    ) -> Experiment:
        objective = optimizer.objective
        objectives: Iterable[Objective] = objective if isinstance(objective, (list, tuple)) else (objective,)
        names = [found.metric for found in objectives]
        return Experiment(
            _nothing(),
            Pipeline([_measuring([*names, *self.metrics], fails=fails, disturbs=disturbs)]),
            name="conformance",
            plugins=[] if keeps is None else [keeps],
            default_plugins=False,
        )


@data_source
def _nothing(ctx: FrozenContext) -> None:
    """Give no data."""


def _measuring(names: Sequence[str], *, fails: bool, disturbs: bool) -> Any:
    """Make a step that records numbers which depend on the condition and the replicate alone."""
    met: dict[str, int] = {}

    @pipeline_step()
    def measure(data: None, ctx: FrozenContext) -> None:
        condition, replicate = ctx["condition"], ctx["replicate"]
        if disturbs:
            random.random()  # noqa: S311 - nothing is secret here
        if fails and met.setdefault(condition, len(met)) % 2:
            raise ArithmeticError("this trial is meant to fail")
        for step in range(_REPORTS):
            ctx.report("progress", _number(condition, replicate, step), step=step)
        for name in names:
            ctx.metrics.add(name, _number(condition, replicate, name))
        return data

    return measure()


class _Keeps(BasePlugin):
    """Keeps outcomes in memory, and gives them back to whoever resumes."""

    neutral = True

    def __init__(self) -> None:
        self.outcomes: dict[Cell, CellOutcome] = {}

    def collect(self, outcome: CellOutcome) -> None:
        self.outcomes[outcome.cell] = outcome

    def completed_cells(self, cells: Sequence[Cell]) -> list[CellOutcome]:
        return [self.outcomes[cell] for cell in cells if cell in self.outcomes]


def _number(*what: object) -> float:
    """Give a number between 0 and 1 that is the same for the same things, in every process."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _disturb(seed: int | None) -> None:
    random.seed(seed)
    numpy_random = getattr(sys.modules.get("numpy"), "random", None)
    if numpy_random is not None:
        numpy_random.seed(seed)


def _same(first: Sequence[Treatment], second: Sequence[Treatment]) -> bool:
    return [treatment.name for treatment in first] == [treatment.name for treatment in second] and all(
        value_of(one.applied) == value_of(other.applied) for one, other in zip(first, second, strict=True)
    )


def _same_sequence(first: OptimizationResult, second: OptimizationResult, which: str) -> None:
    for one, other in zip(first.trials, second.trials, strict=False):
        _promise(
            _same([one.treatment], [other.treatment]),
            f"{which} part at trial {one.number}: {one.treatment!r} and {other.treatment!r}; draw from a generator of "
            "your own with a fixed seed, and decide by what was told alone",
        )
        _promise(one.state == other.state, f"{which} part at trial {one.number}: {one.state} and {other.state}")
    _promise(
        len(first.trials) == len(second.trials),
        f"{which} ask for {len(first.trials)} and {len(second.trials)} trials",
    )


def _promise(kept: bool, text: str) -> None:
    if not kept:
        raise AssertionError(text)
