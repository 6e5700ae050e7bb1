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

from crystallize.engine.interrupts import handle_interrupts
from crystallize.errors import WorkerStartError
from crystallize_plugins.execution.library_threads import environment_with_limits
from crystallize_plugins.execution.processes.segment import Segment
from crystallize_plugins.execution.processes.starters import Hand, Starter, interpreter_command
from crystallize_plugins.execution.processes.worker import work

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["SpawnStarter", "main"]

_WINDOWS = sys.platform == "win32"


class _Spawned(Hand):
    def __init__(self, number: int, process: subprocess.Popen[bytes], link: Connection) -> None:
        self.number = number
        self.pid = process.pid
        self.link = link
        self.process = process

    def exit_code(self, timeout: float) -> int | None:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def ended(self) -> bool:
        return self.process.poll() is not None

    def kill(self) -> None:
        self.process.kill()


class SpawnStarter(Starter):
    """Starts a new interpreter for each worker."""

    method = "spawn"

    def __init__(self) -> None:
        self._started: list[_Spawned] = []

    def start(self, number: int, payload: Segment, slots: Segment, library_threads: int) -> Hand:
        """Start one worker."""
        boot = "from crystallize_plugins.execution.processes.spawned import main; main()"
        command = interpreter_command(boot)
        environment = environment_with_limits(os.environ, library_threads)
        ours, theirs = Pipe()
        fds: list[Any] = [] if _WINDOWS else [theirs.fileno(), payload.fd, slots.fd]
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=fds, env=environment)
        except OSError as exc:
            ours.close()
            theirs.close()
            raise WorkerStartError(f"worker processes could not be started: {exc}") from exc
        needs = {
            "number": number,
            "link": _handle_for(process, theirs),
            "payload": {"size": payload.size, "fd": payload.fd, "tag": payload.tag},
            "slots": {"size": slots.size, "fd": slots.fd, "tag": slots.tag},
        }
        with contextlib.suppress(BrokenPipeError):  # it ended at once: the link will tell
            process.stdin.write(json.dumps(needs).encode() + b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        theirs.close()
        spawned = _Spawned(number, process, ours)
        self._started.append(spawned)
        return spawned

    def watched(self) -> list[Any]:
        """Nothing: the links tell."""
        return []

    def heard(self) -> None:
        """There is nothing to hear."""

    def successor(self) -> SpawnStarter:
        """Give itself: there is nothing that could be killed."""
        return self

    def close(self) -> None:
        """Wait for the workers to leave, for a moment; then make them."""
        for spawned in self._started:
            with contextlib.suppress(OSError):
                spawned.process.stdin.close()  # type: ignore[union-attr]
            if spawned.exit_code(0.5) is None:
                spawned.kill()
                spawned.exit_code(1.0)
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
    threading.Thread(target=_watch, args=(lifeline,), name="crystallize-watch", daemon=True).start()
    if not _WINDOWS:
        for fd in (needs["link"], needs["payload"]["fd"], needs["slots"]["fd"]):
            os.set_inheritable(fd, False)  # noqa: FBT003 - takes no keywords
    work(_link(needs["link"]), Segment(**needs["payload"]), Segment(**needs["slots"]), needs["number"])
    os._exit(0)


def _watch(lifeline: BinaryIO) -> None:
    # Nothing more comes: this returns when the coordinator is gone, or has no more use for us.
    while lifeline.read(4096):
        pass
    os._exit(1)


def _handle_for(process: subprocess.Popen[bytes], link: Connection) -> int:
    if not _WINDOWS:
        return link.fileno()
    from multiprocessing import reduction

    return reduction.duplicate(link.fileno(), int(process._handle))  # type: ignore[attr-defined,no-any-return]


def _link(handle: int) -> Connection:
    if _WINDOWS:
        from multiprocessing.connection import PipeConnection  # type: ignore[attr-defined]

        return PipeConnection(handle)  # type: ignore[no-any-return]
    from multiprocessing.connection import Connection

    return Connection(handle)
