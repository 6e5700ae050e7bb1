"""Functions and classes of the project that were added to libraries: accessors, replaced methods, registered handlers.

Code that uses such a thing does not refer to it: ``frame.house.total()`` may run a class of the project that no name
in the code leads to. So libraries are searched for what belongs to the project, all of them: what they call by
themselves counts as well. To look at a hundred thousand attributes takes tenths of a second, so only modules and
classes whose attributes are others than before are looked at again.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial, partialmethod
from itertools import islice
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.fingerprint._project import is_library_function, is_library_module, module_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["added_to_libraries", "may_have_added"]

# Libraries that hold what runs, or what was imported, and hand nothing of it to a step.
_NOT_LOOKED_AT = frozenset(
    {
        "_pytest", "asyncio", "atexit", "cloudpickle", "concurrent", "crystallize", "crystallize_cli",
        "crystallize_plugins", "gc", "importlib", "inspect", "IPython", "ipykernel", "linecache", "logging",
        "multiprocessing", "pluggy", "pytest", "signal", "sys", "threading", "unittest", "weakref",
    }
)  # fmt: skip
# What C extensions share, and belongs to nobody.
_SHARED = ("_cython_", "cython_runtime")
_PLAIN = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, ModuleType, BuiltinFunctionType, MethodDescriptorType,
        WrapperDescriptorType, GetSetDescriptorType, MemberDescriptorType, ClassMethodDescriptorType,
    }
)  # fmt: skip
_MAPPINGS = frozenset({dict, MappingProxyType})
_CONTAINERS = frozenset({list, set, tuple}) | _MAPPINGS
_HELD: dict[type, tuple[str, ...]] = {
    staticmethod: ("__func__",), classmethod: ("__func__",), property: ("fget",),
    MethodType: ("__func__", "__self__"),
}  # fmt: skip
_PARTIAL = (partial, partialmethod)
_MOST = 2000
_OWN = frozenset({"__builtins__", "__spec__", "__loader__"})


_seen: dict[int, _Searched] = {}
_known: dict[str, tuple[Any, bool]] = {}


class _Searched(NamedTuple):
    """What was found in a module or a class."""

    holder: Any
    """Kept, so that nothing else takes its identifier."""
    mark: tuple[int, ...]
    """Which objects are in it, and how many in its containers."""
    containers: tuple[Any, ...]
    found: tuple[tuple[str, list[tuple[str, Any]]], ...]


def added_to_libraries() -> dict[str, tuple[str, list[tuple[str, Any]]]]:
    """Give the functions and classes of the project that loaded libraries hold.

    Returns
    -------
    dict of str to (str, list of (str, object))
        By place, such as ``"pandas.DataFrame.house"``, sorted: the name by which it is used there, and what it is, one
        or more by names of their own.
    """
    modules = {name: each for name, each in dict[str, Any](sys.modules).items() if isinstance(each, ModuleType)}
    project = {name for name, module in modules.items() if _is_projects(name, module)}
    found: dict[str, tuple[str, list[tuple[str, Any]]]] = {}
    done: set[int] = set()
    handed_on: set[tuple[str, tuple[int, ...]]] = set()
    for name, module in sorted(modules.items()):
        if name in project or name.partition(".")[0] in _NOT_LOOKED_AT:
            continue
        for attribute, value in _search(module, project):
            # Modules hand on what others hold; which of them are loaded makes no difference.
            same = (attribute, tuple(id(each) for _, each in value))
            if same not in handed_on:
                handed_on.add(same)
                found[f"{name}.{attribute}"] = (attribute, value)
        for kind in [each for each in list(vars(module).values()) if isinstance(each, type) and id(each) not in done]:
            done.add(id(kind))
            if module_of(kind) not in project:
                for attribute, value in _search(kind, project):
                    place = f"{module_of(kind)}.{kind.__qualname__}.{attribute}"
                    found[place] = (place, value)
    return dict(sorted(found.items()))


def may_have_added(count: int) -> bool:
    """Whether a module of the project is among those that were loaded after the first `count` ones."""
    return any(not is_library_module(name) for name in list(islice(sys.modules, count, None)))


def _is_projects(name: str, module: ModuleType) -> bool:
    known = _known.get(name)
    if known is None or known[0] is not module:
        known = _known[name] = (module, not (is_library_module(name) or name.startswith(_SHARED)))
    return known[1]


def _search(holder: Any, project: set[str]) -> tuple[tuple[str, list[tuple[str, Any]]], ...]:
    """Give what of the project a module or a class of a library holds."""
    known = _seen.get(id(holder))
    names = vars(holder)
    if known is not None and known.holder is holder and known.mark == _mark(names, known.containers):
        return known.found
    names = {name: value for name, value in list(names.items()) if name not in _OWN and type(value) not in _PLAIN}
    containers = tuple(each for each in names.values() if type(each) in _CONTAINERS)
    looked_at = ((name, _held(value, project)) for name, value in names.items())
    found = tuple((name, held) for name, held in looked_at if held)
    _seen[id(holder)] = _Searched(holder, _mark(vars(holder), containers), containers, found)
    return found


def _mark(names: Mapping[str, Any], containers: tuple[Any, ...]) -> tuple[int, ...]:
    return (hash(tuple(map(id, list(names.values())))), *map(len, containers))


def _held(value: Any, project: set[str]) -> list[tuple[str, Any]]:
    """Give what of the project something is, or holds."""
    kind = type(value)
    if kind is FunctionType or isinstance(value, type):
        if value.__module__ in project:
            return [] if kind is FunctionType and is_library_function(value) else [("", value)]
        held = dict(vars(value)) if kind is FunctionType else {}
    elif kind.__module__ in project or (kind in _PARTIAL and _belongs(value.func, project)):
        return [("", value)]
    elif kind in _CONTAINERS:
        held = {"": value}
    else:
        held = {name: getattr(value, name, None) for name in _HELD.get(kind, ())}
        if kind.__dictoffset__:
            with suppress(Exception):  # anything may answer in any way
                held.update(vars(value))
    return [found for name, each in held.items() for found in _in_it(name, each, project)] if held else []


def _in_it(name: str, value: Any, project: set[str]) -> Iterator[tuple[str, Any]]:
    """Give the functions and classes of the project that something is, or has in it where it is a container."""
    kind = type(value)
    if kind in _CONTAINERS and 0 < len(value) <= _MOST:
        items = list(value.items()) if kind in _MAPPINGS else [("", each) for each in value]
        if type(items[0][1]) not in _PLAIN:
            for key, each in items:
                if _belongs(each, project) or _belongs(key, project):
                    yield key if isinstance(key, str) else getattr(key, "__qualname__", ""), each
    elif _belongs(value, project):
        yield name, value


def _belongs(value: Any, project: set[str]) -> bool:
    return (type(value) is FunctionType or isinstance(value, type)) and value.__module__ in project
