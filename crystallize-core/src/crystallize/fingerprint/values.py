"""What values of each type consist of: containers, descriptors, objects by what they would pickle."""

from __future__ import annotations

import copyreg
import functools
import itertools
import marshal
import struct
import sys
import types
import weakref
from collections import OrderedDict
from enum import Enum
from logging import Logger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint.attributes import attributes_of, held_name, lasting, readable_members
from crystallize.fingerprint.functions import describe_builtin, describe_class, describe_function, describe_module
from crystallize.fingerprint.graph import are_atoms, type_name
from crystallize.fingerprint.hashing import content_of_path, digest_of_buffer
from crystallize.fingerprint.libraries import describe_known
from crystallize.fingerprint.lookups import known_name
from crystallize.fingerprint.project import asked_for, is_harmless, is_library_class, is_library_module, module_of
from crystallize.fingerprint.syntax import bytecode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crystallize.fingerprint.graph import Walk

__all__ = ["describe_value"]


def describe_value(walk: Walk, node: int, value: Any) -> None:
    """Describe any value, by its type."""
    kind = type(value)
    known = known_name(value)
    if known is not None:
        # Handed on, so that nobody knows what it is asked for.
        walk.fill_unknown(node, known)
        return
    if kind is dict and "__spec__" in value:
        module = sys.modules.get(str(value.get("__name__")))
        if module is not None and vars(module) is value:
            describe_module(walk, node, module)
            return
    describe = _DESCRIBERS.get(kind)
    if describe is None:
        describe = next((found for base, found in _BY_BASE if issubclass(kind, base)), _object)
    if kind not in _GUARDED and describe is not describe_class and not _is_constant(kind, value):
        walk.guards.hold = False
    describe(walk, node, value)


def _is_constant(kind: type, value: Any) -> bool:
    """Return whether a value that is none of the built-in ones can never change: a path, a date, a library's module."""
    if issubclass(kind, types.ModuleType):
        return is_library_module(value.__name__)
    return module_of(kind) in _CONSTANT_MODULES or issubclass(kind, (Logger, Path))


def _sequence(walk: Walk, node: int, value: Any) -> None:
    head = type(value).__name__.encode()
    if are_atoms(map(type, value)):
        walk.fill_plain(node, head, [marshal.dumps(list(value), 0)])
    else:
        walk.fill_plain(node, head, [walk.ref(item) for item in value])


def _set(walk: Walk, node: int, value: Any) -> None:
    walk.fill_plain(node, type(value).__name__.encode(), [walk.ref(item) for item in value], unordered=True)


def _mapping(walk: Walk, node: int, value: Mapping[Any, Any]) -> None:
    head = type(value).__name__.encode()
    if all(type(key) is str for key in value):
        names = sorted(value)
        values = [value[name] for name in names]
        flat = are_atoms(map(type, values))
        refs = [marshal.dumps(values, 0)] if flat else [walk.ref(item) for item in values]
        walk.fill_plain(node, head, [marshal.dumps(names, 0), *refs])
    else:
        walk.fill_plain(node, head, [walk.pair(key, item) for key, item in value.items()], unordered=True)


def _bytes(walk: Walk, node: int, value: Any) -> None:
    walk.fill(node, type(value).__name__.encode(), [walk.ref(bytes(value))])


def _ordered(walk: Walk, node: int, value: OrderedDict[Any, Any]) -> None:
    walk.fill_plain(node, b"ordered", [walk.pair(key, item) for key, item in value.items()])


def _attributes(*names: str) -> Callable[[Walk, int, Any], None]:
    def describe(walk: Walk, node: int, value: Any) -> None:
        walk.fill(node, type(value).__name__.encode(), [walk.ref(getattr(value, name)) for name in names])

    return describe


def _descriptor(walk: Walk, node: int, value: Any) -> None:
    walk.fill(node, b"named", [walk.ref(f"{type_name(value.__objclass__)}.{value.__name__}")])


def _member(walk: Walk, node: int, value: Any) -> None:
    walk.fill(node, b"member", [walk.ref(type(value)), walk.ref(value.name), walk.ref(value.value)])


def _object(walk: Walk, node: int, value: Any) -> None:
    says = asked_for(type(value), "__fingerprint__")
    if says is not None:
        walk.fill(node, b"says", [walk.ref(type(value)), walk.ref(says(value))])
        return
    try:
        if is_harmless(type(value)):
            walk.fill_live(node, type(value))
        elif not describe_known(walk, node, value):
            _reduced(walk, node, value)
    except Exception as problem:  # noqa: BLE001 - objects refuse in any way they like, and then it is said of them
        walk.fill_live(node, type(value), f"{type(problem).__name__} when looked at")


