"""Isolation: a copy that shares no container, keeps its shape, and leaves other objects alone."""

from __future__ import annotations

from collections import Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.context import isolate
from crystallize.context.isolation import is_constant
from crystallize.errors import ValidationError

MUTABLE = (list, dict, set, bytearray, deque)

scalars = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats(allow_nan=False)
nested = st.recursive(
    scalars | st.builds(bytearray, st.binary()) | st.sets(st.integers()) | st.frozensets(st.text()),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(scalars, inner)
        | st.builds(OrderedDict, st.lists(st.tuples(st.text(), inner)))
        | st.builds(deque, st.lists(inner), st.just(8))
    ),
    max_leaves=20,
)


class Point(NamedTuple):
    x: object
    y: object


def containers(value, found=None):
    """Every container that can be changed, at any depth, by identity."""
    found = {} if found is None else found
    if isinstance(value, MUTABLE):
        if id(value) in found:
            return found
        found[id(value)] = value
    if isinstance(value, dict):
        for item in value.values():
            containers(item, found)
    elif isinstance(value, (list, tuple, deque)):
        for item in value:
            containers(item, found)
    return found


@given(nested)
def test_the_copy_is_equal_and_of_the_same_types(value):
    copied = isolate(value)
    assert copied == value
    assert type(copied) is type(value)
    assert [type(found) for found in containers(copied).values()] == [type(f) for f in containers(value).values()]


@given(nested)
def test_the_copy_shares_no_container_that_can_be_changed(value):
    assert containers(value).keys().isdisjoint(containers(isolate(value)))


@given(nested)
def test_isolating_twice_gives_the_same_as_once(value):
    assert isolate(isolate(value)) == isolate(value)


@given(nested, st.lists(st.integers(0, 3), max_size=6))
def test_aliases_stay_aliases(value, places):
    shared = [value, [value]]
    whole = [shared if place else [shared] for place in places]
    copied = isolate(whole)
    inner = [item if place else item[0] for place, item in zip(places, copied, strict=True)]
    assert len({id(item) for item in inner}) <= 1
    assert all(item is not shared for item in inner)


def test_cycles_are_kept():
    loop = [1]
    loop.append(loop)
    copied = isolate(loop)
    assert copied[1] is copied
    table = {"name": "a"}
    table["self"] = table
    copied = isolate(table)
    assert copied["self"] is copied
    assert copied is not table


def test_cycles_through_tuples_and_records_are_kept():
    inside = []
    pair = (inside, 1)
    inside.append(pair)
    copied = isolate(pair)
    assert copied[0][0] is copied
    assert copied[0] is not inside
    inside = []
    record = Point(inside, 1)
    inside.append(record)
    copied = isolate(record)
    assert copied.x[0] is copied


def test_one_record_in_two_places_stays_one():
    record = Point([1], 2)
    first, second = isolate([record, record])
    assert first is second
    assert first == record
    assert first.x is not record.x


def test_the_containers_of_collections_keep_what_makes_them():
    ordered = isolate(OrderedDict([("b", [1]), ("a", 2)]))
    assert list(ordered) == ["b", "a"]
    table = isolate(defaultdict(list, {"a": [1]}))
    table["new"].append(1)
    assert table == {"a": [1], "new": [1]}
    assert isolate(deque([1, 2], maxlen=2)).maxlen == 2
    assert isolate(Counter("aab")) == Counter("aab")


def test_a_record_keeps_its_class():
    OldStyle = namedtuple("OldStyle", "grid")  # noqa: PYI024 - users have these too
    given_one, copied = OldStyle([1]), isolate(OldStyle([1]))
    assert type(copied) is OldStyle
    copied.grid.append(2)
    assert given_one.grid == [1]


@pytest.mark.parametrize("value", [print, lambda: 1, object(), UserDict(a=1), frozenset({1}), type, 3 + 1j, ...])
def test_anything_else_is_given_back_as_it_is(value):
    assert isolate(value) is value


def test_subclasses_of_containers_go_by_reference():
    class Config(dict):
        pass

    class Path(list):
        pass

    for value in (Config(a=[1]), Path([1])):
        assert isolate(value) is value
        assert isolate([value])[0] is value


def test_a_tuple_of_constants_costs_no_copy():
    value = (1, "a", None, (2, 3))
    assert isolate(value[3]) is value[3]
    assert isolate(value) == value


def test_containers_as_keys_are_left_alone():
    class Key:
        pass

    key = Key()
    assert next(iter(isolate({key: [1]}))) is key
    assert isolate({(1, 2): "a", frozenset({3}): "b"}) == {(1, 2): "a", frozenset({3}): "b"}


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: {"in": x}, lambda x: (x,), lambda x: Point(x, 0)])
def test_what_is_nested_too_deeply_is_refused_with_a_way_out(wrap):
    value = []
    for _ in range(100_000):
        value = wrap(value)
    with pytest.raises(ValidationError, match="object of a class of your own"):
        isolate(value)
    while isinstance(value, (list, tuple, dict)) and value:
        # Taken apart here: to free it in one go would exhaust the C stack of older interpreters.
        value = value["in"] if isinstance(value, dict) else value[0]


def test_a_hundred_levels_are_no_problem():
    value = leaf = [1]
    for _ in range(100):
        value = {"in": [value]}
    copied = isolate(value)
    for _ in range(100):
        copied = copied["in"][0]
    assert copied == leaf
    assert copied is not leaf


@pytest.mark.parametrize("value", [1, "a", None, frozenset({1}), print, object()])
def test_constants_may_be_handed_out_again_and_again(value):
    assert is_constant(value)


@pytest.mark.parametrize("value", [[], {}, set(), (1,), bytearray(), deque(), Point(1, 2)])
def test_containers_may_not(value):
    assert not is_constant(value)
