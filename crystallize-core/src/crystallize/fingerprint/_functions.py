"""What functions, classes and modules consist of: their own code, and what of the project it refers to."""

from __future__ import annotations

import ast
import builtins
import functools
import sys
from collections import deque
from enum import EnumMeta
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint._files import content_of
from crystallize.fingerprint._memo import ABSENT
from crystallize.fingerprint._project import (
    find_source,
    is_library_function,
    is_library_module,
    module_file,
    module_of,
)
from crystallize.fingerprint._references import absolute_names, references
from crystallize.fingerprint._syntax import module_syntax, syntax, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.fingerprint._graph import Ref
    from crystallize.fingerprint._walk import Walk

__all__ = ["describe_builtin", "describe_class", "describe_function", "describe_module"]

# Where a module lies and how it was loaded is no part of what its functions do.
_PLACE = {"__builtins__", "__cached__", "__file__", "__loader__", "__name__", "__package__", "__path__", "__spec__"}
# What only fills a container, and says nothing of what is in it.
_FILLING: dict[type, frozenset[str]] = {
    list: frozenset({"append", "clear", "extend", "insert"}),
    set: frozenset({"add", "clear", "discard", "update"}),
    dict: frozenset({"clear", "update"}),
    deque: frozenset({"append", "appendleft", "clear", "extend", "extendleft"}),
}


def describe_function(walk: Walk, node: int, function: FunctionType) -> None:
    """Describe a function: code, defaults, closure and, where it is the project's, what it refers to."""
    name = f"{function.__module__}.{function.__qualname__}"
    library = is_library_function(function)
    if library and _resolves(function):
        walk.fill(node, b"named", [walk.ref(name)])
        return
    code = function.__code__
    walk.guards.function(function)
    parts: list[Ref] = [walk.ref(function.__defaults__), walk.ref(function.__kwdefaults__)]
    if library:
        # Made by a library, by a decorator say: known by name, with what it holds of the project.
        made_in = function.__globals__.get("__name__")
        parts += [walk.ref(f"{made_in}.{getattr(code, 'co_qualname', code.co_name)}")]
        walk.guards.name(function.__dict__, "__wrapped__", function.__dict__.get("__wrapped__", ABSENT))
        parts += [walk.ref(function.__dict__.get("__wrapped__"))]
    else:
        walk.name(name, node, function)
        parts += [syntax(code)]
        parts += [part for path in references(code).global_paths for part in _global(walk, function, path)]
        package = function.__globals__.get("__package__") or ""
        for module, level, names in references(code).imports:
            parts += _imported(walk, absolute_names(module, level, names, package))
    parts += _closure(walk, function)
    walk.fill(node, b"function", parts)


def _resolves(function: Any) -> bool:
    """Whether an import by name gives this very function."""
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function and is_library_module(function.__module__)


def _global(walk: Walk, function: FunctionType, path: tuple[str, ...]) -> Iterator[Ref]:
    name, *attributes = path
    yield walk.ref(name)
    value = function.__globals__.get(name, ABSENT)
    walk.guards.name(function.__globals__, name, value)
    if name in _PLACE or value is ABSENT:
        yield b"builtin" if hasattr(builtins, name) else b"absent"
    else:
        yield from _followed(walk, f"{function.__globals__.get('__name__')}.{name}", value, attributes)


def _closure(walk: Walk, function: FunctionType) -> Iterator[Ref]:
    code = function.__code__
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=False))
    paths = references(code).free_paths if not is_library_function(function) else ()
    used = {path[0] for path in paths}
    for name, *attributes in sorted([*paths, *((name,) for name in cells if name not in used)]):
        yield walk.ref(name)
        try:
            value = cells[name].cell_contents
        except ValueError:
            walk.guards.cell(cells[name], ABSENT)
            yield b"empty"
        else:
            walk.guards.cell(cells[name], value)
            yield from _followed(walk, f"{function.__module__}.{function.__qualname__}.{name}", value, attributes)


def _followed(walk: Walk, label: str, value: Any, attributes: list[str]) -> Iterator[Ref]:
    """Follow attributes through modules of the project, to what is really used."""
    if attributes and attributes[0] in _FILLING.get(type(value), ()):
        # Code that only fills a container (counts its calls, say) gives the same whatever is in there.
        yield walk.ref(type(value))
        return
    for attribute in attributes:
        if type(value) is FunctionType:
            walk.guards.name(vars(value), attribute, vars(value).get(attribute, ABSENT))
            if attribute in vars(value):
                yield walk.ref(vars(value)[attribute], f"{label}.{attribute}")
        if not isinstance(value, ModuleType) or is_library_module(value.__name__):
            break
        label = f"{value.__name__}.{attribute}"
        walk.guards.name(vars(value), attribute, vars(value).get(attribute, ABSENT))
        if attribute not in vars(value):
            yield b"absent"
            return
        value = vars(value)[attribute]
    reference = walk.ref(value, label)
    if not isinstance(value, (ModuleType, FunctionType, type)):
        walk.name(label, reference, value)
    yield reference


