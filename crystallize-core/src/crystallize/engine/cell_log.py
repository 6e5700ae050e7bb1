"""What a cell prints and logs, kept for the case that it fails.

What it prints, `streams` adds to the log of the cell that the current context belongs to; what it logs, is added here,
while some worker of this process keeps logs. Threads that a step starts on its own belong to none.
"""

from __future__ import annotations

import logging
import os
import threading
from contextvars import ContextVar
from typing import Any

__all__ = ["LIMIT", "CellLog", "begin_keeping", "current_log", "end_keeping"]

LIMIT = 1 << 16
"""Characters that are kept of a cell: the last ones."""

current_log: ContextVar[CellLog | None] = ContextVar("crystallize_cell_log", default=None)
"""The log of the cell that is being run."""


class CellLog:
    """The end of what one cell printed and logged."""

    __slots__ = ("_cut", "_parts", "_size", "muted")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0
        self._cut = False
        self.muted = False

    def add(self, text: str) -> None:
        """Take down some text."""
        self._parts.append(text)
        self._size += len(text)
        if self._size > 2 * LIMIT:
            self._parts = [self._end()]

    def text(self) -> str:
        """Return what is kept."""
        end = self._end()
        return f"[what came before is left out]\n{end}" if self._cut else end

    def _end(self) -> str:
        whole = "".join(self._parts)
        self._cut |= len(whole) > LIMIT
        end = whole[-LIMIT:]
        self._size = len(end)
        return end


class _Kept:
    """What was changed in this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        self.call_handlers: Any = None


_kept = _Kept()


def begin_keeping() -> None:
    """Keep what cells log; as often as `end_keeping` will be called."""
    with _kept.lock:
        _kept.users += 1
        if _kept.call_handlers is None:
            _kept.call_handlers = logging.Logger.callHandlers
            logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign,assignment]


def end_keeping() -> None:
    """Leave loggers as they were, once nobody keeps logs any more."""
    with _kept.lock:
        _kept.users -= 1
        if not _kept.users:
            _restore_loggers()


def _call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
    log, call_handlers = current_log.get(), _kept.call_handlers or logging.Logger.callHandlers
    if log is None or log.muted:
        call_handlers(logger, record)
        return
    log.add(f"{_told(record)}\n")
    log.muted = True  # a handler that writes to a stream would say it again
    try:
        call_handlers(logger, record)
    finally:
        log.muted = False


def _told(record: logging.LogRecord) -> str:
    try:
        text = f"{record.levelname} {record.name}: {record.getMessage()}"
        return f"{text}\n{_FORMATTER.formatException(record.exc_info)}" if record.exc_info else text
    except Exception:  # noqa: BLE001 - arguments that do not fit: whoever handles the record says so
        return f"{record.levelname} {record.name}: {record.msg!r}"


_FORMATTER = logging.Formatter()


def _restore_loggers() -> None:
    if _kept.call_handlers is not None and logging.Logger.callHandlers is _call_handlers:
        logging.Logger.callHandlers = _kept.call_handlers  # type: ignore[method-assign]
        _kept.call_handlers = None


def _forget() -> None:
    """Begin anew in a forked process, whose cells are others."""
    _restore_loggers()
    _kept.__init__()  # type: ignore[misc]
    current_log.set(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
