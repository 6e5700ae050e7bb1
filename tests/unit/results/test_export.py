"""Strict JSON, whatever steps record."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import math
import os
import pathlib
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.hooks.tools import dump_json, to_plain
from crystallize.results.export import write_atomically


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.IntEnum):
    RED = 1


class Word(str, enum.Enum):
    RED = "red"


class Kind(enum.Enum):
    A = "a"


def strictly(text):
    def refuse(token):
        raise ValueError(f"not standard JSON: {token}")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    "value, plain",
    [
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (True, True),
        (10**30, 10**30),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int8(3), 3),
        (np.bool_(0), False),
        (np.str_("x"), "x"),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.0, math.nan]), [1.0, None]),
        (np.array(["2024-05-01"], dtype="datetime64[D]"), ["2024-05-01"]),
        (np.ma.masked_array([1, 2], mask=[True, False]), [None, 2]),
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (deque([1]), [1]),
        (OrderedDict(a=1), {"a": 1}),
        ({(1, 2): 3, None: 4, True: 5}, {"(1, 2)": 3, "None": 4, "True": 5}),
        ({1: "number", "1": "text"}, {"1 (int)": "number", "1": "text"}),
        ({1: "a", 1.5: "b"}, {"1": "a", "1.5": "b"}),
        ({3, 1, 2}, "{1, 2, 3}"),
        pytest.param(frozenset({"b", "a"}), "{'a', 'b'}", id="frozenset"),
        (1 + 2j, "(1+2j)"),
        (b"ab", "b'ab'"),
        (bytearray(b"ab"), "bytearray(b'ab')"),
        (dt.date(2024, 5, 1), "2024-05-01"),
        (dt.datetime(2024, 5, 1, 12, tzinfo=dt.timezone.utc), "2024-05-01 12:00:00+00:00"),
        (decimal.Decimal("0.10"), "0.10"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (Colour.RED, 1),
        (Word.RED, "red"),
        (Kind.A, "Kind.A"),
        (range(3), "range(0, 3)"),
    ],
    ids=str,
)
def test_every_kind_of_value_has_its_form(value, plain):
    assert to_plain(value) == plain
    assert strictly(dump_json({"metric": [value]})) == {"metric": [plain]}


@pytest.mark.parametrize(
    "value", [np.longdouble(0.5), np.clongdouble(1j), np.complex128(1j), np.void(b"abc")], ids=repr
)
def test_numbers_that_python_has_no_type_for_are_text(value):
    assert isinstance(strictly(dump_json(value)), str)


def test_text_holds_no_memory_address():
    for value in (object(), threading.Lock(), lambda: None, (number for number in range(3)), [object()]):
        assert "0x" not in dump_json(value)


def test_what_has_no_text_still_has_a_form():
    class Broken:
        def __str__(self):
            raise RuntimeError("no")

        __repr__ = __str__

    class BrokenArray:
        dtype = "odd"

        def tolist(self):
            raise RuntimeError("no")

        def __repr__(self):
            return "BrokenArray()"

    assert to_plain(Broken()) == "<Broken>"
    assert to_plain({Broken(): BrokenArray()}) == {"<Broken>": "BrokenArray()"}


def test_a_container_that_holds_itself_ends():
    loop: dict = {"a": 1}
    loop["again"] = [loop]
    assert strictly(dump_json(loop)) == {"a": 1, "again": ["<dict>"]}


def test_one_object_in_two_places_is_written_twice():
    shared = [1]
    assert to_plain([shared, shared]) == [[1], [1]]


def test_bottomless_nesting_ends():
    nested: list = []
    for _ in range(50_000):
        nested = [nested]
    strictly(dump_json(nested))


def test_integers_beyond_what_python_writes_are_hexadecimal():
    assert strictly(dump_json(1 << 20_000)) == hex(1 << 20_000)


def test_lone_surrogates_are_escaped():
    assert strictly(dump_json("\ud800")) == "\ud800"


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.datetimes()
    | st.complex_numbers()
    | st.decimals()
    | st.fractions()
    | st.floats(width=32).map(np.float32)
    | st.lists(st.floats()).map(np.array)
    | st.sampled_from([Colour.RED, Kind.A, object(), len, Ellipsis, NotImplemented]),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.sets(st.integers() | st.text())
        | st.dictionaries(st.text() | st.integers() | st.floats() | st.none() | st.tuples(st.integers()), inner)
    ),
)


@given(anything)
def test_json_is_strict_whatever_the_value(value):
    strictly(dump_json(value))


@given(anything)
def test_plain_data_stays_as_it_is(value):
    plain = to_plain(value)
    assert to_plain(plain) == plain


@given(st.dictionaries(st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False), st.integers()))
def test_no_key_of_a_mapping_is_lost(mapping):
    plain = to_plain(mapping)
    assert len(plain) == len(mapping)
    assert sorted(plain.values()) == sorted(mapping.values())


def test_numpy_is_not_imported_for_it():
    code = "import sys; from crystallize.hooks.tools import dump_json as d; d([1.5]); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------ files


def test_a_file_appears_whole_with_the_folders_on_the_way():
    write_atomically("deep/er/out.json", "text ä")
    assert pathlib.Path("deep/er/out.json").read_text(encoding="utf-8") == "text ä"
    assert [path.name for path in pathlib.Path("deep/er").iterdir()] == ["out.json"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(monkeypatch):
    write_atomically("out.json", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="space"):
        write_atomically("out.json", "new")
    assert pathlib.Path("out.json").read_text(encoding="utf-8") == "old"
    assert [path.name for path in pathlib.Path().iterdir()] == ["out.json"]


# ------------------------------------------------------------------ results


def test_a_result_is_written_with_its_four_parts(outcome, build):
    result = build([outcome("baseline", 0, {"m": [math.nan, np.float32(1)]}), outcome("t", 0, error="boom\nbang")])
    data = strictly(result.to_json())
    assert data["metrics"] == {"baseline": {"m": [None, 1.0]}, "treatments": {"t": {}}}
    assert data["hypotheses"] == []
    assert "boom\nbang" in data["errors"]["t_rep_0"]
    assert data["provenance"]["seeds"] == {"baseline": [100], "t": [100]}


def test_the_dict_of_a_result_is_what_its_json_holds(traced, build, conditions):
    result = build([traced("baseline", 1), traced("large", 0)], conditions)
    assert strictly(result.to_json(indent=None)) == result.to_dict()


def test_the_provenance_of_every_step_is_in_the_json(traced, build, conditions):
    steps = strictly(build([traced("large", 2)], conditions).to_json())["provenance"]["ctx_changes"]["large"]["2"]
    assert [step["step"] for step in steps] == ["ScaleStep", "FitStep"]
    assert steps[1]["metrics"] == {"loss": [12, 22], "score": [0.5]}


def test_json_is_written_to_a_path_and_given_back(outcome, build, tmp_path):
    result = build([outcome("baseline", 0, {"m": [1]})])
    text = result.to_json(tmp_path / "out" / "result.json")
    assert strictly((tmp_path / "out" / "result.json").read_text(encoding="utf-8")) == strictly(text)


@given(anything)
def test_a_result_is_strict_json_whatever_the_metrics(value):
    from crystallize.hooks import Cell, CellOutcome, ConditionRecord, build_result

    result = build_result(
        conditions=[ConditionRecord("baseline", {"given": value})],
        outcomes=[CellOutcome(Cell("baseline", 0), {"m": [value]})],
        replicates=1,
        facts={"fact": value},
    )
    strictly(result.to_json())
