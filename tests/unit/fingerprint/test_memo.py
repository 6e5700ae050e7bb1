"""What was found out about code is remembered only for as long as nothing of it has changed."""

from __future__ import annotations

import sys
import types
from datetime import date
from pathlib import Path

import pytest

from crystallize.fingerprint import code_of, identify, memo, value_of


@pytest.fixture
def walks(monkeypatch):
    """Count the walks over objects."""
    from crystallize import fingerprint

    made = []

    class Counted(fingerprint.Walk):
        def __init__(self, describe):
            super().__init__(describe)
            made.append(self)

    monkeypatch.setattr(fingerprint, "Walk", Counted)
    monkeypatch.setattr(memo, "_known", {})
    return made


def lab(text, **names):
    """Make a module of the project."""
    made = types.ModuleType("lab_of_memo")
    vars(made).update(names)
    sys.modules["lab_of_memo"] = made
    exec(compile(text, "lab_of_memo.py", "exec"), vars(made))
    return made


def test_code_that_is_as_it_was_is_walked_over_once(walks):
    module = lab(
        "RATE = 2\ndef helper(x):\n    return x * RATE\ndef step(data, delta=1.0):\n    return helper(data) + delta"
    )
    first = code_of(module.step)
    assert [code_of(module.step) for _ in range(3)] == [first] * 3
    assert len(walks) == 1


CHANGES = {
    "a global": "module.RATE = 3",
    "a global that is gone": "del module.RATE",
    "a global that came": "module.NEW = 1",
    "a small list": "module.LIST.append(4)",
    "a dictionary deep inside": "module.TABLE['a']['b'].append(1)",
    "a helper": "module.helper = module.other",
    "the code of a helper": "module.helper.__code__ = module.other.__code__",
    "the defaults of a helper": "module.helper.__defaults__ = (5,)",
    "its defaults by keyword": "module.step.__kwdefaults__ = {'delta': 2.0}",
    "a closure value": "module.closed.__closure__[0].cell_contents = 7",
    "an attribute of a class": "module.Kind.factor = 5",
    "a method of a class": "module.Kind.scale = lambda self, x: x",
    "a class that is another": "module.Kind = type('Kind', (), {'__module__': 'lab_of_memo'})",
    "an attribute of a function": "module.helper.mark = 2",
    "the value of a path": "module.PLACE = module.PLACE / 'more'",
}
TEXT = """
RATE = 2
LIST = [1, 2, 3]
TABLE = {"a": {"b": [1]}}
def helper(x, by=1):
    return x * RATE * by
def other(x, by=1):
    return x + by
helper.mark = 1
class Kind:
    factor = 2
    def scale(self, x):
        return x * self.factor
def close(value):
    def inner(x):
        return x + value
    return inner
closed = close(1)
def step(data, *, delta=1.0):
    if NEW if "NEW" in globals() else None:
        return PLACE, WHEN
    return [helper(x) + closed(x) + LIST[0] + TABLE["a"]["b"][0] + Kind().scale(x) + delta + helper.mark for x in data]
"""


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_is_seen_and_what_is_put_back_is_as_before(walks, change):
    names = {"PLACE": Path("data"), "WHEN": date(2020, 1, 1)}
    module = lab(TEXT, **names)
    before = code_of(module.step)
    assert code_of(module.step) == before
    assert len(walks) == 1
    exec(CHANGES[change], {"module": module})
    assert code_of(module.step) != before
    assert code_of(lab(TEXT, **names).step) == before


@pytest.mark.parametrize(
    "value",
    ["object()", "[object()]", "{'a': {1, 2}}", "set()", "bytearray(b'x')", "__import__('array').array('d', [1])"],
)
def test_code_that_refers_to_what_may_change_unseen_is_walked_over_each_time(walks, value):
    module = lab(f"class Thing:\n    pass\nVALUE = {value}\ndef step(data):\n    return VALUE")
    code_of(module.step)
    code_of(module.step)
    assert len(walks) == 2


def test_an_object_of_the_project_is_looked_into_each_time():
    module = lab("class Thing:\n    level = 0\nTHING = Thing()\ndef step(data):\n    return THING.level")
    before = code_of(module.step)
    module.THING.level = 1
    assert code_of(module.step) != before


def test_a_file_that_code_imports_while_it_runs_is_read_each_time(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "imported_later.py").write_text("RATE = 1\n")
    module = lab("def step(data):\n    import imported_later\n    return imported_later.RATE")
    before = code_of(module.step)
    (tmp_path / "imported_later.py").write_text("RATE = 2\n")
    assert code_of(module.step) != before


def test_no_more_is_remembered_than_there_is_room_for(walks):
    for number in range(2 * memo._MOST):
        code_of(lab(f"def step(data):\n    return {number}").step)
    assert len(memo._known) <= memo._MOST


@pytest.mark.parametrize(
    "statement, counts",
    [
        ("FILLED.append(data)", False),
        ("FILLED.extend(data)", False),
        ("TAGS.add(data)", False),
        ("TABLE.update(a=data)", False),
        ("data = len(FILLED)", True),
        ("data = FILLED.pop()", True),
        ("data = FILLED", True),
        ("FILLED.append(len(FILLED))", True),
        ("data = TABLE.setdefault('a', 1)", True),
        ("OWN.append(data)", True),
    ],
)
def test_a_container_counts_unless_code_only_fills_it(statement, counts):
    text = f"""
class Own(list):
    pass
FILLED, TAGS, TABLE, OWN = [1], {{1}}, {{"b": 1}}, Own()
def step(data):
    {statement}
    return data
"""
    module = lab(text)
    before = code_of(module.step)
    module.FILLED.append(2)
    module.TAGS.add(2)
    module.TABLE["c"] = 3
    module.OWN.append(1)
    assert (code_of(module.step) != before) is counts


def test_a_filled_container_of_another_type_is_another():
    module = lab("FILLED = []\ndef step(data):\n    FILLED.extend(data)\n    return data")
    before = code_of(module.step)
    module.FILLED = __import__("collections").deque()
    assert code_of(module.step) != before


def test_an_identity_comes_with_what_could_not_be_tracked():
    module = lab("import threading\nLOCAL = threading.local()\ndef step(data):\n    return LOCAL")
    identity = identify(module.step)
    assert identity.digest == value_of(module.step) == code_of(module.step)
    assert identity.untracked == identify(module.step).untracked == ("lab_of_memo.LOCAL: _thread._local",)
    assert identify([1, 2]).untracked == ()


def test_a_large_plain_value_is_walked_over_once_for_each_content(walks):
    def content(last):
        return {f"key_{number}": [number, {"a": (number, "text")}] for number in range(1000)} | {"last": last}

    first = value_of(content(1))
    assert value_of(content(1)) == first
    assert len(walks) == 1
    assert value_of(content(2)) != first
    assert len(walks) == 2


def test_large_values_that_look_alike_when_written_down_are_told_apart():
    import numpy as np

    values = [
        [list(range(100)), np.array([1], "i4")],
        [list(range(100)), np.array([1], "u4")],
        [list(range(100)), np.array([1], "i4").tobytes()],
        [list(range(100)), bytearray(np.array([1], "i4").tobytes())],
        [tuple(range(100)), 1],
        [list(range(100)), 1],
        [list(range(100)), 1.0],
        [list(range(100)), True],
    ]
    assert len(set(map(value_of, values))) == len(values)


def test_a_large_value_that_holds_itself_has_an_identity():
    value = list(range(100))
    value.append(value)
    assert value_of(value) == value_of(value)
