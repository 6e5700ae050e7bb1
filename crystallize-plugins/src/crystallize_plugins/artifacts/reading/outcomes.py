"""The outcomes of a stored run, read from its database by column, or one by one, when somebody looks."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence, ValuesView
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from crystallize.errors import DamagedStoreError
from crystallize.results import Cell, CellColumns, CellOutcome, CellTrace, LazyOutcomes, MetricValues
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.cells import (
    FAILED,
    INEXACT,
    Row,
    doubles,
    outcome_from,
    read_traces,
    rows_from,
    trace_from,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from pathlib import Path

    from crystallize.results import ArtifactRecord
    from crystallize_plugins.artifacts.database.connection import RunDatabase

__all__ = ["StoredOutcomes"]

_READ_AT_ONCE = 4096
"""Rows that are decoded together, which takes half the time."""
_NEIGHBOURS = 256
"""Cells that are read with one that somebody looks at: who looks at one often looks at the next."""
_MOST_MADE = 4096

_SUMMARY = """
    SELECT condition, state, trace, more IS NOT NULL, count(*), min(replicate), max(replicate)
    FROM cell GROUP BY 1, 2, 3, 4
"""


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
        "_artifacts", "_columns", "_conditions", "_folder", "_forgets_failures", "_kinds", "_made", "_replicates",
        "_traces", "_wanted",
    )  # fmt: skip

    def __init__(
        self,
        source: RunDatabase,
        folder: Path,
        artifacts: Callable[[], Mapping[Cell, Sequence[ArtifactRecord]]],
    ) -> None:
        self._folder = folder
        self._artifacts = artifacts
        self._traces = read_traces(source.rows("trace", "ORDER BY id"))
        self._kinds: dict[str, list[_Kind]] = {}
        for condition, kinds in groupby(source.execute(_SUMMARY), key=lambda row: row[0]):
            self._kinds[condition] = [_Kind(*row[1:]) for row in kinds]
        order = [name for (name,) in source.execute("SELECT name FROM condition ORDER BY id")]
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
                for row in source.execute("SELECT condition, replicate FROM cell ORDER BY json_extract(record, '$[0]')")
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
        part._folder, part._artifacts, part._traces, part._kinds = (
            self._folder, self._artifacts, self._traces, self._kinds,
        )  # fmt: skip
        part._forgets_failures = self._forgets_failures
        part._conditions, part._replicates = tuple(found), dict(found)
        part._wanted = {name: frozenset(several) for name, several in found.items()}
        part._columns, part._made = {}, {}
        return part

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
        yield from map(self._outcome, self._rows("ORDER BY json_extract(record, '$[0]')", ()))

    def _outcome(self, row: Row) -> CellOutcome:
        outcome = outcome_from(row, self._traces[row.trace])
        outcome.artifacts = self._artifacts().get(outcome.cell, ())
        if self._forgets_failures:
            outcome.plugin_failures = ()
        return outcome

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
        kinds = self._kinds[condition]
        few = []
        if any(kind.has_more for kind in kinds):
            clause = "WHERE condition = ? AND more IS NOT NULL ORDER BY replicate"
            few = [*map(self._outcome, self._rows(clause, (condition,)))]
        failed = sum(outcome.error is not None for outcome in few)
        read = _Condition(self, condition, few)
        return CellColumns(
            replicates=list(replicates),
            seeds=cast("list[int | None]", _Column(len(replicates), lambda: read.whole().seeds)),
            durations=cast("list[float]", _Column(len(replicates), lambda: read.whole().durations)),
            workers=cast("list[str]", _Column(len(replicates), lambda: read.whole().workers)),
            traces=_Traces(self, condition, replicates),
            metrics=read.whole().metrics,
            succeeded=len(replicates) - failed,
            artifacts=self._files(condition, replicates),
            rare=few,
        )

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


class _Whole(NamedTuple):
    """The columns of a condition."""

    seeds: list[int | None]
    durations: Sequence[float]
    workers: list[str]
    metrics: dict[str, MetricValues]


class _Condition:
    """Reads the columns of a condition, all of them at once."""

    def __init__(self, outcomes: StoredOutcomes, condition: str, few: Sequence[CellOutcome]) -> None:
        self._outcomes = outcomes
        self._condition = condition
        self._few = few
        self._whole: _Whole | None = None

    def whole(self) -> _Whole:
        if self._whole is None:
            self._whole = self._read()
        return self._whole

    def _read(self) -> _Whole:
        seeds: list[int | None] = []
        durations = doubles(())
        workers: list[str] = []
        metrics: dict[str, MetricValues] = {}
        known_workers: dict[str, str] = {}
        traces = self._outcomes._traces
        rows = self._outcomes._rows("WHERE condition = ? ORDER BY replicate", (self._condition,))
        for row in rows:
            replicate = row.replicate
            seeds.append(row.seed)
            durations.append(row.duration)
            workers.append(known_workers.setdefault(row.worker, row.worker))
            if row.state == FAILED:
                continue
            try:
                named = zip(traces[row.trace].metrics, row.record.values, strict=True)
                for name, value in named:
                    column = metrics.get(name)
                    if column is None:
                        column = metrics[name] = MetricValues()
                    if value.__class__ is list:
                        column.extend(value)
                        column.replicates.extend([replicate] * len(value))
                    else:
                        column.append(value)
                        column.replicates.append(replicate)
            except ValueError as error:
                raise DamagedStoreError(f"the record of a cell is damaged: {error}") from error
        for outcome in self._few:
            if outcome.tags and outcome.error is None:
                _tag(metrics, outcome)
        return _Whole(seeds, durations, workers, metrics)


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
        return (trace_from(row, self._outcomes._traces[row.trace]) for row in rows)

    def __len__(self) -> int:
        return len(self._replicates)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def _has(replicates: Sequence[int], replicate: int) -> bool:
    if isinstance(replicates, range):
        return replicate in replicates
    position = bisect_left(replicates, replicate)
    return position < len(replicates) and replicates[position] == replicate


def _tag(metrics: Mapping[str, MetricValues], outcome: CellOutcome) -> None:
    """Put a cell's tags beside its values."""
    for name, tags in outcome.tags.items():
        values = metrics.get(name)
        if values is not None:
            first = bisect_left(values.replicates, outcome.cell.replicate)
            for index, tag in tags.items():
                values.tags[first + index] = tag
