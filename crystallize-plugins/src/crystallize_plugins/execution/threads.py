"""Cells in threads of one process."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from crystallize.engine.attempts import Abandoned
from crystallize.engine.handover import STOPS
from crystallize_plugins.execution.either_way import EitherWay
from crystallize_plugins.execution.interrupts import interrupts_wait

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize.engine.cell import CellRunner
    from crystallize.results.outcome import Cell, CellOutcome

__all__ = ["ThreadLoop"]

_LOGGER = logging.getLogger("crystallize")
_GRACE = 1.5
"""Seconds for which an interrupted run waits for the cells that are under way."""
_LOOK_EVERY = 0.05
_UNREAD = 0.05
"""Seconds for which outcomes may lie unread before the threads wait for their reader."""


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
        self._left = len(self._cells)
        self._runner = runner
        self._count = min(workers, len(self._cells))
        # Apart: what a queue has given is lost where Ctrl-C comes before it is kept.
        self._results: deque[Any] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._next = iter(self._cells)
        self._lock = threading.Lock()
        self._closed = False
        self._running = 0
        self._taken: list[CellOutcome] = []
        self._looked = 0.0
        self._room = threading.Event()

    def outcomes(self) -> Iterator[CellOutcome | list[CellOutcome]]:
        """Run every cell, giving what has arrived since the last look; Ctrl-C may bring the last ones twice."""
        done = threading.Semaphore(0)
        patience: float | None = _GRACE
        try:
            with interrupts_wait():
                self._start(done)
            yield from self._arriving()
            if not self._left:
                patience = None
            elif self.hands_over:
                self._closed = True
                self._runner.give_up()
                patience = 0
                yield from self._last_ones(done, time.monotonic() + _GRACE)
        except STOPS:
            self._closed = True
            self._runner.give_up()
            patience = 0
            yield from self._last_ones(done, time.monotonic() + _GRACE)
            raise
        finally:
            self._closed = True
            if self._left:
                self._runner.give_up()
            self._wait_for_the_end(done, patience)

    def _arriving(self) -> Iterator[list[CellOutcome]]:
        # Apart: Python may raise KeyboardInterrupt where a loop goes back to its beginning, and there no `try` of the
        # same function catches it.
        while self._left and not self.stopped:
            self._take()
            if self._taken:
                self._left -= len(self._taken)
                yield self._taken

    def _start(self, done: threading.Semaphore) -> None:
        for number in range(self._count):
            name = f"thread-{number}"
            context = contextvars.copy_context()
            # Daemons: a cell that never ends must not keep an interrupted program alive.
            threading.Thread(
                target=context.run, args=(self._work, name, done), name=f"crystallize-{name}", daemon=True
            ).start()
            self._running += 1

    def wake(self) -> None:
        """Have a blocked `outcomes` look up."""
        self._bell.put(None)

    def _put(self, item: CellOutcome | BaseException) -> None:
        self._results.append(item)
        self._bell.put(None)

    def _take(self) -> None:
        """Wait for outcomes, and take all that there are."""
        self._taken = []
        self._looked = time.monotonic()
        self._room.set()
        if not self._results:
            # With a limit: where Ctrl-C is delivered to another thread, nothing else wakes this one.
            with suppress(Empty):
                self._bell.get(timeout=_LOOK_EVERY)
                while True:
                    self._bell.get_nowait()  # those for what is there already
        while self._results:
            item = self._results[0]
            if isinstance(item, BaseException):
                if not self._taken:
                    raise item
                return  # what came before it is handed on first
            self._taken.append(item)
            self._results.popleft()

    def _wait_for_a_reader(self) -> None:
        """Wait while nobody takes outcomes: as long as they lie here, they are lost if the program is killed."""
        while not self._closed:
            self._room.clear()
            unread = time.monotonic() - self._looked
            if unread < _UNREAD or len(self._results) <= self._count:
                return
            self._room.wait(_LOOK_EVERY)

    def _work(self, name: str, done: threading.Semaphore) -> None:
        try:
            while not self._closed:
                with self._lock:
                    cell = next(self._next, None)
                if cell is None:
                    break
                self._put(self._outcome(cell, name))
                if len(self._results) > self._count:
                    self._wait_for_a_reader()
        except Abandoned:
            pass  # the run was stopped before the cell's next attempt
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits for outcomes
            self._put(exc)
        finally:
            try:
                self._runner.close_worker()
            finally:
                done.release()

    def _outcome(self, cell: Cell, name: str) -> CellOutcome:
        outcome = self._runner(cell)
        outcome.worker = name
        return outcome

    def _wait_for_the_end(self, done: threading.Semaphore, patience: float | None) -> None:
        # Not with join: after an interrupted one, Python 3.11 takes a live thread for dead.
        limit = None if patience is None else time.monotonic() + patience
        while self._running:
            left = _LOOK_EVERY if limit is None else limit - time.monotonic()
            if left <= 0:
                _LOGGER.warning(
                    "%d cells still run in threads, which nothing can stop; what they give is lost", self._running
                )
                return
            self._running -= done.acquire(timeout=left)

    def _last_ones(self, done: threading.Semaphore, limit: float) -> Iterator[CellOutcome]:
        """Give what may not have been handed on, and what ends within the time that an interrupted run has."""
        yield from self._taken
        while self._running and (left := limit - time.monotonic()) > 0:
            self._running -= done.acquire(timeout=min(left, 0.02))
            yield from self._arrived()
        yield from self._arrived()

    def _arrived(self) -> Iterator[CellOutcome]:
        while self._results:
            item = self._results[0]
            if not isinstance(item, BaseException):
                yield item
            self._results.popleft()
