"""What was recorded is what is loaded: value, type and all."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import pathlib
import pickle
import sys
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.errors import StoreError
from crystallize.hooks.tools import to_plain
from crystallize_plugins.artifacts import StoredText
from crystallize_plugins.artifacts.database.typed_json import DEEPEST, decode, encode

zones = st.one_of(
    st.none(),
    st.just(dt.timezone.utc),
    st.builds(dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23))),
    st.builds(dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)), st.text(max_size=5)),
)
texts = st.text(st.characters(), max_size=20)  # halves of surrogate pairs included
hashables = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-(2**200), 2**200),
        st.floats(),
        st.complex_numbers(),
        texts,
        st.binary(max_size=20),
        st.dates(),
        st.times(timezones=zones),
        st.datetimes(timezones=zones),
        st.timedeltas(),
        st.decimals(allow_nan=False),
        st.fractions(),
        st.uuids(),
        st.builds(pathlib.Path, st.sampled_from(["a", "a/b", "/x/ü", "."])),
        st.builds(pathlib.PureWindowsPath, st.sampled_from(["c:\\x", "a\\b"])),
    ),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=4)),
    max_leaves=6,
)
values = st.recursive(
    st.one_of(hashables, st.builds(bytearray, st.binary(max_size=9))),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6),
        st.lists(st.floats(), max_size=8),
        st.lists(st.integers(), max_size=8),
        st.tuples(inner, inner),
        st.dictionaries(hashables, inner, max_size=4),
        st.sets(hashables, max_size=4),
    ),
    max_leaves=12,
)


def same(left, right):
    """Whether two values are the same, their types and NaN included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return len(left) == len(right) and all(same(*pair) for pair in zip(left.items(), right.items(), strict=True))
    if isinstance(left, (set, frozenset)):
        return sorted(map(spelt, left)) == sorted(map(spelt, right))
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    # The text of a number, a moment or a path says everything; -0.0 and NaN included.
    return repr(left) == repr(right)


def spelt(value):
    """Give text that is the same for equal values, whatever order their sets have."""
    if isinstance(value, (tuple, frozenset)):
        parts = map(spelt, value) if isinstance(value, tuple) else sorted(map(spelt, value))
        return f"{type(value).__name__}({', '.join(parts)})"
    return repr(value)


@given(values)
def test_what_is_loaded_is_what_was_recorded(value):
    encoded = encode(value)
    assert not encoded.lossy
    assert same(decode(encoded.text), value)


dtypes = st.sampled_from(
    ["?", "i1", "u2", "<i4", ">i4", "i8", "f2", "f4", "<f8", ">f8", "c8", "c16", "U4", "S3", "M8[ns]", "m8[25s]", "V3"]
)


@given(
    st.binary(min_size=512, max_size=512),
    dtypes,
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from(["C", "F", "strided"]),
)
def test_arrays_come_back_with_type_shape_and_content(content, dtype, shape, order):
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    if dtype.kind == "U":
        array = np.array([chr(97 + number % 20) for number in content[:count]], dtype).reshape(shape)
    elif dtype.kind == "b":
        array = np.array([bool(number % 2) for number in content[:count]]).reshape(shape)
    else:
        array = np.frombuffer(content[: count * dtype.itemsize], dtype).reshape(shape)
    array = np.asfortranarray(array) if order == "F" and shape else array
    array = np.repeat(array, 2, axis=-1)[..., ::2] if order == "strided" and shape else array
    encoded = encode(array)
    loaded = decode(encoded.text)
    assert not encoded.lossy
    assert same(loaded, array)
    assert loaded.flags.writeable
    assert loaded.flags.f_contiguous == array.flags.f_contiguous or order == "strided"


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.1),
        np.float32(0.1),
        np.float16(0.5),
        np.longdouble("0.1"),
        np.int8(-3),
        np.uint64(2**64 - 1),
        np.True_,
        np.complex64(1 + 2j),
        np.str_("a\0\ud800"),
        np.bytes_(b"a\0"),
        np.datetime64("NaT", "s"),
        np.datetime64("2024-01-01T00:00:00", "25s"),
        np.timedelta64(3, "ns"),
        np.void(b"abc"),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8", (2,))]),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])[0],
        np.array([], dtype="U0"),
        np.zeros((0, 3)),
        np.array(5),
        float("nan"),
        -0.0,
        "\ud83d\ude00",
        2**63,
        -(2**63) - 1,
        dt.datetime(2024, 10, 27, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
        dt.timezone(dt.timedelta(hours=2), "CEST"),
        Decimal("sNaN12"),
        Decimal("1.00"),
        Fraction(-1, 3),
        uuid.UUID(int=7),
        ...,
        {1: "int", "1": "text", (1, "1"): None},
        [1.0, 2, 3.0, 4],
        [1, 2, 3, 2**64],
        [True, False, True, True],
    ],
    ids=repr,
)
def test_odd_values_come_back(value):
    encoded = encode(value)
    assert not encoded.lossy
    assert same(decode(encoded.text), value)


