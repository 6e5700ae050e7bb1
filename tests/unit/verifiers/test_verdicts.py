"""What every verifier promises: its settings, its samples, its verdict."""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import math
import pickle
import random
from collections.abc import Mapping

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from crystallize import Hypothesis
from crystallize.errors import CrystallizeError, MissingExtraError, MissingMetricError
from crystallize.results import MetricValues
from crystallize_plugins import verifiers
from crystallize_plugins.verifiers import paired_t, permutation, resampled_t, sequential, tost

pytest.importorskip("scipy.special")

PAIRED = {
    "bayes_t": {"rope": 0.1},
    "bootstrap": {},
    "noninferiority": {"margin": 0.5},
    "paired_t": {},
    "permutation": {},
    "resampled_t": {"test_share": 0.25},
    "sequential": {},
    "tost": {"margin": 0.5},
    "wilcoxon": {},
}
UNPAIRED = {
    "bootstrap": {"paired": False},
    "brunnermunzel": {},
    "mannwhitney": {},
    "noninferiority": {"margin": 0.5, "paired": False},
    "permutation": {"paired": False},
    "tost": {"margin": 0.5, "paired": False},
    "welch": {},
}
EVERY = [*PAIRED.items(), *UNPAIRED.items()]
every = pytest.mark.parametrize(
    "name, settings",
    EVERY,
    ids=[f"{name}-{'unpaired' if (name, s) in UNPAIRED.items() else 'paired'}" for name, s in EVERY],
)
paired = pytest.mark.parametrize("name, settings", PAIRED.items(), ids=PAIRED)
alternatives = pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])

BEFORE = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
AFTER = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def made(name, settings, **more):
    return getattr(verifiers, name)(**settings, **more)


def can(name, *settings):
    """Whether a verifier takes these settings."""
    return set(settings) <= set(getattr(verifiers, name).__signature__.parameters)


# ------------------------------------------------------------------ settings


WRONG = [
    ({"alpha": 0}, ValueError),
    ({"alpha": 1.0}, ValueError),
    ({"alpha": math.nan}, ValueError),
    ({"alpha": "0.05"}, TypeError),
    ({"alpha": True}, TypeError),
    ({"alternative": "bigger"}, ValueError),
    ({"alternative": None}, TypeError),
    ({"resamples": 0}, ValueError),
    ({"resamples": 2.5}, TypeError),
    ({"margin": -1}, ValueError),
    ({"test_share": 30}, ValueError),
]
WRONG_OF_EACH = [(*test, *wrong) for test in EVERY for wrong in WRONG if can(test[0], *wrong[0])]


@pytest.mark.parametrize("name, settings, wrong, kind", WRONG_OF_EACH)
def test_a_wrong_setting_is_refused_when_it_is_given(name, settings, wrong, kind):
    with pytest.raises(kind, match=next(iter(wrong))) as caught:
        made(name, {**settings, **wrong})
    assert isinstance(caught.value, CrystallizeError)


@every
def test_a_setting_that_there_is_not_is_refused_by_name(name, settings):
    with pytest.raises(TypeError, match="nonsense"):
        made(name, settings, nonsense=1)


def test_without_scipy_a_verifier_says_what_to_install_when_it_is_made(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "scipy" else find_spec(name))
    for name, settings in EVERY:
        if name != "permutation":
            with pytest.raises(MissingExtraError, match=r"pip install 'crystallize-plugins\[stats\]'"):
                made(name, settings)
    with pytest.raises(ImportError):
        Hypothesis(metrics="m")
    assert permutation()([1, 2], [1, 2]).p_value == 1.0


def test_each_verifier_is_an_entry_point_of_its_name():
    points = {point.name: point.load() for point in importlib.metadata.entry_points(group="crystallize.verifiers")}
    assert {*points} == {*dict(EVERY), "dunnett", "friedman", "iqm", "proportion"}
    assert all(found is getattr(verifiers, name) for name, found in points.items())


@every
def test_verifiers_travel(name, settings):
    back = pickle.loads(cloudpickle.dumps(made(name, settings)))
    assert back(BEFORE, AFTER) == made(name, settings)(BEFORE, AFTER)


# ------------------------------------------------------------------ samples


@paired
def test_pairs_go_by_replicate_and_lost_ones_are_counted(name, settings):
    test = made(name, settings)
    verdict = test(MetricValues([*BEFORE, 99.0], range(11)), MetricValues([*AFTER, 77.0], [*range(10), 12]))
    assert (verdict.n, verdict.pairs_lost) == ((10, 10), 2)
    assert verdict.estimate == test(BEFORE, AFTER).estimate
    assert any(text.startswith("pairs-lost:") for text in verdict.warnings)


