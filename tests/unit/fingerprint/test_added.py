"""What the project adds to libraries is seen anew each time, in whatever way it is put there."""

from __future__ import annotations

import copyreg
import functools
import subprocess
import sys
import types

import pytest

from crystallize.fingerprint import added_code
from crystallize.fingerprint.added import added_to_libraries

LIBRARY = "colorsys"


@pytest.fixture
def library(monkeypatch):
    """A module of the standard library that nobody else changes, as it was afterwards."""
    import colorsys

    before = dict(vars(colorsys))
    yield colorsys
    vars(colorsys).clear()
    vars(colorsys).update(before)


@pytest.fixture
def made():
    """Make functions of the project; each of another factor."""
    module = types.ModuleType("lab_of_added")
    sys.modules["lab_of_added"] = module
    exec(compile("def make(k):\n    return lambda x: x * k\nclass Hook:\n    pass", "lab.py", "exec"), vars(module))
    yield module
    del sys.modules["lab_of_added"]


def digests():
    return {place: identity.digest for place, identity in added_code().items() if place.startswith(LIBRARY)}


WAYS = {
    "a function": lambda library, function: setattr(library, "rgb_to_hsv", function),
    "an entry of a dictionary": lambda library, function: library.TABLE.update(mine=function),
    "an entry among what is none": lambda library, function: library.MIXED.update(mine=function),
    "an entry beside built-in functions": lambda library, function: library.BUILT_IN.update(mine=function),
    "an item of a list": lambda library, function: library.ITEMS.__setitem__(slice(1, None), [function]),
    "an attribute of a function": lambda library, function: setattr(library.marked, "hook", function),
    "a table that a function has": lambda library, function: library.marked.table.update(mine=function),
    "an attribute of an object": lambda library, function: setattr(library.holder, "hook", function),
    "a table that an object has": lambda library, function: library.holder.table.update(mine=function),
    "a method": lambda library, function: setattr(library.Kind, "method", function),
    "a handler of singledispatch": lambda library, function: library.generic.register(int, function),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_is_added_after_a_search_is_found_and_what_replaces_it_too(way, library, made):
    namespace = dict(vars(library))
    exec(
        "class Kind: pass\ndef marked(): pass\nmarked.table = {}\nmarked.kept = 1\n"
        "class Holder: pass\nholder = Holder()\nholder.table = {}\nholder.kept = 1\n"
        "TABLE = {}\nMIXED = {'none': None}\nBUILT_IN = {'length': len}\nITEMS = [None]",
        namespace,
    )
    vars(library).update(namespace)
    library.generic = functools.singledispatch(library.marked)
    assert digests() == {}
    way(library, made.make(2))
    first = digests()
    assert first
    way(library, made.make(3))
    second = digests()
    assert second.keys() == first.keys()
    assert second != first
    assert digests() == second


def test_what_is_taken_away_again_does_not_count(library, made):
    kept = library.rgb_to_hsv
    library.rgb_to_hsv = made.make(2)
    assert digests()
    library.rgb_to_hsv = kept
    assert digests() == {}


def test_a_reducer_of_a_class_of_the_project_counts(made):
    copyreg.pickle(made.Hook, made.make(2))
    try:
        assert any(place.endswith(".dispatch_table") for place in added_to_libraries())
    finally:
        del copyreg.dispatch_table[made.Hook]


QUIET = """
import json
from crystallize.fingerprint import added
added.added_to_libraries()
looked, original = [], added._held
added._held = lambda *arguments: looked.append(arguments[0]) or original(*arguments)
added.added_to_libraries()
print(len(looked), len(vars(json)))
"""


def test_a_search_over_libraries_that_are_as_they_were_looks_into_nothing():
    done = subprocess.run([sys.executable, "-c", QUIET], check=True, capture_output=True, text=True)
    looked, of_one_module = map(int, done.stdout.split())
    assert looked < of_one_module
