"""The outcomes of a stored run, each read when somebody looks at it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crystallize.hooks import Cell, CellColumns, LazyOutcomes, MetricColumn
from crystallize_plugins.artifacts.table import evenly, take

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from crystallize.hooks import ArtifactRecord, CellOutcome, CellTrace, MetricValues
    from crystallize_plugins.artifacts.table import CellTable

__all__ = ["StoredOutcomes"]


class StoredOutcomes(LazyOutcomes):
    """Outcomes by cell, in the order in which they arrived.

    Parameters
    ----------
    table : CellTable
    artifacts : callable
        Gives the files of each cell that wrote some; called when somebody looks.
    index : dict, optional
        The position in the table of each cell; by default of all.
    """

    __slots__ = ("_artifacts", "_by_condition", "_columns", "_index", "_made", "_table")

    def __init__(
        self,
        table: CellTable,
        artifacts: Callable[[], Mapping[Cell, Sequence[ArtifactRecord]]],
        index: dict[tuple[str, int], int] | None = None,
    ) -> None:
        self._table = table
        self._artifacts = artifacts
        self._index = table.index() if index is None else index
        self._made: dict[int, CellOutcome] = {}
        self._columns: dict[str, CellColumns] = {}
        self._by_condition: dict[str, list[int]] | None = None

    def __getitem__(self, cell: Cell) -> CellOutcome:
        return self._outcome(self._index[cell])

    def __contains__(self, cell: object) -> bool:
        return cell in self._index

    def __iter__(self) -> Iterator[Cell]:
        return map(Cell._make, self._index)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The conditions of which there are cells."""
        return tuple(self._positions())

    @property
    def failed(self) -> frozenset[Cell]:
        """The cells that failed."""
        return self._cells(self._table.failed)

    @property
    def inexact(self) -> frozenset[Cell]:
        """The cells of which something could not be stored exactly."""
        return self._cells(self._table.inexact)

    def columns(self, condition: str) -> CellColumns:
        """Give the cells of a condition by column."""
        known = self._columns.get(condition)
        if known is None:
            known = self._columns[condition] = self._read(condition)
        return known

    def restricted(self, cells: Iterable[Cell]) -> StoredOutcomes:
        """Give those of some cells; in the order of `cells`, where these are not all."""
        index = self._index
        cells = list(cells)
        if len(cells) == len(index) and all(map(index.__contains__, cells)):
            return self
        chosen: dict[tuple[str, int], int] = {cell: index[cell] for cell in cells if cell in index}
        return self if len(chosen) == len(index) else StoredOutcomes(self._table, self._artifacts, chosen)

    def forget_plugin_failures(self) -> None:
        """Let outcomes have no errors of plugins, where those of the whole run are known."""
        for position in self._table.rare:
            self._outcome(position).plugin_failures = ()

    def _outcome(self, position: int) -> CellOutcome:
        made = self._made.get(position)
        if made is None:
            table = self._table
            made = self._made[position] = table.reader.outcome(table.records, table.places[position])
            made.artifacts = self._artifacts().get(made.cell, ())
        return made

    def _cells(self, positions: set[int]) -> frozenset[Cell]:
        if not positions:
            return frozenset()
        return frozenset(Cell(*cell) for cell, position in self._index.items() if position in positions)

    def _positions(self) -> dict[str, list[int]]:
        """Give the positions of each condition's cells."""
        if self._by_condition is None:
            found: dict[str, list[int]] = {}
            for (condition, _), position in self._index.items():
                try:
                    found[condition].append(position)
                except KeyError:
                    found[condition] = [position]
            self._by_condition = found
        return self._by_condition

    def _read(self, condition: str) -> CellColumns:
        table = self._table
        positions = self._positions()[condition]
        replicates = take(table.replicates, positions)
        in_order = sorted(replicates)
        if replicates != in_order:
            positions = sorted(positions, key=table.replicates.__getitem__)
            replicates = in_order
        chosen = evenly(positions)
        failed, rare, seedless = table.failed, table.rare, table.seedless
        succeeded = [position for position in positions if position not in failed] if failed else positions
        metrics = table.metrics(succeeded, take(table.replicates, succeeded) if failed else replicates)
        few = [self._outcome(position) for position in positions if position in rare] if rare else []
        for outcome in few:
            if outcome.tags and outcome.error is None:
                _tag(metrics, outcome)
        return CellColumns(
            replicates,
            [self._outcome(each).seed if each in seedless else table.seeds[each] for each in positions]
            if seedless
            else take(table.seeds, chosen),
            take(table.durations, chosen),
            take(table.workers, chosen),
            _Traces(self, positions),
            {name: MetricColumn(values, values.replicates, values.tags) for name, values in metrics.items()},
            len(succeeded),
            self._files(condition, replicates),
            few,
            uniform=table.uniform(succeeded),
        )

    def _files(self, condition: str, replicates: Sequence[int]) -> list[tuple[int, ArtifactRecord]]:
        files = self._artifacts()
        if not files:
            return []
        return [(each, record) for each in replicates for record in files.get(Cell(condition, each), ())]


class _Traces(Sequence["CellTrace | None"]):
    """What the cells of a condition did, each read when somebody looks."""

    __slots__ = ("_outcomes", "_positions")

    def __init__(self, outcomes: StoredOutcomes, positions: Sequence[int]) -> None:
        self._outcomes = outcomes
        self._positions = positions

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        return self._outcomes._outcome(self._positions[index]).provenance

    def __len__(self) -> int:
        return len(self._positions)

    def __reduce__(self) -> tuple[Any, ...]:
        # What travels, or is kept, needs no store.
        return list, (list(self),)


def _tag(metrics: Mapping[str, MetricValues], outcome: CellOutcome) -> None:
    """Put a cell's tags beside its values."""
    for name, tags in outcome.tags.items():
        values = metrics.get(name)
        if values is not None:
            first = bisect_left(values.replicates, outcome.cell.replicate)
            for index, tag in tags.items():
                values.tags[first + index] = tag
