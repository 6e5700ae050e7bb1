"""Ending worker processes that have been at something for too long, with what they have started."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crystallize_plugins.execution.processes.worker_pool import WorkerHandle

__all__ = ["ChildProcess", "DeadlineThread", "descendants", "end_all"]

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
        worker.children = descendants(worker.pid)
        worker.overdue = overdue
        worker.kill()
        return _LOOK_EVERY


class ChildProcess(NamedTuple):
    """A process; its number alone may come again."""

    pid: int
    started: int


def descendants(pid: int) -> list[ChildProcess]:
    """Return the processes that a process has started, and theirs; none where the system does not say."""
    if sys.platform != "linux" or not pid:
        return []
    children: dict[int, list[ChildProcess]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (facts := _process_facts(int(entry.name))) is not None:
            children.setdefault(facts[0], []).append(facts[1])
    found: list[ChildProcess] = []
    todo = [pid]
    while todo:
        theirs = children.get(todo.pop(), [])
        found += theirs
        todo += [child.pid for child in theirs]
    return found


def end_all(processes: Iterable[ChildProcess]) -> None:
    """End processes that still are those that were found."""
    for child in processes:
        facts = _process_facts(child.pid)
        if facts is not None and facts[1] == child:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child.pid, signal.SIGKILL)


def _process_facts(pid: int) -> tuple[int, ChildProcess] | None:
    """Return the parent of a process and what tells it from others."""
    try:
        # After the name, which may hold anything: the state, the parent and, as the 20th, the start.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return int(fields[1]), ChildProcess(pid, int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None
