"""Objectives of an optimisation."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from crystallize.design import Objective
from crystallize.errors import CrystallizeError


def test_an_objective_says_metric_and_direction():
    assert Objective(metric="loss", direction="maximize") == Objective("loss", "maximize")
    assert Objective("loss").direction == "minimize"


def test_an_objective_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Objective("loss").metric = "accuracy"


@pytest.mark.parametrize("metric, kind", [("", ValueError), (None, TypeError), (3, TypeError)], ids=repr)
def test_a_metric_that_is_no_name_is_refused(metric, kind):
    with pytest.raises(kind, match="metric") as caught:
        Objective(metric)
    assert isinstance(caught.value, CrystallizeError)


@pytest.mark.parametrize("direction, kind", [("minimise", ValueError), ("", ValueError), (None, TypeError)])
def test_a_direction_that_is_none_is_refused_and_the_two_are_listed(direction, kind):
    with pytest.raises(kind, match=r"'minimize', 'maximize'"):
        Objective("loss", direction)


def test_objectives_travel_by_pickle():
    assert pickle.loads(pickle.dumps(Objective("loss"))) == Objective("loss")
