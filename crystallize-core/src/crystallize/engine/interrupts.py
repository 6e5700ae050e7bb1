"""Ctrl-C at a moment that suits; no other module of the core handles SIGINT."""

from __future__ import annotations

# The functions of `signal` look every number up in an enumeration, which takes ten times as long.
import _signal  # type: ignore[import-not-found]
import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["InterruptGuard", "ctrl_c_interrupts", "handle_interrupts", "loop_is_running"]

_SIGINT = int(signal.SIGINT)


class InterruptGuard:
    """Receive Ctrl-C within a block, and put it off while something must not be left half done.

    Only in the main thread: no other hears of it.

    Parameters
    ----------
    hold : bool, default False
        Whether Ctrl-C waits for the end of the block.

    Attributes
    ----------
    held : bool
        Whether Ctrl-C has to wait now; a second one does not.
    noted : bool
        Whether one waits.
    usual : callable
        What Ctrl-C would have called.

    Examples
    --------
    >>> with InterruptGuard(hold=True):
    ...     taken = [1]  # Ctrl-C raises KeyboardInterrupt only once this is done
    """

    __slots__ = ("_before", "_frame", "_hold", "held", "noted", "usual")

    def __init__(self, *, hold: bool = False) -> None:
        self.held = False
        self.noted = False
        self.usual: Callable[[int, FrameType | None], Any] = signal.default_int_handler
        self._hold = hold
        self._before: Any = None
        self._frame: FrameType | None = None

    def __enter__(self) -> None:
        """Receive Ctrl-C from here on.

        Inside a running event loop that is blocked meanwhile, it interrupts at once: `asyncio.run` would turn it into
        a cancellation, which waits until the loop gets its turn again.
        """
        self._before = None
        if threading.current_thread() is not threading.main_thread():
            return
        usual = signal.default_int_handler if loop_is_running() else _signal.getsignal(_SIGINT)
        if not callable(usual):
            return
        with contextlib.suppress(ValueError):  # an interpreter that is not the main one
            self._before = _signal.signal(_SIGINT, self._receive)
            self.usual = usual
            self.held = self._hold

    def __exit__(self, *exc_info: object) -> None:
        self.held = False
        if self._before is not None:
            _signal.signal(_SIGINT, self._before)
            if self.noted:
                self.let_through()

    def let_through(self) -> None:
        """Do what Ctrl-C would have done."""
        self.noted = False
        self.usual(_SIGINT, self._frame)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.held and not self.noted:
            self.noted, self._frame = True, frame
        else:
            self.usual(number, frame)


def loop_is_running() -> bool:
    """Return whether the calling thread is inside an event loop."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def ctrl_c_interrupts() -> bool:
    """Return whether Ctrl-C raises KeyboardInterrupt in this program, which has no handler of its own for it."""
    handler: Any = signal.getsignal(signal.SIGINT)
    guard = getattr(handler, "__self__", None)
    if isinstance(guard, InterruptGuard):
        handler = guard.usual
    # That of `asyncio.run` cancels the main task first.
    of_asyncio = getattr(getattr(handler, "func", None), "__module__", "") == "asyncio.runners"
    return handler is signal.default_int_handler or of_asyncio


def handle_interrupts(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    """Set what this process does when it is interrupted; for executors, in the processes that they start."""
    signal.signal(signal.SIGINT, handler)
