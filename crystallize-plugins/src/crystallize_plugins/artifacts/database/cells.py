"""Cells as rows, and back.

What a cell has no column for is in `record`, a JSON array: values of the metrics, nanoseconds of the steps, values that
were written to the context, reports to an optimiser, a seed that is no integer of 64 bits. The names of the metrics and
of what steps touched are in the row of `trace` that many cells share. A metric with one value that is a number or a
text has that in place of a list.
"""

from __future__ import annotations

import math
import time
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import DamagedStoreError, PipelineExecutionError
from crystallize.hooks import Attempt, Cell, CellOutcome, CellTrace, PluginFailure, StepShape, TraceShape, intern_shape
from crystallize.hooks.tools import mask_secrets, mask_text, to_plain
from crystallize_plugins.artifacts.database.schema import cell_seal, check_cell_seals, seal
from crystallize_plugins.artifacts.database.typed_json import decode, encode, encode_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "COMPLETE",
    "FAILED",
    "INEXACT",
    "SUMMARY",
    "CellRows",
    "Record",
    "Row",
    "Trace",
    "as_text",
    "checked_records",
    "error_row",
    "failure_from",
    "failure_parts",
    "metric_rows",
    "outcome_from",
    "read_traces",
    "rows_from",
    "trace_from",
]

COMPLETE, FAILED, INEXACT = "complete", "failed", "inexact"
"""The states of a cell; inexact is one that ran to its end, and of which something is stored as text."""

SUMMARY = """
    SELECT condition, state, trace, more IS NOT NULL, count(*), min(replicate), max(replicate)
    FROM cell GROUP BY 1, 2, 3, 4
"""
"""Which cells there are; of a run that is over it is the document ``cells``, so that nobody has to count them."""

_NUMBERS = frozenset({float, int})
_BARE = frozenset({float, int, bool, str, type(None)})
_INT64 = range(-(2**63), 2**63)


class Record(NamedTuple):
    """What is in the column `record`; see above."""

    values: Sequence[Any]
    durations: Sequence[int | float] | None
    """Nanoseconds as integers; in a run of version 3 seconds, which are floats."""
    written: dict[str, Any] | None
    reports: Sequence[Any] | None
    seed: Any


class Row(NamedTuple):
    """A row of the table `cell`, decoded but for what few cells have."""

    condition: str
    replicate: int
    number: int
    state: str
    seed: Any
    started: float
    duration: float
    worker: str
    attempts: int
    identity: str | None
    trace: int
    record: Record
    more: str | None


class Trace(NamedTuple):
    """A row of the table `trace`."""

    shape: TraceShape | None
    """None for cells of which nothing is known but their metrics."""
    metrics: tuple[str, ...]


class CellRows:
    """Makes rows of cells.

    Parameters
    ----------
    cells : int, default 0
        How many cells have arrived before, in a run that goes on.
    traces : int, default 0
        How many rows the table `trace` has.
    """

    def __init__(self, cells: int = 0, traces: int = 0) -> None:
        self._cells = cells
        self._traces = traces
        # By identity: to hash a shape takes as long as to write its cell. Kept with its number, so that no other shape
        # gets its identity.
        self._known: dict[tuple[Any, ...], tuple[int, TraceShape | None]] = {}
        self._equal: dict[Trace, int] = {}
        self.new_traces: list[tuple[Any, ...]] = []

    def row(self, outcome: CellOutcome, identity: str | None) -> tuple[Any, ...]:
        """Return the row of an outcome; its metrics, artifacts and error have rows of their own, too."""
        (condition, replicate), metrics, trace, seed = outcome.cell, outcome.metrics, outcome.provenance, outcome.seed
        values = [
            recorded[0] if len(recorded) == 1 and recorded[0].__class__ in _BARE else [*recorded]
            for recorded in metrics.values()
        ]
        durations = None if trace is None else [int(each * 1e9 + 0.5) for each in trace.durations]
        written = None if trace is None else trace.written or None
        fits = seed is None or (seed.__class__ is int and seed in _INT64)
        seed, odd_seed = (seed, None) if fits else (None, seed)
        record = (values, durations, written, outcome.reports or None, odd_seed)
        more, text = _more(outcome), None
        if written is None and odd_seed is None and not outcome.reports and _NUMBERS.issuperset(map(type, values)):
            text = _numbers_as_json(values, durations)
        exact = True
        if text is None:
            text, lossy = encode([*record])
            exact = not lossy
        if more is not None:
            more, lossy = encode(more)
            exact = exact and not lossy
        state = FAILED if outcome.error is not None else COMPLETE if exact else INEXACT
        self._cells += 1
        row = (
            condition, replicate, self._cells, state, seed, time.time() - outcome.duration, outcome.duration,
            outcome.worker, len(outcome.attempts) + 1, identity, self._trace(trace, metrics), text, more,
        )  # fmt: skip
        return (*row, cell_seal(row))

    def _trace(self, trace: CellTrace | None, metrics: Mapping[str, Any]) -> int:
        """Return the number of what a cell has in common with others; a row is due for one that is new."""
        shape = None if trace is None else trace.shape
        key = (id(shape), *metrics)
        known = self._known.get(key)
        if known is not None:
            return known[0]
        full = Trace(shape, tuple(metrics))
        number = self._equal.get(full)
        if number is None:
            self._traces = number = self._equal[full] = self._traces + 1
            columns = (number, None if shape is None else encode_plain(shape), encode_plain([*metrics]))
            self.new_traces.append((*columns, seal(*columns)))
        self._known[key] = (number, shape)
        return number

    def take_new_traces(self) -> list[tuple[Any, ...]]:
        """Return the rows of traces that were met since the last time."""
        new, self.new_traces = self.new_traces, []
        return new