class Colour(enum.Enum):
    RED = 1


class Loss(float):
    pass


class Model:
    def __str__(self):
        return "a model"


class Rude:
    def __str__(self):
        raise RuntimeError("no")


class Zone(dt.tzinfo):
    def utcoffset(self, when):
        return dt.timedelta(hours=1)


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    "value, stands_for_it",
    [
        (Loss(0.5), 0.5),
        (Point(1, 2), (1, 2)),
        (OrderedDict(a=1), {"a": 1}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (deque([1, 2]), [1, 2]),
        (range(3), "range(0, 3)"),
        (Colour.RED, "Colour.RED"),
        (Model(), "a model"),
        (Rude(), "<Rude>"),
        (object, "<class 'object'>"),
        ({Colour.RED}, "{Colour.RED}"),
        ({Colour.RED: 1}, {"Colour.RED": 1}),
        ([Colour.RED, 1.5], ["Colour.RED", 1.5]),
        (dt.datetime(2024, 1, 1, tzinfo=Zone()), "2024-01-01 00:00:00+01:00"),
        (np.array([{}, 1], dtype=object), [{}, 1]),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (np.array([(1, 2)], {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0]}), [[1, 2]]),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_has_no_encoding_is_kept_as_what_stands_for_it_and_marked(value, stands_for_it):
    encoded = encode(value)
    assert encoded.lossy
    loaded = decode(encoded.text)
    assert loaded == stands_for_it
    assert to_plain(loaded) == to_plain(value)


def test_text_that_stands_for_a_value_says_so():
    loaded = decode(encode(Model()).text)
    assert isinstance(loaded, StoredText)
    assert (loaded, loaded.type_name) == ("a model", "Model")
    assert pickle.loads(pickle.dumps(loaded)).type_name == "Model"


def test_a_subclass_of_an_array_is_kept_as_an_array():
    encoded = encode(np.array([[1, 2]]).view(np.recarray))
    assert encoded.lossy
    assert type(decode(encoded.text)) is np.ndarray


def test_a_container_that_holds_itself_ends():
    endless = []
    endless += [endless, {"again": endless}]
    encoded = encode(endless)
    assert encoded.lossy
    assert decode(encoded.text) == ["<list>", {"again": "<list>"}]


def test_deep_containers_cost_their_depth_and_not_the_run():
    deep = []
    for _ in range(5000):
        deep = [deep]
    loaded = decode(encode(deep).text)
    for _ in range(DEEPEST - 1):
        (loaded,) = loaded
    assert loaded == ["<list>"]


def test_a_shared_container_is_no_cycle():
    shared = [1]
    assert not encode([shared, shared]).lossy


@given(st.text(st.sampled_from('[]{},:"$ninftrue01.-eE'), max_size=80) | st.text(max_size=80))
def test_text_from_anywhere_is_read_or_refused_and_nothing_else(text):
    with suppress(StoreError):
        decode(text)


@given(st.lists(values, min_size=1), st.data())
def test_an_encoding_that_was_cut_off_is_refused(value, data):
    encoded = encode(value).text
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    with pytest.raises(StoreError, match="damaged"):
        decode(cut)


@given(values)
def test_every_encoding_is_json_by_the_letter_of_the_standard(value):
    def refuse(token):
        raise ValueError(token)

    json.loads(encode(value).text, parse_constant=refuse)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,  # deeper than any value
        '{"$":"array","dtype":"|O","shape":[1],"order":"C","base64":"AAAAAAAAAAA="}',  # an array of objects
        '{"$":"array","dtype":"<f8","shape":[1099511627776],"order":"C","base64":""}',
        '{"$":"fraction","parts":[1,0]}',  # one divided by nothing
        '{"$":"nothing of ours"}',
        '{"$":["list"]}',
        '{"$":"tuple"}',
        "1 2",
    ],
    ids=lambda text: text[:20],
)
def test_hostile_text_is_refused(text):
    with pytest.raises(StoreError, match="damaged"):
        decode(text)


def test_reading_imports_nothing_that_the_bytes_name():
    before = set(sys.modules)
    loaded = decode(encode(Model()).text.replace("Model", "antig"))
    assert loaded.type_name == "antig"
    assert "antigravity" not in set(sys.modules) - before
