"""`PatientRunner`: runs cells of which something was declared, trying again what failed."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from crystallize.engine.cell import CellRunner
from crystallize.engine.policy import attempt_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crystallize.engine.job import Job
    from crystallize.engine.policy import Policies
    from crystallize.engine.timing import Watched
    from crystallize.engine.worker import Worker
    from crystallize.results.outcome import Attempt, Cell, CellOutcome, Event, PluginFailure

__all__ = ["Abandoned", "History", "PatientRunner"]

_LOGGER = logging.getLogger("crystallize")


class Abandoned(BaseException):
    """Raised in a thread whose cell waited for its next attempt when the run was stopped."""


class PatientRunner(CellRunner):
    """Runs cells as their policies say: several times where need be, each time from the beginning, with one seed.

    An attempt that is followed by another leaves its record, and what went wrong in plugins; its metrics, artifacts
    and events are gone.

    Parameters
    ----------
    job : Job
        One with policies.
    emit : callable of Event, optional
    progress : callable, optional
        Gets the engine's own events; in the coordinating process.
    """

    def __init__(
        self, job: Job, emit: Callable[[Event], object] | None = None, progress: Callable[..., None] | None = None
    ) -> None:
        super().__init__(job, emit, progress)
        if job.policies is None:
            raise ValueError("the job has no policies")
        self._policies: Policies = job.policies
        self._watched: Watched | None = None
        self._over = threading.Event()

    def __call__(self, cell: Cell, emit: Callable[[Event], object] | None = None) -> CellOutcome:
        """Run one cell in the calling thread, again and again if need be; see `CellRunner`."""
        history = History()
        while True:
            outcome, delay = self.attempt(cell, emit, history.attempts)
            if delay is None:
                return history.completed(outcome)
            self.retried(cell, history.add(outcome), delay)
            self._wait(delay)

    async def aio(self, cell: Cell, emit: Callable[[Event], object] | None = None) -> CellOutcome:
        """Run one cell in the running event loop; see `__call__`."""
        import asyncio

        history = History()
        while True:
            outcome = await super().aio(cell, emit)
            delay = self._delay_after(outcome, history.attempts)
            if delay is None:
                return history.completed(outcome)
            self.retried(cell, history.add(outcome), delay)
            await asyncio.sleep(delay)

    def attempt(
        self, cell: Cell, emit: Callable[[Event], object] | None = None, earlier: Sequence[Attempt] = ()
    ) -> tuple[CellOutcome, float | None]:
        """Run one attempt at a cell; for executors that see to the next one themselves.

        Parameters
        ----------
        cell : Cell
        emit : callable of Event, optional
        earlier : sequence of Attempt
            Those that failed before.

        Returns
        -------
        CellOutcome
            Without the earlier attempts.
        float or None
            Seconds after which the cell is to be tried again; None where the outcome stands.
        """
        outcome = super().__call__(cell, emit)
        return outcome, self._delay_after(outcome, earlier)

    def retried(self, cell: Cell, attempt: Attempt, delay: float = 0.0) -> None:
        """Tell of an attempt that failed and is followed by another; see `CellRunner.retried`."""
        _LOGGER.warning(
            "attempt %d at condition %r, replicate %d failed in %s: %s: %s; trying again%s",
            attempt.number, cell.condition, cell.replicate, attempt.step, attempt.error_type, attempt.error,
            f" in {delay:g} s" if delay else "",
        )  # fmt: skip
        super().retried(cell, attempt, delay)

    def watch(self, watched: Watched) -> None:
        """Say who ends this process when a time-out has passed; see `CellRunner.watch`."""
        self._watched = watched

    def give_up(self) -> None:
        """Have no thread wait for its cell's next attempt any more."""
        self._over.set()

    def stop(self) -> Any:
        """End this process' part of the run; see `CellRunner.stop`."""
        self.give_up()
        return super().stop()

    def _new_worker(self) -> Worker:
        policies = self._policies
        if not policies.limits_time:
            return super()._new_worker()
        if policies.plain and self._watched is None:
            raise policies.unkept()
        from crystallize.engine.timing import TimedWorker

        return TimedWorker(self._job, policies, self._watched)

    def _delay_after(self, outcome: CellOutcome, earlier: Sequence[Attempt]) -> float | None:
        error = outcome.error
        if error is None or error.stops_run or error.original_exception is None:
            return None
        if self._worker is not None and self._worker.cannot_work:
            return None
        return self._policies.delay_after(error.original_exception, error.step_name, earlier)

    def _wait(self, delay: float) -> None:
        if threading.current_thread() is threading.main_thread():
            time.sleep(delay)  # Ctrl-C ends it on every system
        elif self._over.wait(delay):
            raise Abandoned


class History:
    """The attempts at one cell that failed."""

    __slots__ = ("attempts", "failures")

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.failures: list[PluginFailure] = []

    def add(self, outcome: CellOutcome) -> Attempt:
        """Take down an attempt that is followed by another."""
        attempt = attempt_of(outcome, self.attempts)
        self.note(attempt, outcome.plugin_failures)
        return attempt

    def note(self, attempt: Attempt, failures: Sequence[PluginFailure] = ()) -> None:
        """Take down the record of an attempt."""
        self.attempts.append(attempt)
        self.failures.extend(failures)

    def completed(self, outcome: CellOutcome) -> CellOutcome:
        """Add what is known of the earlier attempts to the outcome of the last one."""
        if self.attempts:
            outcome.attempts = tuple(self.attempts)
            if self.failures:
                outcome.plugin_failures = [*self.failures, *outcome.plugin_failures]
        return outcome
