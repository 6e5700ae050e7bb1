"""The outcomes of a stored run, read from its database by column, or one by one, when somebody looks."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence, ValuesView
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from crystallize.errors import DamagedStoreError
from crystallize.hooks import Cell, CellColumns, CellOutcome, CellTrace, LazyOutcomes, MetricColumn, MetricColumns
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.cells import (
    FAILED,
    INEXACT,
    Row,
    Trace,
    checked_records,
    outcome_from,
    read_traces,
    rows_from,
    trace_from,
)
from crystallize_plugins.artifacts.reading.rows import cells_by_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from crystallize.hooks import ArtifactRecord
    from crystallize_plugins.artifacts.database.connection import RunDatabase

__all__ = ["StoredOutcomes"]

_READ_AT_ONCE = 256
"""Rows that are decoded together: one by one takes twice as long, as do more than fit into the caches."""
_NEIGHBOURS = 256
"""Cells that are read with one that somebody looks at: who looks at one often looks at the next."""
_MOST_MADE = 4096


class _Kind(NamedTuple):
    """Cells of a condition that have one state and one trace."""

    state: str
    trace: int
    has_more: bool
    cells: int
    first: int
    last: int


class StoredOutcomes(LazyOutcomes):
    """Outcomes by cell, in the order in which they arrived.

    Nothing but their number is read before somebody looks.

    Parameters
    ----------
    source : RunDatabase
    folder : Path
        The run's folder.
    artifacts : callable
        Gives the files of each cell that wrote some; called when somebody looks.
    """

    __slots__ = (
        "_artifacts", "_columns", "_conditions", "_forgets_failures", "_kinds", "_made", "_place", "_rare",
        "_read", "_replicates", "_traces", "_wanted",
    )  # fmt: skip

    def __init__(
        self,
        source: RunDatabase,
        folder: Path,
        artifacts: Callable[[], Mapping[Cell, Sequence[ArtifactRecord]]],
    ) -> None:
        self._place = [folder]  # of the parts of these, too
        self._artifacts = artifacts
        self._kinds: dict[str, list[_Kind]] = {}
        for condition, kinds in groupby(cells_by_kind(source), key=lambda row: row[0]):
            self._kinds[condition] = [_Kind(*row[1:]) for row in kinds]
        # After the cells: while the run goes on there may be more of them in the next moment, each with its trace.
        self._traces = read_traces(source.rows("trace", "ORDER BY id"))
        order = [row[1] for row in source.rows("condition", "ORDER BY id")]
        if not {*order}.issuperset(self._kinds) or any(
            kind.trace not in self._traces for kinds in self._kinds.values() for kind in kinds
        ):
            raise DamagedStoreError("a cell is of a condition, or has a trace, that is not there")
        self._conditions = tuple(name for name in order if name in self._kinds)
        self._replicates: dict[str, Sequence[int]] = {}
        for name, kinds_of in self._kinds.items():
            first, last = min(kind.first for kind in kinds_of), max(kind.last for kind in kinds_of)
            if last - first + 1 == sum(kind.cells for kind in kinds_of):
                self._replicates[name] = range(first, last + 1)
            else:
                query = "SELECT replicate FROM cell WHERE condition = ? ORDER BY replicate"
                self._replicates[name] = array("q", (row[0] for row in source.execute(query, (name,))))
        self._wanted: dict[str, frozenset[int]] | None = None
        self._forgets_failures = False
        self._columns: dict[str, CellColumns] = {}
        self._rare: dict[str, list[CellOutcome]] | None = None
        self._read: dict[str, _Whole] | None = None
        self._made: dict[Cell, CellOutcome] = {}

    # -- which cells there are --------------------------------------------------------------------

    def __contains__(self, cell: object) -> bool:
        if not isinstance(cell, tuple) or len(cell) != 2:  # noqa: PLR2004 - no cell
            return False
        return _has(self._replicates.get(cell[0], ()), cell[1])

    def __len__(self) -> int:
        return sum(map(len, self._replicates.values()))

    def __iter__(self) -> Iterator[Cell]:
        if self._wanted is not None:
            for name in self._conditions:
                for replicate in self._replicates[name]:
                    yield Cell(name, replicate)
            return
        with database.reading(self._folder) as source:
            yield from [
                Cell(*row)
                for row in source.execute("SELECT condition, replicate FROM cell ORDER BY number")
                if row in self
            ]

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions of which there are cells."""
        return self._conditions

    @property
    def failed(self) -> frozenset[Cell]:
        """The cells that failed."""
        return self._of_state(FAILED)

    @property
    def inexact(self) -> frozenset[Cell]:
        """The cells of which something could not be stored exactly."""
        return self._of_state(INEXACT)

    def _of_state(self, state: str) -> frozenset[Cell]:
        if not any(kind.state == state for kinds in self._kinds.values() for kind in kinds):
            return frozenset()
        with database.reading(self._folder) as source:
            query = "SELECT condition, replicate FROM cell WHERE state = ?"
            return frozenset(Cell(*row) for row in source.execute(query, (state,)) if row in self)

    def replicates(self, condition: str) -> Sequence[int]:
        """Return the replicates of a condition of which there are cells, in ascending order."""
        return self._replicates.get(condition, ())

    def restricted(self, cells: Iterable[Cell]) -> StoredOutcomes:
        """Return those of some cells; cells of which there is no outcome are left out."""
        wanted: dict[str, set[int]] = {}
        for condition, replicate in cells:
            if condition in wanted:
                wanted[condition].add(replicate)
            elif condition in self._replicates:
                wanted[condition] = {replicate}
        found = {
            name: sorted(each for each in several if _has(self._replicates[name], each))
            for name, several in wanted.items()
        }
        found = {name: several for name, several in found.items() if several}
        if sum(map(len, found.values())) == len(self):
            return self
        part = object.__new__(type(self))
        part._place, part._artifacts, part._traces, part._kinds = (
            self._place, self._artifacts, self._traces, self._kinds,
        )  # fmt: skip
        part._forgets_failures = self._forgets_failures
        part._conditions, part._replicates = tuple(found), dict(found)
        part._wanted = {name: frozenset(several) for name, several in found.items()}
        part._columns, part._made, part._rare, part._read = {}, {}, None, None
        return part

    @property
    def _folder(self) -> Path:
        return self._place[0]

    def moved(self, folder: Path) -> None:
        """Go on reading where the run lies now."""
        former, self._place[0] = str(self._folder), folder
        for records in self._artifacts().values():
            for record in records:
                record.path = str(folder) + str(record.path).removeprefix(former)

    def forget_plugin_failures(self) -> None:
        """Let outcomes have no errors of plugins, where those of the whole run are known."""
        self._forgets_failures = True

    # -- one by one -------------------------------------------------------------------------------

    def __getitem__(self, cell: Cell) -> CellOutcome:
        made = self._made.get(cell)
        if made is None:
            if cell not in self:
                raise KeyError(cell)
            if len(self._made) > _MOST_MADE:
                self._made.clear()
            condition, replicate = cell
            clause = "WHERE condition = ? AND replicate BETWEEN ? AND ?"
            for row in self._rows(clause, (condition, replicate, replicate + _NEIGHBOURS)):
                outcome = self._outcome(row)
                self._made.setdefault(outcome.cell, outcome)
            made = self._made[cell]
        return made

    def values(self) -> ValuesView[CellOutcome]:
        """Return the outcomes, all of which are read one after the other."""
        return _Outcomes(self)

    def _stream(self) -> Iterator[CellOutcome]:
        if self._wanted is not None:
            for name in self._conditions:
                yield from map(self._outcome, self._rows("WHERE condition = ? ORDER BY replicate", (name,)))
            return
        yield from map(self._outcome, self._rows("ORDER BY number", ()))

    def _outcome(self, row: Row) -> CellOutcome:
        outcome = outcome_from(row, self._trace(row.trace))
        outcome.artifacts = self._artifacts().get(outcome.cell, ())
        if self._forgets_failures:
            outcome.plugin_failures = ()
        return outcome

    def _trace(self, number: int) -> Trace:
        if number not in self._traces:  # of a cell that has run again since
            with database.reading(self._folder) as source:
                self._traces.update(read_traces(source.rows("trace", "ORDER BY id")))
        if number not in self._traces:
            raise DamagedStoreError(f"a cell has a trace, {number}, that is not there")
        return self._traces[number]

    def _rows(self, clause: str, values: tuple[Any, ...]) -> Iterator[Row]:
        """Yield the rows of these cells, each having been checked."""
        with database.reading(self._folder) as source:
            cursor = source.execute(f"SELECT * FROM cell {clause}", values)  # noqa: S608 - our own clauses
            while several := cursor.fetchmany(_READ_AT_ONCE):
                yield from rows_from([row for row in several if row[:2] in self])

    # -- by column --------------------------------------------------------------------------------

    def columns(self, condition: str) -> CellColumns:
        """Return the cells of a condition by column, which are read when somebody looks."""
        known = self._columns.get(condition)
        if known is None:
            known = self._columns[condition] = self._columns_of(condition)
        return known

    def _columns_of(self, condition: str) -> CellColumns:
        replicates = self._replicates[condition]
        few = self._few().get(condition, [])
        failed = sum(outcome.error is not None for outcome in few)
        # Those of the cells that succeeded, in the order in which they come first.
        kinds = sorted((kind for kind in self._kinds[condition] if kind.state != FAILED), key=lambda kind: kind.first)
        traces = [self._traces[kind.trace] for kind in kinds] if len(replicates) > failed else []
        length = len(replicates)
        return CellColumns(
            replicates,
            _Column(length, lambda: self._whole()[condition].seeds),
            _Column(length, lambda: self._whole()[condition].durations),
            _Column(length, lambda: self._whole()[condition].workers),
            _Traces(self, condition, replicates),
            MetricColumns(
                [name for trace in traces for name in trace.metrics], lambda name: self._metric(condition, name)
            ),
            length - failed,
            self._files(condition, replicates),
            few,
            # Of a part it is not known which of them its cells have.
            {trace.shape: None for trace in traces if trace.shape is not None} if self._wanted is None else None,
        )

    def _few(self) -> dict[str, list[CellOutcome]]:
        """Return the cells of which more is known than most, by condition."""
        if self._rare is None:
            self._rare = {}
            if any(kind.has_more for kinds in self._kinds.values() for kind in kinds):
                for row in self._rows("WHERE more IS NOT NULL ORDER BY replicate", ()):
                    self._rare.setdefault(row.condition, []).append(self._outcome(row))
        return self._rare

    def _metric(self, condition: str, name: str) -> MetricColumn:
        values, replicates = self._whole()[condition].metric(name)
        tags: dict[int, Mapping[str, Any]] = {}
        for outcome in self._few().get(condition, ()):
            if outcome.error is None and name in outcome.tags:
                first = bisect_left(replicates, outcome.cell.replicate)
                tags.update((first + index, each) for index, each in outcome.tags[name].items())
        return MetricColumn(values, replicates, tags)

    def _whole(self) -> dict[str, _Whole]:
        """Read all columns, at once since the rows of all conditions lie between each other."""
        if self._read is None:
            found = {name: _Whole() for name in self._conditions}
            with database.reading(self._folder) as source:
                # While the run goes on there may be more of them by now; after this they stay as many.
                source.execute("BEGIN")
                all_of_them = source.execute("SELECT count(*) FROM cell").fetchone()[0] == len(self)
                cursor = source.execute("SELECT * FROM cell ORDER BY replicate")
                while several := cursor.fetchmany(_READ_AT_ONCE):
                    if not all_of_them:
                        several = [row for row in several if row[:2] in self]
                    parts: dict[str, list[tuple[Any, ...]]] = {}
                    for row, record in zip(several, checked_records(several), strict=True):
                        parts.setdefault(row[0], []).append((row, record))
                    for name, part in parts.items():
                        if name in found:
                            found[name].extend(part, lambda trace: self._trace(trace).metrics)
            for name, whole in found.items():
                if len(whole.seeds) != len(self._replicates[name]):
                    raise DamagedStoreError(f"cells are missing in {self._folder}")
                whole.share(self._replicates[name])
            self._read = found
        return self._read

    def _files(self, condition: str, replicates: Collection[int]) -> list[tuple[int, ArtifactRecord]]:
        files = self._artifacts()
        if not files:
            return []
        return [(each, record) for each in replicates for record in files.get(Cell(condition, each), ())]


