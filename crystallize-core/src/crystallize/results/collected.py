"""The outcomes of a run's cells as they arrive."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from crystallize.results.columns import CellColumns, LazyOutcomes, MetricColumn, is_plain, is_rare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from crystallize.results.outcome import Cell, CellOutcome

__all__ = ["CollectedOutcomes", "collected", "columns_of"]

_OUTCOME = 800
"""About how many bytes an outcome with a few numbers takes."""


class CollectedOutcomes(LazyOutcomes):
    """Outcomes by cell, in memory.

    Attributes
    ----------
    size : int
        About how many bytes those take that have arrived since the last `release`.
    """

    def __init__(self) -> None:
        self._outcomes: dict[Cell, CellOutcome] = {}
        self._columns: dict[str, CellColumns] = {}
        self._last: CellOutcome | None = None
        self.size = 0

    def add(self, outcome: CellOutcome) -> None:
        """Take an outcome in."""
        self._outcomes[outcome.cell] = self._last = outcome
        if self._columns:
            self._columns = {}
        size = _OUTCOME
        for values in outcome.metrics.values():
            for value in values:
                if value.__class__ is not float:
                    size += sys.getsizeof(value)
        self.size += size

    def release(self) -> None:
        """Forget what a store gives back exactly, and nobody may hand in again."""
        self._outcomes = {
            cell: outcome
            for cell, outcome in self._outcomes.items()
            if outcome is self._last
            or is_rare(outcome)
            or not all(is_plain(value) for values in outcome.metrics.values() for value in values)
        }
        self._columns = {}
        self.size = 0

    @property
    def conditions(self) -> Sequence[str]:
        """The conditions of which there are cells."""
        return [*dict.fromkeys(cell.condition for cell in self._outcomes)]

    def columns(self, condition: str) -> CellColumns:
        """Return the cells of a condition by column."""
        if not self._columns:
            found: dict[str, list[CellOutcome]] = {}
            for outcome in self._outcomes.values():
                found.setdefault(outcome.cell.condition, []).append(outcome)
            self._columns = {name: columns_of(outcomes) for name, outcomes in found.items()}
        return self._columns[condition]

    def __getitem__(self, cell: Cell) -> CellOutcome:
        return self._outcomes[cell]

    def __contains__(self, cell: object) -> bool:
        return cell in self._outcomes

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._outcomes)

    def __len__(self) -> int:
        return len(self._outcomes)


def collected(outcomes: Iterable[CellOutcome] | LazyOutcomes) -> LazyOutcomes:
    """Return outcomes as a collection that gives columns."""
    if isinstance(outcomes, LazyOutcomes):
        return outcomes
    gathered = CollectedOutcomes()
    for outcome in outcomes:
        gathered.add(outcome)
    return gathered


def columns_of(outcomes: Iterable[CellOutcome]) -> CellColumns:
    """Return the outcomes of one condition by column."""
    outcomes = sorted(outcomes, key=lambda outcome: outcome.cell.replicate)
    succeeded = [outcome for outcome in outcomes if outcome.error is None]
    metrics: dict[str, tuple[list[Any], list[int], dict[int, Mapping[str, Any]]]] = {}
    for outcome in succeeded:
        for name, recorded in outcome.metrics.items():
            values, replicates, tags = metrics.setdefault(name, ([], [], {}))
            if outcome.tags:
                tags.update((len(values) + index, each) for index, each in outcome.tags.get(name, {}).items())
            values += recorded
            replicates += [outcome.cell.replicate] * len(recorded)
    return CellColumns(
        [outcome.cell.replicate for outcome in outcomes],
        [outcome.seed for outcome in outcomes],
        [outcome.duration for outcome in outcomes],
        [outcome.worker for outcome in outcomes],
        [outcome.provenance for outcome in outcomes],
        {name: MetricColumn(*column) for name, column in metrics.items()},
        len(succeeded),
        [(outcome.cell.replicate, artifact) for outcome in outcomes for artifact in outcome.artifacts],
        [outcome for outcome in outcomes if is_rare(outcome)],
    )
