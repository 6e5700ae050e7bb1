"""`FrozenContext`: written once, never changed from outside."""

from __future__ import annotations

import logging
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import FrozenContext, standalone_context
from crystallize.errors import (
    ArgumentTypeError,
    ContextMutationError,
    CrystallizeError,
    MissingKeyError,
    ValidationError,
)

keys = st.text(min_size=1).filter(lambda key: key != "step_name")


def test_a_key_is_written_once_by_add_and_by_assignment():
    ctx = FrozenContext({"lr": 1})
    ctx.add("depth", 2)
    ctx["width"] = 3
    for key in ("lr", "depth", "width"):
        with pytest.raises(ContextMutationError, match=repr(key)):
            ctx.add(key, 9)
        with pytest.raises(TypeError, match=repr(key)):
            ctx[key] = 9
    assert (ctx["lr"], ctx["depth"], ctx["width"]) == (1, 2, 3)


@given(st.dictionaries(keys, st.integers()), st.lists(st.tuples(keys, st.integers())))
def test_what_was_written_first_stays_whatever_is_tried_later(initial, attempts):
    ctx, expected = FrozenContext(initial), dict(initial)
    for key, value in attempts:
        if key in expected:
            with pytest.raises(ContextMutationError):
                ctx.add(key, value)
        else:
            ctx.add(key, value)
            expected[key] = value
    assert dict(ctx.as_dict()) == expected
    assert list(ctx) == list(expected)
    assert len(ctx) == len(expected)


def test_a_refused_write_leaves_the_old_value_also_where_that_is_none():
    ctx = FrozenContext({"nothing": None})
    with pytest.raises(ContextMutationError):
        ctx.add("nothing", 1)
    assert ctx["nothing"] is None
    assert "nothing" in ctx


def test_membership_answers_with_a_bool():
    ctx = FrozenContext({"a": None})
    assert ("a" in ctx) is True
    assert ("b" in ctx) is False
    assert (0 in ctx) is False


def test_get_gives_the_default_itself_and_writes_nothing():
    ctx, default = FrozenContext(), object()
    assert ctx.get("absent") is None
    assert ctx.get("absent", default) is default
    assert "absent" not in ctx
    assert len(ctx) == 0


def test_an_absent_key_is_a_key_error_that_lists_what_is_there():
    with pytest.raises(MissingKeyError, match=r"no key 'rat'; its keys: 'depth', 'rate'") as caught:
        FrozenContext({"rate": 1, "depth": 2})["rat"]
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, CrystallizeError)


def test_the_message_about_an_absent_key_stays_short_in_a_large_context():
    with pytest.raises(KeyError, match=r"10000 in all") as caught:
        FrozenContext({f"key_{number}": number for number in range(10_000)})["absent"]
    assert len(str(caught.value)) < 2000


def test_no_key_can_be_deleted():
    ctx = FrozenContext({"a": 1})
    with pytest.raises(ContextMutationError, match="context key 'a' cannot be deleted"):
        del ctx["a"]
    assert ctx["a"] == 1


def test_it_is_gone_through_as_a_mapping_is():
    ctx = FrozenContext({"a": [1]})
    ctx.add("b", 2)
    assert dict(ctx) == dict(**ctx) == {"a": [1], "b": 2}
    assert list(ctx.keys()) == ["a", "b"]
    assert list(ctx.values()) == [[1], 2]
    assert dict(ctx.items()) == {"a": [1], "b": 2}
    assert ctx.keys() | {"c"} == {"a", "b", "c"}
    next(iter(ctx.values())).append(3)
    assert ctx["a"] == [1]


def test_what_the_caller_does_to_the_initial_values_changes_nothing():
    start = {"grid": [1], "deep": {"inner": {1}}, "pair": ([1], 2)}
    ctx = FrozenContext(start)
    start["grid"].append(2)
    start["deep"]["inner"].add(3)
    start["pair"][0].append(4)
    start["new"] = 5
    assert dict(ctx.as_dict()) == {"grid": [1], "deep": {"inner": {1}}, "pair": ([1], 2)}


