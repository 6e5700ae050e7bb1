"""The outcomes of many cells by column: what they have in common is read in bulk, without an object for each cell."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.results.outcome import Cell, CellOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from crystallize.results.outcome import ArtifactRecord
    from crystallize.results.trace import CellTrace, TraceShape

__all__ = [
    "CellColumns",
    "JoinedOutcomes",
    "LazyOutcomes",
    "MetricColumn",
    "MetricColumns",
    "MetricValues",
    "RestrictedOutcomes",
    "take",
]


class MetricValues(list[Any]):
    """The values of one metric in one condition: a list, in replicate order.

    Parameters
    ----------
    values : iterable
        The values; a cell may have recorded several.
    replicates : iterable of int, optional
        Which replicate each value came from, in ascending order. Left out, one value per replicate from 0 on.

    Attributes
    ----------
    replicates : list of int
        As long as the list itself.
    tags : dict of int to mapping
        The tags of the values that were recorded with some, by position in the list.

    Examples
    --------
    >>> values = MetricValues([0.5, 0.75], replicates=[0, 2])
    >>> values, values.replicates
    ([0.5, 0.75], [0, 2])
    """

    __slots__ = ("replicates", "tags")

    replicates: list[int]
    tags: dict[int, Mapping[str, Any]]

    def __init__(self, values: Iterable[Any] = (), replicates: Iterable[int] | None = None) -> None:
        super().__init__(values)
        self.replicates = list(range(len(self)) if replicates is None else replicates)
        self.tags = {}

    def by_replicate(self) -> dict[int, list[Any]]:
        """Return the values of each replicate that recorded any, for pairing conditions.

        Returns
        -------
        dict of int to list
            In replicate order.

        Examples
        --------
        >>> MetricValues([1, 2, 3], replicates=[0, 0, 4]).by_replicate()
        {0: [1, 2], 4: [3]}
        """
        values: dict[int, list[Any]] = {}
        for replicate, value in zip(self.replicates, self, strict=True):
            values.setdefault(replicate, []).append(value)
        return values

    def __copy__(self) -> MetricValues:
        copied = MetricValues(self, self.replicates)
        copied.tags = dict(self.tags)
        return copied

    copy = __copy__

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_values, (list(self), self.replicates, self.tags)


def _rebuild_values(values: list[Any], replicates: list[int], tags: dict[int, Mapping[str, Any]]) -> MetricValues:
    rebuilt = MetricValues(values, replicates)
    rebuilt.tags = tags
    return rebuilt


class MetricColumn(NamedTuple):
    """The values of one metric in one condition, packed.

    Attributes
    ----------
    values : sequence
        In replicate order; an array where all are numbers of one type.
    replicates : sequence of int
        Which replicate each value came from.
    tags : mapping of int to mapping
        The tags of the values that were recorded with some, by position.
    kind : type, optional
        The type of the numbers, where it is not that which the array gives by itself, such as ``numpy.float64``.
    """

    values: Sequence[Any]
    replicates: Sequence[int]
    tags: Mapping[int, Mapping[str, Any]] = {}
    kind: type | None = None

    def unpacked(self, replicates: list[int] | None = None) -> MetricValues:
        """Return a list of the values, which belongs to whoever asked for it.

        Parameters
        ----------
        replicates : list of int, optional
            The column's replicates as a list, where there is one already.
        """
        listed = MetricValues(self.of(0, len(self.values)), [*self.replicates] if replicates is None else replicates)
        listed.tags.update(self.tags)
        return listed

    def of(self, start: int, end: int) -> list[Any]:
        """Return the values from one position up to another one."""
        values = self.values if (start, end) == (0, len(self.values)) else self.values[start:end]
        return list(values) if self.kind is None else [*map(self.kind, values)]

    def selected(self, positions: Sequence[int]) -> MetricColumn:
        """Return the values at some positions."""
        tags: Mapping[int, Mapping[str, Any]] = {}
        if self.tags:
            tags = {new: self.tags[old] for new, old in enumerate(positions) if old in self.tags}
        return MetricColumn(take(self.values, positions), take(self.replicates, positions), tags, self.kind)

    def joined(self, other: MetricColumn) -> MetricColumn:
        """Return these values and another column's, in replicate order."""
        if self.kind is other.kind and _alike(self.values, other.values):
            values, kind = self.values + other.values, self.kind  # type: ignore[operator]
        else:
            values, kind = self.of(0, len(self.values)) + other.of(0, len(other.values)), None
        replicates = array("q", chain(self.replicates, other.replicates))
        tags = {**self.tags, **{len(self.values) + position: tag for position, tag in other.tags.items()}}
        order = sorted(range(len(replicates)), key=replicates.__getitem__)
        return MetricColumn(values, replicates, tags, kind).selected(order)


