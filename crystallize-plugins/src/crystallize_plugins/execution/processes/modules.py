"""Modules of the program that a fresh interpreter cannot import, and how it gets them.

These are ``__main__`` (it is never run a second time), the modules of experiments' folders, and whatever a worker would
not find in the same place. What an experiment refers to travels with it. Everything else that such a module defines is
sent along in pieces, one for each name, which are opened when somebody asks for the name: a step that unpickles an
object of a class that no step mentions, for instance.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
import threading
import types
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle

from crystallize.hooks.declarations import MARK, FolderModules, offer
from crystallize_plugins.execution.processes.pickling import Pickler, definition, dumps, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["CarriedModule", "Pieces", "absent_modules", "install", "pieces_of"]

_LARGEST_PIECE = 1 << 20
"""Bytes that a piece may have: nobody has asked for it yet."""
_ATTRIBUTES = ("__doc__", "__file__", "__package__", "__path__", "__spec__", MARK)
_LOCK = threading.Lock()


class Pieces(NamedTuple):
    """What a worker is told of one module.

    Attributes
    ----------
    attributes : bytes
        Pickled: those that say where it comes from.
    public : str
        The name of a module of an experiment's folder in that folder; else empty.
    definitions : dict of str to bytes
        Pickled, by name: what did not travel with the experiment.
    """

    attributes: bytes
    public: str
    definitions: dict[str, bytes]


@contextlib.contextmanager
def absent_modules() -> Iterator[frozenset[str]]:
    """Return what a fresh interpreter could not import, by name, and have cloudpickle carry it by value meanwhile."""
    with _LOCK:
        known = cloudpickle.list_registry_pickle_by_value()
        foreign = [module for module in _foreign_modules() if module.__name__ not in known]
        for module in foreign:
            cloudpickle.register_pickle_by_value(module)
        by_value = {"__main__", *known, *(module.__name__ for module in foreign)}
        inside = {name for name in list(sys.modules) if any(_parents(name, by_value))} if known else set()
        try:
            yield frozenset(by_value | inside)
        finally:
            for module in foreign:
                cloudpickle.unregister_pickle_by_value(module)


def _parents(name: str, among: set[str]) -> Iterator[str]:
    while (name := name.rpartition(".")[0]) != "":
        if name in among:
            yield name


def _foreign_modules() -> list[types.ModuleType]:
    survey = _Survey()
    return [
        module
        for name, module in list(sys.modules.items())
        if name != "__main__"
        and isinstance(module, types.ModuleType)  # type: ignore[redundant-expr]  # anything can be put there
        and module.__name__ == name
        and not survey.can_be_imported(name, module)
    ]


class _Survey:
    """Which loaded modules a fresh interpreter with our ``sys.path`` would import from the same place."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}
        self._installed = tuple({sys.prefix, sys.base_prefix, sys.exec_prefix})

    def can_be_imported(self, name: str, module: types.ModuleType) -> bool:
        answer = self._known.get(name)
        if answer is None:
            answer = self._known[name] = self._look(name, module)
        return answer

    def _look(self, name: str, module: types.ModuleType) -> bool:
        spec = getattr(module, "__spec__", None)
        origin = getattr(module, "__file__", None) or getattr(spec, "origin", None)
        if getattr(module, MARK, None):
            return False  # of an experiment's folder: loaded under a name that only this process knows
        if origin in ("built-in", "frozen") or (isinstance(origin, str) and origin.startswith(self._installed)):
            return True
        parent, _, _ = name.rpartition(".")
        path = None
        if parent:
            package = sys.modules.get(parent)
            path = getattr(package, "__path__", None)
            if package is None or path is None or not self.can_be_imported(parent, package):
                return False
        if origin is None and getattr(module, "__path__", None) is not None:
            return True  # a namespace package has no file of its own
        return any(_finds(finder, name, path, origin) for finder in (PathFinder, *sys.meta_path))


def _finds(finder: Any, name: str, path: Any, origin: object) -> bool:
    # Editable installations bring finders of their own, which a fresh interpreter has too.
    try:
        spec = finder.find_spec(name, path)
    except Exception:  # noqa: BLE001 - a finder that we know nothing of
        return False
    return spec is not None and spec.origin == origin


# -- sending -------------------------------------------------------------------------------------------


def pieces_of(pickler: Pickler, absent: frozenset[str]) -> dict[str, Pieces]:
    """Return what belongs to the modules of which something has been pickled, and to ``__main__``.

    Parameters
    ----------
    pickler : Pickler
        What was sent, it has noted.
    absent : frozenset of str
        What `absent_modules` gave.
    """
    tops = {name.partition(".")[0] for name in pickler.touched} | {"__main__"}
    modules = {name: sys.modules[name] for name in absent if name.partition(".")[0] in tops and name in sys.modules}
    places = {id(obj): (module, name) for obj, module, name in pickler.defined.values()}
    wanted: list[tuple[str, str, object]] = []
    for module_name, module in modules.items():
        for name, value in list(vars(module).items()):
            if _is_defined_in(value, module_name) and (module_name, name) not in pickler.installed:
                places.setdefault(id(value), (module_name, name))
                if id(value) not in pickler.defined:
                    wanted.append((module_name, name, value))
    # What this process itself was sent and nobody has opened goes on as it is.
    definitions = {name: dict(_UNOPENED.get(name, ())) for name in modules}
    for module_name, name, value in wanted:
        with contextlib.suppress(Exception):  # it is not of the experiment; who asks for it hears that it is not there
            definitions[module_name][name] = _PiecePickler(value, places, absent, pickler.installed).pickled()
    return {
        name: Pieces(_attributes(module), _public_name(module), definitions[name]) for name, module in modules.items()
    }


