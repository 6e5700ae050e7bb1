"""What belongs to the project, and is tracked by content, and what to a library, and is known by name."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import sysconfig
import tokenize
from logging import Filter, Handler, LoggerAdapter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import importlib.machinery
    from collections.abc import Sequence
    from types import FunctionType, ModuleType

__all__ = [
    "asked_for",
    "find_source",
    "found_by_name",
    "is_harmless",
    "is_library_class",
    "is_library_file",
    "is_library_function",
    "is_library_module",
    "library_name",
    "module_file",
    "module_of",
    "read_source",
]

# Installed from a checkout they lie outside site-packages, and are no less a library.
_OWN = ("crystallize", "crystallize_plugins", "crystallize_cli")
_INSTALLED = {"site-packages", "dist-packages"}
# Set for classes that were made while the program ran: by a class statement, a call of `type`, or an extension module.
_HEAP_TYPE = 1 << 9


@functools.lru_cache(maxsize=1)
def _standard() -> tuple[str, ...]:
    paths = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib")}
    return tuple(os.path.realpath(path) + os.sep for path in paths if path)


@functools.lru_cache(maxsize=4096)
def is_library_file(path: str) -> bool:
    """Return whether a file belongs to the standard library or to an installed distribution."""
    return not _INSTALLED.isdisjoint(path.replace("\\", "/").split("/")) or os.path.realpath(path).startswith(
        _standard()
    )


def is_library_module(name: str) -> bool:
    """Return whether a module, imported or not, belongs to the standard library, a distribution, or Crystallize."""
    top = name.partition(".")[0]
    if top in _OWN:
        return True
    if top == "__main__":
        return False
    module = sys.modules.get(name) or sys.modules.get(top)
    file = find_source(name) if module is None else module_file(module) or module_file(sys.modules.get(top))
    if file:
        return is_library_file(file)
    # Without a file it is built into the interpreter, a namespace, or made up, in place of a library's even.
    return top in sys.stdlib_module_names and getattr(sys.modules.get(top), "__spec__", name) is not None


def is_library_function(function: FunctionType) -> bool:
    """Return whether the code of a function belongs to a library, whatever name a decorator gave it."""
    module = str(function.__globals__.get("__name__", ""))
    if module.partition(".")[0] in _OWN:
        return True
    file = function.__code__.co_filename
    # Generated code has no file, and belongs to the module that it was made for.
    return is_library_module(module) if file.startswith("<") else is_library_file(file)


def library_name(value: Any) -> str | None:
    """Return the name under which the library that a class or function names as its origin holds that very object.

    Anything can be made to say that it comes from a library: ``types.new_class`` and ``make_dataclass`` do it by
    themselves, and ``__module__`` can be assigned. Only what an import by that name gives is what the name says.

    Parameters
    ----------
    value : class or function

    Returns
    -------
    str or None
        The qualified name; None for what belongs to the project, and for what a library made and does not hold.
    """
    module, qualified = module_of(value), asked_for(value, "__qualname__")
    if not isinstance(qualified, str):
        return None
    if not is_library_module(module):
        # An extension type may name a module that is nowhere: none of the project, which would have been loaded.
        nowhere = module.partition(".")[0] not in sys.modules
        return f"{module}.{qualified}" if nowhere and _is_built_in(value) else None
    if _found(module, qualified) is value or _is_built_in(value):
        return f"{module}.{qualified}"
    # Some are held under another name than their own, such as _thread.LockType.
    held = getattr(sys.modules.get(module), "__dict__", {})
    return f"{module}.{qualified}" if any(each is value for each in held.values()) else None


def is_library_class(kind: type) -> bool:
    """Return whether a class is a library's own, and so known by its name."""
    return library_name(kind) is not None


def _found(module: str, qualified: str) -> Any:
    """Return what an import by name gives, or None."""
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = asked_for(found, part)
    return found


def found_by_name(value: Any) -> Any:
    """Return what an import by the name that a class or function gives itself leads to, or None."""
    return _found(module_of(value), value.__qualname__)


def _is_built_in(value: Any) -> bool:
    """Return whether a class is part of the interpreter or of an extension module, whether or not that shows it."""
    return issubclass(type(value), type) and not value.__flags__ & _HEAP_TYPE


def module_of(kind: Any) -> str:
    """Return the name of the module that a class or function says it comes from; empty where it says nothing."""
    name = asked_for(kind, "__module__")
    return name if isinstance(name, str) else ""


def asked_for(value: Any, name: str) -> Any:
    """Return an attribute of an object; None where it has none, and where it refuses to tell in any way it likes."""
    try:
        return getattr(value, name, None)
    except Exception:  # noqa: BLE001 - attributes may be computed, and by code that raises anything
        return None


def module_file(module: ModuleType | None) -> str | None:
    """Return the file that a module was loaded from, or None."""
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else None


def find_source(name: str, folders: Sequence[str] = ()) -> str | None:
    """Find a module's file without importing anything, or give None.

    Parameters
    ----------
    name : str
    folders : sequence of str
        Where to look before everywhere else.
    """
    path = None
    spec = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        part = ".".join(parts[:count])
        spec = (_spec(part, folders) if folders and count == 1 else None) or _spec(part, path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    if spec is None or not spec.has_location or not spec.origin:
        return None
    return spec.origin if Path(spec.origin).exists() or hasattr(spec.loader, "get_source") else None


def _spec(name: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    """Ask everybody who finds modules, those of editable installations included."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = None
        # A finder of anybody's, which may fail in any way.
        with contextlib.suppress(Exception):
            spec = None if find is None else find(name, path)
        if spec is not None:
            return spec  # type: ignore[no-any-return]
    return None


def read_source(name: str, file: str) -> str:
    """Return the text of a module, out of an archive too.

    Raises
    ------
    OSError, ValueError, SyntaxError
        It cannot be had.
    """
    if Path(file).is_file():
        with tokenize.open(file) as opened:
            return opened.read()
    spec = getattr(sys.modules.get(name), "__spec__", None) or _spec(name, None)
    source = getattr(getattr(spec, "loader", None), "get_source", lambda _: None)(name)
    if not isinstance(source, str):
        raise OSError(f"no source of the module {name} can be had")
    return source


# Things without content that no result depends on: which lock it is, or which logger, makes no difference.
_LOCKS = ("Lock", "RLock", "Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier")
_HARMLESS = frozenset(
    {
        *(f"{module}.{name}" for module in ("threading", "multiprocessing.synchronize") for name in _LOCKS),
        "_thread.lock", "_thread.RLock", "threading._RLock", "loguru._logger.Logger", "rich.console.Console",
        "_ctypes.CField",  # a field of a structure of ctypes, which is told of in `_fields_`
    }
)  # fmt: skip


def is_harmless(kind: type) -> bool:
    """Return whether objects of a class need not be told apart, since no result depends on which of them code gets."""
    module = module_of(kind)
    if f"{module}.{kind.__qualname__}" in _HARMLESS:
        return True
    return issubclass(kind, (Filter, Handler, LoggerAdapter)) and is_library_module(module)
