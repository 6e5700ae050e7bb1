"""Keys of a search space, and of what an optimiser asks for, that nothing reads."""

from __future__ import annotations

import logging

import pytest

from crystallize import BaseOptimizer, Experiment, Objective, Treatment, data_source, pipeline_step
from crystallize.errors import UnreadKeyError
from crystallize_plugins.optimizers import GridSearch, RandomSearch, floating


@data_source
def numbers(ctx, size=3):
    return [1.0] * size


@pipeline_step()
def loss(data, *, x=0.0):
    return data, {"loss": (x - 1) ** 2}


@pipeline_step()
def told(data, ctx, *, x=0.0):
    return data, {"loss": (x - 1) ** 2 + len(data)}


OBJECTIVE = Objective("loss", "minimize")


class Asking(BaseOptimizer):
    needs_baseline = False

    def __init__(self, values):
        super().__init__(OBJECTIVE)
        self.values = values

    def ask(self):
        return [Treatment("asked", self.values)]

    def tell(self, values):
        pass

    def get_best_treatment(self):
        return Treatment("asked", self.values)


def made(step):
    return Experiment(numbers(), [step], default_plugins=False)


@pytest.mark.parametrize(
    "optimizer",
    [
        GridSearch({"x": [0, 1], "sise": [1]}, OBJECTIVE),
        RandomSearch({"x": floating(0, 1), "sise": [1]}, OBJECTIVE),
        Asking({"sise": 1}),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_a_key_that_nothing_can_read_is_refused_before_its_first_cell(optimizer):
    experiment = made(loss())
    with pytest.raises(UnreadKeyError, match=r"'sise'.*mean 'size'\?"):
        experiment.optimize(optimizer, num_trials=2)
    assert experiment.last_optimization is None or not experiment.last_optimization.trials


def test_a_refused_key_of_a_search_space_is_said_to_be_the_spaces():
    with pytest.raises(UnreadKeyError, match="the space of GridSearch' sets 'sise'"):
        made(loss()).optimize(GridSearch({"sise": [1]}, OBJECTIVE), num_trials=1)


def test_a_parameter_that_the_step_was_given_is_refused():
    with pytest.raises(UnreadKeyError, match="made with x="):
        made(loss(x=1)).optimize(GridSearch({"x": [0, 1]}, OBJECTIVE), num_trials=2)


def test_a_key_that_no_trial_has_read_is_told_of_once(caplog):
    experiment = made(told())
    with caplog.at_level(logging.WARNING):
        experiment.optimize(GridSearch({"x": [0, 1], "xx": [1, 2]}, OBJECTIVE), num_trials=4, replicates_per_trial=4)
    told_of = [record for record in caplog.records if "it changes nothing" in record.getMessage()]
    assert len(told_of) == 1
    result = experiment.last_optimization.result
    assert [condition.unread for condition in result.conditions] == [("xx",)] * 4
    assert "set 'xx', which nothing has read" in result.summary()


def test_a_space_may_address_a_step_and_a_data_source():
    best = made(told()).optimize(GridSearch({"told.x": [0, 1], "numbers.size": [5, 2]}, OBJECTIVE), num_trials=4)
    assert dict(best.apply_map) == {"told.x": 1, "numbers.size": 2}
