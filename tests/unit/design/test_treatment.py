"""Treatments: what one condition changes."""

from __future__ import annotations

import pickle

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.context import RESERVED_KEYS, standalone_context
from crystallize.design import Treatment, treatment
from crystallize.errors import ContextMutationError, CrystallizeError, ValidationError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
keys = st.text(min_size=1).filter(lambda key: key not in RESERVED_KEYS)


def add_rate(ctx):
    ctx.add("rate", 0.5)


def test_a_mapping_is_what_the_condition_adds():
    fast = Treatment("fast", {"rate": 0.5})
    assert fast.name == "fast"
    assert dict(fast.apply_map) == {"rate": 0.5}
    assert dict(fast.applied) == {"rate": 0.5}
    assert not fast.is_callable


def test_published_examples_can_print_what_a_treatment_sets():
    assert Treatment("fast", {"rate": 0.5})._apply_value == {"rate": 0.5}


def test_a_function_of_the_context_is_kept_as_it_is():
    fast = Treatment("fast", add_rate)
    assert fast.applied is add_rate
    assert fast.is_callable
    assert dict(fast.apply_map) == {}


def test_an_empty_mapping_changes_nothing_and_is_fine():
    assert dict(Treatment("same", {}).apply_map) == {}


@given(st.dictionaries(keys, values))
def test_what_the_caller_does_to_its_mapping_afterwards_changes_nothing(mapping):
    before = pickle.loads(pickle.dumps(mapping))
    kept = Treatment("t", mapping)
    for value in mapping.values():
        if isinstance(value, list):
            value.append("more")
        elif isinstance(value, dict):
            value["more"] = "more"
    mapping["more"] = "more"
    assert dict(kept.apply_map) == before


def test_what_is_read_from_the_treatment_cannot_change_it():
    kept = Treatment("t", {"grid": [1]})
    kept.apply_map["grid"].append(2)
    with pytest.raises(TypeError):
        kept.apply_map["grid"] = []
    assert dict(kept.apply_map) == {"grid": [1]}


def test_the_name_cannot_be_changed_after_it_was_checked():
    kept = Treatment("t", {})
    with pytest.raises(AttributeError):
        kept.name = "../elsewhere"


def test_arrays_are_fine_as_values():
    weights = np.arange(4)
    assert Treatment("t", {"weights": weights}).apply_map["weights"].sum() == 6


@pytest.mark.parametrize("apply", [5, None, "rate", [("rate", 1)], Treatment("inner", {})], ids=repr)
def test_what_is_neither_mapping_nor_function_is_refused(apply):
    with pytest.raises(TypeError, match=r"'t'.*mapping.*function") as caught:
        Treatment("t", apply)
    assert isinstance(caught.value, CrystallizeError)


def test_a_function_that_does_not_take_the_context_is_refused():
    with pytest.raises(TypeError, match=r"'t'.*ctx"):
        Treatment("t", lambda: None)
    with pytest.raises(TypeError, match=r"'t'.*ctx"):
        Treatment("t", lambda ctx, more: None)


def test_an_async_function_is_refused():
    async def later(ctx):
        ctx.add("rate", 1)

    with pytest.raises(TypeError, match=r"'t'.*async"):
        Treatment("t", later)


def test_a_callable_whose_signature_nobody_knows_is_taken():
    assert Treatment("t", dict.update).is_callable


@pytest.mark.parametrize("key", [1, None, ("a", "b"), b"rate"], ids=repr)
def test_keys_that_are_no_text_are_refused(key):
    with pytest.raises(TypeError, match=r"'t'.*text"):
        Treatment("t", {key: 1})


@pytest.mark.parametrize("key", sorted(RESERVED_KEYS))
def test_reserved_context_keys_are_refused(key):
    with pytest.raises(ValueError, match=key) as caught:
        Treatment("t", {key: 1})
    assert isinstance(caught.value, CrystallizeError)


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "..", ".", "a\nb", "a\0b", "x" * 300])
def test_names_that_cannot_be_folders_are_refused(name):
    with pytest.raises(ValueError, match="treatment"):
        Treatment(name, {})
    with pytest.raises(ValueError, match="treatment"):
        treatment(name)


@pytest.mark.parametrize("name", [None, 3, True, b"t"], ids=repr)
def test_names_that_are_no_text_are_refused(name):
    with pytest.raises(TypeError, match="treatment"):
        Treatment(name, {})


def test_treatment_of_a_mapping_gives_a_treatment_that_calls_itself():
    slow = treatment("slow", {"rate": 0.1})
    assert isinstance(slow, Treatment)
    assert slow() is slow


def test_treatment_as_a_decorator_gives_one_too():
    @treatment("grown")
    def grow(ctx):
        ctx.add("width", 8)

    assert isinstance(grow(), Treatment)
    assert grow.name == grow().name == "grown"
    ctx = standalone_context()
    grow().applied(ctx)
    assert ctx["width"] == 8


def test_treatment_with_none_is_a_mistake_and_no_decorator():
    with pytest.raises(TypeError, match="'t'"):
        treatment("t", None)


def test_treatments_travel_by_pickle():
    back = pickle.loads(pickle.dumps(Treatment("t", {"a": [1, {"b": 2}]})))
    assert back.name == "t"
    assert dict(back.apply_map) == {"a": [1, {"b": 2}]}
    assert pickle.loads(pickle.dumps(Treatment("t", dict.update))).is_callable


def test_treatments_of_local_lambdas_travel_by_cloudpickle():
    rate = 0.25
    back = pickle.loads(cloudpickle.dumps(Treatment("t", lambda ctx: ctx.add("rate", rate))))
    ctx = standalone_context()
    back.applied(ctx)
    assert ctx["rate"] == 0.25


def test_the_text_of_a_treatment_names_it_and_shows_no_values():
    assert repr(Treatment("t", {"token": "hunter2"})) == "Treatment('t', keys=['token'])"
    assert repr(Treatment("t", add_rate)) == "Treatment('t', add_rate)"


@pytest.mark.parametrize("change", [{"rate": 0.5}, add_rate], ids=["mapping", "function"])
def test_it_can_be_applied_to_a_context_of_ones_own(change):
    ctx = standalone_context({"depth": 2})
    Treatment("fast", change).apply(ctx)
    assert dict(ctx) == {"depth": 2, "rate": 0.5}
    with pytest.raises(ContextMutationError, match="'rate'"):
        Treatment("fast", change).apply(ctx)


def test_what_it_applies_is_isolated():
    layers = Treatment("deep", {"layers": [1]})
    ctx = standalone_context()
    layers.apply(ctx)
    ctx["layers"].append(2)
    assert dict(layers.apply_map) == {"layers": [1]}
    assert ctx["layers"] == [1]


def test_a_key_that_is_empty_is_refused():
    with pytest.raises(ValidationError, match="treatment 'odd': a key of its mapping is an empty text"):
        Treatment("odd", {"": 1})