def _is_defined_in(value: object, module: str) -> bool:
    kind = type(value)
    if not (issubclass(kind, type) or kind is types.FunctionType or hasattr(kind, "cache_parameters")):
        return False
    place = name_of(value)
    return place is not None and place[0] == module


def _public_name(module: types.ModuleType) -> str:
    package = vars(module).get(MARK)
    name = "" if package is None else module.__name__.removeprefix(package).removeprefix(".")
    return name if isinstance(sys.modules.get(name), FolderModules) else ""


def _attributes(module: types.ModuleType) -> bytes:
    found = {}
    for name in _ATTRIBUTES:
        if name in vars(module):
            with contextlib.suppress(Exception):  # a loader of somebody's own
                dumps(vars(module)[name])
                found[name] = vars(module)[name]
    return dumps(found)


class _Limited(io.BytesIO):
    """A stream that takes no more than a piece may have."""

    def write(self, data: Any, /) -> int:
        if self.tell() + memoryview(data).nbytes > _LARGEST_PIECE:
            raise pickle.PicklingError("it is larger than what is sent without being asked for")
        return super().write(data)


class _PiecePickler(Pickler):
    """Pickles one definition; others that the worker has, or can ask for, go by name.

    Parameters
    ----------
    whole : object
    places : dict of int to (str, str)
        Module and name of what need not be sent, by `id`.
    absent : frozenset of str
        What `absent_modules` gave.
    installed : set of (str, str)
        Module and name of the globals that the worker has.
    light : bool, default False
        Whether to refuse objects of libraries, which may be of any size.
    """

    def __init__(
        self,
        whole: object,
        places: dict[int, tuple[str, str]],
        absent: frozenset[str],
        installed: set[tuple[str, str]],
        *,
        light: bool = False,
    ) -> None:
        self._stream = _Limited()
        super().__init__(self._stream, absent=absent)
        self._whole = whole
        self._places = places
        self._there = installed
        self._light = light

    def pickled(self) -> bytes:
        """Return the pickle."""
        self.dump(self._whole)
        return self._stream.getvalue()

    def persistent_id(self, obj: Any) -> tuple[str, str] | None:
        """Name what need not be sent."""
        return None if obj is self._whole else self._places.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        """Return how to rebuild an object; see `Pickler`."""
        if self._light and self._is_of_library(type(obj).__module__):
            raise pickle.PicklingError(f"a {type(obj).__qualname__} is not sent without being asked for")
        return super().reducer_override(obj)

    def _is_of_library(self, module: str) -> bool:
        return module not in self._absent and module.partition(".")[0] not in (*sys.stdlib_module_names, "numpy")

    def _globals_of(self, module: str, values: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value
            for name, value in super()._globals_of(module, values).items()
            if (module, name) not in self._there and (id(value) in self._places or self._is_light(value))
        }

    def _is_light(self, value: object) -> bool:
        """Whether a value can be sent for nothing: one that is wanted and missing is a NameError."""
        if value is self._whole or isinstance(value, types.ModuleType):
            return True
        try:
            _PiecePickler(value, self._places, self._absent, self._there, light=True).pickled()
        except Exception:  # noqa: BLE001 - whatever it raises, it stays here
            return False
        return True


# -- receiving -----------------------------------------------------------------------------------------

_UNOPENED: dict[str, dict[str, bytes]] = {}
_OPENING = threading.RLock()


class CarriedModule(types.ModuleType):
    """A module that this process cannot import, made of what it was sent."""

    def __getattr__(self, name: str) -> Any:
        """Open the piece of a name that is asked for."""
        module = vars(self)["__name__"]
        with _OPENING:
            if name in vars(self):  # another thread was first
                return vars(self)[name]
            piece = _UNOPENED.get(module, {}).get(name)
            if piece is None:
                raise AttributeError(f"module {module!r} has no attribute {name!r}")
            value = _PieceUnpickler(io.BytesIO(piece)).load()
            return vars(self).setdefault(name, value)


class _PieceUnpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        return definition(*pid)


def install(pieces: Mapping[str, Pieces]) -> None:
    """Have modules that this process cannot import in their places, still empty."""
    for name, (attributes, public, definitions) in pieces.items():
        _UNOPENED[name] = definitions
        sys.modules[name] = CarriedModule(name)
        vars(sys.modules[name])["__builtins__"] = __builtins__
        parent, _, last = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], last, sys.modules[name])
        vars(sys.modules[name]).update(pickle.loads(attributes))
        if public:
            offer(vars(sys.modules[name])[MARK], public)
        if name == "__main__":
            # Under that name `multiprocessing` knows it: so it is called in what pools of a step send back.
            sys.modules["__mp_main__"] = sys.modules[name]
