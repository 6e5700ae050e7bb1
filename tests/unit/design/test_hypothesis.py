"""Hypotheses: how a claim is tested and what treatments are ranked by."""

from __future__ import annotations

import math
import pickle

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.design import Hypothesis, hypothesis, verifier
from crystallize.errors import CrystallizeError, MissingMetricError, PluginNotFoundError
from crystallize.results import MetricValues


def keys_of(baseline, treatment):
    return {"baseline": sorted(baseline), "treatment": sorted(treatment)}


BASELINE = {"a": [1], "b": [2], "c": [3]}
TREATMENT = {"a": [10], "b": [20], "d": [30]}


def test_the_verifier_gets_the_one_metric_that_is_named():
    assert Hypothesis(keys_of, "a").verify(BASELINE, TREATMENT) == {"baseline": ["a"], "treatment": ["a"]}


def test_the_verifier_gets_the_metrics_of_a_list():
    tested = Hypothesis(keys_of, ["b", "a"]).verify(BASELINE, TREATMENT)
    assert tested == {"baseline": ["a", "b"], "treatment": ["a", "b"]}


def test_the_verifier_gets_all_metrics_by_default():
    tested = Hypothesis(keys_of).verify(BASELINE, TREATMENT)
    assert tested == {"baseline": ["a", "b", "c"], "treatment": ["a", "b", "d"]}


def test_groups_of_metrics_give_a_list_of_outputs():
    tested = Hypothesis(keys_of, [["a"], ["a", "b"]]).verify(BASELINE, TREATMENT)
    assert [output["baseline"] for output in tested] == [["a"], ["a", "b"]]


def test_a_single_group_gives_a_list_too():
    assert Hypothesis(keys_of, [["a"]]).verify(BASELINE, TREATMENT) == [{"baseline": ["a"], "treatment": ["a"]}]


def test_a_metric_that_was_not_recorded_is_named_with_where_and_what_there_is():
    with pytest.raises(MissingMetricError, match=r"'d'.*the baseline.*'a', 'b', 'c'"):
        Hypothesis(keys_of, "d").verify(BASELINE, TREATMENT)
    with pytest.raises(MissingMetricError, match=r"'c'.*treatment 'fast'.*'a', 'b', 'd'"):
        Hypothesis(keys_of, "c").verify(BASELINE, TREATMENT, where="treatment 'fast'")


def test_a_metric_that_the_verifier_looks_up_in_vain_is_named():
    claim = Hypothesis(lambda baseline, treatment: {"x": treatment["ghost"]}, "a")
    with pytest.raises(MissingMetricError, match="ghost"):
        claim.verify(BASELINE, TREATMENT)


def test_a_verifier_can_ask_whether_a_metric_is_there():
    claim = Hypothesis(lambda baseline, treatment: {"there": baseline.get("ghost") is not None})
    assert claim.verify(BASELINE, TREATMENT) == {"there": False}


def test_a_verifier_that_sorts_its_lists_leaves_the_metrics_alone():
    def sorting(baseline, treatment):
        baseline["a"].sort()
        treatment["a"].clear()
        return {}

    ours, theirs = {"a": MetricValues([3, 1, 2])}, {"a": MetricValues([5])}
    Hypothesis(sorting, "a").verify(ours, theirs)
    assert (ours["a"], theirs["a"]) == ([3, 1, 2], [5])


def test_a_verifier_sees_which_replicate_each_value_came_from():
    claim = Hypothesis(lambda baseline, treatment: {"replicates": baseline["a"].replicates}, "a")
    tested = claim.verify({"a": MetricValues([3, 1], replicates=[0, 4])}, {"a": MetricValues([1])})
    assert tested == {"replicates": [0, 4]}


@pytest.mark.parametrize("output", [None, 0.03, [("p_value", 0.1)], "p"], ids=repr)
def test_a_verifier_that_returns_no_mapping_is_told_so(output):
    with pytest.raises(TypeError, match=f"'claim'.*mapping.*{type(output).__name__}"):
        Hypothesis(lambda baseline, treatment: output, name="claim").verify(BASELINE, TREATMENT)


def test_what_the_verifier_raises_comes_out_as_it_is():
    with pytest.raises(ZeroDivisionError):
        Hypothesis(lambda baseline, treatment: 1 / 0).verify(BASELINE, TREATMENT)


# ------------------------------------------------------------------ scores


@given(st.floats(allow_nan=False))
def test_the_default_score_is_the_p_value(p_value):
    assert Hypothesis(keys_of).score({"p_value": p_value}) == p_value


@given(st.lists(st.floats(), min_size=1))
def test_the_score_of_groups_is_that_of_the_worst(p_values):
    score = Hypothesis(keys_of, [["a"]]).score([{"p_value": p_value} for p_value in p_values])
    if any(map(math.isnan, p_values)):
        assert math.isnan(score)
    else:
        assert score == max(p_values)


@pytest.mark.parametrize("output", [{}, {"p_value": None}, {"p_value": math.nan}], ids=repr)
def test_without_a_p_value_there_is_nothing_to_rank_by(output):
    assert math.isnan(Hypothesis(keys_of).score(output))


@pytest.mark.parametrize("number", [np.float32(0.5), np.int64(2), True, 3], ids=repr)
def test_any_number_is_a_score(number):
    score = Hypothesis(keys_of).score({"p_value": number})
    assert type(score) is float
    assert score == float(number)


