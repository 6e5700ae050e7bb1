"""What a worker tells the coordinator: gathered for a few milliseconds, then sent in one message."""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from crystallize.errors import SerializationError
from crystallize_plugins.execution.processes.pickling import dumps
from crystallize_plugins.execution.processes.wire import encode

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from crystallize.engine.runner import CellRunner
    from crystallize.results.outcome import CellOutcome

__all__ = ["Outbox", "why_it_cannot_travel"]

FLUSH_AFTER = 0.005
"""Seconds for which news may wait for more."""


class Outbox:
    """One worker's end of the line.

    Messages are pickled lists of tuples whose first item says what they are: ``("ready",)``,
    ``("unfit", …)``, ``("outcomes", batch, pickle)``, ``("outcome", index, pickle)``,
    ``("retry", index, attempt, delay, plugin_failures)``, ``("text", stream, text)``,
    ``("log", fields)``, ``("warning", …)``, ``("event", pickle)``, ``("interrupted", where)``,
    ``("report", pickle, modules)``.
    """

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._lock = threading.RLock()
        self._news: list[Any] = []
        # Filled and emptied without a lock: at either end.
        self._outcomes: deque[tuple[int, CellOutcome]] = deque()
        self._sent: dict[int, list[tuple[int, CellOutcome]]] = {}
        self._batch = 0
        self._last = 0.0
        self._waiting = threading.Event()
        self._runner: CellRunner | None = None

    def start(self, runner: CellRunner) -> None:
        """Begin to flush by the clock too: the last outcome must not wait for a long cell."""
        self._runner = runner
        threading.Thread(target=self._flush_by_the_clock, name="crystallize-outbox", daemon=True).start()

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

    def _due(self) -> None:
        if time.perf_counter() - self._last >= FLUSH_AFTER:
            self.flush()
        elif not self._waiting.is_set():
            self._waiting.set()

    def flush(self) -> None:
        """Send what has gathered."""
        with self._lock:
            self._waiting.clear()
            if self._outcomes:
                self._news.extend(self._encoded([self._outcomes.popleft() for _ in range(len(self._outcomes))]))
            if self._news:
                message = pickle.dumps(self._news, 5)
                self._news = []
                self._link.send_bytes(message)
            self._last = time.perf_counter()

    def confirmed(self, batch: int) -> None:
        """Forget outcomes up to a batch that the coordinator could read."""
        for number in [number for number in self._sent if number <= batch]:
            del self._sent[number]

    def send_again(self, batch: int) -> None:
        """Send the outcomes of a batch one by one: together they could not be read."""
        with self._lock:
            self.flush()
            self._news.extend(self._one_by_one(self._sent.pop(batch, [])))
            self.flush()

    def _encoded(self, outcomes: list[tuple[int, CellOutcome]]) -> list[Any]:
        try:
            encoded = encode(outcomes)
        except Exception:  # noqa: BLE001 - whatever user objects raise: one by one tells which it is
            return self._one_by_one(outcomes)
        self._batch += 1
        self._sent[self._batch] = outcomes
        return [("outcomes", self._batch, encoded)]

    def _one_by_one(self, outcomes: list[tuple[int, CellOutcome]]) -> list[Any]:
        return [("outcome", index, self._alone(outcome)) for index, outcome in outcomes]

    def _alone(self, outcome: CellOutcome) -> bytes:
        try:
            return dumps(outcome)
        except Exception as exc:
            reason = SerializationError(why_it_cannot_travel(outcome, exc))
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


def why_it_cannot_travel(outcome: CellOutcome, exc: BaseException) -> str:
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
