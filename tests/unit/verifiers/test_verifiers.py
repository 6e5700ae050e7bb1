"""The statistical tests that are shipped: the same p-values as SciPy's, and sense at the edges."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import math
import pickle
from fractions import Fraction

import cloudpickle
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crystallize import Hypothesis
from crystallize.errors import CrystallizeError, MissingExtraError, MissingMetricError
from crystallize.results import MetricValues
from crystallize_plugins.verifiers import paired_t_test, permutation_test, resampled_t_test, welch_t_test

stats = pytest.importorskip("scipy.stats")

SHIPPED = {
    "paired_t_test": paired_t_test,
    "permutation_test": permutation_test,
    "resampled_t_test": resampled_t_test,
    "welch_t_test": welch_t_test,
}
ALTERNATIVES = ["two-sided", "greater", "less"]


def made(name, **params):
    if name == "resampled_t_test":
        params.setdefault("test_share", 0.3)
    return SHIPPED[name](**params)


def outcome_of(test, before, after):
    return test({"m": MetricValues(before)}, {"m": MetricValues(after)})


samples = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=3, max_size=30)


def varied(values):
    assume(np.std(values) > 1e-6 * max(1.0, np.max(np.abs(values))))


# ------------------------------------------------------------------ beside SciPy


@given(samples, st.sampled_from(ALTERNATIVES))
def test_the_paired_test_is_scipys(pairs, alternative):
    before, after = map(np.array, zip(*pairs, strict=True))
    varied(after - before)
    ours = outcome_of(paired_t_test(alternative=alternative), before, after)
    theirs = stats.ttest_rel(after, before, alternative=alternative)
    assert ours["p_value"] == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)
    assert ours["statistic"] == pytest.approx(theirs.statistic, rel=1e-6)
    low, high = theirs.confidence_interval(0.95)
    assert (ours["low"], ours["high"]) == (
        pytest.approx(low, rel=1e-6, abs=1e-6),
        pytest.approx(high, rel=1e-6, abs=1e-6),
    )
    assert ours["difference"] == pytest.approx(np.mean(after - before), abs=1e-9)


@given(samples, samples, st.sampled_from(ALTERNATIVES))
def test_welchs_test_is_scipys(first, second, alternative):
    before, after = np.array(first)[:, 0], np.array(second)[:, 1]
    varied(before)
    varied(after)
    ours = outcome_of(welch_t_test(alternative=alternative), before, after)
    theirs = stats.ttest_ind(after, before, equal_var=False, alternative=alternative)
    assert ours["p_value"] == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-15)
    assert ours["sizes"] == [len(before), len(after)]


@given(samples, st.sampled_from(ALTERNATIVES))
def test_the_resampled_test_has_the_statistic_of_its_paper(pairs, alternative):
    before, after = map(np.array, zip(*pairs, strict=True))
    differences = after - before
    varied(differences)
    ours = outcome_of(resampled_t_test(test_share=0.25, alternative=alternative), before, after)
    variance = np.var(differences, ddof=1) * (1 / len(differences) + 1 / 3)
    assert ours["statistic"] == pytest.approx(np.mean(differences) / math.sqrt(variance), rel=1e-6, abs=1e-9)


@given(samples)
def test_splits_that_overlap_never_make_a_claim_easier(pairs):
    before, after = map(np.array, zip(*pairs, strict=True))
    varied(after - before)
    plain = outcome_of(paired_t_test(), before, after)["p_value"]
    assert outcome_of(resampled_t_test(test_share=0.2), before, after)["p_value"] >= plain - 1e-12


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=7), st.sampled_from(ALTERNATIVES)
)
def test_the_exact_permutation_test_counts_every_rearrangement(pairs, alternative):
    before, after = zip(*pairs, strict=True)
    ours = outcome_of(permutation_test(alternative=alternative), before, after)
    differences = [b - a for a, b in pairs]
    sums = [
        sum(sign * each for sign, each in zip(signs, differences, strict=True))
        for signs in itertools.product([1, -1], repeat=len(differences))
    ]
    observed = sum(differences)
    extreme = {
        "greater": sum(each >= observed for each in sums),
        "less": sum(each <= observed for each in sums),
        "two-sided": sum(abs(each) >= abs(observed) for each in sums),
    }[alternative]
    assert ours["exact"]
    assert Fraction(ours["p_value"]) == Fraction(extreme, len(sums))


def test_random_rearrangements_come_near_the_exact_answer():
    generator = np.random.default_rng(0)
    before, after = generator.normal(0, 1, 12), generator.normal(0.5, 1, 12)
    exact = outcome_of(permutation_test(), before, after)
    drawn = outcome_of(permutation_test(resamples=3000), before, after)
    assert (exact["exact"], drawn["exact"]) == (True, False)
    assert drawn["p_value"] == pytest.approx(exact["p_value"], abs=0.03)


def test_the_unpaired_permutation_test_agrees_with_welch_where_both_are_sound():
    generator = np.random.default_rng(1)
    before, after = generator.normal(0, 1, 40), generator.normal(0.4, 1, 30)
    shuffled = outcome_of(permutation_test(paired=False), before, after)
    assert shuffled["p_value"] == pytest.approx(outcome_of(welch_t_test(), before, after)["p_value"], abs=0.02)
    assert shuffled["sizes"] == [40, 30]


def test_a_permutation_test_gives_the_same_p_value_twice_and_another_by_another_seed():
    generator = np.random.default_rng(2)
    before, after = generator.normal(0, 1, 30), generator.normal(0.3, 1, 30)
    first, again, other = (outcome_of(permutation_test(seed=seed), before, after)["p_value"] for seed in (0, 0, -7))
    assert first == again != other


def test_random_rearrangements_never_give_a_p_value_of_zero():
    outcome = outcome_of(permutation_test(resamples=99), np.zeros(30), np.arange(1, 31))
    assert outcome["p_value"] == 0.01


# ------------------------------------------------------------------ replicates


@pytest.mark.parametrize("name", ["paired_t_test", "resampled_t_test", "permutation_test"])
def test_replicates_are_paired_by_number_and_those_without_a_partner_left_out(name):
    before = {"m": MetricValues([1.0, 2.0, 3.0, 4.0], replicates=[0, 1, 2, 3])}
    after = {"m": MetricValues([9.5, 2.5, 4.75], replicates=[5, 1, 2])}
    outcome = made(name)(before, after)
    assert outcome["difference"] == pytest.approx((0.5 + 1.75) / 2)
    assert 2 in (outcome.get("pairs"), outcome.get("sizes", [None])[0])


def test_several_values_of_a_replicate_count_as_one():
    before = {"m": MetricValues([0, 2, 1, 3], replicates=[0, 0, 1, 2])}
    after = {"m": MetricValues([2, 2.5, 5], replicates=[0, 1, 2])}
    assert paired_t_test()(before, after) == outcome_of(paired_t_test(), [1, 1, 3], [2, 2.5, 5])


def test_values_without_replicates_are_paired_by_position():
    assert paired_t_test()({"m": [1, 2, 4]}, {"m": [2, 4, 5]}) == outcome_of(paired_t_test(), [1, 2, 4], [2, 4, 5])


# ------------------------------------------------------------------ edges


@pytest.mark.parametrize("name", sorted(SHIPPED))
@pytest.mark.parametrize("before, after", [([], []), ([1.0], [2.0]), ([1.0, math.nan, 2.0], [1.0, 2.0, 5.0])], ids=repr)
def test_where_nothing_can_be_said_the_p_value_is_nan(name, before, after):
    assert math.isnan(outcome_of(made(name), before, after)["p_value"])


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_infinite_values_give_no_verdict_and_no_warning(name):
    assert math.isnan(outcome_of(made(name), [1.0, math.inf, -math.inf], [1.0, 2.0, 5.0])["p_value"])


@pytest.mark.parametrize("name", sorted(SHIPPED))
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_what_is_the_same_in_every_replicate_is_no_difference(name, alternative):
    values = [0.1, 0.1, 0.1]
    assert outcome_of(made(name, alternative=alternative), values, values)["p_value"] == 1.0


@pytest.mark.parametrize("name", ["paired_t_test", "resampled_t_test", "welch_t_test"])
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_a_difference_that_never_varies_is_no_certainty_for_a_t_test(name, alternative):
    outcome = outcome_of(made(name, alternative=alternative), [0.1, 0.1, 0.1], [0.3, 0.3, 0.1 + 0.2])
    assert math.isnan(outcome["p_value"])
    assert outcome["difference"] == outcome["low"] == outcome["high"] == pytest.approx(0.2)


def test_a_difference_that_never_varies_is_one_for_the_permutation_test():
    outcome = outcome_of(permutation_test(alternative="greater"), [0.1, 0.1, 0.1], [0.3, 0.3, 0.1 + 0.2])
    assert outcome["p_value"] == 0.125


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_swapping_baseline_and_treatment_swaps_the_alternatives(name):
    before, after = [0.1, 0.2, 0.4, 0.3], [0.5, 0.25, 0.6, 0.2]
    greater = outcome_of(made(name, alternative="greater"), before, after)["p_value"]
    assert outcome_of(made(name, alternative="less"), after, before)["p_value"] == pytest.approx(greater)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_the_difference_is_treatment_less_baseline(name):
    assert outcome_of(made(name), [1, 2, 3], [2, 4, 6.5])["difference"] == pytest.approx(6.5 / 3)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_outcomes_are_plain_data(name):
    outcome = outcome_of(made(name), np.float32([1, 2, 4]), np.float32([2, 4, 5]))
    assert {type(value) for value in outcome.values()} <= {float, int, bool, list}


# ------------------------------------------------------------------ metrics


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_the_only_metric_of_the_hypothesis_is_tested(name):
    before, after = {"a": [1, 2, 4], "b": [0, 0, 0]}, {"a": [2, 4, 5], "b": [0, 0, 0]}
    assert Hypothesis(made(name), "a").verify(before, after)["difference"] == pytest.approx(4 / 3)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_of_several_metrics_one_must_be_named(name):
    before, after = {"a": [1, 2, 4], "b": [0, 0, 0]}, {"a": [2, 4, 5], "b": [0, 0, 0]}
    with pytest.raises(ValueError, match=r"a, b.*metric"):
        made(name)(before, after)
    assert made(name, metric="a")(before, after)["difference"] == pytest.approx(4 / 3)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_metric_that_is_not_there_is_named(name):
    with pytest.raises(MissingMetricError, match="ghost"):
        Hypothesis(made(name, metric="ghost")).verify({"a": [1]}, {"a": [1]})
    with pytest.raises(MissingMetricError):
        Hypothesis(made(name)).verify({"a": [1]}, {"b": [1]})


@pytest.mark.parametrize("name", sorted(SHIPPED))
@pytest.mark.parametrize("value", ["0.5", None, [1.0], {}], ids=repr)
def test_values_that_are_no_numbers_are_named(name, value):
    with pytest.raises(TypeError, match=r"metric 'm' of replicate 1.*number"):
        outcome_of(made(name), [1.0, value], [1.0, 2.0])


# ------------------------------------------------------------------ parameters


@pytest.mark.parametrize("name", sorted(SHIPPED))
@pytest.mark.parametrize(
    "params, kind",
    [({"alternative": "bigger"}, ValueError), ({"alternative": None}, TypeError), ({"metric": 3}, TypeError)],
    ids=repr,
)
def test_senseless_parameters_are_refused_when_the_test_is_made(name, params, kind):
    with pytest.raises(kind) as caught:
        made(name, **params)
    assert isinstance(caught.value, CrystallizeError)


@pytest.mark.parametrize("name", ["paired_t_test", "resampled_t_test", "welch_t_test"])
@pytest.mark.parametrize(
    "confidence, kind", [(0, ValueError), (1.0, ValueError), ("0.9", TypeError), (True, TypeError)]
)
def test_a_confidence_that_is_none_is_refused(name, confidence, kind):
    with pytest.raises(kind, match="confidence"):
        made(name, confidence=confidence)


@pytest.mark.parametrize("share, kind", [(0, ValueError), (1, ValueError), (30, ValueError), (None, TypeError)])
def test_a_share_of_test_data_that_is_none_is_refused(share, kind):
    with pytest.raises(kind, match="test_share"):
        resampled_t_test(test_share=share)


def test_the_share_of_test_data_must_be_said():
    with pytest.raises(TypeError, match="test_share"):
        resampled_t_test()


@pytest.mark.parametrize("params", [{"resamples": 0}, {"resamples": 2.5}, {"seed": 1.5}, {"paired": "yes"}], ids=repr)
def test_senseless_parameters_of_the_permutation_test_are_refused(params):
    with pytest.raises((TypeError, ValueError), match=next(iter(params))):
        permutation_test(**params)


def test_without_scipy_the_t_tests_say_what_to_install_when_they_are_made(monkeypatch):
    def nowhere(name, *rest):
        return None if name == "scipy" else find_spec(name, *rest)

    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", nowhere)
    for name in ("paired_t_test", "resampled_t_test", "welch_t_test"):
        with pytest.raises(MissingExtraError, match=r"pip install 'crystallize-plugins\[stats\]'"):
            made(name)
    with pytest.raises(ImportError):
        Hypothesis(paired_t_test, "m")
    assert permutation_test()({"m": [1, 2]}, {"m": [1, 2]})["p_value"] == 1.0


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_verifiers_travel(name):
    back = pickle.loads(cloudpickle.dumps(made(name)))
    assert outcome_of(back, [1, 2, 4], [2, 4, 5]) == outcome_of(made(name), [1, 2, 4], [2, 4, 5])


def test_each_verifier_is_an_entry_point_of_its_name():
    points = {point.name: point.load() for point in importlib.metadata.entry_points(group="crystallize.verifiers")}
    assert points == SHIPPED
