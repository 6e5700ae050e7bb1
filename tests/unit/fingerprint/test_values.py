"""`value_of`: equal content is one identity, and anything else another."""

from __future__ import annotations

import argparse
import collections
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import logging
import multiprocessing
import pathlib
import pickle
import queue
import re
import sqlite3
import threading
import types
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import ArgumentTypeError
from crystallize.fingerprint import code_of, combine, content_of, identify, value_of

atoms = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.binary(max_size=5)
)
keys = st.text(max_size=3) | st.integers(0, 3) | st.booleans() | st.tuples(st.integers(0, 2), st.text(max_size=1))
values = st.recursive(
    atoms | st.frozensets(st.text(max_size=3) | st.integers(0, 5), max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(st.text(max_size=3), max_size=4)
    ),
    max_leaves=20,
)


def canonical(value):
    """Give a text that is the same for values that a user takes for the same, types told apart."""
    if isinstance(value, dict):
        return "{" + ",".join(sorted(f"{canonical(k)}:{canonical(v)}" for k, v in value.items())) + "}"
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}<" + ",".join(sorted(map(canonical, value))) + ">"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}(" + ",".join(map(canonical, value)) + ")"
    return f"{type(value).__name__} {value!r}"


def turned_around(value):
    """Rebuild a value with every dict and set filled in the opposite order."""
    if isinstance(value, dict):
        return {turned_around(k): turned_around(v) for k, v in reversed(value.items())}
    if isinstance(value, (set, frozenset)):
        return type(value)(reversed(list(value)))
    if isinstance(value, (list, tuple)):
        return type(value)(map(turned_around, value))
    return value


@given(values, values)
def test_two_values_share_an_identity_exactly_if_they_are_the_same(left, right):
    assert (value_of(left) == value_of(right)) == (canonical(left) == canonical(right))


@given(values)
def test_copies_pickles_and_other_orders_of_filling_keep_the_identity(value):
    identity = value_of(value)
    assert value_of(copy.deepcopy(value)) == identity
    assert value_of(pickle.loads(pickle.dumps(value))) == identity
    assert value_of(turned_around(value)) == identity


@given(values)
def test_an_identity_is_sixty_four_hexadecimal_digits(value):
    assert re.fullmatch("[0-9a-f]{64}", value_of(value))


@given(st.lists(st.integers(), min_size=50, max_size=90), st.integers(0, 49))
def test_one_item_of_a_long_list_is_seen(items, at):
    changed = [*items[:at], items[at] + 1, *items[at + 1 :]]
    assert value_of(items) == value_of(list(items)) != value_of(changed)
    assert value_of(items) != value_of(tuple(items))


def test_numbers_of_different_types_differ():
    assert len({value_of(v) for v in (1, 1.0, True, "1", b"1", 1 + 0j, decimal.Decimal(1), fractions.Fraction(1))}) == 8
    assert value_of(0.0) != value_of(-0.0)
    assert value_of(float("nan")) == value_of(float("nan"))
    assert value_of(10**5000) != value_of(10**5000 + 1)


def test_whether_a_value_is_shared_makes_no_difference():
    shared = [object, 1]
    assert value_of([shared, shared]) == value_of([[object, 1], [object, 1]])


def test_long_texts_count_by_content():
    assert value_of("a" * 10_000) == value_of("a" * 10_000) != value_of("a" * 9_999 + "b")
    assert value_of("a" * 10_000) != value_of(b"a" * 10_000)
    assert value_of("\ud800" * 10_000) != value_of("\ud801" * 10_000)


def test_depth_and_circles_have_no_limit():
    deep = []
    for _ in range(50_000):
        deep = [deep]
    assert value_of(deep) != value_of([deep])
    circle = [1, object]
    circle.append(circle)
    other = [2, object]
    other.append(other)
    assert value_of(circle) == value_of(copy.deepcopy(circle)) != value_of(other)


