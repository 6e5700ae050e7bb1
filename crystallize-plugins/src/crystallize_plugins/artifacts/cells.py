"""One cell as a record of bytes, and back: packed numbers where cells share a shape, typed encodings elsewhere."""

from __future__ import annotations

import struct
import sys
from itertools import chain
from typing import TYPE_CHECKING, Any

from crystallize.errors import DamagedStoreError, PipelineExecutionError
from crystallize.hooks import Attempt, Cell, CellOutcome, CellTrace, PluginFailure
from crystallize_plugins.artifacts import shapes
from crystallize_plugins.artifacts.decoding import decode, packed_numbers
from crystallize_plugins.artifacts.encoding import encode, little_endian
from crystallize_plugins.artifacts.shapes import HEAD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize.hooks import TraceShape

__all__ = [
    "FAILED",
    "LOSSY",
    "PLAIN",
    "SEED",
    "TRACED",
    "CellReader",
    "failure_from",
    "failure_parts",
    "pack_cell",
]

_pack_head = HEAD.pack

SEED = 1
"""Flag of a cell whose seed is in its head."""
FAILED = 2
TRACED = 4
LOSSY = 8
"""Flag of a cell of which something could not be stored exactly."""
PLAIN = 16
"""Flag of a cell of which nothing is kept that few cells have, though something follows its metrics."""
_PLAIN_PARTS = frozenset({"reports", "seed", "written"})

_LITTLE_ENDIAN = sys.byteorder == "little"
_INT64 = range(-(2**63), 2**63)


def pack_cell(outcome: CellOutcome, condition: int, table: shapes.ShapeTable) -> bytes:
    """Make a cell's record; its artifacts are stored elsewhere.

    Parameters
    ----------
    outcome : CellOutcome
    condition : int
        The number of its condition.
    table : ShapeTable
        Gets to know what this cell shares with others.
    """
    few = outcome.error is not None or outcome.tags or outcome.plugin_failures or outcome.reports or outcome.attempts
    return (None if few else _packed_at_once(outcome, condition, table)) or _packed_in_parts(
        outcome, condition, table, _extra(outcome) if few else {}
    )


def _packed_at_once(outcome: CellOutcome, condition: int, table: shapes.ShapeTable) -> bytes | None:
    """Make the record of a cell as nearly all are, in one go; None where it is another."""
    seed, trace, metrics = outcome.seed, outcome.provenance, outcome.metrics
    if seed.__class__ is not int or trace is None or trace.written:
        return None
    trace_number = table.trace(trace.shape)
    values = [*chain.from_iterable(metrics.values())]
    shape = table.metrics(metrics, values)
    if shape is None:
        return None
    durations = _packed_durations(trace)
    size = len(durations)
    pack, values_size = shape.record(size)
    try:
        return pack(
            outcome.cell[1], condition, seed, outcome.duration,
            shape.number, trace_number, table.worker(outcome.worker), SEED | TRACED,
            size, values_size, 0, durations, *values,
        )  # fmt: skip
    except struct.error:
        return None  # an integer of more than 64 bits


def _packed_in_parts(outcome: CellOutcome, condition: int, table: shapes.ShapeTable, extra: dict[str, Any]) -> bytes:
    """Make the record of any cell, `extra` being what few others have."""
    flags = trace_number = metrics_number = 0
    durations = b""
    seed: Any = outcome.seed
    if seed.__class__ is int and seed in _INT64:
        flags = SEED
    elif seed is not None:
        extra["seed"] = seed
    trace = outcome.provenance
    if trace is not None:
        flags |= TRACED
        trace_number = table.trace(trace.shape)
        durations = _packed_durations(trace)
        if trace.written:
            extra["written"] = trace.written
    metrics = outcome.metrics
    values = [*chain.from_iterable(metrics.values())]
    shape = table.metrics(metrics, values)
    packed = None
    if shape is not None:
        try:
            packed = shape.values.pack(*values)
            metrics_number = shape.number
        except struct.error:
            pass  # an integer of more than 64 bits
    if packed is None:
        packed, lossy = encode({name: list(recorded) for name, recorded in metrics.items()})
        flags |= LOSSY if lossy else 0

    flags |= FAILED if outcome.error is not None else 0
    rest = b""
    if extra:
        flags |= PLAIN if _PLAIN_PARTS.issuperset(extra) else 0
        rest, lossy = encode(extra)
        flags |= LOSSY if lossy else 0
    head = _pack_head(
        outcome.cell[1], condition, seed if flags & SEED else 0, outcome.duration,
        metrics_number, trace_number, table.worker(outcome.worker), flags,
        len(durations), len(packed), len(rest),
    )  # fmt: skip
    return b"".join((head, durations, packed, rest))


def _packed_durations(trace: CellTrace) -> bytes:
    return trace.packed if _LITTLE_ENDIAN else little_endian(trace.durations)


