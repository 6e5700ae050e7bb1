"""Data that somebody else holds too, and may hand out again: found by counting references, and isolated.

An object belongs to the cell alone if every reference to it comes from the data itself. What else refers to it is a
table of a module, a cache, an attribute, a closure or a default: the next cell will be given the same object. What is
made anew for each cell is walked over, and nothing of it is copied.
"""

from __future__ import annotations

import gc
import operator
import sys
import threading
import time
from array import array
from collections import OrderedDict, defaultdict, deque
from itertools import chain
from types import FrameType
from typing import TYPE_CHECKING, Any

from crystallize.context.isolation import (
    ATOMS,
    copies_on_write,
    ends_with_use,
    is_ndarray,
    is_record,
    isolate,
    kind_of,
    read_only,
)
from crystallize.errors import ContextMutationError
from crystallize.fingerprint.project import is_library_module, module_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from crystallize.context.isolation import CellCopies

__all__ = ["unshared"]

_all_atoms = ATOMS.issuperset
_MAPPINGS = frozenset({dict, OrderedDict, defaultdict})
_CONTAINERS = frozenset({list, tuple, deque, set, frozenset}) | _MAPPINGS
_MEMORY = (array, bytearray, memoryview)
_USED_UP = ("iterator", "file")
_HOLDERS = ("types", "collections", "argparse")
"""Modules of the standard library whose classes hold what users give them."""
_WRITTEN_THROUGH = ("r+", "w+")
_PAUSE = 0.0005
_MOST = 20_000
_DEEPEST = 64


def unshared(box: list[Any], copies: CellCopies, *, what: str) -> Any:
    """Return data such that no other cell can be given any of it; note what in it could not be kept apart.

    Parameters
    ----------
    box : list
        The data as its only item, which is taken out: whoever calls must not hold it.
    copies : CellCopies
        What the cell was given, as for `isolate`.
    what : str
        Where the data comes from, for messages.

    Returns
    -------
    object
        The data itself, where nothing of it is held elsewhere; else with these parts isolated.

    Raises
    ------
    ContextMutationError
        An iterator or an open file is held elsewhere.
    """
    if (sys.getrefcount(box[0]) == _IN_A_BOX and _holds_atoms(box[0])) or _is_own(box):
        return box.pop()
    walk = _Walk(box)
    for attempt in range(3):
        if not walk.needs_certainty:
            break
        # A traceback in a cycle waits for the collector; a thread that made the data may be about to let go of it.
        if attempt == 0:
            gc.collect(1)
        elif threading.active_count() == 1:
            break
        else:
            time.sleep(_PAUSE)
        box.append(walk.root())
        del walk
        walk = _Walk(box)
    if not walk.held and not walk.mapped:
        return walk.root()
    return _Parts(walk, copies, what).isolated()


def _holds_atoms(value: Any) -> bool:
    """Return whether a value is a container of numbers, texts and the like: most data is, and is told at once."""
    kind = type(value)
    return kind in _CONTAINERS and _all_atoms(map(type, value.values() if kind in _MAPPINGS else value))


def _is_plain(value: Any) -> bool:
    """Return whether a value is built-in containers of numbers, texts and the like alone: these are simply copied."""
    level = [value]
    for _ in range(_DEEPEST):
        if not level:
            return True
        level = [item for item in level if type(item) not in ATOMS]
        if not _CONTAINERS.issuperset(map(type, level)):
            return False
        level = gc.get_referents(*level)
    return False


def _is_own(level: list[Any]) -> bool:
    """Return whether nothing outside refers to the items of a list, or to what they consist of.

    False where it is hard to say. Level by level and in the loops of the interpreter: it is asked for the data of every
    cell.
    """
    # The first list is what holds the data, and no other.
    references = _IN_LEVEL - 1
    for _ in range(_DEEPEST):
        kinds = set(map(type, level))
        changeable = {kind for kind in kinds if kind not in ATOMS and kind_of(kind).nature != "fixed"}
        if not changeable:
            return True
        if kinds != changeable:
            level = [item for item in level if type(item) in changeable]
        if max(map(sys.getrefcount, level)) > references:
            return False
        references = _IN_LEVEL
        opened = {kind for kind in changeable if kind in _CONTAINERS or kind_of(kind).nature == "other"}
        if opened != changeable:
            if not all(_owns_memory(item) for item in level if type(item) not in opened):
                return False
            level = [item for item in level if type(item) in opened]
        level = gc.get_referents(*level)
    return False


