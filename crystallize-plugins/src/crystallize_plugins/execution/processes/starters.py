"""Ways to start worker processes, behind one face: fork from a zygote on Linux, a new interpreter elsewhere."""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from multiprocessing import spawn
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from crystallize.errors import WorkerStartError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

    from crystallize_plugins.execution.processes.segment import Segment

__all__ = ["Hand", "Starter", "close_idle", "idle_starter", "interpreter_command", "leave_for_later", "start_method"]


class Hand(ABC):
    """A worker process as the coordinator holds it.

    Attributes
    ----------
    number : int
    pid : int
    link : Connection
    problem : str or None
        Why nothing more is heard of it from whoever started it.
    """

    number: int
    pid: int
    link: Connection

    @property
    def problem(self) -> str | None:
        """Why nothing more is heard of it from whoever started it."""
        return None

    @abstractmethod
    def exit_code(self, timeout: float) -> int | None:
        """Wait for its end; give the exit code (negative: the signal), or None if it lives or nobody knows."""

    @abstractmethod
    def ended(self) -> bool:
        """Whether it is known to have ended."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once."""


class Starter(ABC):
    """Starts workers.

    Attributes
    ----------
    method : str
        ``"fork"``, ``"forkserver"`` or ``"spawn"``, for the record.
    main : mapping of str to object, or None
        What ``__main__`` held when they were forked, if they are forks of this process.
    surroundings : mapping
        What its workers have already of what `surroundings` gives.
    keeps : bool
        Whether it can serve further runs.
    problem : str or None
        Why it starts no more workers, and knows nothing of those that it started.
    worn : bool
        Whether it can start no more, while those that it started go on.
    """

    method: str
    main: Mapping[str, Any] | None = None
    keeps = False
    problem: str | None = None
    worn = False
    surroundings: Mapping[str, Any] = MappingProxyType({})

    def prepare(self, library_threads: int, workers: int) -> None:
        """Hear how many workers are soon to be started, and how many threads BLAS and OpenMP may use in each."""

    def disband(self) -> None:
        """Let workers go that were made ready for a run and not needed."""

    def dismiss(self) -> None:
        """Hear that nothing more is to be started, when there is still time until `close`."""

    @abstractmethod
    def start(self, number: int, payload: Segment, slots: Segment, library_threads: int) -> Hand:
        """Start one worker."""

    @abstractmethod
    def watched(self) -> list[Any]:
        """What to wait on, besides the links, to hear of ends."""

    @abstractmethod
    def heard(self) -> None:
        """Take in what there is to hear."""

    def learn(self, modules: list[str]) -> None:
        """Hear which installed modules a worker had to import, so that the next ones need not."""

    @abstractmethod
    def successor(self) -> Starter:
        """Give one to go on with if this one was killed."""

    @abstractmethod
    def close(self) -> None:
        """Let everything end."""


def start_method() -> str:
    """Name how workers are started on this system: ``"zygote"`` or ``"spawn"``."""
    return "zygote" if sys.platform == "linux" else "spawn"


def interpreter_command(boot: str) -> list[str]:
    """Give the command line of a new interpreter, with our own's options, that runs `boot`.

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


_IDLE: list[Starter] = []
_LOCK = threading.Lock()
_OWNER = os.getpid()


def idle_starter() -> Starter | None:
    """Take a starter that an earlier run left, or None."""
    _forget_if_forked()
    with _LOCK:
        return _IDLE.pop() if _IDLE else None


def leave_for_later(starter: Starter) -> None:
    """Keep a starter for the next run, or let it end."""
    _forget_if_forked()
    starter.disband()
    with _LOCK:
        if starter.keeps and starter.problem is None and not starter.worn and not _IDLE:
            _IDLE.append(starter)
            atexit.register(close_idle)
            return
    starter.close()


def _forget_if_forked() -> None:
    # What a fork of this process inherited belongs to its parent.
    global _OWNER  # noqa: PLW0603 - there is one process to know of
    if os.getpid() != _OWNER:
        _IDLE.clear()
        _OWNER = os.getpid()


def close_idle() -> None:
    """End what waits for later runs."""
    atexit.unregister(close_idle)
    while (starter := idle_starter()) is not None:
        with contextlib.suppress(OSError):
            starter.close()