class _Outcomes(ValuesView[CellOutcome]):
    """The outcomes one after the other, without a query for each."""

    __slots__ = ()

    _mapping: StoredOutcomes

    def __iter__(self) -> Iterator[CellOutcome]:
        return self._mapping._stream()


class _Whole:
    """The columns of a condition, packed as they are read."""

    __slots__ = ("_durations", "_metrics", "_names", "_seeds", "_workers")

    def __init__(self) -> None:
        self._seeds = _Values()
        self._durations = array("d")
        self._workers: list[str] = []
        self._names: dict[str, str] = {}
        self._metrics: dict[str, tuple[_Values, Sequence[int]]] = {}

    @property
    def seeds(self) -> Sequence[int | None]:
        return self._seeds.values

    @property
    def durations(self) -> Sequence[float]:
        return self._durations

    @property
    def workers(self) -> Sequence[str]:
        return self._workers

    def metric(self, name: str) -> tuple[Sequence[Any], Sequence[int]]:
        """Return the values of a metric, and the replicates that they are of."""
        values, replicates = self._metrics.get(name, (_Values(), array("q")))
        return values.values, replicates

    def extend(self, part: Sequence[tuple[Any, ...]], names_of: Callable[[int], Sequence[str]]) -> None:
        """Add rows with their records, in the order of their replicates."""
        self._seeds.extend([row[4] if record[4] is None else record[4] for row, record in part])
        self._durations.extend([row[6] for row, _ in part])
        self._workers += [self._names.setdefault(row[7], row[7]) for row, _ in part]
        for (trace, failed), alike in groupby(part, key=lambda each: (each[0][10], each[0][3] == FAILED)):
            if not failed:
                self._extend_metrics([*alike], names_of(trace))

    def _extend_metrics(self, part: Sequence[tuple[Any, ...]], names: Sequence[str]) -> None:
        """Add the metrics of cells that have the same ones."""
        records = [record[0] for _, record in part]
        if {*map(len, records)} != {len(names)}:
            raise DamagedStoreError("the record of a cell is damaged: it does not fit its trace")
        replicates = array("q", [row[1] for row, _ in part])
        for name, values in zip(names, zip(*records, strict=True), strict=True):
            found, owners = self._metrics.setdefault(name, (_Values(), array("q")))
            if list in {*map(type, values)}:
                lists = [value if value.__class__ is list else [value] for value in values]
                found.extend([*chain.from_iterable(lists)])
                each = zip(replicates, lists, strict=True)
                cast("array[int]", owners).extend([replicate for replicate, several in each for _ in several])
            else:
                found.extend(values)
                cast("array[int]", owners).extend(replicates)

    def share(self, replicates: Sequence[int]) -> None:
        """Let metrics of which each cell has one value have its replicates, instead of a copy of them."""
        packed = array("q", replicates)
        for name, (values, owners) in self._metrics.items():
            if owners == packed:
                self._metrics[name] = (values, replicates)


