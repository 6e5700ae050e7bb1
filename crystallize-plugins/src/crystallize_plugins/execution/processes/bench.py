"""`Bench`: what a worker process needs at hand to run its cells."""

from __future__ import annotations

import signal
import sys
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from crystallize.engine.interrupts import handle_interrupts
from crystallize.results.outcome import Cell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

    from crystallize.engine.cell import CellRunner
    from crystallize.results.outcome import Attempt, CellOutcome, Event
    from crystallize_plugins.execution.processes.outbox import Outbox
    from crystallize_plugins.execution.processes.relay import Relay
    from crystallize_plugins.execution.processes.segment import PrivateMap
    from crystallize_plugins.execution.processes.slots import WorkerSlots

__all__ = ["Bench"]

T = TypeVar("T")

_TO_HEAR = 0.3
"""Seconds within which a coordinator that has heard Ctrl-C, too, tells its workers."""
_LOOK_EVERY = 0.005


class Bench:
    """Runs cells one by one and hands in their outcomes.

    Parameters
    ----------
    runner : CellRunner
    cells : list of tuple
        Condition and replicate of every cell of the run.
    mapped : PrivateMap or None
        The memory under the experiment's large arrays.
    slots : WorkerSlots
    relay : Relay
        Sends on what happens beside outcomes.
    outbox : Outbox
    had : int
        How many modules were loaded before this worker began.
    """

    def __init__(
        self,
        runner: CellRunner,
        cells: list[tuple[str, int]],
        mapped: PrivateMap | None,
        slots: WorkerSlots,
        relay: Relay,
        outbox: Outbox,
        had: int,
    ) -> None:
        self.runner = runner
        self.cells = cells
        self.slots = slots
        self.relay = relay
        self.outbox = outbox
        self._mapped = mapped
        self._name = f"process-{slots.number}"
        self._had = had
        self._in_cell = False

    def run(self, index: int, earlier: Mapping[int, Sequence[Attempt]]) -> None:
        """Run a cell and hand in its outcome."""
        del earlier  # a cell that cost a worker its life is run as any other
        outcome = self.unless_interrupted(self.runner, self.begin(index), self.emit)
        if outcome is not None:
            self.end(outcome)
            self.outbox.add(index, outcome)

    def unless_interrupted(self, call: Callable[..., T], *arguments: Any) -> T | None:
        """Return what running a cell gives; None where a step raised KeyboardInterrupt, which has been told then."""
        try:
            self._in_cell = True
            return call(*arguments)
        except KeyboardInterrupt:
            self.interrupted()
            return None
        finally:
            self._in_cell = False

    def begin(self, index: int) -> Cell:
        """Give a cell, and say that this worker is at it."""
        self.slots.words[self.slots.number] = index + 1
        self.relay.cell = cell = Cell._make(self.cells[index])
        return cell

    def end(self, outcome: CellOutcome) -> None:
        """Leave the bench as the next cell is to find it."""
        outcome.worker = self._name
        self.relay.end_of_cell()
        if self._mapped is not None:
            self._mapped.restore()

    def interrupted(self) -> None:
        """Say that a step raised KeyboardInterrupt: it ends the run, here as anywhere."""
        self.slots.interrupt()
        self.outbox.tell("interrupted", f"raised in a worker process ({self._name}), {self._place()}")
        self.outbox.flush()
        self.relay.end_of_cell()

    def _place(self) -> str:
        cell = self.relay.cell
        return "between two cells" if cell is None else f"condition {cell.condition!r}, replicate {cell.replicate}"

    def hear_interrupts(self) -> None:
        """Have a SIGINT that a step sends to its own process end the run, as it does in any other process.

        Ctrl-C in a terminal goes to all processes: what to do about it is the coordinator's to say.
        """
        handle_interrupts(self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        limit = time.monotonic() + _TO_HEAR
        while self._in_cell and not self.slots.interrupted:
            if time.monotonic() > limit:
                signal.default_int_handler(number, frame)
            time.sleep(_LOOK_EVERY)

    def emit(self, event: Event) -> bool:
        """Send on an event; say whether the coordinator has asked the cell to stop by now."""
        self.relay.emit(event)
        return self.slots.asked_to_stop

    def imported(self) -> list[str]:
        """Name the installed modules that this worker had to import."""
        installed = tuple({sys.prefix, sys.base_prefix})
        # Counted from the end: to look at each of a thousand modules would copy the memory that they share with others.
        latest = list(islice(reversed(sys.modules), max(len(sys.modules) - self._had, 0)))
        return [
            name
            for name in reversed(latest)
            if str(getattr(sys.modules.get(name), "__file__", None)).startswith(installed)
        ]