def test_a_set_of_functions_in_a_circle_has_one_identity_whatever_its_order(project):
    text = "def f(n):\n    return n and g(n - 1)\ndef g(n):\n    return n and f(n - 2)\n"
    identities = set()
    for _ in range(4):
        module = project(steps=text)
        identities |= {value_of({module.f, module.g}), value_of({module.g, module.f})}
    assert len(identities) == 1


# -- objects ------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Settings:
    rate: float
    layers: list = dataclasses.field(default_factory=list)

    @functools.cached_property
    def total(self):
        return sum(self.layers)


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a


class Guarded:
    def __init__(self, rate):
        self.rate = rate
        self.guard = threading.Lock()


class Refuses:
    def __init__(self, rate):
        self.rate = rate

    def __reduce_ex__(self, protocol):
        raise TypeError("never")


class Says:
    def __init__(self, rate, noise):
        self.rate, self.noise = rate, noise

    def __fingerprint__(self):
        return {"rate": self.rate}


class Color(enum.Enum):
    RED = 1
    BLUE = 2


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - the class that it makes is what is tested


@pytest.mark.parametrize(
    "make",
    [
        Settings,
        lambda n: Settings(0.1, [n]),
        Slotted,
        Guarded,
        Refuses,
        lambda n: Says(n, object()),
        lambda n: Point(n, 2),
        lambda n: types.SimpleNamespace(a=n),
        lambda n: collections.OrderedDict([("a", n)]),
        lambda n: collections.defaultdict(list, {"a": n}),
        lambda n: collections.Counter({"a": n}),
        lambda n: collections.deque([n]),
        lambda n: collections.deque(maxlen=n),
        lambda n: dt.date(2020, 1, n),
        dt.timedelta,
        decimal.Decimal,
        lambda n: fractions.Fraction(n, 7),
        lambda n: uuid.UUID(int=n),
        lambda n: pathlib.PurePosixPath(str(n)),
        lambda n: re.compile(str(n)),
        range,
        slice,
        lambda n: bytearray([n]),
        lambda n: memoryview(bytes([n])),
        lambda n: types.MappingProxyType({"a": n}),
        lambda n: {"a": n}.items(),
        lambda n: list(Color)[n - 1],
        lambda n: functools.partial(int, base=n),
        ValueError,
        lambda n: iter([n]),
        lambda n: logging.getLogger(str(n)),
        lambda n: [None, int, str][n],
        lambda n: list[[None, int, str][n]],
    ],
)
def test_objects_are_known_by_class_and_content(make):
    assert value_of(make(1)) == value_of(make(1)) != value_of(make(2))


def test_objects_of_different_classes_differ_whatever_they_hold():
    left = type("Left", (), {})()
    right = type("Left", (), {"extra": 1})()
    assert value_of(left) != value_of(right)
    assert value_of(collections.OrderedDict(a=1)) != value_of({"a": 1})
    assert value_of(Point(1, 2)) != value_of((1, 2))
    assert value_of(Color.RED) != value_of(1)


def test_a_class_is_known_by_everything_that_its_body_made():
    def make(**body):
        return type("Made", (), body)

    assert value_of(make(a=1)) == value_of(make(a=1)) != value_of(make(a=2))
    assert value_of(make(a=property(len))) != value_of(make(a=property(max)))
    assert value_of(make(a=classmethod(len))) != value_of(make(a=staticmethod(len)))
    assert value_of(make(__annotations__={"x": int})) != value_of(make(__annotations__={"x": float}))


def test_what_is_computed_on_demand_makes_no_difference():
    settings = Settings(0.1, [1, 2])
    before = value_of(settings)
    assert settings.total == 3
    assert value_of(settings) == before


def test_an_object_says_itself_what_it_is_if_it_wants_to():
    assert value_of(Says(1, noise=1)) == value_of(Says(1, noise=2)) != value_of(Says(2, noise=1))


# -- what has no content ------------------------------------------------------------------------------