def _owns_memory(item: Any) -> bool:
    if is_ndarray(item):
        plain = type(item) is sys.modules["numpy"].ndarray and not item.dtype.hasobject
        base = item.base
        return plain and (base is None or (type(base) is type(item) and sys.getrefcount(base) == _AS_BASE))
    return _nature(item) == "data" and not _memory_of(item)


class _Walk:
    """What data consists of, and which parts of it are held elsewhere.

    Parameters
    ----------
    box : list
        The data as its only item, which is taken out.

    Attributes
    ----------
    nodes : dict of int to object
        The parts, by identity.
    held : set of int
        Those that something outside of the data refers to.
    mapped : bool
        Whether there are arrays that write to a file.
    """

    def __init__(self, box: list[Any]) -> None:
        self._root = id(box[0])
        self.nodes: dict[int, Any] = {self._root: box.pop()}
        self._counts = {self._root: 0}
        self.mapped = False
        self.held = self._go_through({self._root})
        if any(type(self.nodes[key]) in _CONTAINERS or _nature(self.nodes[key]) == "other" for key in self.held):
            self._allow_for_cycles()

    def root(self) -> Any:
        """Return the data."""
        return self.nodes[self._root]

    @property
    def needs_certainty(self) -> bool:
        """Whether a part is held that will be refused, watched, or no longer be written to."""
        return any(
            (is_ndarray(node) or _nature(node) in (*_USED_UP, "other")) and not _is_plain(node)
            for node in map(self.nodes.__getitem__, self.held)
        )

    def _go_through(self, todo: set[int], *, most: int | None = None) -> set[int]:
        """Count the references from within; give what has others, or, with `most`, nothing: it looks into that, too."""
        nodes, counts, references = self.nodes, self._counts, sys.getrefcount
        doubtful: set[int] = set()
        done: set[int] = set()
        while todo:
            met: set[int] = set()
            for key in todo:
                # What is held elsewhere is not looked into: behind it may be the whole program.
                if most is None and references(nodes[key]) > counts[key] + _IN_NODES and not _is_private(nodes[key]):
                    doubtful.add(key)
                    continue
                doubtful.discard(key)
                done.add(key)
                for child in self.children(nodes[key]):
                    seen = id(child)
                    counts[seen] = counts.get(seen, 0) + 1
                    if seen not in nodes:
                        nodes[seen] = child
                        met.add(seen)
                    elif seen in doubtful:
                        met.add(seen)
                child = None
            todo = met - done
            if most is not None and len(nodes) > most:
                return set(nodes)
        return doubtful

    def _allow_for_cycles(self) -> None:
        """Look behind what seems to be held elsewhere: its own parts may hold it, as the leaves of a tree do."""
        nodes, counts = dict(self.nodes), dict(self._counts)
        if self._go_through(set(self.held), most=len(nodes) + _MOST):
            self.nodes, self._counts = nodes, counts
            return
        nodes.clear()
        outside = {
            key
            for key in self.nodes
            if sys.getrefcount(self.nodes[key]) > self._counts[key] + _IN_NODES and not _is_private(self.nodes[key])
        }
        todo = list(outside)
        while todo:
            for child in self.children(self.nodes[todo.pop()]):
                if id(child) not in outside:
                    outside.add(id(child))
                    todo.append(id(child))
        self.held = outside

    def inside(self) -> set[int]:
        """Find what is held elsewhere and referred to by an object that is the cell's own."""
        found: set[int] = set()
        todo = [(self._root, "")]
        seen: set[tuple[int, str]] = set()
        while todo:
            key, owner = todo.pop()
            node = self.nodes[key]
            if (key, owner) in seen:
                continue
            seen.add((key, owner))
            if key in self.held:
                # Libraries share much among their objects, and know why.
                if owner == "project" or (owner and (is_ndarray(node) or _nature(node) == "data")):
                    found.add(key)
                continue
            if not owner and not _is_open(node):
                owner = _owner(node)
            todo += [(id(child), owner) for child in self.children(node)]
        return found

    def used_up(self) -> list[Any]:
        """Find iterators and files that are held elsewhere and that a cell would use itself.

        An object that many cells are given moves in its files as it likes, one of a library in its iterators, too.
        """
        found: list[Any] = []
        if not any(_nature(self.nodes[key]) in _USED_UP for key in self.held):
            return found
        todo = [(self._root, "")]
        seen: set[tuple[int, str]] = set()
        while todo:
            key, user = todo.pop()
            if (key, user) in seen or key not in self.nodes:
                continue
            seen.add((key, user))
            node = self.nodes[key]
            nature = _nature(node)
            if key in self.held:
                if nature in _USED_UP and (not user or (user == "project" and nature == "iterator")):
                    found.append(node)
                if nature == "other" and not _is_open(node):
                    user = _owner(node)
            todo += [(id(child), user) for child in self.children(node)]
        return found

    def children(self, node: Any) -> Collection[Any]:
        """Return what an object refers to, as often as it does, where that could be changed."""
        kind = type(node)
        found: Collection[Any]
        if kind in _CONTAINERS:
            if _all_atoms(map(type, node.values() if kind in _MAPPINGS else node)):
                return ()
            found = gc.get_referents(node)
        elif is_ndarray(node):
            found = self._of_array(node)
        else:
            nature = kind_of(kind).nature
            if nature == "data":
                return _memory_of(node)
            if nature not in ("other", "stateful", "iterator"):
                return ()
            found = gc.get_referents(node)
            if nature == "iterator":
                # Before Python 3.11 the variables of a generator are its frame's alone.
                found = [
                    *found,
                    *chain.from_iterable(gc.get_referents(each) for each in found if type(each) is FrameType),
                ]
                return [each for each in found if _nature(each) in _USED_UP or type(each) is tuple]
        return [each for each in found if type(each) in _CONTAINERS or _nature(each) != "fixed"]

    def _of_array(self, node: Any) -> list[Any]:
        found = []
        if node.flags.writeable:
            self.mapped |= getattr(node, "mode", None) in _WRITTEN_THROUGH
            if is_ndarray(node.base) or (isinstance(node.base, _MEMORY) and not _is_private(node)):
                found.append(node.base)
        if type(node) is not sys.modules["numpy"].ndarray:
            found += _own_arrays(node)
        if node.base is None and node.dtype.hasobject and node.dtype.names is None:
            found += node.flat
        return found


