"""What functions, classes and modules consist of: their own code, and what of the project it refers to."""

from __future__ import annotations

import ast
import builtins
import functools
import os
import sys
from collections import deque
from enum import EnumMeta
from pathlib import Path, PurePath
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint.attributes import attributes_of, class_data, is_salted, lasting, stands_for
from crystallize.fingerprint.hashing import content_of
from crystallize.fingerprint.lookups import (
    Lookup,
    builtin_name,
    is_known,
    known_name,
    known_under,
    lookups,
    named_module,
    needs_a_look,
)
from crystallize.fingerprint.memo import ABSENT
from crystallize.fingerprint.project import (
    find_source,
    is_library_class,
    is_library_function,
    is_library_module,
    module_file,
    module_of,
    read_source,
)
from crystallize.fingerprint.syntax import (
    absolute_names,
    module_syntax,
    only_written,
    references,
    syntax,
    tree,
    written_function,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.fingerprint.graph import Ref, Walk

__all__ = ["describe_builtin", "describe_class", "describe_function", "describe_module", "describe_source"]

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
    else:
        walk.name(name, node, function)
        if "__subclasses__" in references(code).names:
            walk.asks_for_subclasses()
        parts += [syntax(code)]
        parts += [part for path in references(code).global_paths for part in _global(walk, function, path)]
        found = _lookups(function)
        folders = [each.name for each in found if each.kind == "path"]
        package = function.__globals__.get("__package__") or ""
        for module, level, names in references(code).imports:
            parts += _imported(walk, absolute_names(module, level, names, package), folders=folders)
        for each in found:
            parts += _looked_up(walk, each, name, package, folders, function)
    decides = stands_for(function) if library else None
    if decides is None:
        parts += _closure(walk, function)
        attributes = dict(vars(function))
    else:
        walk.guards.hold = False
        attributes = decides
    if attributes:
        parts += [b"attributes", walk.ref(attributes)]
    walk.fill(node, b"function", parts)


def _resolves(function: Any) -> bool:
    """Return whether an import by name gives this very function."""
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function and is_library_module(function.__module__)


def _global(walk: Walk, function: FunctionType, path: tuple[str, ...]) -> Iterator[Ref]:
    name, *attributes = path
    yield walk.ref(name)
    value = function.__globals__.get(name, ABSENT)
    walk.guards.name(function.__globals__, name, value)
    if known_under(value, path[1:]) is not None:
        return  # what it is asked for is looked at
    if name in _PLACE or value is ABSENT:
        yield b"builtin" if hasattr(builtins, name) else b"absent"
    elif _is_output(function, name, value):
        yield walk.ref(str(value))
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
            if known_under(value, tuple(attributes)) is not None:
                continue
            if _is_output(function, name, value):
                yield walk.ref(str(value))
                continue
            yield from _followed(walk, f"{function.__module__}.{function.__qualname__}.{name}", value, attributes)


def _is_output(function: FunctionType, name: str, value: Any) -> bool:
    """Return whether a name stands for a path that the function only writes to: what lies there is no part of it."""
    return isinstance(value, PurePath) and not is_library_function(function) and name in only_written(function.__code__)


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
        if not isinstance(value, ModuleType) or attribute == "__dict__" or is_library_module(value.__name__):
            break
        label = f"{value.__name__}.{attribute}"
        walk.guards.name(vars(value), attribute, vars(value).get(attribute, ABSENT))
        if attribute in vars(value):
            value = vars(value)[attribute]
            continue
        # The module may make it now, as the code that asks for it will have it do.
        walk.guards.hold = False
        try:
            value = getattr(value, attribute)
        except AttributeError:
            yield b"absent"
            return
        except Exception as error:  # noqa: BLE001 - code of the project, which may fail in any way
            yield walk.unknown(label, f"cannot be had ({type(error).__name__})")
            return
    reference = walk.ref(value, label)
    if not isinstance(value, (ModuleType, FunctionType, type)):
        walk.name(label, reference, value)
    yield reference


def describe_class(walk: Walk, node: int, kind: type) -> None:
    """Describe a class: by name if it is a library's, else by its bases and everything that its body made."""
    name = f"{module_of(kind)}.{kind.__qualname__}"
    if is_library_class(kind):
        walk.fill(node, b"named", [walk.ref(name)])
        return
    if not is_library_module(module_of(kind)):
        walk.name(name, node, kind)
    walk.guards.kind(kind)
    parts: list[Ref] = [walk.ref(type(kind)), walk.ref(kind.__bases__)]
    attributes: list[tuple[str, Any]] = sorted(vars(kind).items())
    if isinstance(kind, EnumMeta):
        members: list[Any] = list(kind.__members__.values())
        added = [_set_on(kind, member) for member in members]
        if any(added):
            walk.guards.hold = False  # the class does not tell of them
        said = zip(members, added, strict=True)
        parts += [walk.ref([(each.name, each.value, more) if more else (each.name, each.value) for each, more in said])]
        attributes = [(name, value) for name, value in attributes if _is_code(value)]
        # What a flag does with values that it does not know.
        parts += [walk.ref(boundary) for boundary in (vars(kind).get("_boundary_"),) if boundary is not None]
    else:
        for key, value in class_data(kind):
            if not _is_code(value):
                parts += [walk.ref(key), walk.ref(value, f"{name}.{key}")]
    for key, value in attributes:
        if key == "_abc_impl" or (_is_dunder(key) and not _is_code(value)) or is_salted(value):
            continue
        if isinstance(value, functools.cached_property):
            value = value.func  # noqa: PLW2901 - the same attribute, without its lock
        parts += [walk.ref(key), walk.ref(value, f"{name}.{key}")]
    # Annotations make fields: of dataclasses and of everything that is like them.
    annotations = vars(kind).get("__annotations__")
    parts += [walk.ref(list(annotations.items()) if isinstance(annotations, dict) else [])]
    walk.fill(node, b"class", parts)
    walk.kind(node, kind)


def _set_on(kind: type, member: Any) -> dict[str, Any]:
    """Return what a member of an enumeration holds beside its value."""
    return {name: item for name, item in lasting(kind, attributes_of(member)).items() if not name.startswith("_")}


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
        return
    walk.guards.hold = False
    # What it holds may have been changed since its source was executed. Objects of Crystallize say what is run.
    holds = {
        name: value
        for name, value in vars(module).items()
        if not (_is_dunder(name) or isinstance(value, ModuleType) or known_name(value))
        and not module_of(type(value)).startswith("crystallize")
    }
    source = _imported(walk, [module.__name__]) if module_file(module) else []
    walk.fill(node, b"module", [*source, walk.ref(holds)])


def _lookups(function: FunctionType) -> list[Lookup]:
    """Find what a function gets at by a name while it runs."""
    used = references(function.__code__)
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))

    def value_of(path: tuple[str, ...]) -> Any:
        try:
            return cells[path[0]].cell_contents if path[0] in cells else function.__globals__.get(path[0], ABSENT)
        except ValueError:  # not yet assigned
            return ABSENT

    def resolve(path: tuple[str, ...]) -> str | None:
        value = value_of(path)
        return builtin_name(path) if value is ABSENT else named_module(value, path[1:])

    def constant(path: tuple[str, ...]) -> str | None:
        value = value_of(path)
        for attribute in path[1:]:
            value = vars(value).get(attribute) if isinstance(value, (ModuleType, type)) else None
        return os.fspath(value) if isinstance(value, (str, Path)) else None

    paths = (*used.global_paths, *used.free_paths)
    known = [path for path in paths if known_under(value_of(path), path[1:]) is not None]
    if not (known or needs_a_look(used.names)):
        return []
    node = written_function(function.__code__)
    if node is not None:
        return lookups(node, resolve, constant)
    # Without its source nobody sees what is asked for.
    known += [path for path in used.global_paths if is_known(resolve(path)) and path not in known]
    return [Lookup("unknown", ".".join(path)) for path in known]


