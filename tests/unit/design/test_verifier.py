"""Verifiers with parameters of their own."""

from __future__ import annotations

import functools
import inspect
import pickle

import cloudpickle
import pytest

from crystallize.design import Hypothesis, verifier


@verifier
def level(baseline, treatment, *, alpha=0.05, sides=2):
    """Compare something."""
    return {"p_value": alpha, "sides": sides, "metrics": sorted(baseline)}


def test_calling_the_factory_sets_parameters_and_keeps_the_other_defaults():
    strict = level(alpha=0.01)
    assert strict({"a": []}, {}) == {"p_value": 0.01, "sides": 2, "metrics": ["a"]}
    assert strict.params == {"alpha": 0.01, "sides": 2}


def test_factories_do_not_share_parameters():
    level(alpha=0.5)
    assert level()({}, {})["p_value"] == 0.05


def test_a_factory_that_was_not_called_works_with_its_defaults():
    assert Hypothesis(level, "a").verify({"a": []}, {"a": []})["p_value"] == 0.05


def test_an_unknown_parameter_is_named_with_those_that_exist():
    with pytest.raises(TypeError, match=r"level\(\).*'alhpa'.*alpha, sides"):
        level(alhpa=0.1)


def test_the_samples_are_no_parameters():
    with pytest.raises(TypeError, match="baseline"):
        level(baseline={})


def test_parameters_are_given_by_keyword():
    with pytest.raises(TypeError):
        level(0.01)


def test_a_parameter_without_default_must_be_given():
    @verifier
    def margin(baseline, treatment, *, at_least):
        return {"at_least": at_least}

    assert margin(at_least=3)({}, {}) == {"at_least": 3}
    with pytest.raises(TypeError, match=r"margin\(\) needs at_least"):
        margin()
    with pytest.raises(TypeError, match=r"margin\(\) needs at_least"):
        Hypothesis(margin)


def test_parameters_may_be_positional_ones_too():
    @verifier
    def scaled(a, b, factor=2):
        return {"factor": factor}

    assert scaled(factor=3)({}, {}) == {"factor": 3}


def test_open_keywords_take_anything():
    @verifier
    def loose(baseline, treatment, **options):
        return options

    assert loose(x=1)({}, {}) == {"x": 1}
    assert loose()({}, {}) == {}


def test_the_factory_looks_like_the_function():
    assert level.__name__ == "level"
    assert level.__doc__ == "Compare something."
    assert level().__name__ == "level"


def test_the_signature_of_a_factory_is_how_it_is_called():
    @verifier
    def loose(a, b, /, factor=2, *rest, alpha=0.05, **options):
        return {}

    assert str(inspect.signature(level)) == "(*, alpha=0.05, sides=2)"
    assert str(inspect.signature(loose)) == "(*, factor=2, alpha=0.05, **options)"


def test_a_verifier_shows_its_parameters():
    assert repr(level(alpha=0.01)) == "level(alpha=0.01, sides=2)"


async def later(baseline, treatment):
    return {}


@pytest.mark.parametrize("fn", [5, lambda: None, lambda baseline: {}, lambda *, baseline, treatment: {}, later])
def test_functions_that_cannot_compare_are_refused(fn):
    with pytest.raises(TypeError, match="@verifier"):
        verifier(fn)


def test_a_partial_of_a_function_is_a_verifier_without_ceremony():
    def compare(margin, baseline, treatment):
        return {"margin": margin}

    assert Hypothesis(functools.partial(compare, 3)).verify({}, {}) == {"margin": 3}


def test_an_object_that_can_be_called_may_have_parameters():
    class Compare:
        def __call__(self, baseline, treatment, *, margin=1):
            return {"margin": margin}

    factory = verifier(Compare())
    assert factory(margin=2)({}, {}) == {"margin": 2}
    assert repr(factory(margin=2)) == "Compare(margin=2)"


def test_a_function_whose_parameters_nobody_can_see_is_refused():
    with pytest.raises(TypeError, match=r"@verifier.*parameters"):
        verifier(dict.update)


def test_verifiers_travel_by_cloudpickle():
    factor = 3

    @verifier
    def local(baseline, treatment, *, alpha=0.05):
        return {"p_value": alpha * factor}

    assert pickle.loads(cloudpickle.dumps(local(alpha=1)))({}, {}) == {"p_value": 3}
    assert pickle.loads(cloudpickle.dumps(local))(alpha=2)({}, {}) == {"p_value": 6}


def test_a_factory_that_is_called_as_the_verifier_says_how_it_is_done():
    @verifier
    def higher(baseline, treatment, *, margin=0.0):
        return {"accepted": True}

    with pytest.raises(TypeError, match=r"parameters by name only \(margin\); higher\(\)\(baseline, treatment\) comp"):
        higher({"m": [1]}, {"m": [2]})
