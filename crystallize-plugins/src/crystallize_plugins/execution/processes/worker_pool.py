"""`WorkerPool`: the worker processes of one run, and what every way of starting them has in common.

On Linux workers are forked from a fork server (`fork_server`), elsewhere each is a new interpreter (`spawn`).
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from multiprocessing import spawn
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import WorkerStartError
from crystallize.hooks import CellLog, SeederPlugin
from crystallize_plugins.execution.library_threads import loaded_libraries
from crystallize_plugins.execution.processes.shared_memory import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from multiprocessing.connection import Connection

    from crystallize.hooks import Cell, CellOutcome, ExperimentView, RunCell
    from crystallize_plugins.execution.processes.shared_memory import Overdue, Segment
    from crystallize_plugins.execution.processes.supervisor import CellFeed, Supervisor

__all__ = [
    "WorkerHandle",
    "WorkerPool",
    "WorkerStarter",
    "close_kept_starter",
    "interpreter_command",
    "new_starter",
    "start_method",
]


class WorkerHandle(ABC):
    """A worker process as the coordinator knows it.

    Parameters
    ----------
    number : int
    link : Connection
        The line to it.
    memory : Segment
        Where its `WorkerStatus` is.

    Attributes
    ----------
    pid : int
        0 where it is not known yet.
    status : WorkerStatus
    assigned : set of int
        The indexes of the cells that it was given and has not finished.
    refill_at : int
        How many of these may be left when it is given more.
    ready, used, gone, reported : bool
        Whether it has loaded the experiment, was given cells, is over, has said its last.
    overdue : Overdue or None
        Why it was ended.
    log : CellLog or None
        What its cell has printed and logged.
    """

    problem: str | None = None
    """Why nothing more is heard of it from whoever started it."""

    def __init__(self, number: int, link: Connection, memory: Segment, pid: int = 0) -> None:
        self.number = number
        self.name = f"process-{number}"
        self.link = link
        self.pid = pid
        self.status = WorkerStatus(memory, number)
        self.assigned: set[int] = set()
        self.refill_at = 0
        self.ready = self.used = self.gone = self.reported = False
        self.overdue: Overdue | None = None
        self.log: CellLog | None = None

    def close(self) -> None:
        """Let go of the line to it."""
        self.gone = True
        self.link.close()

    def note_output(self, kind: str, rest: Sequence[Any]) -> None:
        """Keep what its cell prints and logs: if it dies, the cell can tell of it no more."""
        if kind == "warning":
            return
        if self.log is None:
            self.log = CellLog()
        self.log.add(rest[1] if kind == "text" else f"{rest[0]['levelname']} {rest[0]['name']}: {rest[0]['msg']}\n")

    def with_log(self, outcome: CellOutcome) -> CellOutcome:
        """Return the outcome of the cell that cost it its life, with what had arrived of what that printed."""
        if self.log is not None and outcome.error is not None:
            outcome.error.log = self.log.text()
        return outcome

    def survives(self, seconds: float) -> bool:
        """Whether it was killed so long ago and lives: the system waits for a file server that does not answer."""
        if self.gone or self.overdue is None:
            return False
        return time.monotonic_ns() - self.overdue.deadline > seconds * 1e9

    @abstractmethod
    def exit_code(self, timeout: float) -> int | None:
        """Wait for its end; return the exit code (negative: the signal), or None if it lives or nobody knows."""

    @abstractmethod
    def ended(self) -> bool:
        """Whether it is known to have ended."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once."""


class WorkerStarter(ABC):
    """A way to start worker processes.

    Attributes
    ----------
    method : str
        ``"fork"``, ``"forkserver"`` or ``"spawn"``, for the record.
    main : mapping of str to object, or None
        What ``__main__`` held when they were forked, if they are forks of this process.
    reusable : bool
        Whether it can serve further runs.
    problem : str or None
        Why it starts no more workers, and knows nothing of those that it started.
    """

    method: str
    main: Mapping[str, Any] | None = None
    reusable = False
    problem: str | None = None

    @abstractmethod
    def start(self, number: int, payload: Segment, memory: Segment, library_threads: int) -> WorkerHandle:
        """Start one worker.

        Raises
        ------
        WorkerStartError
            It cannot be started.
        """

    def waited_on(self) -> list[Any]:
        """Return what to wait on, besides the links, to hear of ends."""
        return []

    def receive(self) -> None:
        """Take in what there is to hear."""

    def learn(self, modules: list[str]) -> None:
        """Hear which modules of libraries a worker had to import, so that those of the next run need not."""

    @abstractmethod
    def successor(self) -> WorkerStarter:
        """Return one to go on with: this one was killed, or lacks modules that workers need."""

    @property
    def outdated(self) -> bool:
        """Whether a successor would start workers faster."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Let everything end."""