@paired
def test_pairs_by_position_need_equal_lengths(name, settings):
    with pytest.raises(ValueError, match=r"10 values.*9"):
        made(name, settings)(BEFORE, AFTER[:-1])


@every
def test_values_that_are_not_finite_are_left_out_counted_and_named(name, settings):
    verdict = made(name, settings)([*BEFORE, math.nan], [*AFTER, 1.0])
    assert any(text.startswith("not-finite:") and "replicate 10" in text for text in verdict.warnings)
    assert verdict.n[0] == 10


@every
def test_a_replicate_counts_once_by_its_mean(name, settings):
    twice = MetricValues([0.2, 1.2, *BEFORE[1:]], [0, 0, *range(1, 10)])
    assert made(name, settings)(twice, AFTER).estimate == pytest.approx(made(name, settings)(BEFORE, AFTER).estimate)


@every
@pytest.mark.parametrize("values", [[], [1.0]], ids=["none", "one"])
def test_too_few_values_give_no_telling(name, settings, values):
    verdict = made(name, settings)(values, values)
    assert (verdict.holds, math.isnan(verdict.p_value)) == (None, True)
    assert any(text.startswith("too-few:") for text in verdict.warnings)


@every
@pytest.mark.parametrize("value", ["0.5", None, [1.0], {}], ids=repr)
def test_a_value_that_is_no_number_is_named(name, settings, value):
    with pytest.raises(TypeError, match=r"metric 'm'.*replicate 1.*number"):
        made(name, settings)({"m": [1.0, value]}, {"m": [1.0, 2.0]})


@every
def test_nothing_of_the_samples_or_of_the_global_random_state_is_touched(name, settings):
    before, after = np.array(BEFORE), np.array(AFTER)
    state = random.getstate(), np.random.get_state()[1].tobytes()
    first, again = made(name, settings)(before, after), made(name, settings)(before, after)
    assert first == again
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == state
    assert (before.tolist(), after.tolist()) == (BEFORE, AFTER)


def test_independent_tests_of_replicates_that_share_seeds_say_so():
    verdict = verifiers.welch()(MetricValues(BEFORE), MetricValues(AFTER))
    assert any(text.startswith("shared-seeds:") for text in verdict.warnings)


# ------------------------------------------------------------------ verdicts


@every
def test_a_verdict_is_a_frozen_mapping_of_plain_fields(name, settings):
    verdict = made(name, settings)(BEFORE, AFTER)
    assert isinstance(verdict, Mapping)
    assert verdict["p_value"] is verdict.p_value
    assert {**verdict}.keys() == set(verdict)
    assert type(verdict.holds) is bool
    assert all(type(end) is float for end in verdict.ci)
    assert copy.deepcopy(verdict) == pickle.loads(pickle.dumps(verdict)) == verdict
    with pytest.raises(AttributeError):
        verdict.p_value = 0.0
    with pytest.raises(KeyError):
        verdict["significant"]


@every
def test_its_sentence_is_one_and_has_its_numbers(name, settings):
    verdict = made(name, settings)(BEFORE, AFTER)
    sentence = str(verdict)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert f"{verdict.estimate:.4g}" in sentence
    assert "no effect" not in sentence


def test_one_metric_gives_a_verdict_and_several_one_each():
    assert paired_t()({"a": BEFORE}, {"a": AFTER}).metrics == ("a",)
    told = paired_t()({"a": BEFORE, "b": BEFORE}, {"a": AFTER, "b": BEFORE})
    assert (list(told), told["a"].metrics) == (["a", "b"], ("a",))
    with pytest.raises(TypeError):
        paired_t()({"a": BEFORE}, AFTER)
    with pytest.raises(MissingMetricError, match="ghost"):
        Hypothesis(paired_t(), "ghost").verify({"a": [1]}, {"a": [1]})


def test_an_integer_that_no_float_holds_is_named_without_its_digits():
    with pytest.raises(TypeError, match="replicate 0 of the baseline is an integer that no float holds"):
        paired_t()([10**5000, 1], [1.0, 2.0])


@alternatives
@pytest.mark.parametrize("name", ["paired_t", "welch", "bootstrap"])
def test_where_nothing_varies_a_test_of_a_mean_asks_the_arrangements(name, alternative):
    settings = {"alternative": alternative}
    verdict = made(name, settings)([0.1] * 6, [0.3] * 6)
    expected = permutation(paired=name != "welch", alternative=alternative)([0.1] * 6, [0.3] * 6)
    assert verdict.p_value == expected.p_value
    assert all(map(math.isnan, verdict.ci))
    assert any(text.startswith("no-spread:") for text in verdict.warnings)


