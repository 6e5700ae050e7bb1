"""What values of each type consist of: containers, descriptors, objects by what they would pickle."""

from __future__ import annotations

import copyreg
import functools
import inspect
import marshal
import sys
import types
from collections import OrderedDict
from enum import Enum
from logging import Logger
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint._arrays import describe_array
from crystallize.fingerprint._classes import readable_members
from crystallize.fingerprint._functions import describe_builtin, describe_class, describe_function, describe_module
from crystallize.fingerprint._harmless import is_harmless
from crystallize.fingerprint._lookups import known_name
from crystallize.fingerprint._project import is_library_module, module_of
from crystallize.fingerprint._syntax import bytecode
from crystallize.fingerprint._walk import are_atoms, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crystallize.fingerprint._walk import Walk

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
    """Whether a value that is none of the built-in ones can never change: a path, a date, a library's module."""
    if issubclass(kind, types.ModuleType):
        return is_library_module(value.__name__)
    return module_of(kind) in _CONSTANT_MODULES or isinstance(value, Logger)


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
    kind = type(value)
    says = getattr(kind, "__fingerprint__", None)
    if says is not None:
        walk.fill(node, b"says", [walk.ref(kind), walk.ref(says(value))])
    elif module_of(kind) in ("weakref", "_weakref"):
        walk.fill(node, b"weak", [walk.ref(kind)])
    elif module_of(kind) == "itertools" or is_harmless(kind):
        walk.fill_live(node, kind)  # later versions of Python cannot look into those of itertools
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
        state = readable_members(value) if library else getattr(value, "__dict__", None)
        if not state:
            walk.fill_live(node, kind)
        else:
            walk.fill(node, b"object", [walk.ref(kind), walk.ref(_lasting(kind, state))])
        return
    if isinstance(made, str):
        walk.fill(node, b"named", [walk.ref(f"{module_of(kind)}.{made}")])
        return
    rebuild, arguments, state, items, pairs = made
    if isinstance(state, dict):
        state = _lasting(kind, state)
        if library:
            walk.own(node, kind, state)
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
# They never change, or say themselves where to look.
_GUARDED = frozenset(
    {kind for kind in _DESCRIBERS if kind not in (list, dict, set, bytearray, memoryview, OrderedDict)}
    - {type({}.keys()), type({}.values()), type({}.items()), types.MappingProxyType, types.ModuleType}
)
_CONSTANT_MODULES = frozenset(
    {"datetime", "decimal", "fractions", "uuid", "pathlib", "pathlib._local", "re", "zoneinfo"}
)
_BY_BASE: tuple[tuple[type, Callable[[Walk, int, Any], None]], ...] = (
    (type, describe_class),
    (types.ModuleType, describe_module),
    (Enum, _member),
)
