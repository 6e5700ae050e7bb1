"""The kit for authors of optimisers: the shipped ones pass it, and each broken promise is named."""

from __future__ import annotations

import random

import pytest

from crystallize import Objective, Treatment
from crystallize.experiments.optimizers import BaseOptimizer
from crystallize.testing import OptimizerConformance, deviates
from crystallize_plugins.optimizers import GridSearch, RandomSearch, RelativeConstraint, floating

SPACE = {"x": floating(0.0, 1.0), "kind": ["a", "b"]}


class TestGridSearch(OptimizerConformance):
    @pytest.fixture
    def make_optimizer(self):
        return lambda: GridSearch({"x": [1, 2, 3], "kind": ["a", "b", "c", "d"]}, Objective("loss"), batch_size=2)


class TestRandomSearch(OptimizerConformance):
    @pytest.fixture
    def make_optimizer(self):
        return lambda: RandomSearch(SPACE, Objective("loss"), seed=3)


class TestOptuna(OptimizerConformance):
    trials = 13  # the first ten are random
    metrics = ("cost",)

    @pytest.fixture(
        params=["plain", "batches", "two objectives", "constrained", "pruned", "a function", "another sampler"]
    )
    def make_optimizer(self, request):
        optuna = pytest.importorskip("optuna")
        from crystallize_plugins.optimizers import OptunaOptimizer

        more = {
            "batches": {"batch_size": 3},
            "two objectives": {"objective": [Objective("loss"), Objective("gain", "maximize")]},
            "constrained": {"constraints": [RelativeConstraint("cost", at_most=100.0)]},
            "pruned": {"pruner": optuna.pruners.MedianPruner(n_startup_trials=1)},
            "a function": {"space": lambda trial: {"x": trial.suggest_float("x", 0.0, 1.0)}},
        }.get(request.param, {})

        def make():
            settings = {"space": SPACE, "objective": Objective("loss"), "seed": 5, **more}
            if request.param == "another sampler":
                settings.update(seed=None, sampler=optuna.samplers.RandomSampler(seed=1))
            return OptunaOptimizer(settings.pop("space"), settings.pop("objective"), **settings)

        return make


class Climbing(BaseOptimizer):
    """Has only `tell`."""

    def __init__(self):
        super().__init__(Objective("loss"))
        self.x, self.best = 0.0, None

    def ask(self):
        return [Treatment(f"x_{self.x:.4f}", {"x": self.x})]

    def tell(self, objective_values):
        if self.best is None or objective_values["loss"] < self.best[0]:
            self.best = (objective_values["loss"], self.x)
        self.x += 0.1 + objective_values["loss"]

    def get_best_treatment(self):
        if self.best is None:
            raise LookupError("nothing was tried yet")
        return Treatment("best", {"x": self.best[1]})


class TestClimbing(OptimizerConformance):
    @pytest.fixture
    def make_optimizer(self):
        return Climbing


KIT = type("Kit", (OptimizerConformance,), {})()


class Drawing(Climbing):
    def ask(self):
        return [Treatment(f"try_{self.x}", {"x": random.random()})]


class Counting(Climbing):
    """Goes on where another one of its class was."""

    made = 0

    def __init__(self):
        super().__init__()
        Counting.made += 1
        self.x = float(Counting.made)


class Forgetting(Climbing):
    def get_best_treatment(self):
        best, self.best = super().get_best_treatment(), (0.0, -1.0)
        return best


class Inventing(Climbing):
    def get_best_treatment(self):
        return None if self.best is None else super().get_best_treatment()


@pytest.mark.parametrize(
    "broken, test, words",
    [
        (Drawing, "test_it_draws_from_nothing_that_others_draw_from", "part at trial 0"),
        (Counting, "test_a_new_one_asks_the_same_when_it_is_told_the_same", "part at trial 0"),
        (Counting, "test_it_is_resumed_where_it_was_stopped", "stopped after 1 of 6"),
        (Forgetting, "test_an_optimisation_runs_to_its_end", "asked for the best twice"),
        (Inventing, "test_without_a_trial_that_succeeded_it_says_that_nothing_is_best", "gave None before"),
    ],
)
def test_a_broken_promise_is_named(broken, test, words):
    with pytest.raises(AssertionError, match=words):
        getattr(KIT, test)(broken)


def test_a_test_of_the_kit_is_overridden_with_a_reason_alone():
    with pytest.raises(TypeError, match="without a reason"):
        type("Bad", (OptimizerConformance,), {"test_it_is_resumed_where_it_was_stopped": lambda self: None})
    marked = deviates("asks a person, who answers otherwise each time")(lambda self: None)
    assert type("Good", (OptimizerConformance,), {"test_it_is_resumed_where_it_was_stopped": marked})
