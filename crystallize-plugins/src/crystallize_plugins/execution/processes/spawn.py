"""Workers that are interpreters of their own, for systems where forking is not sound.

A worker learns on its standard input what it needs, and afterwards hears there when the coordinator is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any, BinaryIO

from crystallize.errors import WorkerStartError
from crystallize.hooks import handle_interrupts
from crystallize_plugins.execution.library_threads import environment_with_limits
from crystallize_plugins.execution.processes.shared_memory import Segment
from crystallize_plugins.execution.processes.worker import work
from crystallize_plugins.execution.processes.worker_pool import WorkerHandle, WorkerStarter, interpreter_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

__all__ = ["SpawnStarter", "follow_parent", "handle_for", "main", "opened_link"]

_TO_LEAVE = 1.5
"""Seconds that a worker has to leave after its report, or after it was killed."""
_WINDOWS = sys.platform == "win32"


class _SpawnedWorker(WorkerHandle):
    process: subprocess.Popen[bytes]

    def exit_code(self, timeout: float) -> int | None:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def ended(self) -> bool:
        return self.process.poll() is not None

    def kill(self) -> None:
        self.process.kill()


class SpawnStarter(WorkerStarter):
    """Starts a new interpreter for each worker."""

    method = "spawn"

    def __init__(self) -> None:
        self._started: list[_SpawnedWorker] = []

    def start(self, number: int, payload: Segment, memory: Segment, library_threads: int) -> WorkerHandle:
        """Start one worker."""
        boot = "from crystallize_plugins.execution.processes.spawn import main; main()"
        command = interpreter_command(boot)
        environment = environment_with_limits(os.environ, library_threads)
        ours, theirs = Pipe()
        fds: list[Any] = [] if _WINDOWS else [theirs.fileno(), payload.fd, memory.fd]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=fds, env=environment)
        except OSError as exc:
            ours.close()
            theirs.close()
            raise WorkerStartError(f"worker processes could not be started: {exc}") from exc
        needs = {
            "number": number,
            "link": handle_for(process, theirs),
            "payload": {"size": payload.size, "fd": payload.fd, "tag": payload.tag},
            "memory": {"size": memory.size, "fd": memory.fd, "tag": memory.tag},
        }
        with contextlib.suppress(BrokenPipeError):  # it ended at once: the link will tell
            process.stdin.write(json.dumps(needs).encode() + b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        theirs.close()
        worker = _SpawnedWorker(number, ours, memory, process.pid)
        worker.process = process
        self._started.append(worker)
        return worker

    def successor(self) -> SpawnStarter:
        """Return itself: there is nothing that could be killed."""
        return self

    def close(self) -> None:
        """Wait for the workers to leave, for a moment; then make them."""
        for worker in self._started:
            if worker.exit_code(_TO_LEAVE) is None:
                worker.kill()
                worker.exit_code(1.0)
            with contextlib.suppress(OSError):
                worker.process.stdin.close()  # type: ignore[union-attr]
        self._started = []


def main() -> None:
    """Run as a worker in an interpreter of its own."""
    handle_interrupts(signal.SIG_IGN)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    needs = json.loads(line)
    lifeline = sys.stdin.buffer
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process lives
    follow_parent(lifeline)
    if not _WINDOWS:
        for fd in (needs["link"], needs["payload"]["fd"], needs["memory"]["fd"]):
            os.set_inheritable(fd, False)  # noqa: FBT003 - takes no keywords
    work(opened_link(needs["link"]), Segment(**needs["payload"]), Segment(**needs["memory"]), needs["number"])
    os._exit(0)


def follow_parent(lifeline: BinaryIO, at_end: Callable[[], object] = int) -> None:
    """Have this process end when its parent does.

    Parameters
    ----------
    lifeline : binary file
        Standard input: it ends with the parent.
    at_end : callable, optional
        What to do before.
    """

    def watch() -> None:
        # Nothing more comes: this returns when the parent is gone, or has no more use for us.
        while lifeline.read(4096):
            pass
        with contextlib.suppress(Exception):
            at_end()
        os._exit(1)

    threading.Thread(target=watch, name="crystallize-lifeline", daemon=True).start()


def handle_for(process: subprocess.Popen[bytes], link: Connection) -> int:
    """Return by what number a child process knows a line that it was handed."""
    if not _WINDOWS:
        return link.fileno()
    from multiprocessing import reduction

    return reduction.duplicate(link.fileno(), int(process._handle))  # type: ignore[attr-defined,no-any-return]


def opened_link(handle: int) -> Connection:
    """Return the line of a number that `handle_for` gave."""
    if _WINDOWS:
        from multiprocessing.connection import PipeConnection  # type: ignore[attr-defined]

        return PipeConnection(handle)  # type: ignore[no-any-return]
    from multiprocessing.connection import Connection

    return Connection(handle)
