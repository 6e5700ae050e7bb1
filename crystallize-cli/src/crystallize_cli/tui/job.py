"""A run as a process of its own, which outlives the interface: started, followed, stopped."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from crystallize_cli.exits import ExitCode
from crystallize_cli.tui.asking import environment, program
from crystallize_cli.tui.progress import Progress, newest_run, read_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Job", "State", "stop_process"]

State = Literal["running", "stopping", "complete", "interrupted", "failed", "locked", "broken"]

_WORDS: dict[int, State] = {
    ExitCode.DONE: "complete",
    ExitCode.FAILED: "complete",
    ExitCode.NOTHING: "complete",
    ExitCode.UNSUPPORTED: "complete",
    ExitCode.LOCKED: "locked",
    ExitCode.INTERRUPTED: "interrupted",
    -signal.SIGINT: "interrupted",
    -signal.SIGTERM: "interrupted",
    -9: "interrupted",
}
# On Windows the flag of a process group of its own, which elsewhere comes with the session.
_APART = 0x200 if sys.platform == "win32" else 0
_AT_ONCE = 262_144
"""Bytes of events that are read before the keys are looked at again."""


def stop_process(pid: int, *, force: bool = False) -> None:
    """Ask a process to stop, as Ctrl-C does.

    Parameters
    ----------
    pid : int
    force : bool
        Whether it was asked before, and did not listen.

    Raises
    ------
    OSError
        There is no such process any more, or it is somebody else's.
    """
    if sys.platform == "win32":
        os.kill(pid, signal.SIGTERM if force else signal.CTRL_BREAK_EVENT)
    else:
        os.kill(pid, signal.SIGINT)


class Job:
    """One run of an experiment, in a process that was started here.

    Parameters
    ----------
    experiment : str
        The name of what is run.
    arguments : sequence of str
        What follows ``crystallize``.
    """

    def __init__(self, experiment: str, arguments: Sequence[str]) -> None:
        self.experiment = experiment
        self.arguments = list(arguments)
        self.state: State = "running"
        self.begun = time.time()
        self.ended: float | None = None
        self.progress: Progress | None = None
        self.code: int | None = None
        self._file = Path(tempfile.mkdtemp(prefix="crystallize-"), "events.jsonl")
        # A file that is nobody's: what is written to it hurts nobody, however long the interface lives.
        self._output: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the job
        self.process = subprocess.Popen(  # noqa: S603 - this program
            program([*self.arguments, "--events", str(self._file)]),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=environment(),
            # Apart from this terminal: neither its hang-up nor its Ctrl-C is meant for the run.
            start_new_session=True,
            creationflags=_APART,
        )
        self._events: BinaryIO | None = None
        self._rest = b""

    @property
    def is_over(self) -> bool:
        """Whether its process has ended."""
        return self.code is not None

    def stop(self) -> None:
        """Ask it to stop; a second time, to stop at once."""
        again = self.state == "stopping"
        self.state = "stopping"
        if self.process.poll() is None:
            stop_process(self.process.pid, force=again)

    def events(self) -> list[dict[str, Any]]:
        """Return what has happened since the last time, a part at a time: see ``crystallize run --events``."""
        if self._events is None:
            try:
                self._events = self._file.open("rb")
            except OSError:
                return []  # it has not begun to write
            self._forget_file()
        *lines, self._rest = (self._rest + self._events.read(_AT_ONCE)).split(b"\n")
        found = [json.loads(line) for line in lines if line]
        return [each for each in found if isinstance(each, dict)]

    def complaint(self) -> str:
        """Return what it has written to its standard streams: why it could not begin."""
        self._output.seek(0)
        return self._output.read(_AT_ONCE).decode("utf-8", "replace")

    def _forget_file(self) -> None:
        """Take the file's name away: whatever ends first, nothing is left behind."""
        with suppress(OSError):  # where an open file cannot be removed, the system's own cleaning does it
            self._file.unlink()
            self._file.parent.rmdir()

    def close(self) -> None:
        """Read no more of what it prints; it goes on as it is."""
        self._output.close()
        if self._events is not None:
            self._events.close()
        elif self.is_over:  # it never began to write
            shutil.rmtree(self._file.parent, ignore_errors=True)

    async def look(self) -> None:
        """See how far it is, and whether it is over."""
        code = self.process.poll()
        run = await asyncio.to_thread(newest_run, self.experiment)
        if run is not None and (code is not None or (run.owner is not None and run.owner.pid == self.process.pid)):
            progress = await asyncio.to_thread(read_progress, run)
            if not progress.problem or self.progress is None:
                self.progress = progress
        if code is not None:
            self.code, self.ended = code, time.time()
            self.state = _WORDS.get(code, "broken" if self.state != "stopping" else "interrupted")
