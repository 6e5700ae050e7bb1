"""What a hypothesis says of each treatment."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import MissingMetricError
from crystallize.hooks import HypothesisResult
from crystallize_plugins.reports import adjust_p_values, verdicts

p_values = st.dictionaries(st.text(max_size=3), st.floats(0, 1) | st.just(math.nan), max_size=8)


def said(results, metrics=None, errors=None, **given):
    return verdicts(HypothesisResult("h", results, {}, errors or {}, metrics), **given)


@given(p_values)
def test_adjusting_never_makes_a_p_value_smaller_nor_greater_than_one(given_values):
    adjusted = adjust_p_values(given_values)
    assert list(adjusted) == list(given_values)
    for name, value in given_values.items():
        assert math.isnan(adjusted[name]) if math.isnan(value) else value <= adjusted[name] <= 1


@given(p_values)
def test_adjusting_keeps_the_order_of_the_p_values(given_values):
    adjusted = adjust_p_values(given_values)
    known = sorted((value, adjusted[name]) for name, value in given_values.items() if not math.isnan(value))
    assert [after for _, after in known] == sorted(after for _, after in known)


def test_holms_adjustment_is_that_of_the_book():
    adjusted = adjust_p_values({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})


def test_a_single_treatment_needs_no_adjustment():
    (verdict,) = said({"t": {"p_value": 0.04}})
    assert (verdict.holds, verdict.p_value, verdict.adjusted) == (True, 0.04, 0.04)


def test_a_p_value_that_would_do_alone_may_not_do_among_others():
    first, second, third = said({"a": {"p_value": 0.04}, "b": {"p_value": 0.5}, "c": {"p_value": 0.001}})
    assert [verdict.holds for verdict in (first, second, third)] == [False, False, True]


def test_the_level_can_be_chosen():
    assert said({"t": {"p_value": 0.04}}, level=0.01)[0].holds is False


def test_a_verifier_that_decides_is_believed():
    verdict, other = said({"t": {"holds": True, "p_value": 0.5}, "u": {"holds": False}})
    assert (verdict.holds, other.holds) == (True, False)
    assert str(other) == "not shown"


@pytest.mark.parametrize(
    "output", [{}, {"p_value": None}, {"p_value": math.nan}, {"p_value": "x"}, {"gain": 3}], ids=repr
)
def test_without_a_p_value_there_is_no_verdict(output):
    (verdict,) = said({"t": output})
    assert verdict.holds is None
    assert str(verdict) == "no verdict"


def test_groups_of_metrics_have_a_verdict_each_and_are_families_of_their_own():
    results = {"a": [{"p_value": 0.04}, {"p_value": 0.03}], "b": [{"p_value": 0.9}, {"p_value": 0.001}]}
    found = {(each.treatment, each.metrics): each for each in said(results, [["x"], ["y", "z"]])}
    assert found["a", ("x",)].adjusted == 0.08
    assert found["a", ("y", "z")].adjusted == 0.03
    assert found["b", ("y", "z")].holds


def test_treatments_that_could_not_be_tested_say_why():
    verdict, broken = said({"t": {"p_value": 0.04}}, errors={"u": MissingMetricError("loss"), "t": ValueError("rank")})
    assert verdict.treatment == "t"
    assert str(broken).startswith("not tested: MissingMetricError: metric 'loss' was not recorded")


def test_small_p_values_are_not_shown_as_zero():
    assert str(said({"t": {"p_value": 1e-9}})[0]) == "holds, p < 0.0001"
    assert str(said({"t": {"p_value": 0.25}})[0]) == "not shown, p = 0.2500"
