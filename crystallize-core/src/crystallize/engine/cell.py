"""`CellRunner`: what an executor gets to run cells with, in whatever worker it likes."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from crystallize.engine.bridge import EventLoop, run_without_loop
from crystallize.engine.failure import execution_error, free_frames, is_cancellation
from crystallize.engine.program import steps_are_async
from crystallize.engine.worker import Worker
from crystallize.hooks.roles import WorkerReport
from crystallize.results.outcome import CellOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from crystallize.design import Treatment
    from crystallize.engine.job import Job
    from crystallize.engine.policy import Policies
    from crystallize.engine.timing import Watched
    from crystallize.results.outcome import Attempt, Cell, Event

__all__ = ["CellRunner", "SerialLoop", "runner_for"]


_TURN = 0.005
"""Seconds for which cells may keep an event loop that others use too."""


class CellRunner:
    """Runs cells; the ``run_cell`` of ``run_experiment_loop``.

    It is thread-safe, and pickles into a runner that starts afresh in another process, at its first
    cell there. A failing cell is an outcome with an error, never an exception.

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
        self.policies: Policies | None = job.policies
        """What was declared for cells that fail or take too long."""
        self._worker: Worker | None = None
        self._lock = threading.Lock()
        self._mine = threading.local()
        self._hosts: list[EventLoop] = []
        self._foreign = WorkerReport()
        self.needs_loop: bool = steps_are_async(job.view.pipeline) or getattr(job.view.datasource, "is_async", False)
        """Whether cells wait for something, so that several can overlap in one thread."""

    def __call__(self, cell: Cell, emit: Callable[[Event], object] | None = None) -> CellOutcome:
        """Run one cell in the calling thread.

        Parameters
        ----------
        cell : Cell
        emit : callable of Event, optional
            Gets what steps send with ``ctx.emit``, at once. By default the ``on_event`` hooks get it; in
            another process, where they are not, events come with the outcome.

        Returns
        -------
        CellOutcome
        """
        worker = self._worker or self._started()
        emit = emit or self._sink
        host: EventLoop = getattr(self._mine, "host", None) or self._new_host()
        if not self.needs_loop:
            outcome = run_without_loop(worker.run(cell, emit, host))
            return outcome if outcome.error is None else self._let_go(outcome)
        try:
            return self._let_go(host.run(worker.run(cell, emit, None)))
        except BaseException as exc:
            # Python 3.10 cannot tell in the worker that nobody else cancels what runs on this loop.
            if not is_cancellation(exc):
                raise
            return self.failed(cell, exc)

    async def aio(self, cell: Cell, emit: Callable[[Event], object] | None = None) -> CellOutcome:
        """Run one cell in the running event loop; see `__call__`."""
        worker = self._worker or self._started()
        return self._let_go(await worker.run(cell, emit or self._sink, None))

    def attempt(
        self, cell: Cell, emit: Callable[[Event], object] | None = None, earlier: Sequence[Attempt] = ()
    ) -> tuple[CellOutcome, float | None]:
        """Run a cell once; see `RunCell.attempt`."""
        del earlier
        return CellRunner.__call__(self, cell, emit), None

    def _let_go(self, outcome: CellOutcome) -> CellOutcome:
        error = outcome.error
        # Whoever debugs or applies gets the exception itself, with its frames.
        if error is not None and error.original_exception is not None and not self._job.keeps_payload:
            free_frames(error.original_exception)
        return outcome

    def emit(self, event: Event) -> bool:
        """Hand an event to the ``on_event`` hooks; for executors that carry events between processes.

        Only in the coordinating process: elsewhere there is nobody to hand it to, and it is dropped.

        Returns
        -------
        bool
            Whether the cell is asked to stop: what the worker's `emit` has then to return to the cell.
        """
        return self._sink is not None and self._sink(event) is True

    def failed(self, cell: Cell, exc: BaseException, *, worker: str = "main", step: str = "worker") -> CellOutcome:
        """Give the outcome of a cell that could not be run to its end, such as one whose worker died.

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
        """Tell plugins that an attempt failed and is followed by another; for executors, in the coordinating process.

        Parameters
        ----------
        cell : Cell
        attempt : Attempt
            The one that failed.
        delay : float
            Seconds until the next one.
        """
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
        """Close what the calling thread opened; for executors, at the end of each of their threads."""
        host: EventLoop | None = getattr(self._mine, "host", None)
        if self._worker is not None:
            if host is not None:
                host.call_in_helper(self._worker.close_thread)
            self._worker.close_thread()
        if host is not None:
            self._mine.host = None
            with self._lock:
                # A run that was interrupted may have ended meanwhile, and closed what it found.
                still_open = host in self._hosts
                if still_open:
                    self._hosts.remove(host)
            if still_open:
                host.close()

    def watch(self, watched: Watched) -> None:
        """Say who ends this process when a time-out has passed; for executors, in each process before its first cell.

        Parameters
        ----------
        watched : callable
            Gets to know until when this process has to be left alone; nothing is said where nothing has a time-out.
        """

    def give_up(self) -> None:
        """Have no thread wait for its cell's next attempt any more; for executors, when a run is stopped."""

    def stop(self) -> WorkerReport:
        """End this process' part of the run: ``teardown``, ``worker_stop``, closing of resources.

        Returns
        -------
        WorkerReport
            What went wrong; an executor passes the report of another process to `absorb`.
        """
        if self._worker is not None:
            self.absorb(self._worker.stop(self._hosts))
        self._worker = None
        while self._hosts:
            self._hosts.pop().close()
        self._mine = threading.local()
        report, self._foreign = self._foreign, WorkerReport()
        return report

    def absorb(self, report: WorkerReport) -> None:
        """Take in what another process reported at its end."""
        with self._lock:
            self._foreign.absorb(report)

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

    def _started(self) -> Worker:
        with self._lock:
            if self._worker is None:
                worker = self._new_worker()
                try:
                    worker.start()
                except BaseException:
                    # Ctrl-C in the middle: what was set up already is torn down.
                    self._foreign.absorb(worker.stop())
                    raise
                self._worker = worker
            return self._worker

    def _new_worker(self) -> Worker:
        return Worker(self._job)

    def _new_host(self) -> EventLoop:
        host = self._mine.host = EventLoop()
        with self._lock:
            self._hosts.append(host)
        return host

    def __getstate__(self) -> dict[str, Any]:
        return {"job": self._job}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["job"])  # type: ignore[misc]


