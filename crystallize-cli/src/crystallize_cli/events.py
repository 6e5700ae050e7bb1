"""``--events FILE``: what happens in a run as lines of JSON, for programs that follow it."""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from crystallize import BasePlugin
from crystallize.hooks.tools import dump_json
from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.streams import Tee

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from crystallize import Experiment
    from crystallize.hooks import Cell, CellOutcome, Event, ExperimentView

__all__ = ["EventFile", "Follower", "following"]

_EVERY = 0.05
"""Seconds between two writes: a run waits for none of them."""
_MOST_WAITING = 20_000
"""Lines that may wait to be written."""
_PATIENCE = 5.0
"""Seconds after which a reader that takes nothing counts as gone."""
_FORMATTER = logging.Formatter()
# Most lines are plain: `dump_json` takes ten times as long to make sure of it.
_encode = json.JSONEncoder(allow_nan=False).encode


@contextmanager
def following(path: Path | None, experiments: Iterable[Experiment]) -> Iterator[EventFile | None]:
    """Write what happens meanwhile to a file, and how it ended; without a path, nothing.

    Raises
    ------
    Failure
        The file cannot be written.
    """
    if path is None:
        yield None
        return
    file = EventFile(path)
    end: dict[str, Any] = {"error": None}
    try:
        for experiment in experiments:
            experiment.plugins.append(Follower(file))
        yield file
    except KeyboardInterrupt:
        end = {"error": "interrupted", "code": int(ExitCode.INTERRUPTED)}
        raise
    except Failure as failure:
        end = {"error": failure.message, "code": failure.exit_code}
        raise
    except BaseException as error:
        end = {"error": f"{type(error).__name__}: {error}", "code": int(ExitCode.INTERNAL)}
        raise
    finally:
        file.put("end", **{"code": file.code, **end})
        file.close()


class EventFile:
    """A file of JSON lines, written by a thread of its own: a reader that is slow or gone stops nothing.

    Parameters
    ----------
    path : Path
        Made anew; may be a named pipe that somebody reads.

    Attributes
    ----------
    code : int
        How the command ends, once that is known.
    mine : threading.local
        ``muted`` in a thread that prints what has been written already.

    Raises
    ------
    Failure
        It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.code = 0
        try:
            # Without waiting: a named pipe that nobody reads would hold up the run.
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NONBLOCK", 0)
            self._descriptor = os.open(path, flags, 0o666)
            if hasattr(os, "O_NONBLOCK"):
                os.set_blocking(self._descriptor, True)
        except OSError as error:
            why = (
                "nobody reads the named pipe: start its reader first" if error.errno == errno.ENXIO else error.strerror
            )
            raise Failure(f"--events {path} cannot be written: {why}") from error
        self._path = path
        self._lines: deque[dict[str, Any]] = deque()
        self._process = os.getpid()
        self._gone = False
        self.mine = threading.local()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="crystallize-events", daemon=True)
        self._thread.start()

    def put(self, kind: str, **fields: Any) -> None:
        """Hand in a line; it is written a little later."""
        if self._gone or os.getpid() != self._process:
            return
        self._lines.append({"kind": kind, "time": time.time(), **fields})
        if len(self._lines) > _MOST_WAITING:
            self._wait()

    def _wait(self) -> None:
        """Let the writer catch up; a reader that takes nothing for long is given up."""
        limit = time.monotonic() + _PATIENCE
        while len(self._lines) > _MOST_WAITING // 2 and not self._gone:
            if time.monotonic() > limit:
                self._give_up("its reader takes nothing any more")
            time.sleep(_EVERY)

    def close(self) -> None:
        """Write what is left, for as long as somebody takes it."""
        self._closing.set()
        self._thread.join(_PATIENCE)
        if not self._thread.is_alive():  # else it is written to, and a reader of this process's has hung
            os.close(self._descriptor)

    def _work(self) -> None:
        while not self._gone:
            closing = self._closing.wait(_EVERY)
            try:
                self._write_all()
            except OSError as error:
                self._give_up("its reader has gone" if error.errno in (errno.EPIPE, errno.EINVAL) else str(error))
            if closing:
                return

    def _write_all(self) -> None:
        while self._lines:
            lines = [self._lines.popleft() for _ in range(min(len(self._lines), 1000))]
            content = "".join(f"{_json(line)}\n" for line in lines).encode()
            while content:
                content = content[os.write(self._descriptor, content) :]

    def _give_up(self, why: str) -> None:
        self._gone = True
        self._lines.clear()
        logging.getLogger("crystallize").warning("no more events are written to %s: %s", self._path, why)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Write what is logged and printed meanwhile, too."""
        given, call_handlers = (sys.stdout, sys.stderr), logging.Logger.callHandlers
        tees = [Tee(stream, self, name) for stream, name in zip(given, ("stdout", "stderr"), strict=True)]

        def note(logger: logging.Logger, record: logging.LogRecord) -> None:
            self._log(record)
            muted, self.mine.muted = getattr(self.mine, "muted", False), True  # handlers that print say it again
            try:
                call_handlers(logger, record)
            finally:
                self.mine.muted = muted

        # Not as a handler: it would miss loggers that keep their records to themselves, and quiet the last resort.
        logging.Logger.callHandlers = note  # type: ignore[method-assign,assignment]
        sys.stdout, sys.stderr = tees
        try:
            yield
        finally:
            logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]
            sys.stdout, sys.stderr = given
            for tee in tees:
                tee.finish()

    def _log(self, record: logging.LogRecord) -> None:
        try:
            text = _FORMATTER.format(record)
        except Exception:  # noqa: BLE001 - arguments that do not fit: whoever handles the record says so
            text = str(record.msg)
        cell: Cell | None = getattr(record, "cell", None)
        self.put("log", level=record.levelname, logger=record.name, text=text, **_place(cell))


