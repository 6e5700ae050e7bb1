"""From objects to a graph: what each value consists of, by content wherever there is any.

Nothing here recurses, so neither depth nor circles matter.
"""

from __future__ import annotations

import copyreg
import functools
import inspect
import marshal
import sys
import types
from collections import OrderedDict
from enum import Enum
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint._arrays import describe_array
from crystallize.fingerprint._functions import (
    describe_builtin,
    describe_class,
    describe_function,
    describe_module,
    describe_source,
)
from crystallize.fingerprint._graph import Graph, Ref, new_hash
from crystallize.fingerprint._project import is_library_module, module_of
from crystallize.fingerprint._syntax import bytecode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Walk"]

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, type(Ellipsis)})
_are_atoms = _ATOMS.issuperset
_LONG = 4096
_SHORT = 64
_DEPTH = 3
_HEADS: dict[type, bytes] = {list: b"list", tuple: b"tuple", dict: b"dict"}


class Walk:
    """One walk over everything that some value refers to.

    Attributes
    ----------
    graph : Graph
    named : dict of str to Ref
        Project functions, classes, modules and values that code refers to, by qualified name.
    """

    def __init__(self) -> None:
        self.graph = Graph()
        self.named: dict[str, Ref] = {}
        self._known: dict[int, int] = {}
        self._sources: dict[str, int] = {}
        self._globals: dict[str, dict[int, str]] = {}
        self._alive: list[Any] = []
        self._pending: list[tuple[Callable[..., None], int, Any, str]] = []
        self._label = ""
        # Nodes that are nothing but containers, objects of libraries, and what has no content.
        self._plain: set[int] = set()
        self._owners: dict[int, str] = {}
        self._live: dict[int, str] = {}

    def start(self, value: Any, label: str) -> Ref:
        """Walk over `value` and all that it refers to."""
        root = self.ref(value, label)
        while self._pending:
            describe, node, value, self._label = self._pending.pop()
            describe(self, node, value)
        self._hide_live()
        return root

    def untracked(self, root: Ref) -> list[str]:
        """Say what under `root` is known by its type alone, and where it was met."""
        reached = self.graph.reachable(root)
        return sorted({text for node, text in self._live.items() if node in reached})

    # -- for those who describe -------------------------------------------------------------------

    def ref(self, value: Any, label: str | None = None) -> Ref:
        """Refer to a value: short plain ones say at once what they are, others are looked at later."""
        plain = _plain(value, _DEPTH)
        if plain is not None:
            return plain
        known = self._known.get(id(value))
        if known is None:
            known = self._known[id(value)] = self.graph.reserve()
            self._alive.append(value)  # so that no other object takes its id
            self._pending.append((_describe, known, value, label or self._label))
        return known

    def source(self, name: str, file: str) -> int:
        """Refer to a module by its source."""
        if name not in self._sources:
            node = self._sources[name] = self.graph.reserve()
            self._pending.append((describe_source, node, (name, file), self._label))
        return self._sources[name]

    def name(self, name: str, ref: Ref) -> None:
        """Note what a qualified name of the project stands for."""
        self.named.setdefault(name, ref)

    def fill(self, node: int, head: bytes, children: Sequence[Ref], *, unordered: bool = False) -> None:
        """Say what a node is."""
        self.graph.fill(node, head, children, unordered=unordered)

    def fill_plain(self, node: int, head: bytes, children: Sequence[Ref], *, unordered: bool = False) -> None:
        """Say that a node is a container and nothing else."""
        self._plain.add(node)
        self.graph.fill(node, head, children, unordered=unordered)

    def global_name(self, value: Any) -> str | None:
        """Give the name under which the module of an object's class holds that very object, or None.

        It is that library's own, like the generator behind ``random.random``, and its state is nobody's content.
        """
        module = module_of(type(value))
        names = self._globals.get(module)
        if names is None:
            names = self._globals[module] = {id(v): k for k, v in vars(sys.modules.get(module, object)).items()}
        name = names.get(id(value))
        return name and f"{module}.{name}"

    def pair(self, key: Any, value: Any) -> int:
        """Refer to a key and its value."""
        node = self.graph.reserve()
        self.fill_plain(node, b"pair", [self.ref(key), self.ref(value)])
        return node

    def own(self, node: int, kind: type) -> None:
        """Say that a node is an object of a library's class."""
        self._owners[node] = f"{self._label}: {_type_name(kind)}"

    def fill_live(self, node: int, kind: type) -> None:
        """Say that a node is something running or open, which has no content: it is known by its type."""
        self._live[node] = f"{self._label}: {_type_name(kind)}"
        self.fill(node, b"live", [self.ref(_type_name(kind))])

    def _hide_live(self) -> None:
        """Know by its type an object of a library that holds something live: a client, a session, a pool.

        What else such an object holds are counters and connections, which differ from run to run.
        """
        for owner, text in self._owners.items():
            waiting = list(self.graph.children[owner])
            seen: set[Ref] = set()
            while waiting:
                node = waiting.pop()
                if isinstance(node, int) and node in self._live:
                    self._live[owner] = text
                    self.fill(owner, b"live", [self.ref(text.rpartition(": ")[2])])
                    break
                if isinstance(node, int) and node in self._plain and node not in seen:
                    seen.add(node)
                    waiting.extend(self.graph.children[node])


