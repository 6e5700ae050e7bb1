"""Ending worker processes that have been at something for too long."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crystallize_plugins.execution.processes.worker_pool import WorkerHandle

__all__ = ["DeadlineThread"]

_LOOK_EVERY = 0.2
"""Seconds after which a limit that a worker has set meanwhile is seen at the latest."""


class DeadlineThread(threading.Thread):
    """Ends overdue workers, whatever the coordinator is busy with.

    Parameters
    ----------
    workers : callable
        Returns the workers of now.
    """

    def __init__(self, workers: Callable[[], Iterable[WorkerHandle]]) -> None:
        super().__init__(name="crystallize-deadlines", daemon=True)
        self._workers = workers
        self._over = threading.Event()
        self.start()

    def stop(self) -> None:
        """End it."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Look at the deadlines when the next of them is due."""
        nap = 0.0
        while not self._over.wait(nap):
            nap = min(map(self._look_after, self._workers()), default=_LOOK_EVERY)

    @staticmethod
    def _look_after(worker: WorkerHandle) -> float:
        """End a worker that is overdue; return the seconds after which to look again."""
        if worker.gone or worker.overdue is not None:
            return _LOOK_EVERY
        now = time.monotonic_ns()
        overdue = worker.status.overdue(now)
        if overdue is None:
            deadline = worker.status.deadline
            return min(max((deadline - now) / 1e9, 0.0005), _LOOK_EVERY) if deadline else _LOOK_EVERY
        worker.overdue = overdue
        worker.kill()
        return _LOOK_EVERY