class MetricColumns(Mapping[str, MetricColumn]):
    """The metrics of a condition by name, each read when somebody looks, and kept.

    Parameters
    ----------
    names : iterable of str
    read : callable of str
        Gives the column of a metric.
    """

    __slots__ = ("_names", "_read")

    def __init__(self, names: Iterable[str], read: Callable[[str], MetricColumn]) -> None:
        self._names: dict[str, MetricColumn | None] = dict.fromkeys(names)
        self._read = read

    def __getitem__(self, name: str) -> MetricColumn:
        column = self._names[name]
        if column is None:
            column = self._names[name] = self._read(name)
        return column

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # what travels needs no store


@dataclass(slots=True)
class CellColumns:
    """The cells of one condition, one entry each, in replicate order.

    Attributes
    ----------
    replicates : sequence of int
    seeds : sequence of int or None
    durations : sequence of float
        Seconds.
    workers : sequence of str
    traces : sequence of CellTrace or None
        May be read when somebody looks.
    metrics : mapping of str to MetricColumn
        Those of the cells that succeeded; may be read when somebody looks.
    succeeded : int
        How many cells did.
    artifacts : sequence of (int, ArtifactRecord)
        Files with the replicate that wrote them.
    rare : list of CellOutcome
        The cells of which more is known: errors, errors of plugins, attempts.
    shapes : collection of TraceShape, optional
        The distinct shapes of the traces of the cells that succeeded; looked for in the traces where it is None.
    uniform : bool
        Whether all cells that succeeded are known to have recorded the same metrics in the same order. Others are
        brought together one by one, so that the order of the metrics is that of the cells.
    """

    replicates: Sequence[int] = ()
    seeds: Sequence[int | None] = ()
    durations: Sequence[float] = ()
    workers: Sequence[str] = ()
    traces: Sequence[CellTrace | None] = ()
    metrics: Mapping[str, MetricColumn] = field(default_factory=dict)
    succeeded: int = 0
    artifacts: Sequence[tuple[int, ArtifactRecord]] = ()
    rare: list[CellOutcome] = field(default_factory=list)
    shapes: Collection[TraceShape] | None = None
    uniform: bool = False

    def position(self, replicate: object) -> int:
        """Return the index of a replicate's entry.

        Raises
        ------
        KeyError
            There is none.
        """
        if isinstance(replicate, int):
            position = bisect_left(self.replicates, replicate)
            if position < len(self.replicates) and self.replicates[position] == replicate:
                return position
        raise KeyError(replicate)

    @property
    def failed(self) -> set[int]:
        """The replicates that failed."""
        return {outcome.cell.replicate for outcome in self.rare if outcome.error is not None}

    def trace_shapes(self) -> Collection[TraceShape]:
        """Return the distinct shapes of the traces of the cells that succeeded."""
        if self.shapes is not None:
            return self.shapes
        failed = self.failed
        pairs = zip(self.replicates, self.traces, strict=True)
        return {trace.shape: None for replicate, trace in pairs if trace is not None and replicate not in failed}

    def selected(self, keep: Callable[[int], bool]) -> CellColumns:
        """Return the cells of the replicates that are to be kept, of uniform ones."""
        chosen = array("q", (position for position, replicate in enumerate(self.replicates) if keep(replicate)))

        def metric(name: str) -> MetricColumn:
            column = self.metrics[name]
            return column.selected(array("q", (at for at, each in enumerate(column.replicates) if keep(each))))

        rare = [outcome for outcome in self.rare if keep(outcome.cell.replicate)]
        succeeded = len(chosen) - sum(outcome.error is not None for outcome in rare)
        return CellColumns(
            take(self.replicates, chosen),
            take(self.seeds, chosen),
            take(self.durations, chosen),
            take(self.workers, chosen),
            _Taken(self.traces, chosen),
            MetricColumns(self.metrics if succeeded else (), metric),
            succeeded,
            [found for found in self.artifacts if keep(found[0])],
            rare,
            uniform=True,
        )

    def fits(self, other: CellColumns) -> bool:
        """Return whether these cells and those of another are uniform together."""
        if not (self.uniform and other.uniform):
            return False
        return not (self.succeeded and other.succeeded) or [*self.metrics] == [*other.metrics]

    def joined(self, other: CellColumns) -> CellColumns:
        """Return these cells and those of another, which has none of these, and which they fit."""
        if not other.replicates or not self.replicates:
            return self if self.replicates else other
        replicates = array("q", chain(self.replicates, other.replicates))
        order = sorted(range(len(replicates)), key=replicates.__getitem__)

        def column(ours: Sequence[Any], theirs: Sequence[Any]) -> Sequence[Any]:
            return take(ours + theirs if _alike(ours, theirs) else [*ours, *theirs], order)  # type: ignore[operator]

        def metric(name: str) -> MetricColumn:
            found = [columns.metrics[name] for columns in (self, other) if name in columns.metrics]
            return found[0].joined(found[1]) if len(found) > 1 else found[0]

        return CellColumns(
            take(replicates, order),
            column(self.seeds, other.seeds),
            column(self.durations, other.durations),
            column(self.workers, other.workers),
            _Taken(_Chained(self.traces, other.traces), order),
            MetricColumns(dict.fromkeys(chain(self.metrics, other.metrics)), metric),
            self.succeeded + other.succeeded,
            sorted([*self.artifacts, *other.artifacts], key=lambda found: found[0]),
            sorted([*self.rare, *other.rare], key=lambda outcome: outcome.cell.replicate),
            dict.fromkeys(chain(self.trace_shapes(), other.trace_shapes())),
            uniform=True,
        )

    def outcome(self, cell: Cell) -> CellOutcome:
        """Make the outcome of one cell.

        Raises
        ------
        KeyError
            There is none.
        """
        position = self.position(cell.replicate)
        for outcome in self.rare:
            if outcome.cell == cell:
                return outcome
        metrics = {}
        for name, column in self.metrics.items():
            start = bisect_left(column.replicates, cell.replicate)
            end = bisect_right(column.replicates, cell.replicate)
            if end > start or self.uniform:
                metrics[name] = column.of(start, end)
        return CellOutcome(
            cell,
            metrics,
            self.seeds[position],
            None,
            [record for replicate, record in self.artifacts if replicate == cell.replicate],
            self.traces[position],
            self.durations[position],
            self.workers[position],
        )