def test_what_has_no_content_is_known_by_its_type_and_named():
    assert value_of(threading.Lock()) == value_of(threading.Lock()) != value_of(threading.RLock())
    assert identify({"state": threading.local()}).untracked == ("dict: _thread._local",)
    assert identify([1, "a", {2: (3,)}]).untracked == ()
    generators = [(x for x in "ab") for _ in range(2)]
    assert len({value_of(generator) for generator in generators}) == 1
    assert list(generators[0]) == ["a", "b"]


def test_the_rest_of_an_object_of_the_project_counts_beside_what_has_no_content():
    assert value_of(Guarded(1)) == value_of(Guarded(1)) != value_of(Guarded(2))
    (where,) = identify(Guarded(threading.local())).untracked
    assert where.endswith("Guarded: _thread._local")


def test_no_result_depends_on_which_lock_or_logger_it_gets():
    harmless = [
        threading.Lock(), threading.RLock(), threading.Condition(), threading.Event(), threading.Semaphore(),
        threading.BoundedSemaphore(), threading.Barrier(2), multiprocessing.Lock(), multiprocessing.Event(),
        logging.getLogger("a"), logging.StreamHandler(), logging.LoggerAdapter(logging.getLogger("a"), {}),
    ]  # fmt: skip
    assert [identify([each]).untracked for each in harmless] == [()] * len(harmless)


def test_a_librarys_live_object_is_known_by_what_it_was_made_with():
    with sqlite3.connect(":memory:") as one, sqlite3.connect(":memory:") as two:
        assert value_of(one) == value_of(two)
    one.close()
    two.close()
    used, fresh = queue.Queue(), queue.Queue()
    used.put(1)
    assert value_of(fresh) != value_of(queue.Queue(3))
    assert value_of(used) != value_of(fresh)
    assert identify([used]).untracked == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda n: functools.partial(int, threading.Lock(), n),
        lambda n: types.SimpleNamespace(guard=threading.Lock(), rate=n),
        lambda n: argparse.Namespace(guard=threading.Lock(), rate=n),
        lambda n: collections.deque([threading.Lock(), n]),
        lambda n: collections.defaultdict(threading.Lock, {1: threading.Lock(), 2: n}),
        lambda n: collections.UserDict(guard=threading.Lock(), rate=n),
        lambda n: ValueError(threading.Lock(), n),
    ],
)
def test_what_people_put_beside_it_into_a_container_of_a_library_counts(make):
    assert value_of(make(1)) == value_of(make(1)) != value_of(make(2))


def test_a_module_made_by_hand_is_known_by_what_is_in_it():
    def make(n):
        module = types.ModuleType("made_by_hand")
        module.rate = n
        return module

    assert value_of(make(1)) == value_of(make(1)) != value_of(make(2))


def test_looking_at_a_value_leaves_it_as_it_is():
    iterator = iter([1, 2, 3])
    queue = collections.deque([1, 2])
    value_of([iterator, queue])
    assert (list(iterator), list(queue)) == ([1, 2, 3], [1, 2])


# -- putting together ---------------------------------------------------------------------------------


@given(st.lists(st.text()), st.lists(st.text()))
def test_combined_identities_are_equal_exactly_if_their_parts_are(left, right):
    assert (combine(*left) == combine(*right)) == (left == right)


def test_files_and_folders_are_known_by_content(tmp_path):
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("same")
    second.write_text("same")
    assert content_of(first) == content_of(str(second))
    second.write_text("other")
    assert content_of(first) != content_of(second)

    left, right = tmp_path / "left", tmp_path / "right"
    for folder in (left, right):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "x").write_text("1")
    assert content_of(left) == content_of(right)
    (right / "deep" / "x").rename(right / "deep" / "y")
    assert content_of(left) != content_of(right)
    empty = tmp_path / "empty"
    empty.touch()
    assert len({content_of(path) for path in (tmp_path / "absent", empty, left, first)}) == 4


def test_a_value_that_cannot_be_called_is_no_code():
    with pytest.raises(ArgumentTypeError):
        code_of(Settings(1))
