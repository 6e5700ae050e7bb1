"""Ctrl-C at a moment that suits: not in the middle of taking something in."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["interrupts_wait"]


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