@pytest.mark.parametrize("score", ["0.1", "small", [1], None, 1j], ids=repr)
def test_a_ranker_that_gives_no_number_is_told_so(score):
    with pytest.raises(TypeError, match=r"ranker.*'claim'.*number"):
        Hypothesis(keys_of, ranker=lambda output: score, name="claim").score({})


def test_a_p_value_that_is_no_number_is_told_so():
    with pytest.raises(TypeError, match=r"p_value.*'claim'.*number.*str"):
        Hypothesis(keys_of, name="claim").score({"p_value": "0.1"})


def test_a_ranker_gets_what_the_verifier_returned():
    claim = Hypothesis(keys_of, ranker=lambda output: -output["gain"])
    assert claim.score({"gain": 2.0}) == -2.0


def test_a_ranker_of_grouped_metrics_gets_the_list():
    claim = Hypothesis(keys_of, [["a"], ["b"]], ranker=lambda outputs: sum(each["x"] for each in outputs))
    assert claim.score([{"x": 1}, {"x": 2}]) == 3.0


# ------------------------------------------------------------------ names


def test_the_name_is_the_given_one_or_the_rankers_or_the_plain_one():
    def by_gain(output):
        return 0.0

    assert Hypothesis(keys_of, name="claim", ranker=by_gain).name == "claim"
    assert Hypothesis(keys_of, ranker=by_gain).name == "by_gain"
    assert Hypothesis(keys_of, ranker=lambda output: 0.0).name == "hypothesis"
    assert Hypothesis(keys_of).name == "hypothesis"


@pytest.mark.parametrize("name", ["", "a/b", "a\nb"])
def test_unusable_names_are_refused(name):
    with pytest.raises(ValueError, match="hypothesis"):
        Hypothesis(keys_of, name=name)


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(TypeError, match="hypothesis"):
        Hypothesis(keys_of, name=3)


def test_the_decorator_makes_a_hypothesis_named_after_the_ranker():
    @hypothesis(verifier=keys_of, metrics="a")
    def best_gain(output):
        return -output["gain"]

    assert isinstance(best_gain, Hypothesis)
    assert (best_gain.name, best_gain.metrics) == ("best_gain", "a")
    assert best_gain.score({"gain": 1.0}) == -1.0


def test_the_decorator_takes_a_name():
    assert hypothesis(verifier=keys_of, name="claim")(lambda output: 0.0).name == "claim"


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    "metrics",
    [5, b"a", {"a"}, ["a", 5], ["a", ["b"]], [["a"], 5], [[5]], [[["a"]]]],
    ids=repr,
)
def test_metrics_that_are_no_names_are_refused(metrics):
    with pytest.raises(TypeError, match=r"'claim'.*metrics") as caught:
        Hypothesis(keys_of, metrics, name="claim")
    assert isinstance(caught.value, CrystallizeError)


@pytest.mark.parametrize("metrics", [[], "", [[]], [["a"], []], ["a", ""], ["a", "b", "a"], [["a", "a"]]], ids=repr)
def test_metrics_that_say_nothing_or_say_it_twice_are_refused(metrics):
    with pytest.raises(ValueError, match="'claim'"):
        Hypothesis(keys_of, metrics, name="claim")


async def later(baseline, treatment):
    return {}


@pytest.mark.parametrize("tested", [None, 5, ("welch",), ("welch", 5), lambda baseline: {}, lambda: None, later])
def test_what_cannot_verify_is_refused(tested):
    with pytest.raises(TypeError, match=r"verifier of hypothesis 'claim'"):
        Hypothesis(tested, name="claim")


def test_a_verifier_that_is_not_installed_is_refused_with_the_nearest():
    with pytest.raises(PluginNotFoundError, match="welch"):
        Hypothesis("wellch", name="claim")


def test_a_verifier_is_named_with_its_settings():
    pytest.importorskip("scipy.special")
    tested = Hypothesis(("permutation", {"alternative": "greater"}), "m", name="claim")
    assert tested.verify({"m": [1.0, 2.0]}, {"m": [2.0, 4.0]}).alternative == "greater"
    with pytest.raises(TypeError, match="nonsense"):
        Hypothesis(("permutation", {"nonsense": 1}))


async def later_score(output):
    return 0.0


@pytest.mark.parametrize("ranker", [5, "p_value", lambda: 0.0, lambda a, b: 0.0, later_score])
def test_what_cannot_rank_is_refused(ranker):
    with pytest.raises(TypeError, match=r"ranker of hypothesis 'claim'"):
        Hypothesis(keys_of, ranker=ranker, name="claim")


# ------------------------------------------------------------------ travelling


def test_hypotheses_travel_by_pickle_and_with_lambdas_by_cloudpickle():
    back = pickle.loads(pickle.dumps(Hypothesis(keys_of, ["a"], name="claim")))
    assert (back.name, back.metrics) == ("claim", ["a"])
    assert back.verify(BASELINE, TREATMENT)["baseline"] == ["a"]
    local = Hypothesis(lambda baseline, treatment: {"p_value": 0.5}, ranker=lambda output: -1.0)
    assert pickle.loads(cloudpickle.dumps(local)).score({}) == -1.0


def test_the_text_of_a_hypothesis_says_what_is_tested():
    @verifier
    def gain(baseline, treatment, *, margin=0.0):
        return {}

    assert repr(Hypothesis(gain(margin=1), "a", name="claim")) == "Hypothesis('claim', verifier=gain, metrics='a')"
