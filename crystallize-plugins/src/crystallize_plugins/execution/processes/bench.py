"""`Bench`: what a worker process needs at hand to run its cells."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING

from crystallize.results.outcome import Cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.engine.cell import CellRunner
    from crystallize.results.outcome import Attempt, CellOutcome, Event
    from crystallize_plugins.execution.processes.outbox import Outbox
    from crystallize_plugins.execution.processes.relay import Relay
    from crystallize_plugins.execution.processes.segment import PrivateMap
    from crystallize_plugins.execution.processes.slots import WorkerSlots

__all__ = ["Bench"]


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

    def run(self, index: int, earlier: Mapping[int, Sequence[Attempt]]) -> None:
        """Run a cell and hand in its outcome."""
        del earlier  # a cell that cost a worker its life is run as any other
        cell = self.begin(index)
        try:
            outcome = self.runner(cell, self.emit)
        except BaseException as exc:  # noqa: BLE001 - here it can only come from the step: Ctrl-C is ignored
            outcome = self.runner.failed(cell, exc)
        self.end(outcome)
        self.outbox.add(index, outcome)

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