def _numbers_as_json(values: Sequence[Any], durations: Sequence[int] | None) -> str | None:
    """Return a record of nothing but numbers, in half the time that an encoder takes; None where JSON has not all."""
    try:
        numbers = ",".join(map(repr, values))
    except ValueError:  # an integer of more digits than Python writes
        return None
    if "n" in numbers:
        return None
    return f"[[{numbers}],{'null' if durations is None else str(durations).replace(' ', '')},null,null,null]"


def metric_rows(outcome: CellOutcome) -> Iterator[tuple[Any, ...]]:
    """Yield a row of the table `metric` for each value."""
    condition, replicate = outcome.cell
    for name, recorded in outcome.metrics.items():
        for index, value in enumerate(recorded):
            if value.__class__ is float and value and value == value:  # noqa: PLR0124 - neither 0.0 nor NaN
                yield condition, replicate, name, index, value, None
            else:
                yield condition, replicate, as_text(name), index, *_number_and_text(value)


def error_row(outcome: CellOutcome) -> tuple[Any, ...] | None:
    """Return the row of the table `error`; None for a cell that succeeded."""
    error = outcome.error
    if error is None:
        return None
    return (
        *outcome.cell,
        *map(as_text, map(mask_text, (error.step_name, error.error_type, str(error), error.traceback_text))),
    )


def as_text(value: str) -> str:
    """Return text that a database can hold: half a surrogate pair becomes its number."""
    return value.encode("utf-8", "backslashreplace").decode()


def _number_and_text(value: Any) -> tuple[float | None, str | None]:
    """Return what stands for a value in SQL: a number, a text, or both where the number is not all of it."""
    plain = value.item() if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0 else value
    if isinstance(plain, str):
        return None, as_text(plain)
    if isinstance(plain, (bool, int)):
        try:
            number = float(plain)
        except OverflowError:
            return None, hex(plain)
        exact = number == plain and not isinstance(plain, bool)
        return number, None if exact else str(plain).lower()
    if isinstance(plain, float):
        if math.isnan(plain):
            return None, "nan"
        return float(plain), "-0.0" if repr(plain) == "-0.0" else None  # SQLite has one zero
    return None, None if plain is None else encode_plain(to_plain(plain))


def _more(outcome: CellOutcome) -> Any:
    """Gather what few cells have."""
    if not (outcome.error is not None or outcome.tags or outcome.plugin_failures or outcome.attempts):
        return None
    more: dict[str, Any] = {}
    if outcome.error is not None:
        more["error"] = _error_parts(outcome.error)
    if outcome.tags:
        more["tags"] = {
            name: [[index, dict(tags)] for index, tags in several.items()] for name, several in outcome.tags.items()
        }
    if outcome.plugin_failures:
        more["failures"] = [failure_parts(failure) for failure in outcome.plugin_failures]
    if outcome.attempts:
        more["attempts"] = [mask_secrets([*attempt]) for attempt in outcome.attempts]
    return more


