"""What every worker of a run needs, written once: the settings, the experiment, and its large arrays.

Workers that are forks of this process have its definitions, ``__main__`` included: those go by name. What a fresh
interpreter cannot import goes by value. Large buffers stay out of the pickle: workers map them.
"""

from __future__ import annotations

import io
import mmap
import pickle
import sys
from typing import TYPE_CHECKING, Any

from crystallize_plugins.execution.processes.modules import absent_modules, install, pieces_of
from crystallize_plugins.execution.processes.pickling import Pickler
from crystallize_plugins.execution.processes.shared_memory import Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize.hooks import Cell
    from crystallize_plugins.execution.processes.shared_memory import PrivateMap

__all__ = ["Payload", "pack", "pickled_for_interpreters", "rebuilt_in_interpreter"]

LARGE = 1 << 17
"""Bytes from which a buffer is mapped instead of copied into every worker."""

_LENGTH = 8
_NOTHING = object()


def pack(
    settings: Mapping[str, Any], body: object, cells: Sequence[Cell], *, main: Mapping[str, Any] | None = None
) -> Segment:
    """Write settings, an object graph and the cells into a new segment.

    Parameters
    ----------
    settings : mapping
        Plain values; read before `body`, so that they can say how to import what it needs.
    body : object
        Whatever is to travel.
    cells : sequence of Cell
    main : mapping of str to object, optional
        What ``__main__`` held when this process was forked; None where the workers are fresh interpreters.

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

    modules, stream = _for_interpreters(body, stays_in) if main is None else _for_forks(body, stays_in, main)
    numbers = {key: number for number, key in enumerate(buffers)}
    head = pickle.dumps(
        {
            "settings": dict(settings),
            "cells": cells,
            "modules": pickle.dumps(modules, 5),
            "stream": stream,
            "buffers": [(raw.nbytes, raw.readonly) for raw in buffers.values()],
            "order": [numbers[key] for key in order],
        },
        5,
    )
    parts: list[tuple[int, Any]] = [(0, len(head).to_bytes(_LENGTH, "little")), (_LENGTH, head)]
    end = _LENGTH + len(head)
    for raw in buffers.values():
        start = _next_page(end)
        parts.append((start, raw))
        end = start + raw.nbytes
    segment = Segment.create(end)
    segment.fill(parts)
    return segment


def _next_page(position: int) -> int:
    return position + -position % mmap.PAGESIZE


class Payload:
    """The other side of `pack`, in a worker.

    Attributes
    ----------
    settings : dict
    cells : sequence of Cell
        Condition and replicate.
    mapped : PrivateMap or None
        The memory under the large arrays; None where there are none.
    """

    def __init__(self, segment: Segment) -> None:
        private = segment.private()
        content = memoryview(private.bytes)
        end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
        self._head = pickle.loads(content[_LENGTH:end])
        self.settings: dict[str, Any] = self._head["settings"]
        self.cells: Sequence[Cell] = self._head["cells"]
        self._arrays = []
        for size, readonly in self._head["buffers"]:
            start = _next_page(end)
            end = start + size
            self._arrays.append(content[start:end].toreadonly() if readonly else content[start:end])
        self.mapped: PrivateMap | None = private if self._arrays else None

    def load(self) -> Any:
        """Return what travelled."""
        modules = pickle.loads(self._head["modules"])
        install(modules)
        buffers = [self._arrays[number] for number in self._head["order"]]
        unpickler = pickle.Unpickler(io.BytesIO(self._head.pop("stream")), buffers=buffers)
        body = unpickler.load()
        if not modules:
            _renew_main(*unpickler.load())
        return body


def _place_of(raw: memoryview) -> int | tuple[int, int]:
    # Two arrays over one piece of memory are to travel once.
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return id(raw)
    return numpy.frombuffer(raw, numpy.uint8).__array_interface__["data"][0], raw.nbytes


def pickled_for_interpreters(body: object) -> tuple[dict[str, Any], bytes]:
    """Pickle for interpreters elsewhere, all in one piece.

    Returns
    -------
    dict
        What they are to have of the modules that they cannot import.
    bytes
    """
    return _for_interpreters(body, lambda _: True)


def rebuilt_in_interpreter(modules: Mapping[str, Any], stream: bytes) -> Any:
    """Return what `pickled_for_interpreters` was given; this interpreter's ``__main__`` is that one's then."""
    install(modules)
    return pickle.loads(stream)


def _for_interpreters(
    body: object, buffer_callback: Callable[[pickle.PickleBuffer], bool]
) -> tuple[dict[str, Any], bytes]:
    """Pickle for fresh interpreters, and return what they are to have of the modules that they cannot import."""
    stream = io.BytesIO()
    with absent_modules() as absent:
        pickler = Pickler(stream, buffer_callback, absent=absent)
        pickler.dump(body)
        return pieces_of(pickler, absent), stream.getvalue()


def _for_forks(
    body: object, buffer_callback: Callable[[pickle.PickleBuffer], bool], before: Mapping[str, Any]
) -> tuple[dict[str, Any], bytes]:
    """Pickle for forks, and behind it what ``__main__`` is to hold there.

    That is what the program has bound anew since the fork, and what the experiment carries a copy of: a step that
    compares what it got with a variable of the script is to find it the same.
    """
    now = vars(sys.modules["__main__"])
    changed = {name for name, value in list(now.items()) if before.get(name, _NOTHING) is not value}
    changed.update(name for name in before if name not in now)
    stream = io.BytesIO()
    pickler = Pickler(stream, buffer_callback, changed=frozenset(changed), shared=now)
    pickler.dump(body)
    copied = dict(pickler.copied)
    pickler.dump((copied, {name: _pickled_alone(name, now, changed) for name in changed if name not in copied}))
    return {}, stream.getvalue()


def _pickled_alone(name: str, now: Mapping[str, Any], changed: set[str]) -> bytes | None:
    """Pickle what a variable was bound to after the fork; None where it cannot be had."""
    stream = io.BytesIO()
    try:
        Pickler(stream, changed=frozenset(changed)).dump(now[name])
    except Exception:  # noqa: BLE001 - it may be nobody's concern: whoever wants it hears that it is not there
        return None
    return stream.getvalue()


def _renew_main(copied: dict[str, Any], changed: dict[str, bytes | None]) -> None:
    main = vars(sys.modules["__main__"])
    for name, encoded in changed.items():
        main.pop(name, None)  # better missing than as it was
        if encoded is not None:
            main[name] = pickle.loads(encoded)
    main.update(copied)
