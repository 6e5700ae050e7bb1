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

from crystallize.fingerprint.project import is_library_function, is_library_module, module_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
_NO_CODE = frozenset({bool, int, float, complex, str, bytes})
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


Watched = list[tuple["Iterable[Any]", tuple[Any, ...]]]
"""What was looked into, and what was in it; of a mapping a view of its values."""


class _Searched(NamedTuple):
    """What was found in a module or a class."""

    holder: Any
    """Kept, so that nothing else takes its identifier."""
    watched: Watched
    kinds: dict[int, type]
    """The classes that a module holds, by identifier."""
    found: tuple[tuple[str, list[tuple[str, Any]]], ...]


def added_to_libraries() -> dict[str, tuple[str, list[tuple[str, Any]]]]:
    """Return the functions and classes of the project that loaded libraries hold.

    Returns
    -------
    dict of str to (str, list of (str, object))
        By place, such as ``"pandas.DataFrame.house"``, sorted: the name by which it is used there, and what it is, one
        or more by names of their own.
    """
    modules = {name: each for name, each in dict[str, Any](sys.modules).items() if isinstance(each, ModuleType)}
    project = {name for name, module in modules.items() if _is_projects(name, module)}
    found: dict[str, tuple[str, list[tuple[str, Any]]]] = {}
    kinds: dict[int, type] = {}
    handed_on: set[tuple[str, tuple[int, ...]]] = set()
    for name, module in sorted(modules.items()):
        if name in project or name.partition(".")[0] in _NOT_LOOKED_AT:
            continue
        searched = _search(module, project)
        kinds |= searched.kinds
        for attribute, value in searched.found:
            # Modules hand on what others hold; which of them are loaded makes no difference.
            same = (attribute, tuple(id(each) for _, each in value))
            if same not in handed_on:
                handed_on.add(same)
                found[f"{name}.{attribute}"] = (attribute, value)
    for kind in kinds.values():
        for attribute, value in _search(kind, project).found:
            if module_of(kind) not in project:
                place = f"{module_of(kind)}.{kind.__qualname__}.{attribute}"
                found[place] = (place, value)
    return dict(sorted(found.items()))


def may_have_added(count: int) -> bool:
    """Return whether a module of the project is among those that were loaded after the first `count` ones."""
    return any(not is_library_module(name) for name in list(islice(sys.modules, count, None)))


def _is_projects(name: str, module: ModuleType) -> bool:
    known = _known.get(name)
    if known is None or known[0] is not module:
        known = _known[name] = (module, not (is_library_module(name) or name.startswith(_SHARED)))
    return known[1]


def _search(holder: Any, project: set[str]) -> _Searched:
    """Return what of the project a module or a class of a library holds."""
    known = _seen.get(id(holder))
    if known is not None and not known.found and _is_unchanged(known.watched):
        return known
    names = vars(holder)
    watched: Watched = []
    _watch(names, watched)
    kinds: dict[int, type] = {}
    found: list[tuple[str, list[tuple[str, Any]]]] = []
    for name, value in list(names.items()):
        if type(value) in _PLAIN or name in _OWN:
            continue
        held = _held(value, project, watched)
        if held:
            found.append((name, held))
        if isinstance(value, type) and isinstance(holder, ModuleType):
            kinds[id(value)] = value
    searched = _seen[id(holder)] = _Searched(holder, watched, kinds, tuple(found))
    return searched


def _watch(container: Any, watched: Watched) -> None:
    """Note what is in a container, if that can change."""
    kind = type(container)
    if kind is not tuple:
        items = container if kind is list or kind is set else container.values()
        was = tuple(items)
        # Tables of names and numbers are many, and nobody puts code into them.
        if not was or not _NO_CODE.issuperset(map(type, was)):
            watched.append((items, was))


def _is_unchanged(watched: Watched) -> bool:
    """Return whether the very same objects are in all containers, or equal ones."""
    try:
        return all(tuple(items) == was for items, was in watched)
    except Exception:  # noqa: BLE001 - anything may be compared, which may fail in any way
        return False


def _held(value: Any, project: set[str], watched: Watched) -> list[tuple[str, Any]]:
    """Return what of the project something is, or holds; note the containers that were looked into."""
    kind = type(value)
    held: Mapping[str, Any] = {}
    if kind is FunctionType or isinstance(value, type):
        if value.__module__ in project:
            return [] if kind is FunctionType and is_library_function(value) else [("", value)]
        held = vars(value) if kind is FunctionType else {}
    elif kind.__module__ in project or (kind in _PARTIAL and _belongs(value.func, project)):
        return [("", value)]
    elif kind in _CONTAINERS:
        held = {"": value}
    elif kind in _HELD:
        held = {name: getattr(value, name, None) for name in _HELD[kind]}
    elif kind.__dictoffset__:
        with suppress(Exception):  # anything may answer in any way
            held = vars(value)
    if not held:
        return []
    if type(held) is dict and kind not in _CONTAINERS and kind not in _HELD and "__wrapped__" not in held:
        _watch(held, watched)
    return [found for name, each in list(held.items()) for found in _in_it(name, each, project, watched)]


def _in_it(name: str, value: Any, project: set[str], watched: Watched) -> Iterator[tuple[str, Any]]:
    """Yield the functions and classes of the project that something is, or has in it where it is a container."""
    kind = type(value)
    if kind in _CONTAINERS:
        if len(value) > _MOST:
            return
        _watch(value, watched)
        for key, each in list(value.items()) if kind in _MAPPINGS else [("", each) for each in value]:
            if _belongs(each, project) or _belongs(key, project):
                yield key if isinstance(key, str) else getattr(key, "__qualname__", ""), each
    elif _belongs(value, project):
        yield name, value


def _belongs(value: Any, project: set[str]) -> bool:
    return (type(value) is FunctionType or isinstance(value, type)) and value.__module__ in project