def _extra(outcome: CellOutcome) -> dict[str, Any]:
    """Gather what few cells have."""
    extra: dict[str, Any] = {}
    if outcome.error is not None:
        extra["error"] = _error_parts(outcome.error)
    if outcome.tags:
        extra["tags"] = {name: {index: dict(tags) for index, tags in by.items()} for name, by in outcome.tags.items()}
    if outcome.plugin_failures:
        extra["failures"] = [failure_parts(failure) for failure in outcome.plugin_failures]
    if outcome.reports:
        extra["reports"] = list(outcome.reports)
    if outcome.attempts:
        extra["attempts"] = [tuple(attempt) for attempt in outcome.attempts]
    return extra


class CellReader:
    """Reads the records of one run's cells.

    Parameters
    ----------
    conditions : mapping of int to str
        Number to name.
    rows : mapping of int to (str, object)
        The table of shapes: number to kind and body.

    Attributes
    ----------
    conditions, metrics, traces, workers : mapping of int
        Their names and shapes by number.
    """

    def __init__(self, conditions: Mapping[int, str], rows: Mapping[int, tuple[str, Any]]) -> None:
        self.conditions = conditions
        self.metrics: dict[int, shapes.MetricsShape] = {}
        self.traces: dict[int, TraceShape] = {}
        self.workers: dict[int, str] = {}
        for number, (kind, body) in rows.items():
            if kind == shapes.METRICS:
                self.metrics[number] = shapes.rebuild_metrics_shape(number, body)
            elif kind == shapes.TRACE:
                self.traces[number] = shapes.rebuild_trace_shape(body)
            elif kind == shapes.WORKER:
                self.workers[number] = body

    def outcome(self, records: bytes | memoryview, place: int) -> CellOutcome:
        """Give the cell whose record begins at `place`, without its artifacts.

        Raises
        ------
        StoreError
            The record is damaged.
        """
        try:
            return self._outcome(memoryview(records), place)
        except (LookupError, TypeError, ValueError, struct.error) as error:
            raise DamagedStoreError(f"the record of a cell is damaged: {error}") from error

    def _outcome(self, records: memoryview, place: int) -> CellOutcome:
        (
            replicate, condition, seed, duration, metrics_number, trace_number, worker, flags,
            durations_size, packed_size, rest_size,
        ) = HEAD.unpack_from(records, place)  # fmt: skip
        durations = place + HEAD.size
        packed = durations + durations_size
        rest = packed + packed_size
        end = rest + rest_size
        if end > len(records):
            raise ValueError("it is cut off")
        extra = decode(records[rest:end]) if rest_size else {}
        cell = Cell(self.conditions[condition], replicate)
        trace = None
        if flags & TRACED:
            numbers = packed_numbers("d", records[durations:packed])
            trace = CellTrace(self.traces[trace_number], numbers, extra.get("written"))
        return CellOutcome(
            cell,
            self.metrics[metrics_number].unpack(records[packed:rest])
            if metrics_number
            else decode(records[packed:rest]),
            seed if flags & SEED else extra.get("seed"),
            _error_from(extra["error"], cell) if flags & FAILED else None,
            (),
            trace,
            duration,
            self.workers[worker],
            (),
            [failure_from(parts) for parts in extra.get("failures", ())],
            extra.get("tags", {}),
            reports=extra.get("reports", ()),
            attempts=tuple(Attempt(*parts) for parts in extra.get("attempts", ())),
        )


def failure_parts(failure: PluginFailure) -> tuple[Any, ...]:
    """Take the record of a plugin's error apart into plain values."""
    return (
        failure.plugin, failure.distribution, failure.version, failure.hook,
        None if failure.cell is None else tuple(failure.cell), failure.error, failure.traceback,
    )  # fmt: skip


def failure_from(parts: tuple[Any, ...]) -> PluginFailure:
    """Put the record of a plugin's error together again."""
    plugin, distribution, version, hook, cell, error, traceback = parts
    return PluginFailure(plugin, distribution, version, hook, None if cell is None else Cell(*cell), error, traceback)


def _error_parts(error: PipelineExecutionError) -> dict[str, Any]:
    return {
        "message": str(error),
        "step": error.step_name,
        "type": error.error_type,
        "traceback": error.traceback_text,
        "stops_run": error.stops_run,
        **({"log": error.log} if error.log else {}),
    }


def _error_from(parts: Mapping[str, Any], cell: Cell) -> PipelineExecutionError:
    return PipelineExecutionError(
        parts["message"],
        step_name=parts["step"],
        condition=cell.condition,
        replicate=cell.replicate,
        error_type=parts["type"],
        traceback_text=parts["traceback"],
        stops_run=parts["stops_run"],
        log=parts.get("log", ""),
    )
