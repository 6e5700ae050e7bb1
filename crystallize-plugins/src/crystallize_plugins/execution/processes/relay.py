"""What steps print, log and warn about in a worker, brought to where the coordinator's handlers are."""

from __future__ import annotations

import logging
import pickle
import warnings
from typing import TYPE_CHECKING, Any

from crystallize.errors import SerializationError
from crystallize_plugins.execution.processes.pickling import dumps
from crystallize_plugins.execution.processes.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.results.outcome import Cell, Event
    from crystallize_plugins.execution.processes.outbox import Outbox
    from crystallize_plugins.execution.processes.streams import StreamSettings

__all__ = ["Relay", "logging_levels", "warning_filters"]


def logging_levels() -> dict[str, tuple[int, bool]]:
    """Level and ``disabled`` of every logger here, so that workers send only what will be handled."""
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
    """The warning filters of this process, each pickled; one that cannot be is left out."""
    filters = tuple(warnings.filters)
    if _encoded.filters != filters:
        _encoded.each, _encoded.filters = _encode(filters), filters
    return _encoded.each


def _encode(filters: Sequence[Any]) -> list[bytes]:
    encoded = []
    for entry in filters:
        try:
            encoded.append(dumps(entry))
        except Exception:  # noqa: BLE001 - a category that cannot travel: its warnings are decided here
            logging.getLogger("crystallize").debug("a warning filter stays behind: %r", entry)
    return encoded


class _Encoded:
    """The filters as they were last; a fork has what its parent knew."""

    filters: tuple[Any, ...] | None = None
    each: list[bytes]


_encoded = _Encoded()


class Relay:
    """Sends on what happens in this process; installed once in each worker.

    Attributes
    ----------
    cell : Cell or None
        What the worker is at; goes with everything that is logged.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.cell: Cell | None = None
        self._outbox = outbox
        self._streams: Streams | None = None

    def install(
        self,
        levels: dict[str, tuple[int, bool]] | None,
        filters: list[bytes] | None,
        streams: Mapping[str, StreamSettings] | None,
    ) -> None:
        """Take over the standard streams, warnings and logging; None where those here are right already."""
        self._streams = Streams(self._outbox, streams)
        self._install_warnings(filters)
        self._install_logging(levels)

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
        self._outbox.tell("event", encoded)

    def _install_warnings(self, filters: list[bytes] | None) -> None:
        if filters is not None and filters != warning_filters():
            self._filter_warnings(filters)
        outbox = self._outbox

        def showwarning(
            message: Any,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: Any = None,
            line: str | None = None,
        ) -> None:
            del file, line
            outbox.tell("warning", _pickled_category(category), str(message), filename, lineno)

        warnings.showwarning = showwarning

    @staticmethod
    def _filter_warnings(filters: list[bytes]) -> None:
        known = []
        for encoded in filters:
            try:
                known.append(pickle.loads(encoded))
            except Exception:  # noqa: BLE001 - a category that does not exist here is never raised here
                logging.getLogger("crystallize").debug("a warning filter could not be rebuilt")
        warnings.filters[:] = known  # type: ignore[index]
        warnings.simplefilter("default", append=True)  # what it adds is the default anyway; it makes the others heard

    def _install_logging(self, levels: dict[str, tuple[int, bool]] | None) -> None:
        self.forget_handlers()
        logging.lastResort = None
        for name, (level, disabled) in (levels or {}).items():
            if name == "\0disable":
                logging.disable(level)
                continue
            logger = logging.getLogger(name or None)
            logger.setLevel(level)
            logger.disabled = disabled
        relay, handle = self, logging.Logger.callHandlers

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            relay._log(record)
            if logger.hasHandlers():  # a step's own handlers see what they would see anywhere
                handle(logger, record)

        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign,assignment]

    def _log(self, record: logging.LogRecord) -> None:
        fields = {name: value for name, value in vars(record).items() if _is_plain(value)}
        fields["msg"], fields["args"] = record.getMessage(), None
        if record.exc_info:
            fields["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
        fields["exc_info"] = None
        fields["cell"] = None if self.cell is None else tuple(self.cell)
        self._outbox.tell("log", fields)
        if record.levelno >= logging.ERROR:
            self._outbox.flush()


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (str, int, float, bool)


def _pickled_category(category: type[Warning]) -> bytes:
    try:
        return dumps(category)
    except Exception:  # noqa: BLE001 - a class that cannot travel: the text still does
        return pickle.dumps(UserWarning)
