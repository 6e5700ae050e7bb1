"""Ctrl-C at a moment that suits: not in the middle of taking something in."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

from crystallize.engine.loop import Interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ctrl_c_interrupts", "interrupts_wait"]


def ctrl_c_interrupts() -> bool:
    """Whether Ctrl-C raises KeyboardInterrupt in this program, which has no handler of its own for it."""
    handler: Any = signal.getsignal(signal.SIGINT)
    ours = getattr(handler, "__self__", None)
    if isinstance(ours, Interrupts):
        handler = ours.usual
    # That of `asyncio.run` cancels the main task first.
    of_asyncio = getattr(getattr(handler, "func", None), "__module__", "") == "asyncio.runners"
    return handler is signal.default_int_handler or of_asyncio


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """Put Ctrl-C off until the end of the block, so that nothing is lost half-way; a second one gets through.

    Only in the main thread: no other hears of it.
    """
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    noted: list[Any] = []

    def note(number: int, frame: Any) -> None:
        if noted:
            usual(number, frame)
        noted.append(frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if noted:
        usual(signal.SIGINT, noted[0])