def test_what_the_caller_does_to_an_added_value_changes_nothing():
    ctx, mine = FrozenContext(), {"layers": [1]}
    ctx.add("by_add", mine)
    ctx["by_assignment"] = mine
    mine["layers"].append(2)
    assert ctx["by_add"] == ctx["by_assignment"] == {"layers": [1]}


@pytest.mark.parametrize(
    "read", [lambda ctx: ctx["grid"], lambda ctx: ctx.get("grid"), lambda ctx: ctx.as_dict()["grid"]]
)
def test_what_a_step_does_to_a_value_it_read_changes_nothing(read):
    ctx = FrozenContext({"grid": [[1]]})
    read(ctx).append(2)
    read(ctx)[0].append(3)
    assert read(ctx) == [[1]]


def test_other_objects_go_by_reference():
    class Client:
        pass

    client = Client()
    ctx = FrozenContext({"client": client})
    ctx.add("again", client)
    assert ctx["client"] is ctx.get("again") is client


def test_what_cannot_be_copied_is_no_obstacle():
    import threading

    lock, numbers = threading.Lock(), (n for n in range(2))
    ctx = FrozenContext({"lock": lock, "tools": {"numbers": numbers, "fn": print}})
    assert ctx["lock"] is lock
    assert ctx["tools"]["numbers"] is numbers


def test_as_dict_is_read_only():
    view = FrozenContext({"a": 1}).as_dict()
    assert isinstance(view, MappingProxyType)
    with pytest.raises(TypeError):
        view["b"] = 2


@pytest.mark.parametrize("key", [1, None, ("a",), b"a"])
def test_a_key_that_is_no_text_is_refused(key):
    with pytest.raises(ArgumentTypeError, match="must be text"):
        FrozenContext({key: 1})
    with pytest.raises(ArgumentTypeError, match="must be text"):
        FrozenContext().add(key, 1)


def test_an_empty_key_is_refused():
    with pytest.raises(ValidationError, match="must not be empty"):
        FrozenContext({"": 1})
    with pytest.raises(ValidationError, match="must not be empty"):
        FrozenContext().add("", 1)


@pytest.mark.parametrize("initial", [5, "text", [("a", 1)]])
def test_an_initial_value_that_is_no_mapping_is_refused(initial):
    with pytest.raises(ArgumentTypeError, match="must be a mapping"):
        FrozenContext(initial)


def test_the_step_name_is_not_for_writing():
    with pytest.raises(ContextMutationError, match="reserved"):
        FrozenContext().add("step_name", "mine")


def test_the_logger_is_the_one_given_else_that_of_the_project():
    mine = logging.getLogger("mine")
    assert FrozenContext({}, mine).logger is mine
    assert standalone_context({}, logger=mine).logger is mine
    assert FrozenContext().logger is logging.getLogger("crystallize")


def test_a_standalone_context_has_all_that_a_step_uses():
    ctx = standalone_context({"factor": 3})
    ctx.record("loss", 0.5)
    ctx.metrics.add("loss", 0.25)
    ctx.artifacts.add("notes.txt", "hello")
    ctx.emit("half_way", done=0.5)
    ctx.report("loss", 0.25, 1)
    ctx.logger.debug("fine")
    assert ctx["factor"] == 3
    assert ctx.metrics["loss"] == (0.5, 0.25)


def test_the_documented_import_path_leads_to_the_same_class():
    from crystallize.utils.context import FrozenContext as Documented

    assert Documented is FrozenContext


def test_its_text_names_the_keys_and_no_values():
    text = repr(FrozenContext({"api_key": "sk-123", "lr": 1}))
    assert "api_key" in text
    assert "sk-123" not in text


@pytest.mark.parametrize("name", ["", 5, None])
def test_an_event_without_a_name_is_refused(name):
    with pytest.raises(CrystallizeError, match="name of an event"):
        standalone_context().emit(name)