def _nature(value: object) -> str:
    kind = type(value)
    return "fixed" if kind in ATOMS else kind_of(kind).nature


def _owner(node: Any) -> str:
    """Return whose class an object is of."""
    module = module_of(type(node))
    return "library" if is_library_module(module) and module not in _HOLDERS else "project"


def _is_open(node: Any) -> bool:
    """Return whether parts of it can be put in place of others."""
    return type(node) in _CONTAINERS or is_ndarray(node) or is_record(node) or _nature(node) == "data"


def _is_private(node: Any) -> bool:
    """Return whether an array lies in memory that a worker process maps, where what a cell writes is undone."""
    if not is_ndarray(node):
        return False
    while is_ndarray(node):
        node = node.base
    return isinstance(node, memoryview) and type(node.obj).__module__ == "mmap"


def _own_arrays(node: Any) -> list[Any]:
    """Return the arrays that one of a subclass has as attributes, such as a mask."""
    return [value for value in getattr(node, "__dict__", {}).values() if is_ndarray(value)]


def _memory_of(node: Any) -> list[Any]:
    """Return the memory that a frame or a tensor of one's own may share with others."""
    if isinstance(node, memoryview):
        return [] if node.readonly else [node.obj]
    blocks = getattr(node, "_mgr", None)
    if blocks is not None:
        if copies_on_write():
            return []
        return [values.base for values in blocks.arrays if is_ndarray(values) and values.base is not None]
    base = getattr(node, "_base", None)
    return [] if base is None else [base]


