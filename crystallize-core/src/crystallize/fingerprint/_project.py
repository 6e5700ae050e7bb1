"""What belongs to the project, and is tracked by content, and what to a library, and is known by name."""

from __future__ import annotations

import functools
import importlib.machinery
import os
import sys
import sysconfig
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FunctionType, ModuleType

__all__ = ["find_source", "is_library_file", "is_library_function", "is_library_module", "module_file", "module_of"]

# Installed from a checkout they lie outside site-packages, and are no less a library.
_OWN = ("crystallize", "crystallize_plugins", "crystallize_cli")
_INSTALLED = {"site-packages", "dist-packages"}


@functools.lru_cache(maxsize=1)
def _standard() -> tuple[str, ...]:
    paths = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib")}
    return tuple(os.path.realpath(path) + os.sep for path in paths if path)


@functools.lru_cache(maxsize=4096)
def is_library_file(path: str) -> bool:
    """Whether a file belongs to the standard library or to an installed distribution."""
    return not _INSTALLED.isdisjoint(PurePath(path).parts) or os.path.realpath(path).startswith(_standard())


def is_library_module(name: str) -> bool:
    """Whether a module, imported or not, belongs to the standard library, a distribution, or Crystallize."""
    top = name.partition(".")[0]
    if top in _OWN:
        return True
    if top == "__main__":
        return False
    module = sys.modules.get(name) or sys.modules.get(top)
    file = module_file(module) if module is not None else find_source(name)
    # Without a file it is built into the interpreter, a namespace, or made up.
    return is_library_file(file) if file else top in sys.stdlib_module_names


def is_library_function(function: FunctionType) -> bool:
    """Whether the code of a function belongs to a library, whatever name a decorator gave it."""
    module = str(function.__globals__.get("__name__", ""))
    if module.partition(".")[0] in _OWN:
        return True
    file = function.__code__.co_filename
    # Generated code has no file, and belongs to the module that it was made for.
    return is_library_module(module) if file.startswith("<") else is_library_file(file)


def module_of(kind: type) -> str:
    """Give the name of the module that a class says it comes from; empty where an extension type says nothing."""
    name = getattr(kind, "__module__", "")
    return name if isinstance(name, str) else ""


def module_file(module: ModuleType | None) -> str | None:
    """Give the file that a module was loaded from, or None."""
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else None


def find_source(name: str) -> str | None:
    """Find a module's file without importing anything, or give None."""
    path = None
    spec = None
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        try:
            spec = importlib.machinery.PathFinder.find_spec(".".join(parts[:count]), path)
        except (ImportError, ValueError, OSError):
            return None
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    origin = spec.origin if spec else None
    return origin if origin and Path(origin).exists() else None
