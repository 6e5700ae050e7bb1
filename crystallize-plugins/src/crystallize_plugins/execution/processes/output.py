"""What steps print, log, warn about and emit in a worker, brought to where the coordinator's handlers are.

In a worker `OutputCapture` sends it as messages; in the coordinator `OutputReceiver` hands it to whoever listens.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import sys
import warnings
from typing import TYPE_CHECKING, Any, TextIO

from crystallize.errors import SerializationError
from crystallize.hooks import Cell
from crystallize_plugins.execution.processes.pickling import dumps
from crystallize_plugins.execution.processes.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize.hooks import Event, RunCell
    from crystallize_plugins.execution.processes.messages import Messages
    from crystallize_plugins.execution.processes.streams import StreamSettings

__all__ = ["OutputCapture", "OutputReceiver", "logging_levels", "warning_filters"]

_LOGGER = logging.getLogger("crystallize")


def logging_levels() -> dict[str, tuple[int, bool]]:
    """Return level and ``disabled`` of every logger here, so that workers send only what will be handled."""
    manager = logging.Logger.manager
    levels = {
        name: (logger.level, logger.disabled)
        for name, logger in list(manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and (logger.level or logger.disabled)
    }
    levels[""] = (logging.root.level, False)
    levels["\0disable"] = (manager.disable, False)
    return levels


def warning_filters() -> list[bytes]:
    """Return the warning filters of this process, each pickled; one that cannot be is left out."""
    encoded = []
    for entry in warnings.filters:
        try:
            encoded.append(dumps(entry))
        except Exception:  # noqa: BLE001 - a category that cannot travel: its warnings are decided here
            _LOGGER.debug("a warning filter stays behind: %r", entry)
    return encoded


class OutputCapture:
    """Sends on what happens in this process; installed once in each worker.

    Attributes
    ----------
    cell : Cell or None
        What the worker is at; goes with everything that is logged.
    """

    def __init__(self, messages: Messages) -> None:
        self.cell: Cell | None = None
        self._messages = messages
        self._streams: Streams | None = None
        self._plain: dict[str, Any] = {}

    def install(
        self,
        levels: dict[str, tuple[int, bool]],
        filters: list[bytes],
        streams: Mapping[str, StreamSettings],
    ) -> None:
        """Take over the standard streams, warnings and logging, with the coordinator's settings."""
        self._streams = Streams(self._messages, streams)
        self._plain = {"warn": warnings.showwarning, "log": logging.Logger.callHandlers, "last": logging.lastResort}
        self._install_warnings(filters)
        self._install_logging(levels)

    def disconnect(self) -> None:
        """Let this process print, warn and log as a program does that has configured nothing: a step has forked it."""
        self._messages.disconnect()
        if self._streams is not None:
            self._streams.disconnect()
            warnings.showwarning = self._plain["warn"]
            logging.Logger.callHandlers = self._plain["log"]  # type: ignore[method-assign]
            logging.lastResort = self._plain["last"]

    def forget_handlers(self) -> None:
        """Take away the handlers that modules added when they were imported: the coordinator has them too."""
        for logger in [logging.root, *logging.Logger.manager.loggerDict.values()]:
            if isinstance(logger, logging.Logger) and logger.handlers:
                logger.handlers = []

    def end_of_cell(self) -> None:
        """Send on lines that were left unfinished."""
        if self._streams is not None:
            self._streams.flush()
        self.cell = None

    def emit(self, event: Event) -> None:
        """Send on an event; what it carries has to be picklable."""
        try:
            encoded = dumps(event)
        except Exception as exc:
            raise SerializationError(
                f"event {event.name!r} cannot leave the worker process ({type(exc).__name__}: {exc}); "
                "emit numbers, text or arrays"
            ) from exc
        self._messages.tell("event", encoded)

    def _install_warnings(self, filters: list[bytes]) -> None:
        self._filter_warnings(filters)
        messages = self._messages

        def showwarning(
            message: Any,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: Any = None,
            line: str | None = None,
        ) -> None:
            del file, line
            messages.tell("warning", _pickled_category(category), str(message), filename, lineno)

        warnings.showwarning = showwarning

    @staticmethod
    def _filter_warnings(filters: list[bytes]) -> None:
        known = []
        for encoded in filters:
            try:
                known.append(pickle.loads(encoded))
            except Exception:  # noqa: BLE001 - a category that does not exist here is never raised here
                _LOGGER.debug("a warning filter could not be rebuilt")
        warnings.filters[:] = known  # type: ignore[index]
        # Of the thread that sends messages: after a fork the child has none, and does without.
        warnings.filterwarnings("ignore", r"This process .* is multi-threaded", DeprecationWarning)
        warnings.simplefilter("default", append=True)  # what it adds is the default anyway; it makes the others heard

    def _install_logging(self, levels: dict[str, tuple[int, bool]]) -> None:
        self.forget_handlers()
        logging.lastResort = None
        for name, (level, disabled) in levels.items():
            if name == "\0disable":
                logging.disable(level)
                continue
            logger = logging.getLogger(name or None)
            logger.setLevel(level)
            logger.disabled = disabled
        capture, handle = self, logging.Logger.callHandlers

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            capture._log(record)
            if logger.hasHandlers():  # a step's own handlers see what they would see anywhere
                handle(logger, record)

        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign,assignment]

    def _log(self, record: logging.LogRecord) -> None:
        fields = {name: value for name, value in vars(record).items() if _is_plain(value)}
        try:
            fields["msg"], fields["args"] = record.getMessage(), None
            if record.exc_info:
                fields["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
        except Exception:  # noqa: BLE001 - arguments that do not fit: logging says so, and raises nothing
            logging.Handler().handleError(record)
            return
        fields["exc_info"] = None
        # A site's process hands on what its workers have logged.
        cell = self.cell or vars(record).get("cell")
        fields["cell"] = tuple(cell) if isinstance(cell, Cell) else None
        self._messages.tell("log", fields)
        if record.levelno >= logging.ERROR:
            self._messages.flush()


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool)


def _pickled_category(category: type[Warning]) -> bytes:
    try:
        return dumps(category)
    except Exception:  # noqa: BLE001 - a class that cannot travel: the text still does
        return pickle.dumps(UserWarning)


class OutputReceiver:
    """Hands on what the workers of one run have sent.

    Parameters
    ----------
    runner : RunCell
        Hands on events.
    """

    def __init__(self, runner: RunCell) -> None:
        self._runner = runner
        self._seen: dict[str, dict[Any, Any]] = {}

    def take(self, kind: str, *rest: Any) -> bool:
        """Hand on one piece of news; return False if it is no output."""
        if kind == "text":
            stream = sys.stdout if rest[0] == "stdout" else sys.stderr
            if stream is not None:
                with contextlib.suppress(OSError):  # of its bytes; what cannot be written as text is lost, too
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
            try:
                logger.handle(record)
            except Exception:  # noqa: BLE001 - a filter or a handler: the step has gone on long since
                logging.Handler().handleError(record)

    def _warn(self, category: bytes, text: str, filename: str, lineno: int) -> None:
        # One registry for the run: a warning that is shown once is shown once, not once a worker.
        registry = self._seen.setdefault(filename, {})
        try:
            warnings.warn_explicit(text, pickle.loads(category), filename, lineno, registry=registry)
        except Exception as exc:  # noqa: BLE001 - the step has gone on long since: an "error" filter comes too late
            _LOGGER.warning("a worker warned: %s:%s: %s: %s", filename, lineno, type(exc).__name__, text)

    def event(self, encoded: bytes) -> Cell | None:
        """Hand on an event; return its cell if that is asked to stop."""
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
