"""What workers printed, logged, warned about and emitted, handed to whoever listens in the coordinator."""

from __future__ import annotations

import logging
import pickle
import sys
import warnings
from typing import TYPE_CHECKING, Any, TextIO

from crystallize.results.outcome import Cell

if TYPE_CHECKING:
    from crystallize.engine.runner import CellRunner

__all__ = ["Replay"]

_LOGGER = logging.getLogger("crystallize")


class Replay:
    """Replays for one run.

    Parameters
    ----------
    runner : CellRunner
        Hands on events.
    """

    def __init__(self, runner: CellRunner) -> None:
        self._runner = runner
        self._seen: dict[str, dict[Any, Any]] = {}

    def take(self, kind: str, *rest: Any) -> bool:
        """Replay one piece of news; false if it is none of ours."""
        if kind == "text":
            stream = sys.stdout if rest[0] == "stdout" else sys.stderr
            if stream is not None:
                _write(stream, rest[1])
        elif kind == "log":
            self._log(rest[0])
        elif kind == "warning":
            self._warn(*rest)
        else:
            return False
        return True

    def _log(self, fields: dict[str, Any]) -> None:
        if fields["cell"] is not None:
            fields["cell"] = Cell(*fields["cell"])
        record = logging.makeLogRecord(fields)
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)

    def _warn(self, category: bytes, text: str, filename: str, lineno: int) -> None:
        # One registry for the run: a warning that is shown once is shown once, not once a worker.
        registry = self._seen.setdefault(filename, {})
        try:
            warnings.warn_explicit(text, pickle.loads(category), filename, lineno, registry=registry)
        except Exception as exc:  # noqa: BLE001 - the step has gone on long since: an "error" filter comes too late
            _LOGGER.warning("a worker warned: %s:%s: %s: %s", filename, lineno, type(exc).__name__, text)

    def event(self, encoded: bytes) -> Cell | None:
        """Hand on an event; give its cell if that is asked to stop."""
        try:
            event = pickle.loads(encoded)
        except Exception as exc:  # noqa: BLE001 - user objects inside: the cell is none the worse for it
            _LOGGER.warning("an event of a worker could not be read (%s: %s)", type(exc).__name__, exc)
            return None
        cell: Cell | None = event.cell
        return cell if self._runner.emit(event) else None


def _write(stream: TextIO, text: str) -> None:
    """Write what a worker printed; bytes that are no text, to the stream's own bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        content = text.encode(stream.encoding or "utf-8", "surrogateescape")
        if hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(content)
            return
        text = content.decode(stream.encoding or "utf-8", "replace")
    stream.write(text)
