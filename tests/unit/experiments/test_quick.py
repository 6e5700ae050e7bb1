"""`quick_experiment`: a function, some configurations, a table of values."""

from __future__ import annotations

import gc
import random

import pytest

from crystallize import quick_experiment
from crystallize.errors import CrystallizeError


def test_values_by_configuration_in_replicate_order():
    configs = {"b": {"x": 4}, "a": {"x": 1}}
    assert quick_experiment(lambda config: config["x"] * 2, configs, replicates=3) == {"b": [8] * 3, "a": [2] * 3}
    assert list(quick_experiment(lambda config: 1, configs)) == ["b", "a"]


def test_without_configurations_there_is_one():
    assert quick_experiment(lambda: 5, replicates=2) == {"baseline": [5, 5]}
    assert quick_experiment(lambda config: config) == {"baseline": [None]}


@pytest.mark.parametrize("name", ["baseline", "other"])
def test_a_configuration_of_any_name_runs_and_no_other(name):
    seen = []
    assert quick_experiment(lambda config, ctx: seen.append(ctx["condition"]), {name: 1}) == {name: [None]}
    assert seen == [name]


def test_any_value_may_be_a_configuration():
    configs = {"off": None, "zero": 0, "empty": {}, "text": "a"}
    assert quick_experiment(lambda config: config, configs) == {name: [value] for name, value in configs.items()}


def test_each_call_has_a_configuration_of_its_own():
    def grow(config):
        config["grid"].append(1)
        return len(config["grid"])

    mine = {"a": {"grid": []}}
    assert quick_experiment(grow, mine, replicates=3) == {"a": [1, 1, 1]}
    assert mine == {"a": {"grid": []}}


@pytest.mark.parametrize(
    "fn, expected",
    [
        (lambda: 0, 0),
        (lambda config: config, 7),
        (lambda config, ctx: (config, ctx["replicate"]), (7, 0)),
        (lambda config, ctx=None: ctx["replicate"], 0),
        (lambda config, context: context["replicate"], 0),
        (lambda config, scale=2: config * scale, 14),
        (lambda *arguments: len(arguments), 2),
        (str, "7"),
    ],
)
def test_the_function_gets_what_it_takes(fn, expected):
    assert quick_experiment(fn, {"a": 7}) == {"a": [expected]}


def test_a_list_that_is_returned_is_one_value():
    assert quick_experiment(lambda: [1, 2], replicates=2) == {"baseline": [[1, 2], [1, 2]]}


@pytest.mark.parametrize("seed", [0, 42, -3, 2**32 - 1, 2**80])
def test_one_seed_repeats_the_values_and_replicates_differ(seed):
    def roll(config):
        return random.random()

    first = quick_experiment(roll, {"a": 1, "b": 2}, replicates=3, seed=seed)
    assert first == quick_experiment(roll, {"a": 1, "b": 2}, replicates=3, seed=seed)
    assert first["a"] == first["b"]
    assert len(set(first["a"])) == 3


def test_it_is_seeded_without_a_seed_too():
    first, second = quick_experiment(random.random, {"a": 1, "b": 2}).values()
    assert first == second


def test_an_async_function_is_awaited():
    async def later(config):
        return config * 2

    assert quick_experiment(later, {"a": 2}) == {"a": [4]}


def test_an_error_reaches_the_caller_and_ends_what_was_begun():
    running = []

    def fail(config):
        running.append(config)
        raise LookupError("own trouble")

    with pytest.raises(LookupError, match="own trouble"):
        quick_experiment(fail, {"a": 1, "b": 2}, replicates=3)
    gc.collect()
    assert running == [1]


@pytest.mark.parametrize(
    "settings",
    [{"replicates": 0}, {"replicates": 2.5}, {"seed": "abc"}, {"seed": 1.5}, {"configs": [1]}, {"verbose": 1}],
)
def test_bad_arguments_are_refused(settings):
    with pytest.raises(CrystallizeError):
        quick_experiment(lambda config: pytest.fail("it ran"), **settings)


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="needs a function"):
        quick_experiment(5)


def test_nothing_is_written_and_no_configuration_means_no_call(tmp_path):
    assert quick_experiment(lambda config: pytest.fail("it ran"), {}) == {}
    quick_experiment(lambda: 1)
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_may_be_called_baseline_in_any_case():
    assert quick_experiment(lambda config: config, {"Baseline": 1, "New": 2}) == {"Baseline": [1], "New": [2]}
