"""Outcomes that lie in a store, by column: what many cells have is brought together without looking at each of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crystallize.results.outcome import Cell, CellOutcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from crystallize.results.metrics import MetricValues
    from crystallize.results.outcome import ArtifactRecord
    from crystallize.results.trace import CellTrace

__all__ = ["CellColumns", "LazyOutcomes"]


@dataclass(slots=True)
class CellColumns:
    """The cells of one condition, one entry each, in replicate order.

    Attributes
    ----------
    replicates : list of int
    seeds : list of int or None
    durations : list of float
        Seconds.
    workers : list of str
    traces : sequence of CellTrace or None
        May be read when somebody looks.
    metrics : dict of str to MetricValues
        Those of the cells that succeeded.
    succeeded : int
        How many cells did.
    artifacts : list of (int, ArtifactRecord)
        Files with the replicate that wrote them.
    rare : list of CellOutcome
        The cells of which more is known: errors, errors of plugins, attempts.
    """

    replicates: list[int]
    seeds: list[int | None]
    durations: list[float]
    workers: list[str]
    traces: Sequence[CellTrace | None]
    metrics: dict[str, MetricValues]
    succeeded: int
    artifacts: list[tuple[int, ArtifactRecord]] = field(default_factory=list)
    rare: list[CellOutcome] = field(default_factory=list)


class LazyOutcomes(Mapping[Cell, CellOutcome]):
    """Outcomes by cell, of which each is made when somebody looks at it.

    Stores give them for `completed_cells`, so that resuming a run of many cells costs little for each of them. To know
    which cells there are, and which failed, makes no outcome; nor do their metrics, seeds and durations by column.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def conditions(self) -> Sequence[str]:
        """The conditions of which there are cells."""

    @property
    @abstractmethod
    def failed(self) -> frozenset[Cell]:
        """The cells that failed."""

    @property
    @abstractmethod
    def inexact(self) -> frozenset[Cell]:
        """The cells of which something is not as it was recorded: text stands for what had no exact encoding."""

    @abstractmethod
    def columns(self, condition: str) -> CellColumns:
        """Give the cells of a condition by column.

        Raises
        ------
        KeyError
            There are none.
        """

    @abstractmethod
    def restricted(self, cells: Iterable[Cell]) -> LazyOutcomes:
        """Give those of some cells; cells of which there is no outcome are left out."""

    def without(self, cells: Collection[Cell]) -> LazyOutcomes:
        """Give those of all other cells."""
        if not cells:
            return self
        left_out = set(cells)
        return self.restricted(cell for cell in self if cell not in left_out)

    def __repr__(self) -> str:
        return f"<{len(self)} outcomes of {', '.join(self.conditions) or 'no condition'}>"
