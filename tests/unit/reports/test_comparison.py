"""Conditions compared with the baseline, in numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import MissingMetricError
from crystallize.hooks import Cell, CellOutcome, ConditionRecord, build_result
from crystallize_plugins.reports import compare

BASELINE = [1.0, 2.0, 4.0, 3.0]
BETTER = [2.0, 3.0, 6.0, 4.5]


def row_of(result, condition, metric="m", **given):
    (row,) = [row for row in compare(result, **given) if (row.condition, row.metric) == (condition, metric)]
    return row


def test_mean_and_spread_are_those_of_the_replicates(result_of):
    row = row_of(result_of({"baseline": {"m": BASELINE}}), "baseline")
    assert (row.replicates, row.mean) == (4, 2.5)
    assert row.spread == pytest.approx(np.std(BASELINE, ddof=1))


def test_the_baseline_differs_from_nothing(result_of):
    row = row_of(result_of({"baseline": {"m": BASELINE}}), "baseline")
    assert math.isnan(row.difference)
    assert math.isnan(row.low)
    assert math.isnan(row.high)
    assert row.pairs == 0


def test_the_difference_and_its_interval_are_those_of_the_pairs(result_of):
    stats = pytest.importorskip("scipy.stats")
    row = row_of(result_of({"baseline": {"m": BASELINE}, "t": {"m": BETTER}}), "t", confidence=0.9)
    interval = stats.ttest_rel(BETTER, BASELINE).confidence_interval(0.9)
    assert row.difference == pytest.approx(1.375)
    assert (row.low, row.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert row.pairs == 4


def test_replicates_that_failed_on_one_side_are_left_out_of_the_difference(result_of):
    result = result_of({"baseline": {"m": [1.0, None, 4.0]}, "t": {"m": [2.0, 100.0, 7.0]}})
    row = row_of(result, "t")
    assert (row.difference, row.pairs, row.replicates) == (2.0, 2, 3)


def test_without_a_common_replicate_the_means_are_compared(result_of):
    row = row_of(result_of({"baseline": {"m": [1.0, None]}, "t": {"m": [None, 4.0]}}), "t")
    assert (row.difference, row.pairs) == (3.0, 0)
    assert math.isnan(row.low)


def test_a_condition_that_failed_altogether_has_a_row_of_nothing(result_of):
    row = row_of(result_of({"baseline": {"m": [1.0, 2.0]}, "t": {"m": [None, None]}}), "t")
    assert row.replicates == 0
    assert math.isnan(row.mean)
    assert math.isnan(row.difference)


def test_without_a_baseline_there_is_no_difference(result_of):
    assert math.isnan(row_of(result_of({"t": {"m": [1.0, 2.0]}}), "t").difference)


def test_several_values_of_a_replicate_count_as_one():
    result = build_result(
        conditions=[ConditionRecord("baseline")],
        outcomes=[CellOutcome(Cell("baseline", 0), {"m": [0, 4]}), CellOutcome(Cell("baseline", 1), {"m": [4]})],
        replicates=2,
        facts={},
    )
    row = row_of(result, "baseline")
    assert (row.replicates, row.mean) == (2, 3.0)


def test_rows_come_by_metric_and_then_by_condition(result_of):
    result = result_of({"baseline": {"b": [1], "a": [1]}, "z": {"a": [1], "b": [1]}, "t": {"b": [1]}})
    assert [(row.metric, row.condition) for row in compare(result)] == [
        ("b", "baseline"),
        ("b", "z"),
        ("b", "t"),
        ("a", "baseline"),
        ("a", "z"),
        ("a", "t"),
    ]


def test_metrics_that_are_not_numbers_are_left_out(result_of):
    values = {"text": ["x"], "array": [np.ones(2)], "none": [{}], "flag": [True], "number": [np.float32(0.5)]}
    rows = compare(result_of({"baseline": values}))
    assert [row.metric for row in rows] == ["flag", "number"]


def test_a_metric_that_is_asked_for_must_be_numbers_and_be_there(result_of):
    result = result_of({"baseline": {"text": ["x"]}})
    with pytest.raises(TypeError, match="'text'"):
        compare(result, "text")
    with pytest.raises(MissingMetricError, match="ghost"):
        compare(result, ["ghost"])


def test_metrics_that_are_asked_for_come_in_that_order(result_of):
    result = result_of({"baseline": {"a": [1], "b": [2], "c": [3]}})
    assert [row.metric for row in compare(result, ["c", "a"])] == ["c", "a"]


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=20))
def test_the_interval_holds_the_difference(pairs):
    before, after = zip(*pairs, strict=True)
    result = build_result(
        conditions=[ConditionRecord("baseline"), ConditionRecord("t")],
        outcomes=[
            CellOutcome(Cell(name, replicate), {"m": [value]})
            for name, series in (("baseline", before), ("t", after))
            for replicate, value in enumerate(series)
        ],
        replicates=len(pairs),
        facts={},
    )
    row = row_of(result, "t")
    assert math.isnan(row.low) or row.low <= row.difference <= row.high


def test_a_difference_that_never_varies_has_no_interval(result_of):
    row = row_of(result_of({"baseline": {"m": [0.1, 0.2, 0.3]}, "t": {"m": [0.2, 0.3, 0.4]}}), "t")
    assert row.difference == pytest.approx(0.1)
    assert math.isnan(row.low)
