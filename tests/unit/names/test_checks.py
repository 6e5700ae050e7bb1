"""Checks of arguments: what passes, and how the rest is refused."""

from __future__ import annotations

from fractions import Fraction
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.checks import (
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_integer,
    check_mapping,
)
from crystallize.errors import ArgumentTypeError, ValidationError

NO_INTEGERS = [True, False, np.True_, 2.5, 2.0, "3", None, [1], Fraction(2), np.float64(2), 1j]


@given(st.integers())
def test_any_integer_passes_as_itself(value):
    assert check_integer(value, what="seed") == value


@given(st.integers(-(2**63), 2**63 - 1))
def test_an_integer_of_numpy_becomes_a_plain_one(value):
    checked = check_integer(np.int64(value), what="seed")
    assert checked == value
    assert type(checked) is int


@pytest.mark.parametrize("value", NO_INTEGERS, ids=repr)
@pytest.mark.parametrize("check", [check_integer, check_count])
def test_what_is_no_integer_is_a_type_error_that_names_the_argument(check, value):
    with pytest.raises(ArgumentTypeError, match="replicates must be an integer"):
        check(value, what="replicates")


@given(st.integers(), st.integers())
def test_a_count_is_refused_exactly_below_its_minimum(value, minimum):
    if value >= minimum:
        assert check_count(value, what="replicates", minimum=minimum) == value
    else:
        with pytest.raises(ValidationError, match="replicates must be at least"):
            check_count(value, what="replicates", minimum=minimum)


def test_a_count_is_one_at_least_by_default():
    assert check_count(1, what="replicates") == 1
    with pytest.raises(ValidationError, match="at least 1, not 0"):
        check_count(0, what="replicates")


def test_only_true_and_false_are_flags():
    assert [check_flag(flag, what="verbose") for flag in (True, False)] == [True, False]
    for value in (0, 1, "yes", None, np.True_):
        with pytest.raises(ArgumentTypeError, match="verbose must be True or False"):
            check_flag(value, what="verbose")


def test_a_choice_is_one_of_the_listed_and_a_near_miss_is_pointed_out():
    assert check_choice("resume", ["rerun", "resume"], what="strategy") == "resume"
    with pytest.raises(ValidationError, match=r"'rerun', 'resume', not 'resum'. Did you mean 'resume'\?"):
        check_choice("resum", ["rerun", "resume"], what="strategy")
    with pytest.raises(ArgumentTypeError, match="strategy must be one of"):
        check_choice(3, ["rerun", "resume"], what="strategy")


def test_only_what_can_be_called_is_callable():
    assert check_callable(len, what="verifier") is len
    with pytest.raises(ArgumentTypeError, match=r"verifier must be callable, not 'mean' \(str\)"):
        check_callable("mean", what="verifier")


def test_a_mapping_needs_text_for_keys_unless_told_otherwise():
    mapping = MappingProxyType({"a": 1})
    assert check_mapping(mapping, what="initial_ctx") is mapping
    assert check_mapping({1: 2}, what="table", text_keys=False) == {1: 2}
    with pytest.raises(ArgumentTypeError, match="the keys of initial_ctx must be text, not 1"):
        check_mapping({1: 2}, what="initial_ctx")
    with pytest.raises(ArgumentTypeError, match="initial_ctx must be a mapping"):
        check_mapping([("a", 1)], what="initial_ctx")


def test_a_refusal_does_not_print_a_huge_value():
    with pytest.raises(ArgumentTypeError) as caught:
        check_count(list(range(100_000)), what="replicates")
    assert len(str(caught.value)) < 200