def _reduced(walk: Walk, node: int, value: Any) -> None:
    """Describe an object by what it would pickle, without pickling what that in turn refers to."""
    kind = type(value)
    library = is_library_class(kind)
    name = walk.global_name(value) if library else None
    if name is not None:
        walk.fill(node, b"named", [walk.ref(name)])
        return
    try:
        reducer = copyreg.dispatch_table.get(kind)
        made: Any = value.__reduce_ex__(4) if reducer is None else reducer(value)
        parts = None if isinstance(made, str) else _listed(*made)
    except Exception:  # noqa: BLE001 - objects refuse in any way they like
        _refusing(walk, node, value, library=library)
        return
    if parts is None:
        _named(walk, node, value, made)
        return
    rebuild, arguments, state, items, pairs = parts
    if issubclass(kind, (set, frozenset)) and kind.__reduce__ in _OF_SETS:
        # They give their items in a list, in the order of a set.
        contained: Any = walk.bag([walk.ref(item) for item in value])
    else:
        contained = walk.ref(arguments)
    state = _lasting_state(kind, state)
    if library and isinstance(state, dict):
        walk.own(node, kind, state)
    children = [walk.ref(kind), walk.ref(rebuild), contained, walk.ref(state), walk.ref(items)]
    if pairs is not None:
        refs = [walk.pair(key, item) for key, item in pairs]
        children.append(walk.ref(None) if not refs else walk.bag(refs))
        if issubclass(kind, OrderedDict):
            children += refs
    else:
        children.append(walk.ref(None))
    walk.fill(node, b"object", children)


def _listed(
    rebuild: Any, arguments: Any, state: Any = None, items: Any = None, pairs: Any = None, _setter: Any = None
) -> tuple[Any, ...]:
    return rebuild, arguments, state, None if items is None else list(items), None if pairs is None else list(pairs)


def _lasting_state(kind: type, state: Any) -> Any:
    """Leave out what says nothing of an object, of its attributes and, where it has some, of its slots."""
    if type(state) is tuple and len(state) == _WITH_SLOTS:
        return tuple(lasting(kind, part) if type(part) is dict else part for part in state)
    return lasting(kind, state) if type(state) is dict else state


def _refusing(walk: Walk, node: int, value: Any, *, library: bool) -> None:
    """Describe an object that refuses to be pickled: one of the project by its attributes, others by their type."""
    kind = type(value)
    members = readable_members(value)
    if members is not None:
        walk.fill(node, b"object", [walk.ref(kind), walk.ref(members)])
        return
    state = attributes_of(value)
    if library or not state:
        walk.fill_live(node, kind)
        return
    if _hides(kind):
        walk.note_live(node, kind)
    walk.fill(node, b"object", [walk.ref(kind), walk.ref(lasting(kind, state))])


def _named(walk: Walk, node: int, value: Any, name: str) -> None:
    """Describe an object whose reducer gives a name: by that, if a library has this very object under it."""
    kind = type(value)
    held = held_name(value, name)
    if held is not None:
        walk.fill(node, b"named", [walk.ref(held)])
        return
    state = lasting(kind, attributes_of(value))
    if module_of(kind) == "typing":
        says = [getattr(value, attribute, None) for attribute in _OF_TYPE_VARIABLES]
        walk.fill(node, b"type variable", [walk.ref(kind), walk.ref(says)])
        return
    if _hides(kind):
        walk.note_live(node, kind)
    walk.fill(node, b"object", [walk.ref(kind), walk.ref(name), walk.ref(state)])


def _hides(kind: type) -> bool:
    """Return whether objects of a class are larger than their attributes: something in them is kept in C."""
    slots = [each for base in kind.__mro__ for each in vars(base).values() if type(each) is types.MemberDescriptorType]
    pointers = len(slots) + (kind.__dictoffset__ > 0) + (kind.__weakrefoffset__ > 0)
    return bool(kind.__itemsize__) or kind.__basicsize__ > object.__basicsize__ + pointers * _POINTER


def _partial(walk: Walk, node: int, value: functools.partial[Any]) -> None:
    own = {k: v for k, v in attributes_of(value).items() if k not in ("func", "args", "keywords")}
    attributes = lasting(type(value), own)
    parts = [type(value), value.func, value.args, value.keywords, attributes]
    walk.fill(node, b"partial", [walk.ref(part) for part in parts])


