"""The outcomes of a run's cells as they arrive: packed into columns, so that a million of them fit into memory."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, chain, islice
from typing import TYPE_CHECKING, Any

from crystallize.results.columns import CellColumns, LazyOutcomes, MetricColumn, take
from crystallize.results.outcome import Cell, CellOutcome
from crystallize.results.trace import CellTrace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from crystallize.results.outcome import ArtifactRecord
    from crystallize.results.trace import TraceShape

__all__ = ["CollectedOutcomes", "collected"]

_FEWEST, _MOST = 64, 4096
"""How many outcomes are packed at once: by column it takes a third of the time."""
_UNPACKED = 4 * 1024 * 1024
"""About how many bytes of metrics may wait for that."""

_INT64 = range(-(2**63), 2**63)
_SCALARS: dict[type, str] = {float: "d", int: "q"}
_NUMPY_SCALARS = {"float64": "d", "float32": "d", "int64": "q", "int32": "q"}
_EXACT = frozenset({bool, int, float, str, bytes, type(None)})


class CollectedOutcomes(LazyOutcomes):
    """Outcomes by cell, in memory.

    Those that hold more than columns do, such as errors, stay as they are; the others are packed after a while.
    """

    def __init__(self) -> None:
        self._latest: dict[Cell, CellOutcome] = {}
        self._before: dict[Cell, CellOutcome] = {}
        self._packed: dict[str, _Packed] = {}
        self._whole: dict[str, dict[Cell, CellOutcome]] = {}
        self._columns: dict[str, CellColumns] = {}
        self._at_once = _FEWEST

    def add(self, outcome: CellOutcome) -> bool:
        """Take an outcome in; return whether it is time to `pack`."""
        latest = self._latest
        latest[outcome.cell] = outcome
        if self._columns:
            self._columns.pop(outcome.cell[0], None)
        return len(latest) >= self._at_once

    def latest(self, cell: Cell) -> CellOutcome | None:
        """Return the very outcome that was taken in for a cell, as long as it is there."""
        return self._latest.get(cell) or self._before.get(cell) or self._whole.get(cell[0], {}).get(cell)

    def pack(self) -> None:
        """Pack what has arrived."""
        by_condition: dict[str, list[CellOutcome]] = {}
        for (condition, _), outcome in self._latest.items():
            by_condition.setdefault(condition, []).append(outcome)
        size = self.size
        for condition, outcomes in by_condition.items():
            packed = self._packed.get(condition)
            if packed is None:
                packed = self._packed[condition] = _Packed()
            paid = [outcome for outcome in outcomes if outcome.payload is not None]
            whole = self._whole.setdefault(condition, {})
            whole.update((outcome.cell, outcome) for outcome in chain(packed.odd(outcomes), _rare(outcomes), paid))
            packed.extend(outcomes)
            self._columns.pop(condition, None)
        if by_condition:
            each = (self.size - size) / len(self._latest)
            self._at_once = int(min(_MOST, max(_FEWEST, _UNPACKED / max(each, 1))))
        # What an executor hands on twice in a row is told from what it makes twice.
        self._before, self._latest = self._latest, {}

    def release(self) -> None:
        """Forget what a store gives back exactly: all but errors and what no file holds as it was recorded."""
        self.pack()
        kept = [self[cell] for name, packed in self._packed.items() for cell in packed.not_plain(name)]
        kept += [outcome for whole in self._whole.values() for outcome in _rare(whole.values())]
        self._packed, self._whole, self._columns = {}, {}, {}
        before = self._before
        for outcome in kept:
            self.add(outcome)
        self.pack()
        self._before = before

    @property
    def size(self) -> int:
        """About how many bytes the packed ones take."""
        return sum(packed.size for packed in self._packed.values())

    @property
    def conditions(self) -> Sequence[str]:
        """The conditions of which there are cells."""
        return [*dict.fromkeys(chain(self._packed, (cell.condition for cell in self._latest)))]

    def columns(self, condition: str) -> CellColumns:
        """Return the cells of a condition by column."""
        known = self._columns.get(condition)
        if known is None:
            if self._latest:
                self.pack()
            rare = _rare(self._whole.get(condition, {}).values())
            known = self._columns[condition] = self._packed[condition].columns(rare)
        return known

    def __getitem__(self, cell: Cell) -> CellOutcome:
        return self.latest(cell) or self.columns(cell.condition).outcome(cell)

    def __contains__(self, cell: object) -> bool:
        if cell in self._latest:
            return True
        try:
            self.columns(cell[0]).position(cell[1])  # type: ignore[index]
        except (IndexError, KeyError, TypeError):
            return False
        return True

    def __len__(self) -> int:
        return len(self._latest) + sum(len(packed.replicates) for packed in self._packed.values())


def collected(outcomes: Iterable[CellOutcome] | LazyOutcomes) -> LazyOutcomes:
    """Return outcomes as a collection that gives columns."""
    if isinstance(outcomes, LazyOutcomes):
        return outcomes
    gathered = CollectedOutcomes()
    for outcome in outcomes:
        gathered.add(outcome)
    return gathered


class _Packed:
    """The cells of one condition by column, in the order of arrival."""

    def __init__(self) -> None:
        self.replicates = array("q")
        self.failed = 0
        self.size = 0
        self.artifacts: list[tuple[int, ArtifactRecord]] = []
        self._seeds = _Values()
        self._durations = array("d")
        self._workers: list[str] = []
        self._worker_names: dict[str, str] = {}
        self._traces = _PackedTraces()
        self._shapes: dict[TraceShape, None] = {}
        self._metrics: dict[str, tuple[_Values, array[int]]] = {}
        self.uniform = True
        self._names: tuple[str, ...] | None = None
        self._first: dict[str, tuple[int, int]] = {}
        self._tags: dict[str, dict[int, Mapping[str, Any]]] = {}

    def odd(self, outcomes: Sequence[CellOutcome]) -> list[CellOutcome]:
        """Return those that have other metrics than the first one of the condition, or have them in another order."""
        succeeded = [outcome for outcome in outcomes if outcome.error is None]
        if self._names is None and succeeded:
            self._names = (*succeeded[0].metrics,)
        names = self._names
        odd = [outcome for outcome in succeeded if (*outcome.metrics,) != names]
        if odd and self.uniform:
            self.uniform = False
            before = min(self.replicates, default=0)
            for index, (name, (_, owners)) in enumerate(self._metrics.items()):
                self._first[name] = (min(owners, default=before), index)
        return odd

    def extend(self, outcomes: Sequence[CellOutcome]) -> None:
        # Column by column: half the time of going through each of thousands of outcomes once.
        replicates = array("q", [outcome.cell.replicate for outcome in outcomes])
        self.replicates.extend(replicates)
        self._seeds.extend([outcome.seed for outcome in outcomes])
        self._durations.extend([outcome.duration for outcome in outcomes])
        names = self._worker_names
        self._workers += [names.setdefault(outcome.worker, outcome.worker) for outcome in outcomes]
        self._traces.extend([outcome.provenance for outcome in outcomes])
        self.artifacts += [
            (outcome.cell.replicate, artifact)
            for outcome in outcomes
            if outcome.artifacts
            for artifact in outcome.artifacts
        ]
        succeeded = [outcome for outcome in outcomes if outcome.error is None]
        self.failed += len(outcomes) - len(succeeded)
        shapes = [outcome.provenance.shape for outcome in succeeded if outcome.provenance is not None]
        # By identity first: nearly all are one object, and their hash takes a microsecond.
        self._shapes.update(dict.fromkeys({id(shape): shape for shape in shapes}.values()))
        if not (self.uniform and self._extend_by_column(succeeded)):
            for outcome in succeeded:
                self._add_metrics(outcome)
        self.size = (40 + 8 * len(self._metrics) * 2) * len(self.replicates) + self._traces.size
        self.size += sum(values.size for values, _ in self._metrics.values())

    def _extend_by_column(self, outcomes: Sequence[CellOutcome]) -> bool:
        """Take in the metrics of cells that all recorded one value of the same ones, as nearly all do."""
        if [outcome for outcome in outcomes if outcome.tags]:
            return False
        cells = [outcome.metrics for outcome in outcomes]
        try:
            columns = {name: [value for (value,) in [cell[name] for cell in cells]] for name in self._names or ()}
        except ValueError:
            return False
        replicates = array("q", [outcome.cell.replicate for outcome in outcomes])
        for name, column in columns.items():
            values, owners = self._metric(name)
            values.extend(column)
            owners.extend(replicates)
        return True

    def _add_metrics(self, outcome: CellOutcome) -> None:
        replicate = outcome.cell.replicate
        for index, (name, recorded) in enumerate(outcome.metrics.items()):
            values, owners = self._metric(name)
            if not self.uniform:
                self._first[name] = min((replicate, index), self._first.get(name, (replicate, index)))
            for place, tags in outcome.tags.get(name, {}).items() if outcome.tags else ():
                self._tags.setdefault(name, {})[len(owners) + place] = tags
            values.extend(recorded)
            owners.extend([replicate] * len(recorded))

    def _metric(self, name: str) -> tuple[_Values, array[int]]:
        known = self._metrics.get(name)
        if known is None:
            known = self._metrics[name] = (_Values(), array("q"))
        return known

    def not_plain(self, condition: str) -> set[Cell]:
        """Return the cells that recorded something that is more than a number, text or an array of numbers."""
        return {
            Cell(condition, replicate)
            for values, owners in self._metrics.values()
            for replicate, value in zip(owners, values.objects(), strict=False)
            if not _is_plain(value)
        }

    def columns(self, rare: list[CellOutcome]) -> CellColumns:
        """Return them in replicate order."""
        order = _order(self.replicates)

        def sort(column: Sequence[Any]) -> Sequence[Any]:
            return column if order is None else take(column, order)

        replicates = sort(self.replicates)

        def metric(name: str) -> MetricColumn:
            values, owners = self._metrics[name]
            column = MetricColumn(values.values, owners, self._tags.get(name, {}), values.kind)
            if owners == self.replicates and not column.tags:  # nearly always: one value each
                return MetricColumn(sort(values.values), replicates, {}, values.kind)
            own_order = _order(owners)
            return column if own_order is None else column.selected(own_order)

        return CellColumns(
            replicates,
            sort(self._seeds.values),
            sort(self._durations),
            sort(self._workers),
            _Traces(self._traces, order),
            {name: metric(name) for name in sorted(self._metrics, key=lambda name: self._first.get(name, (0, 0)))},
            len(self.replicates) - self.failed,
            sorted(self.artifacts, key=lambda found: found[0]),
            sorted(rare, key=lambda outcome: outcome.cell.replicate),
            self._shapes,
            self.uniform,
        )


class _Values:
    """A column that is packed as long as all its values are numbers of one type."""

    __slots__ = ("kind", "size", "values")

    def __init__(self) -> None:
        self.values: array[Any] | list[Any] = array("d")
        self.kind: type | None = None
        self.size = 0

    def extend(self, values: Sequence[Any]) -> None:
        if not values:
            return
        kinds = {*map(type, values)}
        kind = kinds.pop() if len(kinds) == 1 else None
        code = None if kind is None else _code_of(kind)
        if isinstance(self.values, array):
            if not self.values and code is not None:
                self.values = array(code)
                self.kind = None if kind in _SCALARS else kind
            if code == self.values.typecode and self.kind is (None if kind in _SCALARS else kind):
                packed = array(code)
                try:
                    packed.extend(values if self.kind is None or code == "d" else [*map(int, values)])
                except OverflowError:  # an integer of more than 64 bits
                    pass
                else:
                    self.values.extend(packed)
                    return
            self.values = MetricColumn(self.values, (), {}, self.kind).of(0, len(self.values))
            self.kind = None
        self.values += values
        if kind is not type(None):
            self.size += sum(getattr(value, "nbytes", None) or sys.getsizeof(value) for value in values)

    def objects(self) -> Iterable[Any]:
        """Return the values that are not packed."""
        return () if isinstance(self.values, array) else self.values


class _PackedTraces:
    """What cells did, in the order of arrival."""

    __slots__ = ("_durations", "_ends", "_shapes", "_written")

    def __init__(self) -> None:
        self._shapes: list[TraceShape | None] = []
        self._durations: array[float] = array("d")
        self._ends: array[int] = array("q")  # in bytes
        self._written: dict[int, dict[str, Any]] = {}

    @property
    def size(self) -> int:
        """About how many bytes they take."""
        return 8 * (2 * len(self._shapes) + len(self._durations)) + 300 * len(self._written)

    def extend(self, traces: Sequence[CellTrace | None]) -> None:
        packed = [b"" if trace is None else trace.packed for trace in traces]
        first, so_far = len(self._shapes), self._ends[-1] if self._ends else 0
        self._ends.extend(islice(accumulate(map(len, packed), initial=so_far), 1, None))
        self._durations.frombytes(b"".join(packed))
        self._shapes += [None if trace is None else trace.shape for trace in traces]
        written = {first + at: trace.written for at, trace in enumerate(traces) if trace is not None and trace.written}
        self._written.update(written)

    def __getitem__(self, position: int) -> CellTrace | None:
        shape = self._shapes[position]
        if shape is None:
            return None
        width = self._durations.itemsize
        start = self._ends[position - 1] // width if position else 0
        return CellTrace(shape, self._durations[start : self._ends[position] // width], self._written.get(position))

    def __len__(self) -> int:
        return len(self._shapes)


class _Traces(Sequence["CellTrace | None"]):
    """What cells did, in replicate order, each unpacked when somebody looks."""

    __slots__ = ("_order", "_traces")

    def __init__(self, traces: _PackedTraces, order: Sequence[int] | None) -> None:
        self._traces = traces
        self._order = order

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        return self._traces[index if self._order is None else self._order[index]]

    def __len__(self) -> int:
        return len(self._traces)


def _order(replicates: Sequence[int]) -> Sequence[int] | None:
    """Return the positions in replicate order; None where they are in order already."""
    order = sorted(range(len(replicates)), key=replicates.__getitem__)
    return None if order == list(range(len(order))) else array("q", order)


def _code_of(kind: type) -> str | None:
    """Return the type code of the array that holds numbers of a type exactly."""
    code = _SCALARS.get(kind)
    return _NUMPY_SCALARS.get(kind.__name__) if code is None and kind.__module__ == "numpy" else code


def _rare(outcomes: Iterable[CellOutcome]) -> list[CellOutcome]:
    """Return the outcomes that hold more than columns do."""
    return [
        outcome
        for outcome in outcomes
        if outcome.error is not None or outcome.attempts or outcome.plugin_failures or outcome.reports
    ]


def _is_plain(value: Any) -> bool:
    """Return whether a store gives a value back exactly: a number, text, or an array of numbers."""
    kind = type(value)
    return kind in _EXACT or (kind.__module__ == "numpy" and value.dtype.kind in "biufc")
