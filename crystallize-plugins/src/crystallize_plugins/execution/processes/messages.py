"""What a worker tells the coordinator: gathered for a few milliseconds, then sent in one message."""

from __future__ import annotations

import contextlib
import pickle
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from crystallize.errors import SerializationError
from crystallize.hooks import CellOutcome
from crystallize_plugins.execution.processes.pickling import dumps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection

    from crystallize.hooks import Cell, RunCell

__all__ = ["Messages", "is_plain", "rebuilt"]

FLUSH_AFTER = 0.005
"""Seconds for which news may wait for more."""
_PLAIN = {float, int, str, bool, bytes, type(None)}


class Messages:
    """One worker's end of the line.

    Messages are pickled lists of tuples whose first item says what they are:

    - ``("ready", pid)``, ``("unfit", type, text, traceback)``: it has loaded the experiment, or could not
    - ``("outcomes", [row, …])``, ``("outcome", index, pickle)``: of cells, see `rebuilt`; or of one with objects of the
      user's, which may refuse to be rebuilt
    - ``("retry", index, attempt, delay, plugin_failures)``: an attempt failed, and another is to follow
    - ``("text", stream, text)``, ``("log", fields)``, ``("warning", …)``, ``("event", pickle)``
    - ``("interrupted", where)``: a step raised `KeyboardInterrupt`
    - ``("report", pickle, modules)``: the last one
    """

    def __init__(self, link: Connection) -> None:
        self._link: Connection | None = link
        self._lock = threading.RLock()
        self._news: list[Any] = []
        # Filled and emptied without a lock: at either end.
        self._outcomes: deque[tuple[int, CellOutcome]] = deque()
        self._last = 0.0
        self._waiting = threading.Event()
        self._runner: RunCell | None = None

    def start(self, runner: RunCell) -> None:
        """Begin to flush by the clock too: the last outcome must not wait for a long cell."""
        self._runner = runner
        threading.Thread(target=self._flush_by_the_clock, name="crystallize-messages", daemon=True).start()

    def tell(self, *news: Any) -> None:
        """Say something; consecutive text of one stream becomes one piece."""
        with self._lock:
            last = self._news[-1] if self._news else None
            if last is not None and news[0] == "text" == last[0] and news[1] == last[1]:
                self._news[-1] = ("text", last[1], last[2] + news[2])
            else:
                self._news.append(news)
            self._due()

    def add(self, index: int, outcome: CellOutcome) -> None:
        """Hand in the outcome of a cell."""
        self._outcomes.append((index, outcome))
        self._due()

    def disconnect(self) -> None:
        """Say nothing more: this is a process that a step has forked, and the line belongs to the worker."""
        if self._link is not None:
            self._link.close()
        self._link = None
        self._lock = threading.RLock()
        self._news = []
        self._outcomes.clear()

    def _due(self) -> None:
        if time.perf_counter() - self._last >= FLUSH_AFTER:
            self.flush()
        elif not self._waiting.is_set():
            self._waiting.set()

    def flush(self) -> None:
        """Send what has gathered."""
        with self._lock:
            self._waiting.clear()
            rows = []
            while self._outcomes:
                index, outcome = self._outcomes.popleft()
                if is_plain(outcome):
                    rows.append(
                        (
                            index, outcome.metrics, outcome.seed, outcome.provenance, outcome.duration,
                            outcome.started, outcome.host,
                        )
                    )  # fmt: skip
                else:
                    self._news.append(("outcome", index, self.pickled(outcome)))
            if rows:
                self._news.append(("outcomes", rows))
            if self._news:
                message = pickle.dumps(self._news, 5)
                self._news = []
                if self._link is not None:
                    self._link.send_bytes(message)
            self._last = time.perf_counter()

    def pickled(self, outcome: CellOutcome) -> bytes:
        """Return an outcome with objects of the user's; that of a failure where they cannot be pickled."""
        try:
            return dumps(outcome)
        except Exception as exc:
            reason = SerializationError(_why_it_cannot_travel(outcome, exc))
            if self._runner is None:
                raise reason from exc
            failed = self._runner.failed(outcome.cell, reason, worker=outcome.worker)
            failed.seed, failed.duration = outcome.seed, outcome.duration
            return pickle.dumps(failed, 5)

    def _flush_by_the_clock(self) -> None:
        while True:
            self._waiting.wait()
            time.sleep(FLUSH_AFTER)
            # The coordinator may be gone: the worker's main thread finds out for itself.
            with contextlib.suppress(OSError), self._lock:
                if self._waiting.is_set():
                    self.flush()


def is_plain(outcome: CellOutcome) -> bool:
    """Whether an outcome is as most are: of metrics that can surely be pickled and rebuilt, and nothing else."""
    if outcome.error is not None or outcome.artifacts or outcome.events or outcome.plugin_failures:
        return False
    if outcome.tags or outcome.attempts:
        return False
    return all(
        type(name) is str and all(type(value) in _PLAIN or _is_of_numpy(value) for value in values)
        for name, values in outcome.metrics.items()
    )


def _is_of_numpy(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value).__module__ != "numpy" or not isinstance(value, (numpy.generic, numpy.ndarray)):
        return False
    return not value.dtype.hasobject


def rebuilt(row: tuple[Any, ...], cells: Sequence[Cell], worker: str) -> tuple[int, CellOutcome]:
    """Return the index of a cell and its outcome, as a worker sent them.

    Parameters
    ----------
    row : tuple
        Index, metrics, seed, provenance, duration, start, host.
    cells : sequence of Cell
        Those of the run.
    worker : str
        Whose it is.
    """
    index, metrics, seed, provenance, duration, started, host = row
    return index, CellOutcome(
        cells[index], metrics, seed, None, (), provenance, duration, worker, started=started, host=host
    )


def _why_it_cannot_travel(outcome: CellOutcome, exc: BaseException) -> str:
    """Name the metric, or whatever else it is, that cannot be pickled."""
    for name, values in outcome.metrics.items():
        for value in values:
            try:
                dumps(value)
            except Exception as reason:  # noqa: BLE001 - user code
                return (
                    f"metric {name!r} cannot leave the worker process: a {type(value).__name__} cannot be pickled "
                    f"({type(reason).__name__}: {reason}); record numbers, text or arrays instead"
                )
    return f"the cell's outcome cannot leave the worker process ({type(exc).__name__}: {exc})"
