"""Metrics by condition."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.hooks import Cell, CellOutcome, ConditionRecord
from crystallize.results import MetricValues, TreatmentMetrics
from crystallize.results.metrics import collect_metrics

CONDITIONS = [ConditionRecord("baseline"), ConditionRecord("b"), ConditionRecord("a")]


def collected(outcomes, conditions=CONDITIONS):
    return collect_metrics(outcomes, conditions)


# ------------------------------------------------------------------ values


def test_values_are_a_list():
    values = MetricValues([1, 2])
    assert values == [1, 2]
    assert isinstance(values, list)
    assert values.replicates == [0, 1]


def test_values_say_which_replicate_each_came_from():
    values = MetricValues([0.5, 0.6, 0.7], replicates=[0, 0, 3])
    assert values.by_replicate() == {0: [0.5, 0.6], 3: [0.7]}


@pytest.mark.parametrize("way", [copy.copy, MetricValues.copy, lambda values: pickle.loads(pickle.dumps(values))])
def test_copies_keep_replicates_and_tags(way):
    values = MetricValues([1, 2], replicates=[0, 4])
    values.tags[1] = {"epoch": 3}
    copied = way(values)
    assert (copied, copied.replicates, copied.tags) == ([1, 2], [0, 4], {1: {"epoch": 3}})
    copied.append(3)
    copied.replicates.append(5)
    copied.tags.clear()
    assert (values, values.replicates, values.tags) == ([1, 2], [0, 4], {1: {"epoch": 3}})


# ------------------------------------------------------------------ collecting


def test_the_replicates_of_a_result_are_a_list(outcome):
    values = collected([outcome("baseline", 1, {"m": [1]}), outcome("baseline", 0, {"m": [2]})]).baseline.metrics["m"]
    assert (values, values.replicates) == ([2, 1], [0, 1])
    assert type(values.replicates) is list


def test_values_come_in_replicate_order_whatever_order_outcomes_came_in(outcome):
    outcomes = [outcome("baseline", replicate, {"m": [replicate]}) for replicate in (3, 0, 2, 1)]
    values = collected(outcomes).baseline.metrics["m"]
    assert values == values.replicates == [0, 1, 2, 3]


def test_a_cell_may_record_several_values_or_none(outcome):
    values = collected(
        [
            outcome("baseline", 0, {"m": [1, 2]}),
            outcome("baseline", 1, {"other": [7]}),
            outcome("baseline", 2, {"m": [3]}),
        ]
    ).baseline.metrics
    assert (values["m"], values["m"].replicates) == ([1, 2, 3], [0, 0, 2])
    assert (values["other"], values["other"].replicates) == ([7], [1])


def test_failed_replicates_leave_a_gap_that_can_be_seen(outcome):
    values = collected(
        [outcome("baseline", 0, {"m": [1]}), outcome("baseline", 1, error="no"), outcome("baseline", 2, {"m": [3]})]
    ).baseline.metrics["m"]
    assert (values, values.replicates) == ([1, 3], [0, 2])


def test_treatments_come_in_the_order_of_the_conditions(outcome):
    outcomes = [outcome(name, 0, {"m": [1]}) for name in ("a", "b", "baseline")]
    assert list(collected(outcomes).treatments) == ["b", "a"]


def test_a_treatment_without_a_single_success_is_there_and_empty(outcome):
    metrics = collected([outcome("baseline"), outcome("a", 0, error="no"), outcome("a", 1, error="no")])
    assert metrics.treatments == {"b": TreatmentMetrics(), "a": TreatmentMetrics()}


def test_a_treatment_that_ran_and_recorded_nothing_is_there_and_empty(outcome):
    assert collected([outcome("a")]).treatments["a"].metrics == {}


def test_a_baseline_without_a_single_success_is_empty(outcome):
    metrics = collected([outcome("baseline", error="no"), outcome("a", 0, {"m": [1]})])
    assert metrics.baseline.metrics == {}
    assert metrics.treatments["a"].metrics == {"m": [1]}


def test_tags_stay_with_their_values(outcome):
    values = collected(
        [
            outcome("baseline", 0, {"m": [1, 2]}, tags={"m": {1: {"epoch": 2}}}),
            outcome("baseline", 1, {"m": [3]}, tags={"m": {0: {"epoch": 9}}}),
        ]
    ).baseline.metrics["m"]
    assert values.tags == {1: {"epoch": 2}, 2: {"epoch": 9}}


cells = st.dictionaries(
    st.tuples(st.sampled_from(["baseline", "a", "b"]), st.integers(0, 9)),
    st.dictionaries(st.sampled_from("mn"), st.lists(st.integers(), max_size=3)),
)


@given(cells, st.randoms(use_true_random=False))
def test_permuting_outcomes_changes_nothing(recorded, shuffler):
    outcomes = [CellOutcome(Cell(*cell), metrics) for cell, metrics in sorted(recorded.items())]
    shuffled = list(outcomes)
    shuffler.shuffle(shuffled)
    first, second = collected(outcomes), collected(shuffled)
    assert first == second
    assert list(first.treatments) == list(second.treatments)
    for name, values in first.baseline.metrics.items():
        assert values.replicates == second.baseline.metrics[name].replicates


@given(cells)
def test_every_value_of_every_success_is_there_once(recorded):
    metrics = collected([CellOutcome(Cell(*cell), values) for cell, values in recorded.items()])
    seen = {"baseline": metrics.baseline, **metrics.treatments}
    for condition in ("baseline", "a", "b"):
        for name in "mn":
            expected = [
                value
                for (where, _), values in sorted(recorded.items())
                if where == condition
                for value in values.get(name, [])
            ]
            got = seen[condition].metrics.get(name, []) if condition in seen else []
            assert got == expected
