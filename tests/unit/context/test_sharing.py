"""What belongs to a cell is left alone, and what is held elsewhere is found, however deep it lies."""

from __future__ import annotations

import collections
import dataclasses
import io
import threading
import types

import pytest

from crystallize.context.isolation import CellCopies
from crystallize.context.sharing import unshared
from crystallize.errors import ContextMutationError


@dataclasses.dataclass
class Holder:
    value: object
    other: object = None


class Node:
    def __init__(self, parent=None):
        self.parent, self.children = parent, []
        if parent is not None:
            parent.children.append(self)


def tree():
    root = Node()
    Node(Node(root))
    return root


def cycle():
    ring = [[1]]
    ring.append(ring)
    return ring


def one_in_two_places():
    inner = [1]
    return {"a": inner, "b": [inner]}


def kept_by_a_traceback():
    try:
        int("and the traceback of this leads to the frame")
    except ValueError as error:
        kept = error
    data = Holder([str(kept)])
    assert kept.args
    return data


def looked_at():
    made = Holder([1])
    assert vars(made)
    return made


def generator():
    yield 1


FRESH = {
    "list": lambda: [1, 2],
    "lists": lambda: [[1], [[2]]],
    "records": lambda: [{"a": 1, "b": [2]} for _ in range(20)],
    "tuple": lambda: ([1], {"a": {2}}),
    "deque": lambda: collections.deque([[1]]),
    "dataclass": lambda: Holder([1], Holder([2])),
    "dataclass with a dictionary that was looked at": looked_at,
    "namespace": lambda: types.SimpleNamespace(rows=[1]),
    "tree with parents": tree,
    "cycle": cycle,
    "one in two places": one_in_two_places,
    "generator": generator,
    "generator of a generator": lambda: (item for item in generator()),
    "file": lambda: io.StringIO("text"),
    "kept by a traceback": kept_by_a_traceback,
}


def taken(make):
    """Give what a cell gets, whether it is the very object, and what it has to be watched for."""
    box = [make()]
    was, copies = id(box[0]), CellCopies(list)
    found = unshared(box, copies, what="the source")
    return found, id(found) == was, copies.checked


@pytest.mark.parametrize("kind", FRESH)
def test_what_is_made_for_the_cell_is_given_as_it_is(kind):
    for _ in range(3):
        _, same, watched = taken(FRESH[kind])
        assert same
        assert not watched


ROWS = [[1], {"a": [2]}]
HOLDER = Holder([1])
TREE = tree()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda rows: rows,
        lambda rows: [rows],
        lambda rows: {"deep": ([rows], 1)},
        lambda rows: collections.deque([rows]),
        lambda rows: collections.OrderedDict(a=rows),
        lambda rows: (rows, [3]),
    ],
)
def test_containers_that_are_held_elsewhere_are_copied(wrap):
    def changed(value):
        if value == [[1], {"a": [2]}]:
            value[0].append(9)
            value[1]["a"].append(9)
            return
        for item in value.values() if hasattr(value, "values") else value:
            if not isinstance(item, int):
                changed(item)

    found, _, watched = taken(lambda: wrap(ROWS))
    changed(found)
    assert ROWS == [[1], {"a": [2]}]
    assert not watched


def test_plain_values_that_are_held_elsewhere_are_copied_without_waiting_for_anybody(monkeypatch):
    def wait(seconds):
        raise AssertionError(seconds)

    monkeypatch.setattr("crystallize.context.sharing.time.sleep", wait)
    held = {"rows": [[1, 2.5], [3, "four"]], "names": ("a", "b"), "seen": {1, 2}}
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        given = unshared([held], CellCopies(), what="the data")
    finally:
        stop.set()
        other.join()
    assert given == held
    assert given is not held
    assert given["rows"][0] is not held["rows"][0]


@pytest.mark.parametrize("give", [lambda: HOLDER, lambda: [HOLDER], lambda: {"a": (HOLDER, 1)}])
def test_objects_that_are_held_elsewhere_are_watched(give):
    _, _, watched = taken(give)
    assert watched == [HOLDER]


def test_what_an_object_of_the_cell_takes_from_elsewhere_is_watched():
    _, same, watched = taken(lambda: Holder(ROWS))
    assert same
    assert len(watched) == 1
    assert watched[0] is ROWS


def test_a_part_of_a_tree_that_is_held_elsewhere_is_watched():
    _, _, watched = taken(lambda: TREE.children[0])
    assert any(each is TREE.children[0] for each in watched)


@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: [it], lambda it: map(str, it), lambda it: (x for x in it)])
def test_an_iterator_that_is_held_elsewhere_is_refused(wrap):
    kept = generator()
    with pytest.raises(ContextMutationError, match="a generator is part of what the source gives and keeps"):
        taken(lambda: wrap(kept))


def test_a_file_that_is_held_elsewhere_is_refused(tmp_path):
    with (tmp_path / "data.txt").open("w") as kept, pytest.raises(ContextMutationError, match="TextIOWrapper"):
        taken(lambda: kept)
