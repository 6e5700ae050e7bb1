"""Judging: what user code does to its hypotheses costs nothing else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.design import Hypothesis, verifier
from crystallize.engine.judge import judge
from crystallize.errors import HypothesisError, MissingMetricError
from crystallize.results import MetricValues


@verifier
def given_p(baseline, treatment):
    """Say what the treatment recorded as its p-value."""
    return {"p_value": treatment["p"][0]}


def metrics(**p_values):
    return {name: {"p": MetricValues([p_value])} for name, p_value in p_values.items()}


BASELINE = {"p": MetricValues([1.0])}


def one(hypothesis, treatments, *, baseline=BASELINE, absent=()):
    (tested,), errors = judge([hypothesis], baseline, treatments, absent=absent)
    return tested, errors


# ------------------------------------------------------------------ testing


def test_every_treatment_is_tested_and_the_lowest_p_value_is_best():
    tested, errors = one(Hypothesis(given_p, "p", name="h"), metrics(a=0.5, b=0.01, c=0.2))
    assert errors == {}
    assert tested.name == "h"
    assert tested.results == {"a": {"p_value": 0.5}, "b": {"p_value": 0.01}, "c": {"p_value": 0.2}}
    assert tested.ranking == {"best": "b", "ranked": [("b", 0.01), ("c", 0.2), ("a", 0.5)]}


def test_hypotheses_are_judged_one_by_one_in_their_order():
    hypotheses = [Hypothesis(given_p, name=name) for name in "zab"]
    results, _ = judge(hypotheses, BASELINE, metrics(t=0.5))
    assert [tested.name for tested in results] == ["z", "a", "b"]


def test_a_verifier_gets_the_very_values_with_their_replicates():
    def look(baseline, treatment):
        return {"values": list(treatment["m"]), "replicates": treatment["m"].replicates}

    tested, _ = one(Hypothesis(look, "m"), {"t": {"m": MetricValues([3, 4], [0, 7])}}, baseline={"m": [1]})
    assert tested.results == {"t": {"values": [3, 4], "replicates": [0, 7]}}


def test_without_treatments_there_is_nothing_to_rank():
    tested, errors = one(Hypothesis(given_p), {})
    assert (tested.results, tested.ranking, errors) == ({}, {"best": None, "ranked": []}, {})


def test_groups_give_lists_and_rank_by_the_worst_group():
    def both(baseline, treatment):
        (name,) = treatment
        return {"p_value": treatment[name][0]}

    treatments = {"a": {"x": [0.01], "y": [0.9]}, "b": {"x": [0.2], "y": [0.3]}}
    tested, errors = one(Hypothesis(both, [["x"], ["y"]]), treatments, baseline={"x": [1], "y": [1]})
    assert errors == {}
    assert tested.results["a"] == [{"p_value": 0.01}, {"p_value": 0.9}]
    assert tested.ranking == {"best": "b", "ranked": [("b", 0.3), ("a", 0.9)]}


# ------------------------------------------------------------------ ranking


@given(st.lists(st.floats() | st.none(), min_size=1, max_size=8))
def test_nan_never_ranks_before_a_number_and_is_never_best(p_values):
    treatments = {f"t{index}": {"p": [p_value]} for index, p_value in enumerate(p_values)}
    ranking = one(Hypothesis(given_p), treatments)[0].ranking
    scores = [score for _, score in ranking["ranked"]]
    numbers = [score for score in scores if not math.isnan(score)]
    assert len(scores) == len(p_values)
    assert scores[: len(numbers)] == sorted(numbers)
    assert ranking["best"] == (ranking["ranked"][0][0] if numbers else None)


@given(st.lists(st.sampled_from([0.1, 0.2, math.nan]), min_size=1, max_size=8))
def test_ties_keep_the_order_of_the_treatments(p_values):
    treatments = {f"t{index}": {"p": [p_value]} for index, p_value in enumerate(p_values)}
    ranked = [name for name, _ in one(Hypothesis(given_p), treatments)[0].ranking["ranked"]]
    for value in (0.1, 0.2):
        same = [f"t{index}" for index, p_value in enumerate(p_values) if p_value == value]
        assert [name for name in ranked if name in same] == same


@given(st.permutations([("a", 0.5), ("b", 0.01), ("c", math.nan), ("d", 0.2)]))
def test_the_best_does_not_depend_on_the_order_of_the_treatments(order):
    ranking = one(Hypothesis(given_p), {name: {"p": [p_value]} for name, p_value in order})[0].ranking
    assert [name for name, _ in ranking["ranked"]] == ["b", "d", "a", "c"]


def test_a_ranker_decides_with_lower_scores_first():
    tested, _ = one(Hypothesis(given_p, ranker=lambda output: -output["p_value"]), metrics(a=0.5, b=0.01))
    assert tested.ranking == {"best": "a", "ranked": [("a", -0.5), ("b", -0.01)]}


# ------------------------------------------------------------------ errors


def test_a_verifier_that_raises_is_an_error_and_costs_the_others_nothing():
    def fragile(baseline, treatment):
        return {"p_value": 1 / treatment["p"][0]}

    results, errors = judge(
        [Hypothesis(fragile, name="fragile"), Hypothesis(given_p, name="sound")], BASELINE, metrics(a=0.0, b=0.5)
    )
    assert results[0].results == {"b": {"p_value": 2.0}}
    assert results[0].ranking["best"] == "b"
    assert list(errors) == ["hypothesis:fragile"]
    error = errors["hypothesis:fragile"]
    assert isinstance(error, HypothesisError)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert list(error.failures) == ["a"]
    assert "'fragile'" in str(error)
    assert "'a' (ZeroDivisionError: " in str(error)
    assert results[1].ranking["best"] == "a"


def test_a_metric_that_nobody_recorded_is_a_missing_metric_error():
    tested, errors = one(Hypothesis(given_p, ["p", "ghost"], name="h"), metrics(a=0.1, b=0.2))
    error = errors["hypothesis:h"]
    assert isinstance(error, MissingMetricError)
    assert error.metric == "ghost"
    assert "'h'" in str(error)
    assert tested.ranking == {"best": None, "ranked": []}


def test_a_metric_that_some_treatments_lack_names_them():
    treatments = {**metrics(a=0.1, b=0.2), "c": {}, "d": {}}
    tested, errors = one(Hypothesis(given_p, "p", name="h"), treatments)
    assert [name for name, _ in tested.ranking["ranked"]] == ["a", "b"]
    assert "treatment 'c', treatment 'd'" in str(errors["hypothesis:h"])


def test_treatments_without_metrics_are_left_out_and_named():
    tested, errors = one(Hypothesis(given_p, name="h"), metrics(a=0.1), absent=["gone"])
    assert tested.ranking["best"] == "a"
    assert list(tested.errors) == ["gone"]
    assert "'gone'" in str(errors["hypothesis:h"])


def test_a_baseline_without_metrics_is_an_error_and_no_verdict():
    tested, errors = one(Hypothesis(lambda b, t: {"p_value": 0.0}, name="h"), metrics(a=0.1), baseline={})
    assert tested.results == {}
    assert "the baseline has no metrics" in str(errors["hypothesis:h"])


@pytest.mark.parametrize("output", [None, 0.5, ["p_value"]], ids=repr)
def test_a_verifier_that_returns_no_mapping_is_an_error(output):
    _, errors = one(Hypothesis(lambda b, t: output, name="h"), metrics(a=0.1))
    assert "must return a mapping" in str(errors["hypothesis:h"])


def test_a_ranker_that_raises_keeps_what_the_verifier_said():
    def rank(output):
        if output["p_value"] == 0.1:
            raise LookupError("no rank")
        return output["p_value"]

    tested, errors = one(Hypothesis(given_p, ranker=rank), metrics(a=0.1, b=0.2))
    assert tested.results == {"a": {"p_value": 0.1}, "b": {"p_value": 0.2}}
    assert tested.ranking == {"best": "b", "ranked": [("b", 0.2)]}
    assert "no rank" in str(errors["hypothesis:rank"])


def test_one_cause_is_told_once_for_all_treatments_that_share_it():
    def broken(baseline, treatment):
        raise RuntimeError("bad day")

    _, errors = one(Hypothesis(broken, name="h"), metrics(a=0.1, b=0.2))
    assert str(errors["hypothesis:h"]).count("bad day") == 1
    assert "treatments 'a', 'b'" in str(errors["hypothesis:h"])


def test_a_verifier_that_calls_exit_ends_nothing():
    def leave(baseline, treatment):
        raise SystemExit(3)

    _, errors = one(Hypothesis(leave, name="h"), metrics(a=0.1))
    assert "SystemExit" in str(errors["hypothesis:h"])


def test_ctrl_c_in_a_verifier_interrupts():
    def interrupted(baseline, treatment):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        one(Hypothesis(interrupted), metrics(a=0.1))


def test_an_exception_that_cannot_even_print_is_recorded():
    class MuteError(Exception):
        def __str__(self):
            raise ValueError("no words")

    def mute(baseline, treatment):
        raise MuteError

    _, errors = one(Hypothesis(mute, name="h"), metrics(a=0.1))
    assert "MuteError" in str(errors["hypothesis:h"])


def test_what_a_users_own_verifier_of_a_family_says_decides_uncorrected():
    @verifier(family=True)
    def all_at_once(baseline, treatments):
        return {name: {"p_value": 0.04 if name == "a" else 0.2} for name in treatments}

    results, errors = judge([Hypothesis(all_at_once, "m")], {"m": [1.0]}, {"a": {"m": [2.0]}, "b": {"m": [1.0]}})
    told = [(verdict.treatment, verdict.p_adjusted, verdict.holds) for verdict in results[0].verdicts]
    assert (told, errors) == ([("a", 0.04, True), ("b", 0.2, False)], {})


def test_numbers_of_numpy_are_p_values_like_any_others():
    numpy = pytest.importorskip("numpy")
    hypothesis = Hypothesis(lambda baseline, treatment: {"p_value": numpy.float32(0.25)}, "m")
    results, _ = judge([hypothesis], {"m": [1.0]}, {"a": {"m": [2.0]}})
    assert (results[0].verdicts[0].p_value, results[0].verdicts[0].holds) == (0.25, False)