class _Values:
    """A column that is an array as long as all are numbers of one type, which takes a quarter of the memory."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: list[Any] | array[Any] = []

    def extend(self, values: Sequence[Any]) -> None:
        packed = _packed(values)
        if not self.values:
            self.values = packed if isinstance(packed, array) else [*packed]
        elif isinstance(packed, array) and isinstance(self.values, array) and packed.typecode == self.values.typecode:
            self.values.extend(packed)
        else:
            if isinstance(self.values, array):
                self.values = self.values.tolist()
            self.values.extend(values)


def _packed(values: Sequence[Any]) -> Sequence[Any]:
    kinds = {*map(type, values)}
    code = "d" if kinds == {float} else "q" if kinds == {int} else None
    if code is None:
        return values
    try:
        return array(code, values)
    except OverflowError:
        return values


class _Column(Sequence[Any]):
    """Something of each cell, read when somebody looks."""

    __slots__ = ("_length", "_read")

    def __init__(self, length: int, read: Callable[[], Sequence[Any]]) -> None:
        self._length = length
        self._read = read

    def __getitem__(self, index: Any) -> Any:
        return self._read()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._read())

    def __len__(self) -> int:
        return self._length

    def __reduce__(self) -> tuple[Any, ...]:
        # What travels, or is kept, needs no store.
        return list, (list(self),)


class _Traces(Sequence["CellTrace | None"]):
    """What the cells of a condition did, each read when somebody looks."""

    __slots__ = ("_condition", "_outcomes", "_replicates")

    def __init__(self, outcomes: StoredOutcomes, condition: str, replicates: Sequence[int]) -> None:
        self._outcomes = outcomes
        self._condition = condition
        self._replicates = replicates

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        return self._outcomes[Cell(self._condition, self._replicates[index])].provenance

    def __iter__(self) -> Iterator[CellTrace | None]:
        rows = self._outcomes._rows("WHERE condition = ? ORDER BY replicate", (self._condition,))
        return (trace_from(row, self._outcomes._trace(row.trace)) for row in rows)

    def __len__(self) -> int:
        return len(self._replicates)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def _has(replicates: Sequence[int], replicate: int) -> bool:
    if isinstance(replicates, range):
        return replicate in replicates
    position = bisect_left(replicates, replicate)
    return position < len(replicates) and replicates[position] == replicate