def describe_class(walk: Walk, node: int, kind: type) -> None:
    """Describe a class: by name if it is a library's, else by its bases and everything that its body made."""
    name = f"{module_of(kind)}.{kind.__qualname__}"
    if is_library_module(module_of(kind)):
        walk.fill(node, b"named", [walk.ref(name)])
        return
    walk.name(name, node, kind)
    walk.guards.kind(kind)
    parts: list[Ref] = [walk.ref(type(kind)), walk.ref(kind.__bases__)]
    attributes: list[tuple[str, Any]] = sorted(vars(kind).items())
    if isinstance(kind, EnumMeta):
        members: list[Any] = list(kind.__members__.values())
        parts += [walk.ref([(member.name, member.value) for member in members])]
        attributes = [(name, value) for name, value in attributes if _is_code(value)]
    for key, value in attributes:
        if key == "_abc_impl" or (_is_dunder(key) and not _is_code(value)):
            continue
        if isinstance(value, functools.cached_property):
            value = value.func  # noqa: PLW2901 - the same attribute, without its lock
        parts += [walk.ref(key), walk.ref(value, f"{name}.{key}")]
    # Annotations make fields: of dataclasses and of everything that is like them.
    annotations = vars(kind).get("__annotations__") or {}
    parts += [walk.ref(list(annotations.items()))]
    walk.fill(node, b"class", parts)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_code(value: object) -> bool:
    return isinstance(value, (FunctionType, property, classmethod, staticmethod, functools.cached_property))


def describe_builtin(walk: Walk, node: int, value: Any) -> None:
    """Describe a function or a method that is written in C."""
    owner = getattr(value, "__self__", None)
    name = getattr(value, "__qualname__", None) or value.__name__
    if owner is None or isinstance(owner, ModuleType):
        module = str(getattr(value, "__module__", None) or getattr(owner, "__name__", ""))
        parts = [walk.ref(f"{module}.{name}")]
        file = None if is_library_module(module) else module_file(sys.modules.get(module))
        # An extension module of the project: its code cannot be read, its file can.
        walk.fill(node, b"named", [*parts, walk.ref(content_of(file))] if file else parts)
    else:
        walk.fill(node, b"method", [walk.ref(name), walk.ref(owner)])


def describe_module(walk: Walk, node: int, module: ModuleType) -> None:
    """Describe a module that is used as a whole."""
    if is_library_module(module.__name__):
        walk.fill(node, b"named", [walk.ref(module.__name__)])
    elif module_file(module):
        walk.fill(node, b"module", _imported(walk, [module.__name__]))
    else:
        walk.fill(node, b"module", [walk.ref({k: v for k, v in vars(module).items() if not _is_dunder(k)})])


def _imported(walk: Walk, names: list[str], importer: str = "") -> list[Ref]:
    """Describe modules that code imports while it runs, by source: whether they are loaded by now must not matter."""
    found: list[Ref] = []
    top = importer.partition(".")[0]
    if getattr(sys.modules.get(top), "__crystallize_folder__", False):
        # The modules of an experiment's folder import each other by their bare names.
        names = [f"{top}.{name}" if f"{top}.{name}" in sys.modules else name for name in names]
    for name in names:
        if is_library_module(name):
            return [walk.ref(name)]
        file = module_file(sys.modules.get(name)) or find_source(name)
        if file is not None:
            walk.guards.hold = False  # a file may be edited at any time
            found.append(walk.source(name, file))
    return found or [walk.ref(names)]


def describe_source(walk: Walk, node: int, module: tuple[str, str]) -> None:
    """Describe a module of the project, given by name and file: its source, and what of the project it imports."""
    name, file = module
    walk.name(name, node, Path(file))
    try:
        text = Path(file).read_text(encoding="utf-8")
        imports = [item for item in ast.walk(tree(text)) if isinstance(item, (ast.Import, ast.ImportFrom))]
        parts: list[Ref] = [module_syntax(text)]
    except (OSError, SyntaxError, ValueError, RecursionError):
        walk.fill(node, b"file", [walk.ref(content_of(file))])
        return
    package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
    for item in imports:
        level = getattr(item, "level", 0)
        listed = tuple(alias.name for alias in item.names)
        if isinstance(item, ast.ImportFrom):
            parts += _imported(walk, absolute_names(item.module or "", level, listed, package), name)
        else:
            parts += [part for one in listed for part in _imported(walk, [one], name)]
    walk.fill(node, b"source", parts)
