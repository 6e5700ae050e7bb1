"""A process beside a run that talks to the network for it.

What retries over the network draws from the global ``random``, waits as long as it likes, and sets up state of its
library: none of that may happen in the process that runs cells. A helper is a new interpreter that gets a function to
call, hears on its standard input when the run ends, or that the program is gone, and says on its standard output what
came of it.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

from crystallize.errors import DeliveryError
from crystallize.hooks.tools import mask_text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EndOfRun", "Helper", "main"]

_LONGEST_TAIL = 2000
_FOR_ORPHANS = 1.0
"""Seconds after which a helper looks whether the program that started it is gone."""


class Helper:
    """A process that calls a function beside a run.

    Parameters
    ----------
    function : callable
        What it calls, as ``function(end, *arguments)`` with an `EndOfRun`; of a module that can be imported.
    *arguments
        What can be pickled. They are not seen in the list of processes, so they may hold secrets.

    Raises
    ------
    WorkerStartError
        This program has no interpreter to start.
    OSError
        No process can be started.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        from crystallize_plugins.execution.processes.worker_pool import interpreter_command

        command = interpreter_command(f"from {__name__} import main; main()")
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process lives
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the child is this interpreter
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                # Ctrl-C in a terminal is for the run, which tells the helper itself.
                start_new_session=True,
            )
        except BaseException:
            self._said.close()
            raise
        with contextlib.suppress(BrokenPipeError):  # it has ended already: `finish` says so
            self._process.stdin.write(pickle.dumps((os.getpid(), function, arguments)))  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]

    def finish(self, timeout: float | None) -> Any:
        """Say that the run has ended, and return what the function returns; the process is gone afterwards.

        Parameters
        ----------
        timeout : float or None
            Seconds that it is waited for; None to wait until it is done.

        Raises
        ------
        DeliveryError
            The function raised, did not end in time, or its process died; the message says which.
        """
        process = self._process
        try:
            # What is said last is how long the process has, should nobody be left to end it.
            answer, _ = process.communicate(f"{timeout or 0}\n".encode(), timeout=timeout)
            if not answer:
                self._said.seek(0)
                tail = self._said.read()[-_LONGEST_TAIL:].decode(errors="replace").strip()
                raise DeliveryError(f"its process left with exit code {process.returncode}: {tail}")
        except subprocess.TimeoutExpired:
            raise DeliveryError(f"it did not end within {timeout:g} seconds") from None
        finally:
            self.close()
        returned, problem = pickle.loads(answer)  # noqa: S301 - from our own child
        if problem is not None:
            raise DeliveryError(mask_text(problem))
        return returned

    def close(self) -> None:
        """End the process at once, if it is still there."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        self._process.wait()


class EndOfRun:
    """What tells a helper when the run has ended."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._limit = math.inf
        self._ended = threading.Event()
        for work in (self._listen, self._watch):
            threading.Thread(target=work, name="crystallize-end-of-run", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait, and return whether the run has ended.

        Parameters
        ----------
        seconds : float
            How long at most.
        """
        return self._ended.wait(seconds)

    def _listen(self) -> None:
        line = sys.stdin.buffer.readline()
        if not line:  # the program was killed: nobody waits for an answer
            os._exit(1)
        self._limit = time.monotonic() + (float(line) or math.inf)
        self._ended.set()

    def _watch(self) -> None:
        # The pipe stays open where a process that the program forked has inherited its end.
        while time.monotonic() < self._limit and (sys.platform == "win32" or os.getppid() == self._parent):
            time.sleep(_FOR_ORPHANS)
        os._exit(1)


def main() -> None:
    """Run as a helper: call the function that comes on the standard input, and say what came of it."""
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    parent, function, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the program that started us
    end = EndOfRun(parent)
    told: tuple[Any, str | None]
    try:
        told = (function(end, *arguments), None)
    except Exception as error:  # noqa: BLE001 - of whatever library: the program is told of it
        told = (None, str(error) if isinstance(error, DeliveryError) else f"{type(error).__name__}: {error}")
    with answer:
        answer.write(pickle.dumps(told))
    os._exit(0)