def _cached(walk: Walk, node: int, value: Any) -> None:
    """Describe a function that remembers results: how many, and how it tells arguments apart, changes none of them."""
    attributes = lasting(type(value), {k: v for k, v in vars(value).items() if k != "cache_parameters"})
    walk.fill(node, b"wrapper", [walk.ref(type(value)), walk.ref(attributes)])


def _path(walk: Walk, node: int, value: Path) -> None:
    """Describe a path: as it is written, and by what lies there."""
    try:
        content = content_of_path(value)
    except OSError as problem:
        walk.guards.hold = False
        walk.fill_live(node, type(value), str(problem))
        return
    walk.guards.path(value, content)
    parts = [type(value), value.parts, getattr(value, "__dict__", None) or None, content]
    walk.fill(node, b"path", [walk.ref(part) for part in parts])


def _memory(walk: Walk, node: int, value: memoryview) -> None:
    try:
        parts = [value.format, value.shape, value.readonly, digest_of_buffer(value.tobytes())]
    except ValueError:  # it has been released
        walk.fill_live(node, memoryview, "released")
        return
    walk.fill(node, b"memoryview", [walk.ref(part) for part in parts])


def _weak_reference(walk: Walk, node: int, value: weakref.ref[Any]) -> None:
    walk.fill(node, b"weak", [walk.ref(type(value)), walk.ref(value())])


def _weak_proxy(walk: Walk, node: int, value: Any) -> None:
    try:
        target = value.__repr__.__self__
    except (ReferenceError, AttributeError):
        target = None
    walk.fill(node, b"weak", [walk.ref(type(value)), walk.ref(target)])


def _weak_mapping(walk: Walk, node: int, value: Mapping[Any, Any]) -> None:
    pairs = [walk.pair(key, item) for key, item in list(value.items())]
    walk.fill(node, b"weak", [walk.ref(type(value)), walk.bag(pairs)])


def _weak_set(walk: Walk, node: int, value: weakref.WeakSet[Any]) -> None:
    walk.fill(node, b"weak", [walk.ref(type(value)), walk.bag([walk.ref(item) for item in list(value)])])


def _running(walk: Walk, node: int, value: Any) -> None:
    walk.fill_live(node, type(value))


_DESCRIBERS: dict[type, Callable[[Walk, int, Any], None]] = {
    list: _sequence,
    tuple: _sequence,
    dict: _mapping,
    set: _set,
    frozenset: _set,
    bytearray: _bytes,
    memoryview: _memory,
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
    type(functools.lru_cache(len)): _cached,
    weakref.ProxyType: _weak_proxy,
    weakref.CallableProxyType: _weak_proxy,
    types.MethodDescriptorType: _descriptor,
    types.WrapperDescriptorType: _descriptor,
    types.ClassMethodDescriptorType: _descriptor,
    types.GetSetDescriptorType: _descriptor,
    types.MemberDescriptorType: _descriptor,
}
# They never change, or say themselves where to look.
_GUARDED = frozenset(
    {kind for kind in _DESCRIBERS if kind not in (list, dict, set, bytearray, memoryview, OrderedDict)}
    - {type({}.keys()), type({}.values()), type({}.items()), types.MappingProxyType, types.ModuleType}
)
_CONSTANT_MODULES = frozenset(
    {"datetime", "decimal", "fractions", "uuid", "pathlib", "pathlib._local", "re", "zoneinfo"}
)
_OF_SETS: tuple[Any, ...] = (set.__reduce__, frozenset.__reduce__)
_WITH_SLOTS = 2
_OF_TYPE_VARIABLES = (
    *("__name__", "__bound__", "__constraints__", "__covariant__", "__contravariant__", "__default__", "__supertype__"),
)
_POINTER = struct.calcsize("P")
_BY_BASE: tuple[tuple[type, Callable[[Walk, int, Any], None]], ...] = (
    (type, describe_class),
    (types.ModuleType, describe_module),
    (Enum, _member),
    (Path, _path),
    (functools.partial, _partial),
    (weakref.ref, _weak_reference),
    (weakref.WeakSet, _weak_set),
    (weakref.WeakKeyDictionary, _weak_mapping),
    (weakref.WeakValueDictionary, _weak_mapping),
    # Later versions of Python cannot look into them.
    *((kind, _running) for kind in vars(itertools).values() if isinstance(kind, type)),
)
