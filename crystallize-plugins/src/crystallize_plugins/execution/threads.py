"""Cells in threads of one process."""

from __future__ import annotations

import contextvars
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from crystallize_plugins.execution.either_way import EitherWay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.engine.cell import CellRunner
    from crystallize.results.outcome import Cell, CellOutcome

__all__ = ["ThreadLoop"]

_GRACE = 1.5
"""Seconds for which an interrupted run waits for the cells that are under way."""
_LOOK_EVERY = 1.0
_WAKE = object()


class ThreadLoop(EitherWay):
    """Runs cells in threads of its own; iterate over it, plainly or asynchronously, for the outcomes.

    Parameters
    ----------
    cells : sequence of Cell
    runner : CellRunner
    workers : int
        How many threads at most.
    """

    def __init__(self, cells: Sequence[Cell], runner: CellRunner, *, workers: int) -> None:
        super().__init__()
        self._cells = list(cells)
        self._runner = runner
        self._count = min(workers, len(self._cells))
        self._results: SimpleQueue[Any] = SimpleQueue()
        self._next = iter(self._cells)
        self._lock = threading.Lock()
        self._closed = False

    def outcomes(self) -> Iterator[CellOutcome]:
        """Run every cell, giving outcomes as they arrive."""
        done = threading.Semaphore(0)
        for number in range(self._count):
            # Daemons: a cell that never ends must not keep an interrupted program alive.
            context = contextvars.copy_context()
            name = f"thread-{number}"
            threading.Thread(
                target=context.run, args=(self._work, name, done), name=f"crystallize-{name}", daemon=True
            ).start()
        left = len(self._cells)
        patience = None
        try:
            while left and not self.stopped:
                try:
                    item = self._receive()
                    left -= 1
                    yield item
                except KeyboardInterrupt:
                    patience = time.monotonic() + _GRACE
                    break
            if patience is not None:
                self._closed = True
                yield from self._last_ones(done, patience)
                raise KeyboardInterrupt
        finally:
            self._closed = True
            if patience is None:
                self._wait_for_the_end(done)

    def wake(self) -> None:
        """Have a blocked `outcomes` look up."""
        self._results.put(_WAKE)

    def _receive(self) -> CellOutcome:
        while True:
            item = self._results.get()
            if isinstance(item, BaseException):
                raise item
            if item is not _WAKE:
                return item  # type: ignore[no-any-return]
            if self.stopped:
                raise GeneratorExit

    def _work(self, name: str, done: threading.Semaphore) -> None:
        try:
            while not self._closed:
                with self._lock:
                    cell = next(self._next, None)
                if cell is None:
                    break
                self._results.put(self._outcome(cell, name))
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits for outcomes
            self._results.put(exc)
        finally:
            try:
                self._runner.close_worker()
            finally:
                done.release()

    def _outcome(self, cell: Cell, name: str) -> CellOutcome:
        try:
            outcome = self._runner(cell)
        except KeyboardInterrupt as exc:
            # Ctrl-C reaches the main thread alone: here it can only come from the step.
            outcome = self._runner.failed(cell, exc)
        outcome.worker = name
        return outcome

    def _wait_for_the_end(self, done: threading.Semaphore) -> None:
        # Not with join: after an interrupted one, Python 3.11 takes a live thread for dead.
        for _ in range(self._count):
            while not done.acquire(timeout=_LOOK_EVERY):
                pass

    def _last_ones(self, done: threading.Semaphore, limit: float) -> Iterator[CellOutcome]:
        """Give what ends within the time that an interrupted run has."""
        ended = 0
        while ended < self._count and (left := limit - time.monotonic()) > 0:
            ended += done.acquire(timeout=min(left, 0.02))
            yield from self._arrived()
        yield from self._arrived()

    def _arrived(self) -> Iterator[CellOutcome]:
        while True:
            try:
                item = self._results.get_nowait()
            except Empty:
                return
            if not isinstance(item, BaseException) and item is not _WAKE:
                yield item
