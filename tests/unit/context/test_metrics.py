"""Metrics: every value in order, as it was when it was recorded."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import standalone_context
from crystallize.context import Metrics
from crystallize.errors import ArgumentTypeError, ValidationError

names = st.text(min_size=1, max_size=3)


@given(st.lists(st.tuples(names, st.integers())))
def test_values_are_kept_in_the_order_in_which_they_were_recorded(recorded):
    metrics, expected = Metrics(), {}
    for name, value in recorded:
        metrics.add(name, value)
        expected.setdefault(name, []).append(value)
    assert dict(metrics.as_dict()) == {name: tuple(values) for name, values in expected.items()}
    assert list(metrics) == list(metrics.keys()) == list(expected)
    assert len(metrics) == len(expected)
    assert dict(metrics) == dict(metrics.items()) == dict(metrics.as_dict())
    assert list(metrics.values()) == list(metrics.as_dict().values())


@given(st.lists(st.none() | st.dictionaries(names, st.integers(), max_size=2), max_size=8))
def test_each_value_keeps_its_own_tags(tags):
    metrics = Metrics()
    for index, given_tags in enumerate(tags):
        metrics.add("loss", index, given_tags)
    assert metrics.get_tags("loss") == tuple(given_tags or {} for given_tags in tags)


def test_record_is_the_same_as_metrics_add():
    ctx = standalone_context()
    ctx.record("loss", 0.5, tags={"epoch": 1})
    ctx.record("loss", 0.25)
    assert ctx.metrics["loss"] == (0.5, 0.25)
    assert ctx.metrics.get_tags("loss") == ({"epoch": 1}, {})


def test_reading_an_absent_metric_has_no_effect():
    metrics = Metrics()
    assert metrics["ghost"] == ()
    assert metrics.get_tags("ghost") == ()
    assert "ghost" not in metrics
    assert dict(metrics.as_dict()) == {}


def test_the_mapping_of_all_is_read_only():
    view = Metrics().as_dict()
    assert isinstance(view, MappingProxyType)
    with pytest.raises(TypeError):
        view["x"] = (1,)


def test_a_container_is_recorded_as_it_is_now():
    metrics, mine, tags = Metrics(), {"grid": [1]}, {"labels": ["a"]}
    metrics.add("grid", mine, tags)
    mine["grid"].append(2)
    tags["labels"].append("b")
    assert metrics["grid"] == ({"grid": [1]},)
    assert metrics.get_tags("grid") == ({"labels": ["a"]},)


def test_what_is_done_to_a_value_that_was_read_changes_nothing():
    metrics = Metrics()
    metrics.add("grid", [1], {"labels": ["a"]})
    metrics["grid"][0].append(2)
    metrics.as_dict()["grid"][0].append(3)
    metrics.get_tags("grid")[0]["labels"].append("b")
    assert metrics["grid"] == ([1],)
    assert metrics.get_tags("grid") == ({"labels": ["a"]},)


@pytest.mark.parametrize(
    "value",
    [
        math.nan, math.inf, -math.inf, None, True, 3 + 1j, "text", b"bytes", {1, 2}, {(1, 2): "odd key"},
        dt.date(2020, 1, 1), dt.timedelta(1), Path("a"), np.float32(0.5), np.int64(3),
        pytest.param(object(), id="object"),
    ],
    ids=repr,
)  # fmt: skip
def test_any_value_can_be_recorded(value):
    metrics = Metrics()
    metrics.add("any", value)
    (kept,) = metrics["any"]
    assert kept is value or kept == value


@pytest.mark.parametrize("name", [1, None, ("a",), ["a"], b"a"])
def test_a_name_that_is_no_text_is_refused(name):
    metrics = Metrics()
    with pytest.raises(ArgumentTypeError, match="name must be text"):
        metrics.add(name, 1)
    assert len(metrics) == 0


def test_an_empty_name_is_refused():
    with pytest.raises(ValidationError, match="must not be empty"):
        Metrics().add("", 1)


@pytest.mark.parametrize("tags", ["text", 5, ["epoch"]])
def test_tags_that_are_no_mapping_are_refused_and_the_value_is_not_recorded(tags):
    metrics = Metrics()
    with pytest.raises(ArgumentTypeError, match="tags of metric 'loss' must be a mapping"):
        metrics.add("loss", 0.5, tags)
    assert metrics["loss"] == ()
