"""The outcomes of many cells by column: what they have in common is read in bulk, without an object for each cell."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.results.outcome import Cell, CellOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from crystallize.results.outcome import ArtifactRecord
    from crystallize.results.trace import CellTrace, TraceShape

__all__ = [
    "CellColumns",
    "CorrectedOutcomes",
    "LazyOutcomes",
    "MetricColumn",
    "MetricColumns",
    "MetricValues",
    "is_plain",
    "is_rare",
]

_EXACT = frozenset({bool, int, float, str, bytes, type(None)})


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
    """The values of one metric in one condition.

    Attributes
    ----------
    values : sequence
        In replicate order.
    replicates : sequence of int
        Which replicate each value came from.
    tags : mapping of int to mapping
        The tags of the values that were recorded with some, by position.
    """

    values: Sequence[Any]
    replicates: Sequence[int]
    tags: Mapping[int, Mapping[str, Any]] = {}

    def unpacked(self) -> MetricValues:
        """Return a list of the values, which belongs to whoever asked for it."""
        listed = MetricValues(self.values, self.replicates)
        listed.tags.update(self.tags)
        return listed


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

    def corrected(self, exact: Mapping[int, CellOutcome]) -> CellColumns:
        """Return these cells with the outcomes of some of them, by replicate, in place of what was read back."""

        def metric(name: str) -> MetricColumn:
            column = self.metrics[name]
            values: list[Any] = []
            for replicate, outcome in exact.items():
                recorded = outcome.metrics.get(name, ()) if outcome.ok else ()
                if not all(map(is_plain, recorded)):
                    values = values or [*column.values]
                    start = bisect_left(column.replicates, replicate)
                    values[start : start + len(recorded)] = recorded
            return column._replace(values=values) if values else column

        rare = {outcome.cell.replicate: outcome for outcome in self.rare}
        rare.update((replicate, outcome) for replicate, outcome in exact.items() if is_rare(outcome))
        return replace(self, metrics=MetricColumns(self.metrics, metric), rare=[rare[each] for each in sorted(rare)])


class LazyOutcomes(Mapping[Cell, CellOutcome]):
    """Outcomes by cell, of which each is made when somebody looks at it.

    Stores give them of what they hold, so that a run of many cells costs little for each of them. To know which cells
    there are, and which failed, makes no outcome; nor do their metrics, seeds and durations by column. A subclass gives
    `conditions`, `columns` and the outcome of a cell; what it can do faster than by columns it overrides.
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
        from crystallize.results.collected import collected

        return collected(self[cell] for cell in cells if cell in self)

    def without(self, cells: Collection[Cell]) -> LazyOutcomes:
        """Return those of all other cells."""
        if not cells:
            return self
        left_out = set(cells)
        return self.restricted(cell for cell in self if cell not in left_out)

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


class CorrectedOutcomes(LazyOutcomes):
    """Outcomes that a store gives back, some of them replaced by what is in memory.

    Parameters
    ----------
    stored : LazyOutcomes
    exact : LazyOutcomes
        Of cells that are stored, too: with their errors, and values that have no exact encoding.
    """

    def __init__(self, stored: LazyOutcomes, exact: LazyOutcomes) -> None:
        self._stored = stored
        self._exact = exact

    @property
    def conditions(self) -> Sequence[str]:
        """The conditions of which there are cells."""
        return self._stored.conditions

    def columns(self, condition: str) -> CellColumns:
        """Return the cells of a condition by column."""
        exact = {cell.replicate: outcome for cell, outcome in self._exact.items() if cell.condition == condition}
        columns = self._stored.columns(condition)
        return columns.corrected(exact) if exact else columns

    def __getitem__(self, cell: Cell) -> CellOutcome:
        return self._exact.get(cell) or self._stored[cell]


def is_rare(outcome: CellOutcome) -> bool:
    """Return whether an outcome holds more than columns do."""
    return bool(outcome.error is not None or outcome.attempts or outcome.plugin_failures or outcome.reports)


def is_plain(value: Any) -> bool:
    """Return whether a store gives a value back exactly: a number, text, or an array of numbers."""
    kind = type(value)
    return kind in _EXACT or (kind.__module__ == "numpy" and value.dtype.kind in "biufc")