def runner_for(job: Job, emit: Callable[[Event], object] | None, progress: Callable[..., None]) -> CellRunner:
    """Give what runs the cells of a job.

    Parameters
    ----------
    job : Job
    emit : callable of Event or None
        Gets what steps send.
    progress : callable
        Gets the engine's own events.
    """
    if job.policies is None:
        return CellRunner(job, emit, progress)
    from crystallize.engine.attempts import PatientRunner

    return PatientRunner(job, emit, progress)


class SerialLoop:
    """One cell after the other: in plain code, or in an event loop that runs already."""

    def __init__(
        self,
        cells: Sequence[Cell],
        run_cell: CellRunner,
        emit: Callable[[Event], object] | None = None,
    ) -> None:
        self._cells = cells
        self._run_cell = run_cell
        self._emit = emit

    def __iter__(self) -> Iterator[CellOutcome]:
        run_cell, emit = self._run_cell, self._emit
        for cell in self._cells:
            yield run_cell(cell, emit)

    async def __aiter__(self) -> AsyncIterator[CellOutcome]:
        import asyncio

        since = time.perf_counter()
        for cell in self._cells:
            yield await self._run_cell.aio(cell, self._emit)
            if time.perf_counter() - since > _TURN:
                await asyncio.sleep(0)  # cells that never wait would keep the loop to themselves
                since = time.perf_counter()
