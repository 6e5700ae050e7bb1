"""Keys of treatments that no cell has read: found from the reads that every outcome brings anyway."""

from __future__ import annotations

import logging
from itertools import takewhile
from typing import TYPE_CHECKING

from crystallize.context.frozen import RESERVED_KEYS
from crystallize.engine.plan import BASELINE, values_of
from crystallize.errors import UnreadKeyError
from crystallize.results.outcome import Cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from crystallize.design import Treatment
    from crystallize.hooks import ActivePlugins
    from crystallize.hooks.manager import HookCall
    from crystallize.pipelines.readers import Readers
    from crystallize.results import LazyOutcomes
    from crystallize.results.outcome import CellOutcome
    from crystallize.results.trace import TraceShape

__all__ = ["UnreadKeys", "plugins_may_read", "reads_at_the_end"]

_LOGGER = logging.getLogger("crystallize")
_ENOUGH = 3
"""After how many cells of a condition something is said, while the others still run."""


class UnreadKeys:
    """What treatments set and no successful cell of their condition has read so far.

    Parameters
    ----------
    readers : Readers
        Which keys the code can read.
    elsewhere : callable of str
        Says whether another experiment reads a key, so that it may well be read by nobody here.
    once : bool, default False
        Whether to warn of a key once for all conditions, as in an optimisation, whose conditions have the same keys.
    """

    def __init__(self, readers: Readers, elsewhere: Callable[[str], bool], *, once: bool = False) -> None:
        self._readers = readers
        self._elsewhere = elsewhere
        self._once = once
        # None where a function sets the keys, so that its first cell tells them.
        self._left: dict[str, set[str] | None] = {}
        self._cells: dict[str, int] = {}
        self._looked_at: dict[str, TraceShape] = {}
        self._of_baseline: set[str] = set()
        self._by_function: set[str] = set()
        self._told: set[tuple[str, str]] = set()

    def admit(self, treatments: Iterable[Treatment]) -> None:
        """Take in conditions that are about to run."""
        for treatment in treatments:
            if treatment.is_callable:
                self._left[treatment.name] = None
                self._by_function.add(treatment.name)
            elif keys := {key for key in values_of(treatment) if not self._elsewhere(key)}:
                self._left[treatment.name] = keys

    def note(self, outcome: CellOutcome) -> None:
        """Take in what a cell has read; say so where the first cells of a condition have left a key unread."""
        condition, trace = outcome.cell.condition, outcome.provenance
        if condition == BASELINE and self._by_function and trace is not None:
            self._of_baseline.update(trace.shape.before.writes)
        if condition not in self._left or outcome.error is not None or trace is None:
            return
        cells = self._cells[condition] = self._cells.get(condition, 0) + 1
        if self._looked_at.get(condition) is not trace.shape:
            self._looked_at[condition] = trace.shape
            self._take_off(condition, trace.shape)
        if cells == _ENOUGH and condition in self._left:
            # What the code reads by name may be read in a later one.
            self._tell(condition, [key for key in self._unread(condition) if not self._readers.reads_by_name(key)])

    def _take_off(self, condition: str, shape: TraceShape) -> None:
        left = self._left[condition]
        if left is None:
            # What plugins and the data source write comes after the seed, and in the baseline, too.
            first = takewhile(lambda key: key != "seed_used", shape.before.writes)
            left = {key for key in first if key not in RESERVED_KEYS and not self._elsewhere(key)}
        left = left.difference(shape.before.reads, *(step.reads for step in shape.steps))
        if left:
            self._left[condition] = left
        else:
            del self._left[condition]

    def settle(self, conditions: Iterable[str], kept: LazyOutcomes | None = None) -> dict[str, tuple[str, ...]]:
        """Say which keys no cell has read; of cells that were kept from an earlier run, too, what they read counts.

        Returns
        -------
        dict of str to tuple of str
            By condition; those of which no cell succeeded, and those all of whose keys were read, are left out.
        """
        if kept is not None:
            for condition in kept.conditions:
                if condition in self._left:
                    for replicate in kept.columns(condition).replicates:
                        self._note_kept(condition, kept, Cell(condition, replicate))
        found: dict[str, tuple[str, ...]] = {}
        for condition in conditions:
            if condition in self._left and condition in self._cells and (keys := self._unread(condition)):
                self._tell(condition, keys)
                found[condition] = tuple(keys)
        return found

    def _unread(self, condition: str) -> list[str]:
        left = self._left[condition] or set()
        return sorted(left - self._of_baseline if condition in self._by_function else left)

    def _note_kept(self, condition: str, kept: LazyOutcomes, cell: Cell) -> None:
        if condition in self._left and cell not in kept.failed and (trace := kept[cell].provenance) is not None:
            self._cells[condition] = self._cells.get(condition, 0) + 1
            self._take_off(condition, trace.shape)

    def _tell(self, condition: str, keys: Iterable[str]) -> None:
        for key in keys:
            said = ("" if self._once else condition, key)
            if said not in self._told:
                self._told.add(said)
                cells = self._cells[condition]
                counted = (
                    "its one successful cell has not" if cells == 1 else f"none of its {cells} successful cells has"
                )
                _LOGGER.warning(
                    "treatment %r sets %r, which %s read so far: it changes nothing.%s",
                    condition, key, counted, self._readers.advice(key),
                )  # fmt: skip

    def error(self, unread: Mapping[str, Sequence[str]]) -> UnreadKeyError:
        """Return what a strict run raises."""
        condition, keys = next(iter(unread.items()))
        advice = self._readers.advice(keys[0])
        return UnreadKeyError(
            f"treatment {condition!r} sets {keys[0]!r}, and no cell has read it, so that it changed nothing.{advice}",
            treatment=condition,
            key=keys[0],
        )


def plugins_may_read(active: ActivePlugins) -> bool:
    """Say whether a plugin that may change results is given the contexts of cells, and may read and write any key."""
    return any(map(_may_influence, (call for hook in _IN_A_CELL for call in active.calls(hook))))


def reads_at_the_end(active: ActivePlugins) -> bool:
    """Say whether such a plugin is given the context once the outcome, with what was read, is complete."""
    return any(map(_may_influence, active.calls("after_replicate")))


_IN_A_CELL = ("before_replicate", "before_step", "after_step", "after_replicate")


def _may_influence(call: HookCall) -> bool:
    return not call.neutral and not getattr(call.info.plugin, "seen_by_cache", False)
