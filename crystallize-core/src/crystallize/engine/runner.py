"""`CellRunner`: what an executor gets to run cells with, in whatever worker it likes, trying again what failed."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from crystallize.engine.bridge import EventLoop, run_without_loop
from crystallize.engine.cell import Worker
from crystallize.engine.failure import execution_error, free_frames, is_cancellation
from crystallize.engine.identity import cell_identities
from crystallize.engine.limits import TimeLimits
from crystallize.engine.policies import History
from crystallize.engine.program import steps_are_async
from crystallize.hooks.roles import WorkerReport
from crystallize.plugins.lock import VersionCheck
from crystallize.results.outcome import CellOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from crystallize.design import Treatment
    from crystallize.engine.cell import Job
    from crystallize.engine.policies import Policies
    from crystallize.hooks import ExperimentView
    from crystallize.hooks.roles import DeadlineListener, RunCell
    from crystallize.results.outcome import Attempt, Cell, Event

__all__ = ["CellRunner", "RunStopped", "SerialLoop"]

_LOGGER = logging.getLogger("crystallize")

_TURN = 0.005
"""Seconds for which cells may keep an event loop that others use too."""


class RunStopped(BaseException):
    """Raised in a thread whose cell waited for its next attempt when the run was stopped."""


class CellRunner:
    """Runs cells; the ``run_cell`` of ``run_experiment_loop``.

    It is thread-safe, and pickles into a runner that starts afresh in another process, at its first
    cell there. A failing cell is an outcome with an error, never an exception. It consults the run's policies: a cell
    that failed may be run again from the beginning, with the same seed. An attempt that is followed by another leaves
    its record, and what went wrong in plugins; its metrics, artifacts and events are gone.

    Parameters
    ----------
    job : Job
    emit : callable of Event, optional
        Gets what steps send.
    progress : callable, optional
        Gets the engine's own events; in the coordinating process.

    Examples
    --------
    A loop of one's own, in a plugin::

        def run_experiment_loop(self, experiment, cells, run_cell):
            for cell in cells:
                yield run_cell(cell)
    """

    def __init__(
        self, job: Job, emit: Callable[[Event], object] | None = None, progress: Callable[..., None] | None = None
    ) -> None:
        self._job = job
        self._sink = emit
        self._progress = progress
        self.hears_cells = False
        """Whether somebody wants what cells send."""
        self.policies: Policies | None = job.policies
        """What was declared for cells that fail or take too long."""
        self._listener: DeadlineListener | None = None
        self._given_up = threading.Event()
        self._worker: Worker | None = None
        self._lock = threading.Lock()
        self._mine = threading.local()
        self._threads: set[int] = set()
        self._loops: list[EventLoop] = []
        self._foreign = WorkerReport()
        self.needs_loop: bool = steps_are_async(job.view.pipeline) or getattr(job.view.datasource, "is_async", False)
        """Whether cells wait for something, so that several can overlap in one thread."""

    def __call__(self, cell: Cell, emit: Callable[[Event], object] | None = None) -> CellOutcome:
        """See `RunCell.__call__`."""
        outcome = self._run(cell, emit)
        if outcome.error is None or self.policies is None:
            return outcome
        history = History()
        while (delay := self._delay_after(outcome, history.attempts)) is not None:
            self.retried(cell, history.add(outcome), delay)
            self._wait(delay)
            outcome = self._run(cell, emit)
        return history.completed(outcome)

    async def aio(self, cell: Cell, emit: Callable[[Event], object] | None = None) -> CellOutcome:
        """Run one cell in the running event loop; see `__call__`."""
        outcome = await self._arun(cell, emit)
        if outcome.error is None or self.policies is None:
            return outcome
        import asyncio

        history = History()
        while (delay := self._delay_after(outcome, history.attempts)) is not None:
            self.retried(cell, history.add(outcome), delay)
            await asyncio.sleep(delay)
            outcome = await self._arun(cell, emit)
        return history.completed(outcome)

    def attempt(
        self, cell: Cell, emit: Callable[[Event], object] | None = None, earlier: Sequence[Attempt] = ()
    ) -> tuple[CellOutcome, float | None]:
        """See `RunCell.attempt`."""
        outcome = self._run(cell, emit)
        return outcome, None if outcome.error is None else self._delay_after(outcome, earlier)

    def _run(self, cell: Cell, emit: Callable[[Event], object] | None) -> CellOutcome:
        worker = self._worker or self._started()
        if self._job.view.strict:
            self._threads.add(threading.get_ident())
        emit = emit or self._sink
        loop: EventLoop = getattr(self._mine, "loop", None) or self._new_loop()
        if not self.needs_loop:
            outcome = run_without_loop(worker.run(cell, emit, loop))
            return outcome if outcome.error is None else self._let_go(outcome)
        try:
            return self._let_go(loop.run(worker.run(cell, emit, None)))
        except BaseException as exc:
            # Python 3.10 cannot tell in the worker that nobody else cancels what runs on this loop.
            if not is_cancellation(exc):
                raise
            return self.failed(cell, exc)

    async def _arun(self, cell: Cell, emit: Callable[[Event], object] | None) -> CellOutcome:
        worker = self._worker or self._started()
        return self._let_go(await worker.run(cell, emit or self._sink, None))

    def _let_go(self, outcome: CellOutcome) -> CellOutcome:
        error = outcome.error
        # Whoever debugs or applies gets the exception itself, with its frames.
        if error is not None and error.original_exception is not None and not self._job.keeps_payload:
            free_frames(error.original_exception)
        return outcome

    def _delay_after(self, outcome: CellOutcome, earlier: Sequence[Attempt]) -> float | None:
        error = outcome.error
        if self.policies is None or error is None or error.stops_run or error.original_exception is None:
            return None
        if self._worker is not None and self._worker.cannot_work:
            return None
        return self.policies.delay_after(error.original_exception, error.step_name, earlier)

    def _wait(self, delay: float) -> None:
        if threading.current_thread() is threading.main_thread():
            time.sleep(delay)  # Ctrl-C ends it on every system
        elif self._given_up.wait(delay):
            raise RunStopped

    def emit(self, event: Event) -> bool:
        """See `RunCell.emit`."""
        return self._sink is not None and self._sink(event) is True

    def failed(self, cell: Cell, exc: BaseException, *, worker: str = "main", step: str = "worker") -> CellOutcome:
        """Return the outcome of a cell that could not be run to its end, such as one whose worker died.

        Parameters
        ----------
        cell : Cell
        exc : BaseException
            Why.
        worker : str
            Who was to run it.
        step : str
            What it was at, where that is known.
        """
        return CellOutcome(cell, {}, error=execution_error(exc, step=step, cell=cell), worker=worker)

    def retried(self, cell: Cell, attempt: Attempt, delay: float = 0.0) -> None:
        """See `RunCell.retried`."""
        if self.policies is not None:
            _LOGGER.warning(
                "attempt %d at condition %r, replicate %d failed in %s: %s: %s; trying again%s",
                attempt.number, cell.condition, cell.replicate, attempt.step, attempt.error_type, attempt.error,
                f" in {delay:g} s" if delay else "",
            )  # fmt: skip
        if self._progress is not None:
            self._progress(
                "cell_retried",
                cell=cell,
                attempt=attempt.number,
                step=attempt.step,
                error_type=attempt.error_type,
                error=attempt.error,
                delay=delay,
            )

    def close_worker(self) -> None:
        """See `RunCell.close_worker`."""
        loop: EventLoop | None = getattr(self._mine, "loop", None)
        if self._worker is not None:
            if loop is not None:
                loop.call_in_helper(self._worker.close_thread)
            self._worker.close_thread()
        if loop is not None:
            self._mine.loop = None
            with self._lock:
                # A run that was interrupted may have ended meanwhile, and closed what it found.
                still_open = loop in self._loops
                if still_open:
                    self._loops.remove(loop)
            if still_open:
                loop.close()

    def watch(self, listener: DeadlineListener) -> None:
        """See `RunCell.watch`."""
        self._listener = listener

    def give_up(self) -> None:
        """See `RunCell.give_up`."""
        self._given_up.set()

    def stop(self) -> WorkerReport:
        """See `RunCell.stop`."""
        self.give_up()
        if self._worker is not None:
            self.absorb(self._worker.stop(self._loops))
        self._worker = None
        while self._loops:
            self._loops.pop().close()
        self._mine = threading.local()
        report, self._foreign = self._foreign, WorkerReport()
        return report

    def absorb(self, report: WorkerReport) -> None:
        """Take in what another process reported at its end."""
        with self._lock:
            self._foreign.absorb(report)

    def in_one_thread(self) -> bool:
        """Return whether no other thread of this process than the calling one has run cells."""
        return self._threads <= {threading.get_ident()}

    def keep_logs(self) -> None:
        """Have what failed cells printed come with their errors; before the first cell."""
        self._job.keeps_logs = True

    def admit(self, treatments: Sequence[Treatment]) -> None:
        """Add conditions to a run that is under way; copies in other processes do not learn of it."""
        self._job.treatments.update((treatment.name, treatment) for treatment in treatments)

    def dismiss(self, conditions: Sequence[str]) -> None:
        """Forget conditions of a run that is under way: all of their cells have run."""
        for condition in conditions:
            self._job.treatments.pop(condition, None)
            self._job.programs.pop(condition, None)

    def listen(self, sink: Callable[[Event], object]) -> None:
        """Say who gets events; one that returns True asks the cell that reports to stop."""
        self._sink = sink
        self.hears_cells = True

    @property
    def experiment(self) -> ExperimentView:
        """See `RunCell.experiment`."""
        return self._job.handed()

    def elsewhere(self) -> CellRunner:
        """See `RunCell.elsewhere`."""
        copy = CellRunner(self._job.elsewhere())
        copy.hears_cells = self.hears_cells
        return copy

    def _started(self) -> Worker:
        with self._lock:
            if self._worker is None:
                worker = Worker(self._job, self._time_limits())
                try:
                    worker.start()
                except BaseException:
                    # Ctrl-C in the middle: what was set up already is torn down.
                    self._foreign.absorb(worker.stop())
                    raise
                self._worker = worker
            return self._worker

    def _time_limits(self) -> TimeLimits | None:
        policies = self.policies
        if policies is None or not policies.limits_time:
            return None
        if policies.plain and self._listener is None:
            raise policies.unkept()
        return TimeLimits(policies, self._listener)

    def _new_loop(self) -> EventLoop:
        loop = self._mine.loop = EventLoop()
        with self._lock:
            self._loops.append(loop)
        return loop

    def __getstate__(self) -> dict[str, Any]:
        # The first thing that a worker unpickles: with another version of a plugin the rest might not even load.
        return {
            "versions": VersionCheck.of(self._job.active.infos),
            "job": self._job,
            "hears_cells": self.hears_cells,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        job: Job = state["job"]
        self.__init__(job)  # type: ignore[misc]
        self.hears_cells = state["hears_cells"]
        if job.off_host:
            # Of the code that is here, which may be another.
            job.view.identities = partial(cell_identities, job.view, job.active)


class SerialLoop:
    """One cell after the other: in plain code, or in an event loop that runs already.

    Parameters
    ----------
    cells : sequence of Cell
    run_cell : RunCell
    """

    def __init__(self, cells: Sequence[Cell], run_cell: RunCell) -> None:
        self._cells = cells
        self._run_cell = run_cell

    def __iter__(self) -> Iterator[CellOutcome]:
        return map(self._run_cell, self._cells)

    async def __aiter__(self) -> AsyncIterator[CellOutcome]:
        import asyncio

        since = time.perf_counter()
        for cell in self._cells:
            yield await self._run_cell.aio(cell)
            if time.perf_counter() - since > _TURN:
                await asyncio.sleep(0)  # cells that never wait would keep the loop to themselves
                since = time.perf_counter()