class _Parts:
    """Isolates the parts of data that are held elsewhere.

    Parameters
    ----------
    walk : _Walk
    copies : CellCopies
        What the cell was given.
    what : str
        Where the data comes from.
    """

    def __init__(self, walk: _Walk, copies: CellCopies, what: str) -> None:
        self._walk = walk
        self._copies = copies
        self._what = what
        self._done: dict[int, Any] = {}

    def isolated(self) -> Any:
        """Return the data; note what goes by reference although it is held elsewhere."""
        walk = self._walk
        for node in walk.used_up():
            raise ContextMutationError(ends_with_use(node, f"what {self._what} gives and keeps"))
        # An object that is the cell's own keeps what it refers to.
        self._copies.note([walk.nodes[key] for key in walk.inside()])
        return self._part(walk.root())

    def _part(self, value: Any) -> Any:
        key = id(value)
        if key in self._done:
            return self._done[key]
        if key not in self._walk.nodes:
            return value
        if key in self._walk.held:
            return self._done.setdefault(key, isolate(value, self._copies))
        self._done[key] = value
        done = self._done[key] = self._opened(value)
        return done

    def _opened(self, value: Any) -> Any:
        """Isolate the parts of something that is the cell's own."""
        kind = type(value)
        if kind in _MAPPINGS:
            for name, item in value.items():
                value[name] = self._part(item)
        elif kind is list or kind is deque:
            for position, item in enumerate(value):
                value[position] = self._part(item)
        elif kind is tuple or is_record(value):
            parts = list(map(self._part, value))
            if any(map(operator.is_not, parts, value)):
                return tuple(parts) if kind is tuple else kind._make(parts)
        elif is_ndarray(value):
            return self._array(value)
        elif _nature(value) == "data" and any(id(part) in self._walk.held for part in _memory_of(value)):
            return value.copy(deep=True) if hasattr(value, "_mgr") else isolate(value)
        return value

    def _array(self, value: Any) -> Any:
        memory = value
        while memory is not None:
            if memory is not value and id(memory) in self._walk.held:
                return read_only(value)
            if getattr(memory, "mode", None) in _WRITTEN_THROUGH:
                return read_only(value)
            memory = memory.obj if isinstance(memory, memoryview) else getattr(memory, "base", None)
        if any(id(part) in self._walk.held for part in _own_arrays(value)):
            return read_only(value)
        if value.base is None and value.dtype.hasobject and value.dtype.names is None:
            parts = list(map(self._part, value.flat))
            if any(map(operator.is_not, parts, value.flat)):
                value = value if value.flags.writeable else value.copy()
                for position, part in enumerate(parts):
                    value.flat[position] = part
        return value


def _count_in_a_box() -> int:
    box: list[Any] = [[]]
    return sys.getrefcount(box[0])


class _View:
    """Refers to something as an array does to the memory that it is a view of."""

    def __init__(self) -> None:
        self.base: list[Any] = []


def _count_in_level() -> int:
    """Count the references to an object that a container and the list of a level hold."""
    containers: list[Any] = [[[]]]
    level = gc.get_referents(*containers)
    return max(map(sys.getrefcount, level))


def _count_as_base() -> int:
    view = _View()
    base = view.base
    return sys.getrefcount(base)


def _count_in_nodes() -> int:
    """Count the references to an object that is held by the dictionary of a walk alone."""
    nodes: dict[int, Any] = {0: []}
    return sys.getrefcount(nodes[0])


# Other interpreters, and other versions, hold other references while they count.
_IN_A_BOX = _count_in_a_box()
_IN_LEVEL = _count_in_level()
_AS_BASE = _count_as_base()
_IN_NODES = _count_in_nodes()
