"""Runs the cells of Crystallize experiments in threads, and hands them out in their order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Annotated

from crystallize.hooks import ExecutorPlugin, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.hooks import Cell, CellOutcome, RunCell

__all__ = ["Window"]


class Window(ExecutorPlugin):
    """Run a few cells at a time, and hand out their outcomes in the order of the cells.

    What is stored and shown then comes in the same order each time. No more than `size` cells have been begun and not
    handed out, so that few outcomes wait in memory.

    Parameters
    ----------
    size : int, default 4
        How many cells run at a time.
    """

    contract = ">=1.1,<2"

    def __init__(self, size: Annotated[int, Setting("How many cells run at a time", minimum=1)] = 4) -> None:
        self.size = size

    def run_experiment_loop(self, cells: Sequence[Cell], run_cell: RunCell) -> Iterator[CellOutcome]:
        """Hand out outcomes in order: `run_cell` never raises for a cell that fails."""
        waiting = iter(cells)
        pool = ThreadPoolExecutor(self.size)
        try:
            begun: deque[Future[CellOutcome]] = deque(
                pool.submit(run_cell, cell) for cell in islice(waiting, self.size)
            )
            while begun:
                yield begun.popleft().result()
                begun.extend(pool.submit(run_cell, cell) for cell in islice(waiting, 1))
        finally:
            pool.shutdown(cancel_futures=True)