class WorkerPool:
    """The worker processes of one run.

    It is made while the program may still be single-threaded, so that its workers can be forks of it.

    Parameters
    ----------
    experiment : ExperimentView
    workers : int
        How many processes at most.
    library_threads : int
        How many threads BLAS and OpenMP may use in each.

    Attributes
    ----------
    method : str
        ``"fork"``, ``"forkserver"`` or ``"spawn"``: how workers are started.
    """

    def __init__(self, experiment: ExperimentView, *, workers: int, library_threads: int) -> None:
        self._workers = workers
        self._library_threads = library_threads
        self._starter: WorkerStarter | None = new_starter(_needs(experiment))
        self.method = self._starter.method

    def loop(
        self, experiment: ExperimentView, cells: Sequence[Cell], run_cell: RunCell, *, feed: CellFeed | None = None
    ) -> Supervisor:
        """Return the outcomes of cells, and of those that a feed brings, to iterate over."""
        from crystallize_plugins.execution.processes.supervisor import Supervisor

        starter, self._starter = self._starter or new_starter([]), None
        return Supervisor(
            experiment,
            cells,
            run_cell,
            workers=self._workers,
            library_threads=self._library_threads,
            starter=starter,
            give_back=self._take_back,
            feed=feed,
        )

    def _take_back(self, starter: WorkerStarter) -> None:
        self._starter = starter

    def close(self) -> None:
        """End the run's part: what starts workers is kept for the next run where that pays."""
        starter, self._starter = self._starter, None
        if starter is not None:
            _keep_or_close(starter)


def _needs(experiment: ExperimentView) -> list[str]:
    """Return the names of what every worker will import, as far as it is known to start no threads."""
    ours = [name for name in sys.modules if name.startswith(("crystallize.", "crystallize_plugins."))]
    seeds = any(isinstance(plugin, SeederPlugin) and plugin.seeds_global_state for plugin in experiment.plugins)
    return ["cloudpickle", "threadpoolctl", *ours, *(["numpy.random"] if seeds else [])]


def start_method() -> str:
    """Return how workers are started on this system: ``"fork"`` or ``"spawn"``."""
    return "fork" if sys.platform == "linux" else "spawn"


def new_starter(needs: Sequence[str]) -> WorkerStarter:
    """Make or find what starts workers: by a fork where that is sound, kept from an earlier run, or new.

    Parameters
    ----------
    needs : sequence of str
        Modules that every worker will want: what is loaded before workers are forked is loaded once.
    """
    if start_method() == "spawn":
        from crystallize_plugins.execution.processes.spawn import SpawnStarter

        return SpawnStarter()
    from crystallize_plugins.execution.processes.fork_server import ForkServer

    if ForkServer.may_fork():
        for name in needs:
            importlib.import_module(name)
        loaded_libraries()  # it takes its time, and every fork of this process would look for them
        forked = ForkServer.forked()
        if forked is not None:
            return forked
    return _kept_starter() or ForkServer.launched(needs)


def interpreter_command(boot: str) -> list[str]:
    """Return the command line of a new interpreter, with our own's options, that runs `boot`.

    It never imports the main module again, so that a script needs no ``__main__`` guard.
    """
    executable = os.fsdecode(spawn.get_executable() or "")
    if not executable or getattr(sys, "frozen", False):
        raise WorkerStartError(
            "worker processes need a Python interpreter to start, and this program has none of its own "
            "(sys.executable is empty, or the program is frozen); use ParallelExecution(executor_type='thread'), "
            "or multiprocessing.set_executable() to name one"
        )
    options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    paths = [path or str(Path.cwd()) for path in sys.path]
    return [executable, *options, "-c", f"import sys; sys.path[:] = {paths!r}; {boot}"]


# -- what is kept between runs ------------------------------------------------------------------------

_KEPT: list[WorkerStarter] = []
_LOCK = threading.Lock()


def _kept_starter() -> WorkerStarter | None:
    """Take the starter that an earlier run left, or None."""
    with _LOCK:
        return _KEPT.pop() if _KEPT else None


def _keep_or_close(starter: WorkerStarter) -> None:
    """Keep a starter for the next run, or let it end."""
    with _LOCK:
        keep = starter.reusable and starter.problem is None and not _KEPT
        if keep and not starter.outdated:
            _KEPT.append(starter)
            atexit.register(close_kept_starter)
            return
    starter.close()
    if keep:
        with contextlib.suppress(WorkerStartError):  # the next run tries again, and says so
            _keep_or_close(starter.successor())


def close_kept_starter() -> None:
    """End what waits for later runs."""
    atexit.unregister(close_kept_starter)
    while (starter := _kept_starter()) is not None:
        with contextlib.suppress(OSError):
            starter.close()


if hasattr(os, "register_at_fork"):
    # What a fork of this process inherited belongs to its parent.
    os.register_at_fork(after_in_child=_KEPT.clear)
