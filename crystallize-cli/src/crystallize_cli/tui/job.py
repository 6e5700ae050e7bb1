"""A run as a process of its own, which outlives the interface: started, followed, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, BinaryIO, Literal

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
_AT_ONCE = 65_536
"""Bytes of output that are read before the keys are looked at again."""


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
        self.kept: int | None = None
        self.progress: Progress | None = None
        self.code: int | None = None
        # A file that is nobody's: what is written to it hurts nobody, however long the interface lives.
        self._output: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the job
        self.process = subprocess.Popen(  # noqa: S603 - this program
            program(self.arguments),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=environment(),
            # Apart from this terminal: neither its hang-up nor its Ctrl-C is meant for the run.
            start_new_session=True,
            creationflags=_APART,
        )
        self._read = 0

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

    def output(self) -> str:
        """Return what it has printed and logged since the last time, a part at a time."""
        written = os.pread(self._output.fileno(), _AT_ONCE, self._read) if hasattr(os, "pread") else self._reread()
        self._read += len(written)
        return written.decode("utf-8", "replace")

    def close(self) -> None:
        """Read no more of what it prints; it goes on as it is."""
        self._output.close()

    def _reread(self) -> bytes:
        place = self._output.tell()
        self._output.seek(self._read)
        written = self._output.read(_AT_ONCE)
        self._output.seek(place)
        return written

    async def look(self) -> None:
        """See how far it is, and whether it is over."""
        code = self.process.poll()
        run = await asyncio.to_thread(newest_run, self.experiment)
        if run is not None and (code is not None or (run.owner is not None and run.owner.pid == self.process.pid)):
            progress = await asyncio.to_thread(read_progress, run)
            if self.kept is None and not progress.problem:
                self.kept = progress.done if progress.started < self.begun else 0
            if not progress.problem or self.progress is None:
                self.progress = progress
        if code is not None:
            self.code, self.ended = code, time.time()
            self.state = _WORDS.get(code, "broken" if self.state != "stopping" else "interrupted")