def _plain(value: Any, depth: int) -> bytes | None:
    """Write down what is small and made of nothing but built-in values; give None for anything else."""
    kind = type(value)
    if kind in _ATOMS:
        return _atom(value)
    if depth == 0 or (kind is not list and kind is not tuple and kind is not dict) or len(value) > _SHORT:
        return None
    items = value
    if kind is dict:
        if not all(type(key) is str for key in value):
            return None
        names = sorted(value)
        items = [names, *map(value.__getitem__, names)]
    if _are_atoms(map(type, items)):
        return _HEADS[kind] + marshal.dumps(items, 0)
    parts = [_plain(item, depth - 1) for item in items]
    if None in parts:
        return None
    return _HEADS[kind] + marshal.dumps(parts, 0)


def _atom(value: Any) -> bytes:
    if isinstance(value, (str, bytes)) and len(value) > _LONG:
        digest = new_hash()
        digest.update(value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass"))
        return b"%b#%b" % (type(value).__name__.encode(), digest.digest())
    return marshal.dumps(value, 0)


def _type_name(kind: type) -> str:
    return f"{module_of(kind)}.{kind.__qualname__}"


def _describe(walk: Walk, node: int, value: Any) -> None:
    kind = type(value)
    describe = _DESCRIBERS.get(kind)
    if describe is None:
        describe = next((found for base, found in _BY_BASE if issubclass(kind, base)), _object)
    describe(walk, node, value)


def _sequence(walk: Walk, node: int, value: Any) -> None:
    head = type(value).__name__.encode()
    if _are_atoms(map(type, value)):
        walk.fill_plain(node, head, [marshal.dumps(list(value), 0)])
    else:
        walk.fill_plain(node, head, [walk.ref(item) for item in value])


def _set(walk: Walk, node: int, value: Any) -> None:
    walk.fill_plain(node, type(value).__name__.encode(), [walk.ref(item) for item in value], unordered=True)


def _mapping(walk: Walk, node: int, value: Mapping[Any, Any]) -> None:
    if all(type(key) is str for key in value):
        names = sorted(value)
        values = [value[name] for name in names]
        flat = _are_atoms(map(type, values))
        refs = [marshal.dumps(values, 0)] if flat else [walk.ref(item) for item in values]
        walk.fill_plain(node, b"dict", [marshal.dumps(names, 0), *refs])
    else:
        walk.fill_plain(node, b"dict", [walk.pair(key, item) for key, item in value.items()], unordered=True)


def _bytes(walk: Walk, node: int, value: Any) -> None:
    walk.fill(node, type(value).__name__.encode(), [walk.ref(bytes(value))])


def _ordered(walk: Walk, node: int, value: OrderedDict[Any, Any]) -> None:
    walk.fill_plain(node, b"ordered", [walk.pair(key, item) for key, item in value.items()])


def _attributes(*names: str) -> Callable[[Walk, int, Any], None]:
    def describe(walk: Walk, node: int, value: Any) -> None:
        walk.fill(node, type(value).__name__.encode(), [walk.ref(getattr(value, name)) for name in names])

    return describe


def _descriptor(walk: Walk, node: int, value: Any) -> None:
    walk.fill(node, b"named", [walk.ref(f"{_type_name(value.__objclass__)}.{value.__name__}")])


def _member(walk: Walk, node: int, value: Any) -> None:
    walk.fill(node, b"member", [walk.ref(type(value)), walk.ref(value.name), walk.ref(value.value)])


def _object(walk: Walk, node: int, value: Any) -> None:
    kind = type(value)
    says = getattr(kind, "__fingerprint__", None)
    if says is not None:
        walk.fill(node, b"says", [walk.ref(kind), walk.ref(says(value))])
    elif module_of(kind) in ("weakref", "_weakref"):
        walk.fill(node, b"weak", [walk.ref(kind)])
    elif module_of(kind) == "itertools":
        walk.fill_live(node, kind)  # later versions of Python cannot look into them
    elif callable(value) and inspect.getattr_static(value, "__wrapped__", None) is not None:
        walk.fill(node, b"wrapper", [walk.ref(kind), walk.ref(value.__wrapped__)])
    elif not describe_array(walk, node, value):
        _reduced(walk, node, value)


def _reduced(walk: Walk, node: int, value: Any) -> None:
    """Describe an object by what it would pickle, without pickling what that in turn refers to."""
    kind = type(value)
    library = is_library_module(module_of(kind))
    name = walk.global_name(value) if library else None
    if name is not None:
        walk.fill(node, b"named", [walk.ref(name)])
        return
    try:
        reducer = copyreg.dispatch_table.get(kind)
        made: Any = value.__reduce_ex__(4) if reducer is None else reducer(value)
        if isinstance(made, tuple):
            made = _listed(*made)
    except Exception:  # noqa: BLE001 - objects refuse in any way they like
        state = getattr(value, "__dict__", None)
        if library or not state:
            walk.fill_live(node, kind)
        else:
            walk.fill(node, b"object", [walk.ref(kind), walk.ref(_lasting(kind, state))])
        return
    if library:
        walk.own(node, kind)
    if isinstance(made, str):
        walk.fill(node, b"named", [walk.ref(f"{module_of(kind)}.{made}")])
        return
    rebuild, arguments, state, items, pairs = made
    if isinstance(state, dict):
        state = _lasting(kind, state)
    walk.fill(node, b"object", [walk.ref(kind), *map(walk.ref, (rebuild, arguments, state, items, pairs))])


def _listed(
    rebuild: Any, arguments: Any, state: Any = None, items: Any = None, pairs: Any = None, _setter: Any = None
) -> tuple[Any, ...]:
    return rebuild, arguments, state, items and list(items), pairs and dict(pairs)


def _lasting(kind: type, state: dict[str, Any]) -> dict[str, Any]:
    """Leave out what an object computes on demand: whether it has been asked for makes no difference."""
    on_demand = functools.cached_property
    return {name: item for name, item in state.items() if not isinstance(getattr(kind, name, None), on_demand)}


_DESCRIBERS: dict[type, Callable[[Walk, int, Any], None]] = {
    list: _sequence,
    tuple: _sequence,
    dict: _mapping,
    set: _set,
    frozenset: _set,
    bytearray: _bytes,
    memoryview: _bytes,
    OrderedDict: _ordered,
    type({}.keys()): _set,
    type({}.values()): _sequence,
    type({}.items()): _set,
    types.MappingProxyType: _mapping,
    types.FunctionType: describe_function,
    types.BuiltinFunctionType: describe_builtin,
    types.MethodWrapperType: describe_builtin,
    types.ModuleType: describe_module,
    types.MethodType: _attributes("__func__", "__self__"),
    types.CodeType: lambda walk, node, value: walk.fill(node, b"code", [bytecode(value)]),
    property: _attributes("fget", "fset", "fdel"),
    classmethod: _attributes("__func__"),
    staticmethod: _attributes("__func__"),
    functools.cached_property: _attributes("func"),
    types.MethodDescriptorType: _descriptor,
    types.WrapperDescriptorType: _descriptor,
    types.ClassMethodDescriptorType: _descriptor,
    types.GetSetDescriptorType: _descriptor,
    types.MemberDescriptorType: _descriptor,
}
_BY_BASE: tuple[tuple[type, Callable[[Walk, int, Any], None]], ...] = (
    (type, describe_class),
    (types.ModuleType, describe_module),
    (Enum, _member),
)