def _looked_up(
    walk: Walk, found: Lookup, where: str, package: str, folders: list[str], function: FunctionType | None = None
) -> Iterator[Ref]:
    """Describe what code gets at by a name."""
    kind, name = found.kind, found.name
    if kind == "unknown":
        yield walk.unknown(where, name)
    elif kind in ("global", "own", "attribute"):
        if function is not None:  # a module that is known by its source holds no more than that
            yield from _named(walk, found, function)
    else:
        walk.guards.hold = False  # neither files nor the environment tell when they change
        if kind == "variable":
            yield walk.ref([name, os.environ.get(name)])
        elif kind == "file":
            yield walk.source(name, name) if Path(name).is_file() else b"absent"
        elif kind == "code":
            yield from _executed(walk, name, where, package, folders, function)
        elif kind == "import" and function is not None and name == function.__globals__.get("__name__"):
            yield _own(walk, function)
        elif kind == "import":
            name, level = name.partition(":")[0], len(name) - len(name.lstrip("."))
            yield from _imported(walk, absolute_names(name[level:], level, (), found.of or package), folders=folders)


def _named(walk: Walk, found: Lookup, function: FunctionType) -> Iterator[Ref]:
    """Describe what a function gets at by a name in a module that is there."""
    if found.kind == "own":
        yield _own(walk, function)
    elif found.kind == "global":
        yield from _global(walk, function, (found.name,))
    else:
        yield from _global(walk, function, (*found.of.split("."), found.name))