class LazyOutcomes(Mapping[Cell, CellOutcome]):
    """Outcomes by cell, of which each is made when somebody looks at it.

    Stores give them of what they hold, so that a run of many cells costs little for each of them. To know which cells
    there are, and which failed, makes no outcome; nor do their metrics, seeds and durations by column. A subclass gives
    `conditions` and `columns`; what it can do faster than by columns it overrides.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def conditions(self) -> Sequence[str]:
        """The conditions of which there are cells."""

    @abstractmethod
    def columns(self, condition: str) -> CellColumns:
        """Return the cells of a condition by column.

        Raises
        ------
        KeyError
            There are none.
        """

    @property
    def failed(self) -> frozenset[Cell]:
        """The cells that failed."""
        return frozenset(Cell(name, replicate) for name in self.conditions for replicate in self.columns(name).failed)

    @property
    def inexact(self) -> frozenset[Cell]:
        """The cells of which something is not as it was recorded: text stands for what had no exact encoding."""
        return frozenset()

    def restricted(self, cells: Iterable[Cell]) -> LazyOutcomes:
        """Return those of some cells; cells of which there is no outcome are left out."""
        wanted: dict[str, set[int]] = {}
        for condition, replicate in cells:
            wanted.setdefault(condition, set()).add(replicate)
        return RestrictedOutcomes(self, lambda cell: cell[1] in wanted.get(cell[0], ()))

    def without(self, cells: Collection[Cell]) -> LazyOutcomes:
        """Return those of all other cells."""
        if not cells:
            return self
        left_out = set(cells)
        return self.restricted(cell for cell in self if cell not in left_out)

    def __getitem__(self, cell: Cell) -> CellOutcome:
        return self.columns(cell.condition).outcome(cell)

    def __contains__(self, cell: object) -> bool:
        if not (isinstance(cell, tuple) and len(cell) == 2 and cell[0] in self.conditions):  # noqa: PLR2004 - a cell
            return False
        try:
            self.columns(cell[0]).position(cell[1])
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[Cell]:
        for condition in self.conditions:
            for replicate in self.columns(condition).replicates:
                yield Cell(condition, replicate)

    def __len__(self) -> int:
        return sum(len(self.columns(condition).replicates) for condition in self.conditions)

    def __repr__(self) -> str:
        return f"<{len(self)} outcomes of {', '.join(self.conditions) or 'no condition'}>"


class RestrictedOutcomes(LazyOutcomes):
    """Those of some cells.

    Parameters
    ----------
    outcomes : LazyOutcomes
    wanted : callable of Cell
        Says of a cell whether it is one of them.
    """

    def __init__(self, outcomes: LazyOutcomes, wanted: Callable[[Cell], bool]) -> None:
        self._outcomes = outcomes
        self._wanted = wanted
        self._columns: dict[str, CellColumns] = {}

    @cached_property
    def conditions(self) -> Sequence[str]:
        """The conditions of which there are cells."""
        return [name for name in self._outcomes.conditions if self.columns(name).replicates]

    @property
    def inexact(self) -> frozenset[Cell]:
        """The cells of which something is not as it was recorded."""
        return frozenset(cell for cell in self._outcomes.inexact if cell in self)

    def columns(self, condition: str) -> CellColumns:
        """Return the cells of a condition by column."""
        known = self._columns.get(condition)
        if known is None:
            columns = self._outcomes.columns(condition)

            def wanted(replicate: int) -> bool:
                return self._wanted(Cell(condition, replicate))

            if all(map(wanted, columns.replicates)):
                known = columns
            elif columns.uniform:
                known = columns.selected(wanted)
            else:
                cells = [Cell(condition, replicate) for replicate in columns.replicates if wanted(replicate)]
                known = _one_by_one(condition, map(self._outcomes.__getitem__, cells))
            self._columns[condition] = known
        return known

    def __getitem__(self, cell: Cell) -> CellOutcome:
        if cell not in self:
            raise KeyError(cell)
        return self._outcomes[cell]


class JoinedOutcomes(LazyOutcomes):
    """Outcomes that lie in two places.

    Parameters
    ----------
    first, second : LazyOutcomes
        A cell that is in both is the first one's.
    """

    def __init__(self, first: LazyOutcomes, second: LazyOutcomes) -> None:
        self._first = first
        self._second = second
        self._columns: dict[str, CellColumns] = {}

    @property
    def conditions(self) -> Sequence[str]:
        """The conditions of which there are cells."""
        return [*dict.fromkeys(chain(self._second.conditions, self._first.conditions))]

    @property
    def inexact(self) -> frozenset[Cell]:
        """The cells of which something is not as it was recorded."""
        return self._first.inexact | {cell for cell in self._second.inexact if cell not in self._first}

    def columns(self, condition: str) -> CellColumns:
        """Return the cells of a condition by column."""
        known = self._columns.get(condition)
        if known is None:
            if condition not in self._first.conditions:
                known = self._second.columns(condition)
            elif condition not in self._second.conditions:
                known = self._first.columns(condition)
            else:
                known = self._both(condition)
            self._columns[condition] = known
        return known

    def _both(self, condition: str) -> CellColumns:
        ours, theirs = self._first.columns(condition), self._second.columns(condition)
        replicates = set(ours.replicates)
        if ours.fits(theirs):
            return ours.joined(theirs.selected(lambda each: each not in replicates))
        replicates.update(theirs.replicates)
        return _one_by_one(condition, (self[Cell(condition, replicate)] for replicate in replicates))

    def __getitem__(self, cell: Cell) -> CellOutcome:
        return self._first[cell] if cell in self._first else self._second[cell]


def take(column: Sequence[Any], positions: Sequence[int]) -> Sequence[Any]:
    """Return the entries of a column at some positions; those of an array as an array."""
    if isinstance(column, array):
        return array(column.typecode, map(column.__getitem__, positions))
    return [*map(column.__getitem__, positions)]


def _one_by_one(condition: str, outcomes: Iterable[CellOutcome]) -> CellColumns:
    """Return the columns of outcomes of one condition that are not uniform."""
    from crystallize.results.collected import CollectedOutcomes

    gathered = CollectedOutcomes()
    for outcome in outcomes:
        gathered.add(outcome)
    return gathered.columns(condition) if gathered else CellColumns()


def _alike(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Return whether two columns can be added to each other."""
    if isinstance(first, array) and isinstance(second, array):
        return first.typecode == second.typecode
    return isinstance(first, list) and isinstance(second, list)


class _Taken(Sequence[Any]):
    """Some entries of a sequence, each read when somebody looks."""

    __slots__ = ("_entries", "_positions")

    def __init__(self, entries: Sequence[Any], positions: Sequence[int]) -> None:
        self._entries = entries
        self._positions = positions

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._entries[position] for position in self._positions[index]]
        return self._entries[self._positions[index]]

    def __len__(self) -> int:
        return len(self._positions)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


class _Chained(Sequence[Any]):
    """Two sequences, one after the other."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: Sequence[Any], second: Sequence[Any]) -> None:
        self._first = first
        self._second = second

    def __getitem__(self, index: Any) -> Any:
        return self._first[index] if index < len(self._first) else self._second[index - len(self._first)]

    def __len__(self) -> int:
        return len(self._first) + len(self._second)
