"""What the framework logs, as messages of the command line."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["messages_at"]


class _Messages(logging.Handler):
    """Writes to stderr, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)
            return
        tqdm = getattr(sys.modules.get("tqdm.std"), "tqdm", None)
        if tqdm is not None and tqdm._instances:
            tqdm.write(text, file=sys.stderr)
        elif sys.stderr is not None:  # as it is where the process was started without
            sys.stderr.write(f"{text}\n")


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"


@contextmanager
def messages_at(level: int) -> Iterator[None]:
    """Show what is logged to the ``crystallize`` logger, from a level on.

    The level is the handler's: plugins set the logger's own for each run.

    Parameters
    ----------
    level : int
        `logging.ERROR` for quiet, `logging.INFO` else, `logging.DEBUG` for verbose.
    """
    logger = logging.getLogger("crystallize")
    handler = _Messages(level)
    handler.setFormatter(_Line("%(message)s"))
    logger.addHandler(handler)
    propagates, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
