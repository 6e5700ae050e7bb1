"""Grid and random search."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import Experiment, Objective, ParallelExecution, Pipeline, data_source, pipeline_step
from crystallize.errors import ArgumentTypeError, OptimizationError, ValidationError
from crystallize.hooks import find_plugins
from crystallize_plugins.optimizers import GridSearch, RandomSearch, choice, floating, integer

LOSS = Objective("loss")


@data_source
def nothing(ctx):
    return None


@pipeline_step()
def loss(data, ctx, *, x=0.0):
    ctx.metrics.add("loss", (x - 2.0) ** 2 + ctx["replicate"])
    return data


@pytest.fixture
def make_experiment():
    """Make an experiment of steps; by default its ``loss`` is ``(x - 2)^2 + replicate``."""

    def make(*steps, **settings):
        settings.setdefault("default_plugins", False)
        return Experiment(nothing(), Pipeline(list(steps) or [loss()]), name="tuning", **settings)

    return make


def test_the_optimisers_are_found_by_name():
    assert {"grid", "random", "optuna"} <= {record.name for record in find_plugins("crystallize.optimizers")}


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(), min_size=1, max_size=4), min_size=1),
    st.integers(1, 7),
)
def test_a_grid_gives_every_combination_once_whatever_the_batch(space, batch_size):
    grid = GridSearch(space, LOSS, batch_size=batch_size)
    asked = [treatment for _ in range(grid.num_trials) for treatment in grid.ask()]
    assert len(asked) == grid.size == np.prod([len(values) for values in space.values()])
    alone = GridSearch(space, LOSS)
    assert [t.apply_map for t in asked] == [alone.ask()[0].apply_map for _ in range(grid.size)]
    with pytest.raises(OptimizationError, match="have been tried"):
        grid.ask()


def test_a_grid_finds_the_best_combination(make_experiment):
    grid = GridSearch({"x": [0.0, 2.0, 5.0]}, LOSS, batch_size=2)
    assert make_experiment().optimize(grid, grid.num_trials).apply_map == {"x": 2.0}


def test_a_grid_takes_integers_and_refuses_the_continuous():
    assert GridSearch({"depth": integer(2, 4)}, LOSS).size == 3
    with pytest.raises(ValidationError, match="'rate' has infinitely many values"):
        GridSearch({"rate": floating(0.0, 1.0)}, LOSS)


@given(st.integers(), st.integers(1, 5))
def test_random_draws_depend_on_the_seed_alone(seed, batch_size):
    space = {"rate": floating(1e-4, 1.0, log=True), "depth": integer(1, 9), "kind": ["a", "b"]}
    one, many = RandomSearch(space, LOSS, seed=seed), RandomSearch(space, LOSS, seed=seed, batch_size=batch_size)
    random.seed(0)
    np.random.seed(0)
    drawn = [treatment.apply_map for _ in range(10) for treatment in many.ask()][:10]
    assert [one.ask()[0].apply_map for _ in range(10)] == drawn


@given(st.integers(0, 10_000))
def test_random_draws_stay_within_their_bounds(seed):
    space = {"rate": floating(1e-4, 1.0, log=True), "depth": integer(1, 9, log=True), "kind": choice(["ab"])}
    drawn = RandomSearch(space, LOSS, seed=seed).ask()[0].apply_map
    assert 1e-4 <= drawn["rate"] <= 1.0
    assert 1 <= drawn["depth"] <= 9
    assert type(drawn["depth"]) is int
    assert drawn["kind"] == "ab"


def test_failed_trials_are_passed_over(make_experiment):
    @pipeline_step()
    def fragile(data, ctx, *, x=0.0):
        if x == 0.0:
            raise ValueError("x is 0")
        return data, {"loss": x}

    assert make_experiment(fragile()).optimize(GridSearch({"x": [0.0, 2.0, 1.0]}, LOSS), 3).apply_map == {"x": 1.0}
    with pytest.raises(OptimizationError, match="no trial is complete"):
        make_experiment(fragile()).optimize(GridSearch({"x": [0.0]}, LOSS), 1)


def test_the_direction_decides_what_is_best(make_experiment):
    upwards = GridSearch({"x": [0.0, 2.0, 5.0]}, Objective("loss", "maximize"))
    assert make_experiment().optimize(upwards, 3).apply_map == {"x": 5.0}


@pytest.mark.parametrize(
    "space, error, words",
    [
        ({}, ValidationError, "no parameter"),
        ([1, 2], ArgumentTypeError, "space must be a mapping"),
        ({"rate": 5}, ArgumentTypeError, "'rate' of the space must be a list"),
        ({"rate": "abc"}, ArgumentTypeError, "'rate' of the space must be a list"),
        ({"rate": []}, ValidationError, "number of values"),
        ({1: [1]}, ArgumentTypeError, "named by text"),
    ],
)
def test_a_space_is_checked_when_it_is_given(space, error, words):
    for kind in (GridSearch, RandomSearch):
        with pytest.raises(error, match=words):
            kind(space, LOSS)


@pytest.mark.parametrize(
    "bounds, error",
    [
        (("a", 1.0), ArgumentTypeError),
        ((True, 2.0), ArgumentTypeError),
        ((1.0, 1.0), ValidationError),
        ((0.0, float("inf")), ValidationError),
    ],
)
def test_bounds_are_finite_numbers_in_order(bounds, error):
    with pytest.raises(error):
        floating(*bounds)


def test_a_logarithmic_scale_begins_above_zero():
    with pytest.raises(ValidationError, match="logarithmic"):
        floating(0.0, 1.0, log=True)


def test_many_small_batches_run_one_after_the_other_in_processes(make_experiment):
    experiment = make_experiment(plugins=[ParallelExecution(3, "process")])
    search = RandomSearch({"x": floating(0.0, 1.0)}, Objective("loss"), batch_size=3)
    experiment.optimize(search, 15)
    assert [trial.state for trial in experiment.last_optimization.trials] == ["complete"] * 45