def _own(walk: Walk, function: FunctionType) -> Ref:
    """Describe everything that a function's module holds."""
    module = sys.modules.get(str(function.__globals__.get("__name__")))
    whole = module is not None and vars(module) is function.__globals__
    return walk.ref(module if whole else {k: v for k, v in function.__globals__.items() if not _is_dunder(k)})


def _executed(
    walk: Walk, text: str, where: str, package: str, folders: list[str], function: FunctionType | None
) -> Iterator[Ref]:
    """Describe what a text refers to that code executes."""
    try:
        parsed, code = ast.parse(text.strip()), compile(text.strip(), "<text>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        yield walk.ref(text)
        return
    used = references(code)
    for module, level, names in used.imports:
        yield from _imported(walk, absolute_names(module, level, names, package), folders=folders)
    if function is not None:
        for path in used.global_paths:
            yield from _global(walk, function, path)
    for each in lookups(parsed, builtin_name, lambda _: None):
        yield from _looked_up(walk, each, where, package, folders, function)


def _imported(walk: Walk, names: list[str], importer: str = "", folders: Sequence[str] = ()) -> list[Ref]:
    """Describe modules that code imports while it runs, by source: whether they are loaded by now must not matter."""
    found: list[Ref] = []
    top = importer.partition(".")[0]
    if getattr(sys.modules.get(top), "__crystallize_folder__", False):
        # The modules of an experiment's folder import each other by their bare names.
        names = [f"{top}.{name}" if f"{top}.{name}" in sys.modules else name for name in names]
    for name in names:
        if is_library_module(name):
            return [walk.ref(name)]
        # With the packages that it is in, which are imported before it.
        for end in [at for at, letter in enumerate(name) if letter == "."] + [len(name)]:
            part = name[:end]
            file = module_file(sys.modules.get(part)) or find_source(part, folders)
            if file is not None:
                walk.guards.hold = False  # a file may be edited at any time
                found.append(walk.source(part, file))
    return found or [walk.ref(names)]


def describe_source(walk: Walk, node: int, module: tuple[str, str]) -> None:
    """Describe a module of the project, given by name and file: its source, and what of the project it imports."""
    name, file = module
    walk.name(name, node, Path(file))
    try:
        text = read_source(name, file)
        imports = [item for item in ast.walk(tree(text)) if isinstance(item, (ast.Import, ast.ImportFrom))]
        parts: list[Ref] = [module_syntax(text)]
    except (OSError, SyntaxError, ValueError, RecursionError):
        walk.fill(node, b"file", [walk.ref(content_of(file))])
        return
    package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
    own: dict[tuple[str, ...], str] = {("__name__",): name, ("__package__",): package, ("__file__",): file}
    looks = lookups(tree(text), builtin_name, own.get, whole=True)
    folders = [each.name for each in looks if each.kind == "path"]
    for item in imports:
        level = getattr(item, "level", 0)
        listed = tuple(alias.name for alias in item.names)
        if isinstance(item, ast.ImportFrom):
            parts += _imported(walk, absolute_names(item.module or "", level, listed, package), name, folders)
        else:
            parts += [part for one in listed for part in _imported(walk, [one], name, folders)]
    for each in looks:
        parts += _looked_up(walk, each, name, package, folders)
    walk.fill(node, b"source", parts)