@pytest.mark.parametrize("name", ["resampled_t", "wilcoxon", "mannwhitney", "brunnermunzel", "sequential", "iqm"])
def test_where_nothing_varies_other_tests_do_not_hold(name):
    settings = {"test_share": 0.2} if name == "resampled_t" else {}
    verdict = made(name, settings)([0.1] * 6, [0.3] * 6)
    assert not verdict.holds
    assert any(text.startswith("no-spread:") for text in verdict.warnings)


@examples(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=4, max_size=9),
    st.sampled_from([each for each in EVERY if each[0] not in ("tost", "noninferiority", "bayes_t", "bootstrap")]),
)
def test_swapping_the_sides_swaps_the_claims(pairs, test):
    name, settings = test
    before, after = (list(map(float, side)) for side in zip(*pairs, strict=True))
    greater = made(name, settings, alternative="greater")(before, after)
    less = made(name, settings, alternative="less")(after, before)
    assert less.p_value == pytest.approx(greater.p_value, abs=1e-9, nan_ok=True)
    assert less.estimate == pytest.approx(-greater.estimate, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("unit", [1e-150, 1e150])
@pytest.mark.parametrize("name", ["paired_t", "welch", "wilcoxon", "mannwhitney", "brunnermunzel", "sequential"])
def test_the_unit_of_a_metric_changes_no_p_value(name, unit):
    scaled = made(name, {})(np.array(BEFORE) * unit, np.array(AFTER) * unit)
    assert scaled.p_value == pytest.approx(made(name, {})(BEFORE, AFTER).p_value, rel=1e-6)


@pytest.mark.parametrize("name", ["paired_t", "welch", "wilcoxon", "mannwhitney", "permutation"])
def test_without_an_effect_a_claim_holds_as_often_as_alpha_says(name):
    rng = np.random.default_rng(11)
    settings = {"resamples": 199} if name == "permutation" else {}
    test, runs = made(name, settings), 400
    held = sum(test(rng.normal(size=12), rng.normal(size=12)).holds for _ in range(runs))
    assert held <= 0.05 * runs + 4 * math.sqrt(0.05 * 0.95 * runs)


def test_looking_again_and_again_declares_no_more_than_alpha():
    rng = np.random.default_rng(13)
    test, declared, runs = sequential(), 0, 150
    for _ in range(runs):
        differences = rng.normal(size=60)
        declared += any(test(np.zeros(n), differences[:n]).holds for n in range(2, 61, 2))
    assert declared <= 0.05 * runs + 4 * math.sqrt(0.05 * 0.95 * runs)


def test_bounds_are_those_of_every_difference():
    test = sequential(bounds=(-1, 1))
    assert test([0.0] * 30, [0.5] * 30).holds is True
    with pytest.raises(ValueError, match="outside the bounds"):
        test([0.0, 0.0], [0.5, 1.5])


def test_equivalence_is_claimed_within_the_margin_alone():
    assert tost(margin=5)(BEFORE, AFTER).holds is True
    assert tost(margin=0.5)(BEFORE, AFTER).holds is False
    assert tost(margin=0.5)([1.0] * 8, [1.0] * 8).holds is True
    low, high = tost(margin=5)(BEFORE, AFTER).ci
    assert (low, high) == pytest.approx(paired_t(alpha=0.1)(BEFORE, AFTER).ci)


def test_a_share_of_test_data_widens_the_interval():
    plain, wide = paired_t()(BEFORE, AFTER), resampled_t(test_share=0.3)(BEFORE, AFTER)
    assert wide.ci[0] < plain.ci[0]
    assert wide.ci[1] > plain.ci[1]


@pytest.mark.parametrize("value", [2, 0.5, -1])
def test_a_share_of_successes_is_of_zeros_and_ones(value):
    with pytest.raises(ValueError, match="0 or 1"):
        verifiers.proportion()([0, 1, value], [1, 1, 0])


def test_a_family_says_something_of_every_treatment():
    told = verifiers.dunnett()({"a": BEFORE, "b": BEFORE}, {"t": {"a": AFTER, "b": AFTER}})
    assert told["t"]["a"].p_adjusted == pytest.approx(min(1.0, 2 * told["t"]["a"].p_value))
    with pytest.raises(TypeError, match="all treatments at once"):
        verifiers.dunnett()(BEFORE, AFTER)


def test_the_interquartile_mean_forgets_what_stands_out():
    tasks = {"a": BEFORE, "b": AFTER}
    better = {name: [value + 1 for value in values] for name, values in tasks.items()}
    spoiled = {**better, "a": [1e6, *better["a"][1:]]}
    verdict = verifiers.iqm()(tasks, spoiled)
    assert verdict.metrics == ("a", "b")
    assert verdict.estimate == pytest.approx(1.0, abs=0.5)
    assert verifiers.performance_profile(tasks, [-10, 100]) == [1.0, 0.0]