def read_traces(rows: Iterator[tuple[Any, ...]]) -> dict[int, Trace]:
    """Return the rows of the table `trace` by number."""
    traces = {}
    for number, steps, metrics in rows:
        shape = None
        if steps is not None:
            before, several = decode(steps)
            shape = intern_shape(TraceShape(_step(before), tuple(map(_step, several))))
        names = tuple(decode(metrics))
        if not all(type(name) is str for name in names):
            raise DamagedStoreError("the names of metrics are damaged")
        traces[number] = Trace(shape, names)
    return traces


def _step(parts: Sequence[Any]) -> StepShape:
    name, reads, writes, metrics, cache_hit = parts
    return StepShape(name, tuple(reads), tuple(writes), tuple(map(tuple, metrics)), cache_hit)


def checked_records(several: Sequence[tuple[Any, ...]]) -> list[Sequence[Any]]:
    """Return the parts of the records of rows, each having been checked.

    Parameters
    ----------
    several : sequence of tuple
        All columns of the table; together their records are decoded in half the time.

    Raises
    ------
    DamagedStoreError
        One of them is damaged.
    """
    check_cell_seals(several)
    records: list[Sequence[Any]] = decode(f"[{','.join([columns[11] for columns in several])}]")
    if len(records) != len(several):
        raise DamagedStoreError("the record of a cell is damaged")
    return records


def rows_from(several: Sequence[tuple[Any, ...]]) -> Iterator[Row]:
    """Yield rows, each having been checked; see `checked_records`."""
    for columns, parts in zip(several, checked_records(several), strict=True):
        try:
            record = Record(*parts)
        except TypeError as error:
            raise DamagedStoreError(f"the record of a cell is damaged: {error}") from error
        row = Row(*columns[:11], record, columns[12])  # type: ignore[call-arg]
        yield row if record.seed is None else row._replace(seed=record.seed)


def outcome_from(row: Row, trace: Trace) -> CellOutcome:
    """Return the outcome of a row, without its artifacts.

    Raises
    ------
    DamagedStoreError
        Its parts do not fit together.
    """
    cell, record = Cell(row.condition, row.replicate), row.record
    more: Mapping[str, Any] = {} if row.more is None else decode(row.more)
    try:
        return CellOutcome(
            cell,
            {
                name: list(value) if value.__class__ is list else [value]
                for name, value in zip(trace.metrics, record.values, strict=True)
            },
            row.seed,
            _error_from(more["error"], cell) if row.state == FAILED else None,
            (),
            trace_from(row, trace),
            row.duration,
            row.worker,
            (),
            [failure_from(parts) for parts in more.get("failures", ())],
            {name: dict(several) for name, several in more.get("tags", {}).items()},
            reports=tuple(map(tuple, record.reports or ())),
            attempts=tuple(Attempt(*parts) for parts in more.get("attempts", ())),
        )
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DamagedStoreError(f"the record of a cell is damaged: {error}") from error


def trace_from(row: Row, trace: Trace) -> CellTrace | None:
    """Return what a cell did."""
    if trace.shape is None:
        return None
    written = row.record.written
    if written is not None and type(written) is not dict:
        raise DamagedStoreError("the record of a cell is damaged: what it wrote is no mapping")
    try:
        return CellTrace(trace.shape, array("d", _seconds(row.record.durations or ())), written)
    except (TypeError, OverflowError) as error:
        raise DamagedStoreError(f"the record of a cell is damaged: {error}") from error


def _seconds(durations: Sequence[int | float]) -> list[float]:
    return [each if each.__class__ is float else each / 1e9 for each in durations]


def failure_parts(failure: PluginFailure) -> list[Any]:
    """Take the record of a plugin's error apart into plain values."""
    return [
        failure.plugin, failure.distribution, failure.version, failure.hook,
        None if failure.cell is None else [*failure.cell], mask_text(failure.error), mask_text(failure.traceback),
    ]  # fmt: skip


def failure_from(parts: Sequence[Any]) -> PluginFailure:
    """Put the record of a plugin's error together again."""
    plugin, distribution, version, hook, cell, error, traceback = parts
    return PluginFailure(plugin, distribution, version, hook, None if cell is None else Cell(*cell), error, traceback)


def _error_parts(error: PipelineExecutionError) -> dict[str, Any]:
    return {
        "message": mask_text(str(error)),
        "step": error.step_name,
        "type": error.error_type,
        "traceback": mask_text(error.traceback_text),
        "stops_run": error.stops_run,
        **({"log": mask_text(error.log)} if error.log else {}),
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