class Follower(BasePlugin):
    """Writes the events and outcomes of a run to a file.

    Parameters
    ----------
    file : EventFile
    """

    neutral = True
    on_error = "record"
    recorded = False

    def __init__(self, file: EventFile | None = None) -> None:
        self._file = file

    def on_event(self, experiment: ExperimentView, event: Event) -> None:
        """Write an event; before the first, what the run is."""
        if self._file is None:
            return
        name = _name(experiment)
        if event.name == "run_started":
            run = experiment.run
            conditions = ["baseline", *(each.name for each in experiment.treatments if each.name != "baseline")]
            planned = len(conditions) * experiment.replicates
            self._file.put(
                "run", experiment=name, id=run.id, version=run.version, folder=run.folder, strategy=run.strategy,
                seed=run.seed, conditions=conditions, replicates=experiment.replicates,
                steps=list(experiment.pipeline.labels), cells=event.fields["cells"],
                kept=max(planned - event.fields["cells"], 0),
            )  # fmt: skip
        self._file.put(
            "event", experiment=name, name=event.name, **_place(event.cell), fields=dict(event.fields), time=event.time
        )

    def collect(self, experiment: ExperimentView, outcome: CellOutcome) -> None:
        """Write an outcome."""
        if self._file is not None:
            self._file.put("outcome", experiment=_name(experiment), **_place(outcome.cell), **_content(outcome))

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process writes nothing.
        return {"_file": None}


def _json(line: dict[str, Any]) -> str:
    try:
        return _encode(line)
    except (TypeError, ValueError, RecursionError):  # there is something in it that JSON does not have
        return dump_json(line, indent=None)


def _content(outcome: CellOutcome) -> dict[str, Any]:
    error, trace = outcome.error, outcome.provenance
    shapes = () if trace is None else trace.shape.steps
    durations = () if trace is None else trace.durations
    return {
        "ok": outcome.ok,
        "metrics": outcome.metrics,
        "duration": outcome.duration,
        "seed": outcome.seed,
        "worker": outcome.worker,
        "attempts": 1 + len(outcome.attempts),
        "steps": [
            {"step": shape.name, "duration": duration, "cached": shape.cache_hit}
            for shape, duration in zip(shapes, durations, strict=False)  # the step that failed has none
        ],
        "error": None
        if error is None
        else {
            "step": error.step_name,
            "type": error.error_type,
            "text": str(error),
            "traceback": error.traceback_text,
            "log": error.log,
        },
    }


def _place(cell: Cell | None) -> dict[str, Any]:
    return {
        "condition": None if cell is None else cell.condition,
        "replicate": None if cell is None else cell.replicate,
    }


def _name(experiment: ExperimentView) -> str:
    return experiment.name or experiment.id[:8]
