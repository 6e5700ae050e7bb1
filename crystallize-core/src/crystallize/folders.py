"""Modules of experiments' folders, under the names that their own code uses.

Each load of a folder has modules of its own, so that two folders may both have a `steps.py`. Python keeps them under
names that nobody else uses (``crystallize_folder_lab.steps``); their classes and functions say that they come from
``steps``, so that what a step pickles can be loaded wherever the folder is on the path. In this program, the module of
that name is a `FolderModules`: whoever asks it gets the module of their own folder.
"""

from __future__ import annotations

import contextlib
import os
import sys
import types
from contextvars import ContextVar
from importlib.machinery import PathFinder
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MARK", "FolderModules", "folder_of", "has_library_name", "home_of", "in_folder", "offer", "withdraw"]

MARK = "__crystallize_folder__"
"""The attribute of every module of an experiment's folder: the name of the package that stands for the folder."""

_FOLDER: ContextVar[str | None] = ContextVar("crystallize_folder", default=None)
_INSTALLED = {"site-packages", "dist-packages"}


class FolderModules(types.ModuleType):
    """All modules of one name in the folders that were loaded; each caller sees that of the folder it works for.

    That is the folder of the innermost function on the stack, or the one that `in_folder` named. To the rest of the
    program it is the module that was there before or can be imported, and else the one that was loaded last.

    Parameters
    ----------
    name : str
        Such as ``steps``.
    other : module or None
        What has had that name.
    """

    def __init__(self, name: str, other: types.ModuleType | None) -> None:
        super().__init__(name)
        own = _own(self)
        own["packages"], own["other"] = [], other

    def __getattribute__(self, name: str) -> Any:
        """Return an attribute of the caller's module."""
        return getattr(_seen(self, name), name)

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute of the caller's module."""
        setattr(_seen(self, name), name, value)

    def __delattr__(self, name: str) -> None:
        """Remove an attribute of the caller's module."""
        delattr(_seen(self, name), name)

    def __dir__(self) -> list[str]:
        """Return the names in the caller's module."""
        return dir(_seen(self, "__dict__"))


def _own(module: FolderModules) -> dict[str, Any]:
    own: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return own


def _seen(module: FolderModules, attribute: str) -> types.ModuleType:
    own = _own(module)
    name: str = own["__name__"]
    package = _FOLDER.get() or _package_on_stack(name)
    found = None if package is None else sys.modules.get(f"{package}.{name}")
    if found is None and own["other"] is None and not attribute.startswith("__"):
        own["other"] = _importable(name, own["packages"])
    return found or own["other"] or sys.modules[f"{own['packages'][-1]}.{name}"]


def _package_on_stack(name: str) -> str | None:
    frame: types.FrameType | None = sys._getframe(3)
    while frame is not None:
        package = frame.f_globals.get(MARK)
        if package is not None and f"{package}.{name}" in sys.modules:
            return str(package)
        frame = frame.f_back
    return None


def _importable(name: str, packages: list[str]) -> types.ModuleType | None:
    """Import the module that the program itself means by a name, where it has one that is no folder's."""
    if "." in name:
        return None
    spec = PathFinder.find_spec(name)
    if spec is None or spec.loader is None or spec.origin is None:
        return None
    files = {str(getattr(sys.modules.get(f"{package}.{name}"), "__file__", "")) for package in packages}
    if os.path.realpath(spec.origin) in map(os.path.realpath, files):
        return None
    module = types.ModuleType(name)
    module.__spec__, module.__file__, module.__loader__ = spec, spec.origin, spec.loader
    if spec.submodule_search_locations is not None:
        module.__path__ = spec.submodule_search_locations
    spec.loader.exec_module(module)
    return module


def has_library_name(name: str) -> bool:
    """Return whether an installed library has the name of a module, so that the module cannot be offered under it."""
    top = name.partition(".")[0]
    loaded = sys.modules.get(top)
    if isinstance(loaded, FolderModules):
        return False
    spec = PathFinder.find_spec(top)
    origins = [getattr(loaded, "__file__", None), *(() if spec is None else (spec.origin, *_places(spec)))]
    return any(isinstance(origin, str) and not _INSTALLED.isdisjoint(PurePath(origin).parts) for origin in origins)


def _places(spec: Any) -> list[str]:
    return list(spec.submodule_search_locations or ())


def offer(package: str, name: str) -> None:
    """Let a module of a folder be found under its own name, too.

    Parameters
    ----------
    package : str
        The package that stands for the folder; it has the module.
    name : str
        The module's name in the folder.
    """
    known = sys.modules.get(name)
    if not isinstance(known, FolderModules):
        known = FolderModules(name, known)
        sys.modules[name] = known
    packages = _own(known)["packages"]
    if package not in packages:
        packages.append(package)


def withdraw(package: str, name: str) -> None:
    """Take back what `offer` did."""
    known = sys.modules.get(name)
    if not isinstance(known, FolderModules) or package not in _own(known)["packages"]:
        return
    _own(known)["packages"].remove(package)
    if not _own(known)["packages"]:
        del sys.modules[name]
        if _own(known)["other"] is not None:
            sys.modules[name] = _own(known)["other"]


def home_of(value: Any) -> types.ModuleType | None:
    """Return the module that a function, a class, or the class of an object comes from, whatever else has its name."""
    name = getattr(value, "__module__", None)
    module = sys.modules.get(name if isinstance(name, str) else type(value).__module__)
    if not isinstance(module, FolderModules):
        return module
    own = _own(module)
    package = folder_of(value)
    if package is not None and package in own["packages"]:
        return sys.modules[f"{package}.{own['__name__']}"]
    wanted = value if hasattr(value, "__qualname__") else type(value)
    for each in reversed(own["packages"]):
        candidate = sys.modules[f"{each}.{own['__name__']}"]
        found: Any = candidate
        for part in wanted.__qualname__.split("."):
            found = getattr(found, part, None)
        if found is wanted or any(other is value for other in vars(candidate).values()):
            return candidate
    other: types.ModuleType | None = own["other"]
    return other


def folder_of(function: object) -> str | None:
    """Return the package that stands for the folder whose code a function is; None for all other functions."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    package = getattr(function, "__globals__", {}).get(MARK)
    return package if isinstance(package, str) else None


@contextlib.contextmanager
def in_folder(package: str) -> Iterator[None]:
    """Have names of modules mean those of one folder, for what is pickled and unpickled meanwhile."""
    token = _FOLDER.set(package)
    try:
        yield
    finally:
        _FOLDER.reset(token)
