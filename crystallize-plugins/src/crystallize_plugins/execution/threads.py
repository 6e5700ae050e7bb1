"""Cells in threads of one process."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from crystallize.errors import WorkerStartError
from crystallize.hooks import STOPS, InterruptGuard, RunStopped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.hooks import Cell, CellOutcome, RunCell

__all__ = ["ThreadLoop"]

_LOGGER = logging.getLogger("crystallize")
_GRACE = 1.5
"""Seconds for which an interrupted run waits for the cells that are under way."""
_LOOK_EVERY = 0.05
"""Seconds after which a run can be cancelled though no cell has ended."""
_UNREAD = 0.05
"""Seconds for which outcomes may lie unread before the threads wait for their reader."""


class ThreadLoop:
    """Runs cells in threads of its own; iterate over it for the outcomes that have arrived since the last look.

    Parameters
    ----------
    cells : sequence of Cell
    run_cell : RunCell
    workers : int
        How many threads at most.
    """

    def __init__(self, cells: Sequence[Cell], run_cell: RunCell, *, workers: int) -> None:
        self._left = len(cells)
        self._run_cell = run_cell
        self._count = min(workers, len(cells))
        self._next = iter(cells)
        self._lock = threading.Lock()
        # Not a queue: what that has given is lost where Ctrl-C comes before it is kept.
        self._results: deque[CellOutcome | BaseException] = deque()
        self._news = threading.Event()
        self._taken: list[CellOutcome] = []
        self._looked = 0.0
        self._room = threading.Event()
        self._closed = False
        self._running = 0
        self._ended = threading.Semaphore(0)

    def __iter__(self) -> Iterator[list[CellOutcome]]:
        """Run every cell; a run that is interrupted may get the last ones twice."""
        grace: float | None = _GRACE
        try:
            with InterruptGuard(hold=True):
                self._start()
            yield from self._arriving()
            grace = None
        except STOPS:
            self._closed = True
            self._run_cell.give_up()
            grace = 0.0
            yield from self._last_ones(time.monotonic() + _GRACE)
            raise
        finally:
            self._closed = True
            if self._left:
                self._run_cell.give_up()
            self._wait_for_the_end(grace)

    def _arriving(self) -> Iterator[list[CellOutcome]]:
        # Apart: Python may raise KeyboardInterrupt where a loop goes back to its beginning, and there no `try` of the
        # same function catches it.
        while self._left:
            self._take()
            self._left -= len(self._taken)
            yield self._taken

    def _start(self) -> None:
        for number in range(self._count):
            name = f"thread-{number}"
            context = contextvars.copy_context()
            # Daemons: a cell that never ends must not keep an interrupted program alive.
            thread = threading.Thread(
                target=context.run, args=(self._work, name), name=f"crystallize-{name}", daemon=True
            )
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                if not self._running:
                    raise WorkerStartError(
                        f"no thread could be started for the cells ({error}): allow this user more processes, or run "
                        "them with SerialExecution, which needs none"
                    ) from error
                _LOGGER.warning("cells run in %d threads instead of %d: %s", self._running, self._count, error)
                return
            self._running += 1

    def _take(self) -> None:
        """Wait for outcomes, and take all that there are."""
        self._taken = []
        self._looked = time.monotonic()
        self._room.set()
        if not self._results:
            # With a limit: where Ctrl-C is delivered to another thread, nothing else wakes this one.
            self._news.wait(_LOOK_EVERY)
        self._news.clear()
        while self._results:
            item = self._results[0]
            if isinstance(item, BaseException):
                if not self._taken:
                    raise item
                return  # what came before it is handed on first
            self._taken.append(item)
            self._results.popleft()

    def _work(self, name: str) -> None:
        try:
            while not self._closed:
                with self._lock:
                    cell = next(self._next, None)
                if cell is None:
                    break
                outcome = self._run_cell(cell)
                outcome.worker = name
                self._put(outcome)
                if len(self._results) > self._count:
                    self._wait_for_a_reader()
        except RunStopped:
            pass  # the run was stopped before the cell's next attempt
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits for outcomes
            self._put(exc)
        finally:
            try:
                self._run_cell.close_worker()
            finally:
                self._ended.release()

    def _put(self, item: CellOutcome | BaseException) -> None:
        self._results.append(item)
        self._news.set()

    def _wait_for_a_reader(self) -> None:
        """Wait while nobody takes outcomes: as long as they lie here, they are lost if the program is killed."""
        while not self._closed:
            self._room.clear()
            unread = time.monotonic() - self._looked
            if unread < _UNREAD or len(self._results) <= self._count:
                return
            self._room.wait(_LOOK_EVERY)

    def _wait_for_the_end(self, grace: float | None) -> None:
        # Not with join: after an interrupted one, Python 3.11 takes a live thread for dead.
        limit = None if grace is None else time.monotonic() + grace
        while self._running:
            left = _LOOK_EVERY if limit is None else limit - time.monotonic()
            if left <= 0:
                _LOGGER.warning(
                    "%d cells still run in threads, which nothing can stop; what they give is lost", self._running
                )
                return
            self._running -= self._ended.acquire(timeout=left)

    def _last_ones(self, limit: float) -> Iterator[Any]:
        """Yield what may not have been handed on, and what ends within the time that an interrupted run has."""
        yield from self._taken
        while self._running and (left := limit - time.monotonic()) > 0:
            self._running -= self._ended.acquire(timeout=min(left, 0.02))
            yield from self._arrived()
        yield from self._arrived()

    def _arrived(self) -> Iterator[CellOutcome]:
        while self._results:
            item = self._results[0]
            if not isinstance(item, BaseException):
                yield item
            self._results.popleft()
