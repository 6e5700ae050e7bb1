"""What every worker of a run needs, written once: the settings, the experiment, and its large arrays.

The experiment is pickled by value where it has to be (lambdas, closures, what a script, a notebook or a
module that no other process could import defines). Large buffers stay out of the pickle: workers map them.
"""

from __future__ import annotations

import contextlib
import mmap
import pickle
import sys
import threading
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

import cloudpickle

from crystallize_plugins.execution.processes.pickling import dumps
from crystallize_plugins.execution.processes.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from crystallize.results.outcome import Cell
    from crystallize_plugins.execution.processes.segment import PrivateMap

__all__ = ["Payload", "pack"]

LARGE = 1 << 17
"""Bytes from which a buffer is mapped instead of copied into every worker."""

_LENGTH = 8
_BY_VALUE_LOCK = threading.Lock()


def pack(settings: Mapping[str, Any], body: object, cells: Sequence[Cell], *, same_modules: bool = False) -> Segment:
    """Write settings, an object graph and the cells into a new segment.

    Parameters
    ----------
    settings : mapping
        Plain values; read before `body`, so that they can say how to import what it needs.
    body : object
        Whatever is to travel.
    cells : sequence of Cell
    same_modules : bool, default False
        Whether the workers have the very modules of this process, so that definitions can go by name.

    Raises
    ------
    Exception
        What pickling raised; the caller knows what was to travel and can say more.
    """
    buffers: dict[int | tuple[int, int], memoryview] = {}
    order: list[int | tuple[int, int]] = []

    def stays_in(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if raw.nbytes < LARGE:
            return True
        key = _place_of(raw)
        buffers.setdefault(key, raw)
        order.append(key)
        return False

    with contextlib.nullcontext() if same_modules else _foreign_modules_by_value():
        stream = dumps(body, stays_in)
    head_room = 4096 + 64 * len(buffers) + 4 * len(order)
    at = _LENGTH + head_room
    parts: list[tuple[int, Any]] = []
    head: dict[str, Any] = {}
    pieces = {
        "settings": pickle.dumps(dict(settings), 5),
        "cells": pickle.dumps([tuple(cell) for cell in cells], 5),
        "stream": stream,
    }
    for name, piece in pieces.items():
        parts.append((at, piece))
        head[name] = (at, len(piece))
        at += len(piece)
    places = {}
    for number, (key, raw) in enumerate(buffers.items()):
        at += -at % mmap.PAGESIZE
        places[key] = number
        parts.append((at, raw))
        head.setdefault("buffers", []).append((at, raw.nbytes, raw.readonly))
        at += raw.nbytes
    head["order"] = [places[key] for key in order]
    encoded = pickle.dumps(head, 5)
    segment = Segment.create(at)
    segment.fill([(0, len(encoded).to_bytes(_LENGTH, "little")), (_LENGTH, encoded), *parts])
    return segment


class Payload:
    """The other side of `pack`, in a worker.

    Attributes
    ----------
    settings : dict
    cells : list of tuple
        Condition and replicate.
    """

    def __init__(self, segment: Segment) -> None:
        self._private = segment.private()
        content = memoryview(self._private.bytes)
        length = int.from_bytes(content[:_LENGTH], "little")
        self._head = pickle.loads(content[_LENGTH : _LENGTH + length])
        self._content = content
        self.settings: dict[str, Any] = pickle.loads(self._part("settings"))
        self.cells: list[tuple[str, int]] = pickle.loads(self._part("cells"))

    def load(self) -> Any:
        """Rebuild what travelled."""
        views = []
        for start, size, readonly in self._head.get("buffers", ()):
            view = self._content[start : start + size]
            views.append(view.toreadonly() if readonly else view)
        return pickle.loads(self._part("stream"), buffers=[views[number] for number in self._head["order"]])

    @property
    def mapped(self) -> PrivateMap | None:
        """The memory under the large arrays; None where there are none."""
        return self._private if self._head["order"] else None

    def _part(self, name: str) -> memoryview:
        start, size = self._head[name]
        return self._content[start : start + size]


def _place_of(raw: memoryview) -> int | tuple[int, int]:
    # Two arrays over one piece of memory are to travel once.
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return id(raw)
    return numpy.frombuffer(raw, numpy.uint8).__array_interface__["data"][0], raw.nbytes


@contextlib.contextmanager
def _foreign_modules_by_value() -> Iterator[None]:
    """Let definitions of modules that a fresh interpreter could not import travel by value."""
    with _BY_VALUE_LOCK:
        known = cloudpickle.list_registry_pickle_by_value()
        added = [module for module in _foreign_modules() if module.__name__ not in known]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in added:
                cloudpickle.unregister_pickle_by_value(module)


def _foreign_modules() -> list[ModuleType]:
    survey = _Survey()
    return [
        module
        for name, module in list(sys.modules.items())
        if name != "__main__"
        and isinstance(module, ModuleType)  # type: ignore[redundant-expr]  # anything can be put there
        and module.__name__ == name
        and not survey.can_be_imported(name, module)
    ]


class _Survey:
    """Which loaded modules a fresh interpreter with our ``sys.path`` would import from the same place."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}
        self._installed = tuple({sys.prefix, sys.base_prefix, sys.exec_prefix})

    def can_be_imported(self, name: str, module: ModuleType) -> bool:
        answer = self._known.get(name)
        if answer is None:
            answer = self._known[name] = self._look(name, module)
        return answer

    def _look(self, name: str, module: ModuleType) -> bool:
        spec = getattr(module, "__spec__", None)
        origin = getattr(module, "__file__", None) or getattr(spec, "origin", None)
        if getattr(module, "__crystallize_folder__", False):
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
