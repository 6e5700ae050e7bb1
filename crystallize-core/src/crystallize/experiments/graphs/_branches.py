"""An experiment that runs in a thread of its own, and can be told of Ctrl-C there."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crystallize.experiments.graphs._planning import PlannedRun

__all__ = ["Branch", "end"]

_LOGGER = logging.getLogger("crystallize")
_GRACE = 1.5
"""Seconds for which an interrupted graph waits for the experiments that are under way."""


class Branch:
    """One experiment on its way.

    Parameters
    ----------
    run : PlannedRun
    tell : callable of Branch
        Called in the branch's thread when it is over.

    Attributes
    ----------
    result : Result or None
    error : BaseException or None
        What it raised.
    """

    def __init__(self, run: PlannedRun, tell: Callable[[Branch], object]) -> None:
        self.run = run
        self.result: Any = None
        self.error: BaseException | None = None
        self.over = threading.Event()
        self._tell = tell
        context = contextvars.copy_context()
        # A daemon: a cell that never ends must not keep an interrupted program alive.
        self._thread = threading.Thread(
            target=context.run, args=(self._work,), name=f"crystallize-{run.name}", daemon=True
        )
        self._thread.start()

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the branch's thread, as Ctrl-C does in the main thread."""
        import ctypes

        number = self._thread.ident
        if number is not None and not self.over.is_set():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(number), ctypes.py_object(KeyboardInterrupt))

    def _work(self) -> None:
        try:
            self.result = self.run.experiment.run(**self.run.arguments)
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits for this one
            self.error = exc
        finally:
            self.over.set()
            self._tell(self)


def end(branches: Iterable[Branch]) -> None:
    """Interrupt what still runs, and give it a moment to store what is finished."""
    left = list(branches)
    for branch in left:
        branch.interrupt()
    limit = time.monotonic() + _GRACE
    for branch in left:
        # Not with join: after an interrupted one, Python 3.11 takes a live thread for dead.
        if not branch.over.wait(max(limit - time.monotonic(), 0)):
            _LOGGER.warning(
                "experiment %r still runs in a thread, which nothing can stop; what its cells give is lost",
                branch.run.name,
            )
