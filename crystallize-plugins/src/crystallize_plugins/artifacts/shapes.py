"""What many cells share, stored once: the names that steps touched, the types of metrics, the names of workers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.hooks import StepShape, TraceShape, intern_shape
from crystallize_plugins.artifacts.checksum import seal
from crystallize_plugins.artifacts.encoding import encode_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["HEAD", "MetricsShape", "ShapeRow", "ShapeTable", "rebuild_metrics_shape", "rebuild_trace_shape"]

METRICS = "metrics"
TRACE = "trace"
WORKER = "worker"
CONTEXT = "context"

# Replicate, condition, seed, duration, shape of the metrics, shape of the trace, worker, flags, and three sizes.
HEAD = struct.Struct("<IIqdIIIBIII")
NO_SHAPE = 0
_MOST_METRICS_SHAPES = 1024
# Longer records are packed by the generic encoding: as fast, and the shape would be as large as the values.
_MOST_VALUES = 256
# Types whose values are packed by `struct`, by name; NumPy's are looked up where a value is of one.
_CODES = {
    "float": "d",
    "int": "q",
    "bool": "?",
    "numpy.float64": "d",
    "numpy.float32": "f",
    "numpy.int64": "q",
    "numpy.int32": "i",
    "numpy.bool": "?",
}
_BUILTIN: dict[type, str] = {float: "float", int: "int", bool: "bool"}


class ShapeRow(NamedTuple):
    """A row of the table ``shape``."""

    number: int
    kind: str
    body: bytes


class MetricsShape(NamedTuple):
    """Names and types of the metrics of a cell, and how their values are packed."""

    number: int
    names: Sequence[str]
    counts: Sequence[int]
    values: struct.Struct
    casts: Sequence[Callable[[Any], Any]] | None
    """What makes the recorded types of the unpacked ones, where they differ."""
    single: bool
    """Whether each metric has one value."""

    records: dict[int, tuple[Callable[..., bytes], int]]
    """What packs a whole record, by the bytes of its durations, and how many of it are the values."""

    def record(self, durations: int) -> tuple[Callable[..., bytes], int]:
        """Give what packs a record whose durations take so many bytes, and how many its values take."""
        known = self.records.get(durations)
        if known is None:
            whole = struct.Struct(f"{HEAD.format}{durations}s{self.values.format.lstrip('<')}")
            known = self.records[durations] = (whole.pack, self.values.size)
        return known

    def unpack(self, packed: bytes | memoryview) -> dict[str, list[Any]]:
        """Give the metrics of a cell from their packed values."""
        return self.named(list(self.values.unpack(packed)))

    def named(self, values: list[Any]) -> dict[str, list[Any]]:
        """Give the metrics of a cell from their unpacked values."""
        if self.casts is not None:
            values = [cast(value) for cast, value in zip(self.casts, values, strict=True)]
        if self.single:
            return {name: [value] for name, value in zip(self.names, values, strict=True)}
        metrics = {}
        place = 0
        for name, count in zip(self.names, self.counts, strict=True):
            metrics[name] = values[place : place + count]
            place += count
        return metrics


class ShapeTable:
    """The shapes that a run has met, numbered from 1 in the order of meeting.

    Parameters
    ----------
    announce : callable of ShapeRow
        Called for each new shape, which has to be stored no later than the first cell that has it.
    count : int, default 0
        How many numbers are taken, in a run that goes on.
    """

    def __init__(self, announce: Callable[[ShapeRow], object], count: int = NO_SHAPE) -> None:
        self._announce = announce
        self._count = count
        self._metrics: dict[tuple[Any, ...], MetricsShape | None] = {}
        # By identity: to hash a shape takes as long as to pack its cell.
        self._traces: dict[int, tuple[TraceShape, int]] = {}
        self._equal_traces: dict[TraceShape, int] = {}
        self._workers: dict[str, int] = {}

    def metrics(self, metrics: Mapping[str, Sequence[Any]], values: list[Any]) -> MetricsShape | None:
        """Give the shape of a cell's metrics, whose values are `values`; None where it has no simple one."""
        key = (*metrics, *map(len, metrics.values()), *map(type, values))
        try:
            return self._metrics[key]
        except KeyError:
            shape = self._metrics[key] = self._new_metrics_shape(metrics, values)
            return shape

    def trace(self, shape: TraceShape) -> int:
        """Give the number of what a cell touched."""
        known = self._traces.get(id(shape))
        if known is not None:
            return known[1]
        number = self._equal_traces.get(shape)
        if number is None:
            number = self._equal_traces[shape] = self._new(TRACE, tuple(tuple(step) for step in (shape[0], *shape[1])))
        # Kept with its number, so that no other shape gets its identity.
        self._traces[id(shape)] = (shape, number)
        return number

    def worker(self, name: str) -> int:
        """Give the number of a worker."""
        number = self._workers.get(name)
        if number is None:
            number = self._workers[name] = self._new(WORKER, name)
        return number

    def context(self, condition: int, values: Mapping[str, Any]) -> None:
        """Keep what the cells of a condition read of its context."""
        self._new(CONTEXT, (condition, values))

    def _new_metrics_shape(self, metrics: Mapping[str, Sequence[Any]], values: list[Any]) -> MetricsShape | None:
        kinds = tuple(_BUILTIN.get(type(value)) or _numpy_kind(type(value)) for value in values)
        if "" in kinds or len(values) > _MOST_VALUES or len(self._metrics) > _MOST_METRICS_SHAPES:
            return None
        names, counts = tuple(metrics), tuple(map(len, metrics.values()))
        return _metrics_shape(self._new(METRICS, (names, counts, kinds)), names, counts, kinds)

    def _new(self, kind: str, body: Any) -> int:
        self._count += 1
        self._announce(ShapeRow(self._count, kind, seal(encode_plain(body), self._count, kind)))
        return self._count


def rebuild_metrics_shape(number: int, body: Any) -> MetricsShape:
    """Make a metrics' shape of its stored body."""
    names, counts, kinds = body
    for kind in kinds:
        if kind not in _TYPES:
            _learn_numpy()
    return _metrics_shape(number, names, counts, kinds)


def rebuild_trace_shape(body: Any) -> TraceShape:
    """Make a trace's shape of its stored body."""
    before, *steps = (
        StepShape(name, tuple(reads), tuple(writes), tuple(map(tuple, metrics)), cache_hit)
        for name, reads, writes, metrics, cache_hit in body
    )
    return intern_shape(TraceShape(before, tuple(steps)))


def _metrics_shape(number: int, names: Sequence[str], counts: Sequence[int], kinds: Sequence[str]) -> MetricsShape:
    values = struct.Struct("<" + "".join(_CODES[kind] for kind in kinds))
    plain = all(kind in ("float", "int", "bool") for kind in kinds)
    casts = None if plain else [_TYPES[kind] for kind in kinds]
    return MetricsShape(number, names, counts, values, casts, single=set(counts) <= {1}, records={})


_TYPES: dict[str, Callable[[Any], Any]] = {name: kind for kind, name in _BUILTIN.items()}


def _numpy_kind(kind: type) -> str:
    """Give the name of a NumPy type that can be packed, or nothing."""
    if kind.__module__ != "numpy":
        return ""
    _learn_numpy()
    return _BUILTIN.get(kind, "")


def _learn_numpy() -> None:
    """Enter NumPy's types beside the built-in ones."""
    import numpy as np

    for name in ("float64", "float32", "int64", "int32", "bool_"):
        kind = getattr(np, name)
        _BUILTIN[kind] = full = f"numpy.{name.rstrip('_')}"
        _TYPES[full] = kind
