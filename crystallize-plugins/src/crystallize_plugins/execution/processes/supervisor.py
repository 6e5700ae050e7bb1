"""`Supervisor`: the coordinator's part. It hands out cells, takes in outcomes, and loses nothing when a worker dies."""

from __future__ import annotations

import contextlib
import logging
import pickle
import time
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Protocol

from crystallize.errors import SerializationError, WorkerStartError
from crystallize.hooks import STOPS, InterruptGuard, WorkerReport, ctrl_c_interrupts
from crystallize_plugins.execution.processes.cell_queue import CellQueue, Retries
from crystallize_plugins.execution.processes.deadlines import DeadlineThread
from crystallize_plugins.execution.processes.diagnostics import cannot_load, cannot_travel, crash_error, exit_status
from crystallize_plugins.execution.processes.environment import current_environment
from crystallize_plugins.execution.processes.messages import rebuilt
from crystallize_plugins.execution.processes.output import OutputReceiver
from crystallize_plugins.execution.processes.payload import pack
from crystallize_plugins.execution.processes.shared_memory import Segment, WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from crystallize.hooks import Attempt, Cell, CellOutcome, ExperimentView, PluginFailure, RunCell
    from crystallize_plugins.execution.processes.shared_memory import Overdue
    from crystallize_plugins.execution.processes.worker_pool import WorkerHandle, WorkerStarter

__all__ = ["CellFeed", "Supervisor"]

_LOGGER = logging.getLogger("crystallize")
_LOOK_EVERY = 0.2
"""Seconds after which the workers' lives are checked though nothing was heard."""
_TO_FINISH = 0.25
"""Seconds that workers have for what they are at when a run is interrupted."""
_TO_DIE = 1.0
"""Seconds after its deadline for which a worker that was killed is waited for; then it is left behind."""
_MOST_SUCCESSORS = 3


class CellFeed(Protocol):
    """Where a supervisor gets more cells from while it runs."""

    @property
    def is_open(self) -> bool:
        """Whether more may come."""
        ...

    def waited_on(self) -> list[Any]:
        """Return what to wait on to hear of more."""
        ...

    def receive(self) -> Sequence[Cell]:
        """Return the cells that have come since; it never waits."""
        ...


class Supervisor:
    """Runs cells in worker processes; iterate over it for the outcomes that have arrived since the last look.

    Parameters
    ----------
    experiment : ExperimentView
    cells : sequence of Cell
    runner : RunCell
    workers : int
        How many processes at most.
    starter : WorkerStarter
        Starts them.
    library_threads : int
        How many threads BLAS and OpenMP may use in each.
    give_back : callable of WorkerStarter
        Gets the starter when all ended well; otherwise it is closed.
    feed : CellFeed, optional
        Where more cells come from; without one, `cells` are all there are.
    """

    def __init__(
        self,
        experiment: ExperimentView,
        cells: Sequence[Cell],
        runner: RunCell,
        *,
        workers: int,
        starter: WorkerStarter,
        library_threads: int,
        give_back: Callable[[WorkerStarter], None],
        feed: CellFeed | None = None,
    ) -> None:
        self._experiment = experiment
        self._given = cells
        self._cells = cells if feed is None else list(cells)
        self._feed = feed
        self._runner = runner
        self._size = min(workers, len(cells)) if feed is None else workers
        self._starter = starter
        self._library_threads = library_threads
        self._give_back = give_back
        self._queue = CellQueue([cell.condition for cell in cells])
        self._workers: dict[int, WorkerHandle] = {}
        self._tried: set[int] = set()
        self._deaths_without_cell = 0
        self._closing = False
        self._interrupted = ""
        self._successors = 0
        self._ready: list[CellOutcome] = []
        self._output = OutputReceiver(runner)
        self._retries = Retries(runner, self._queue)
        self._deadlines: DeadlineThread | None = None

    # -- the loop ---------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[list[CellOutcome]]:
        """Run every cell; a run that is interrupted may get the last ones twice."""
        sound = False
        self._payload = self._memory = None
        try:
            self._payload = self._packed()
            self._memory = Segment.create(WorkerStatus.size_for(self._size))
            for number in range(self._size):
                self._start_worker(number)
            if self._retries.limits_time:
                self._deadlines = DeadlineThread(lambda: list(self._workers.values()))
            try:
                yield from self._arriving()
            except STOPS:
                self._stop_early()
                yield self._ready
                raise
            self._finish_workers()
            self._check_interrupted()
            sound = True
        finally:
            self._end(sound)

    def _arriving(self) -> Iterator[list[CellOutcome]]:
        # Apart: Python may raise KeyboardInterrupt where a loop goes back to its beginning, and there no `try` of the
        # same function catches it.
        while self._queue.unfinished or (self._feed is not None and self._feed.is_open):
            self._listen(self._queue.seconds_to_wait(_LOOK_EVERY))
            yield self._ready
            # Not before: an interrupt in between must not lose them.
            self._ready = []
            self._check_interrupted()

    def _check_interrupted(self) -> None:
        if self._interrupted:
            raise KeyboardInterrupt(self._interrupted)

    def _listen(self, timeout: float) -> None:
        workers = list(self._workers.values())
        feed = [] if self._feed is None or self._closing else self._feed.waited_on()
        heard = wait([*(worker.link for worker in workers), *self._starter.waited_on(), *feed], timeout)
        with InterruptGuard(hold=True):
            self._starter.receive()
            for worker in workers:
                if worker.link in heard or worker.ended():
                    self._read(worker)
                elif worker.survives(_TO_DIE):
                    self._replace_dead(worker)
                elif not heard:
                    self._read(worker)
            if self._feed is not None and not self._closing:
                self._take_in(self._feed.receive())
            for worker in self._workers.values():
                self._assign(worker)

    def _take_in(self, cells: Sequence[Cell]) -> None:
        self._cells.extend(cells)  # type: ignore[attr-defined]  # with a feed it is a list
        self._queue.add([cell.condition for cell in cells])

    def ask_to_stop(self, cells: Collection[Cell]) -> None:
        """Have cells that run now learn, with their next event, that they are to stop."""
        for worker in self._workers.values():
            index = worker.status.cell
            if index >= 0 and self._cells[index] in cells:
                worker.status.ask_to_stop()

    def _read(self, worker: WorkerHandle) -> None:
        for _ in range(64):  # others want to be heard too
            if worker.gone:
                return
            try:
                if not worker.link.poll():
                    if worker.ended() and not worker.link.poll():
                        self._replace_dead(worker)
                    return
                message = worker.link.recv_bytes()
            except (EOFError, OSError):
                self._replace_dead(worker)
                return
            for news in pickle.loads(message):
                self._take(worker, *news)

    def _take(self, worker: WorkerHandle, kind: str, *rest: Any) -> None:
        if kind == "outcomes":
            for row in rest[0]:
                self._finished(worker, *rebuilt(row, self._cells, worker.name))
        elif kind == "outcome":
            self._take_outcome(worker, *rest)
        elif kind == "retry":
            self._take_retry(worker, *rest)
        elif kind == "event":
            self._take_event(worker, *rest)
        elif self._output.take(kind, *rest):
            worker.note_output(kind, rest)
        elif kind == "ready":
            worker.ready = True
        elif kind == "interrupted":
            self._interrupted = rest[0]
        elif kind == "report":
            self._take_report(worker, pickle.loads(rest[0]))
            self._starter.learn(rest[1])
        else:
            raise cannot_load(self._experiment, *rest)

    def _take_event(self, worker: WorkerHandle, encoded: bytes) -> None:
        cell = self._output.event(encoded)
        index = worker.status.cell
        if cell is not None and index >= 0 and self._cells[index] == cell:
            worker.status.ask_to_stop()

    def _take_outcome(self, worker: WorkerHandle, index: int, encoded: bytes) -> None:
        try:
            outcome = pickle.loads(encoded)
        except Exception as exc:  # noqa: BLE001 - user code: that cell fails, by name, and no other
            reason = SerializationError(
                f"what the cell recorded cannot be rebuilt outside its worker process ({type(exc).__name__}: {exc}); "
                "record numbers, text or arrays instead"
            )
            outcome = self._runner.failed(self._cells[index], reason, worker=worker.name)
        self._finished(worker, index, outcome)

    def _take_retry(
        self, worker: WorkerHandle, index: int, attempt: Attempt, delay: float, failures: Sequence[PluginFailure]
    ) -> None:
        worker.assigned.discard(index)
        worker.log = None
        if self._queue.is_unfinished(index):
            self._retries.try_again_later(index, self._cells[index], attempt, delay, failures)

    def _finished(self, worker: WorkerHandle | None, index: int, outcome: CellOutcome) -> None:
        if worker is not None:
            worker.assigned.discard(index)
            worker.log = None
        if self._queue.finished(index, outcome.duration):
            self._deaths_without_cell = 0
            self._ready.append(self._retries.completed(index, outcome))

    # -- workers ----------------------------------------------------------------------------------

    def _packed(self) -> Segment:
        settings = {
            "environment": current_environment(self._library_threads),
            "library_threads": self._library_threads,
            "hears_interrupts": ctrl_c_interrupts(),
        }
        try:
            return pack(settings, self._runner, self._given, main=self._starter.main)
        except Exception as exc:
            raise cannot_travel(self._experiment, self._runner, exc, fresh=self._starter.main is None) from exc

    def _start_worker(self, number: int) -> None:
        try:
            self._workers[number] = self._started(number)
        except WorkerStartError:
            self._successors += 1
            if self._successors > _MOST_SUCCESSORS:
                raise
            self._replace_starter()
            self._workers[number] = self._started(number)

    def _started(self, number: int) -> WorkerHandle:
        assert self._payload is not None and self._memory is not None  # noqa: PT018, S101
        return self._starter.start(number, self._payload, self._memory, self._library_threads)

    def _replace_starter(self) -> None:
        """Go on with another starter: somebody killed ours."""
        old, self._starter = self._starter, self._starter.successor()
        old.close()
        if old.main is not self._starter.main:
            before, self._payload = self._payload, self._packed()
            if before is not None:
                before.close()

    def _send(self, worker: WorkerHandle, order: object) -> None:
        # A worker that is gone is noticed when its line is read.
        with contextlib.suppress(OSError):
            worker.link.send_bytes(pickle.dumps(order, 5))

    def _assign(self, worker: WorkerHandle) -> None:
        if self._closing or not worker.ready or len(worker.assigned) > worker.refill_at:
            return
        if not worker.used and self._queue.has_suspects:
            indexes = [self._queue.suspect()]
        elif (due := self._queue.due()) is not None:
            indexes = [due]
        else:
            indexes = self._queue.batch(self._size)
        if not indexes:
            return
        worker.used = True
        worker.assigned.update(indexes)
        worker.refill_at = len(indexes) // 2
        later = {index: self._cells[index] for index in indexes if index >= len(self._given)}
        self._send(worker, (indexes, self._retries.attempts_before(indexes), later))

    def _replace_dead(self, worker: WorkerHandle) -> None:
        """Find out which cell killed a worker, save the others', and start a new one where there is work."""
        del self._workers[worker.number]
        code = worker.exit_code(1.0)
        if code is None:
            worker.kill()
            code = worker.exit_code(1.0)
        worker.close()
        if self._closing and worker.overdue is not None:
            return  # its last cell was done in the moment in which it was ended
        if self._closing:
            how, _ = exit_status(code)
            text = f"worker {worker.name} {how} before it could close what it had opened"
            self._runner.absorb(WorkerReport(errors=[(f"worker:{worker.name}", text, "")]))
            return
        index = worker.status.cell
        culprit = index if index in worker.assigned and self._queue.is_unfinished(index) else None
        # The words are those of its last moment: it may have gone on before it was ended.
        was_at_it = worker.overdue is not None and worker.status.overdue(worker.overdue.deadline) == worker.overdue
        worker.status.clear()
        if worker.overdue is None:
            self._queue.give_back(worker.assigned - {culprit})
            self._blame_cell(worker, culprit, code)
        elif culprit is None or not was_at_it:
            self._queue.give_back(worker.assigned)
        else:
            self._queue.give_back(worker.assigned - {culprit})
            self._took_too_long(worker, culprit, worker.overdue)
        if self._queue.unfinished or self._feed is not None:
            self._start_worker(worker.number)

    def _blame_cell(self, worker: WorkerHandle, culprit: int | None, code: int | None) -> None:
        how, _ = exit_status(code)
        if culprit is None:
            self._deaths_without_cell += 1
            if self._deaths_without_cell > self._size + _MOST_SUCCESSORS:
                doing = "between two cells" if worker.ready else "before they were ready"
                raise WorkerStartError(
                    f"{self._deaths_without_cell} worker processes in a row ended {doing}; the last one {how}"
                    f"{f' ({worker.problem})' if worker.problem else ''}. "
                    "SerialExecution() runs the same cells in this process and shows where it goes wrong"
                )
            when = "between two cells" if worker.ready else "before it was ready"
            _LOGGER.warning("worker %s (pid %s) %s %s", worker.name, worker.pid, how, when)
            return
        cell = self._cells[culprit]
        error = crash_error(cell, code, worker=worker.name, again=culprit in self._tried)
        outcome = worker.with_log(self._runner.failed(cell, error, worker=worker.name))
        if culprit not in self._tried:
            self._tried.add(culprit)
            _LOGGER.warning(
                "worker %s (pid %s) %s while it ran condition %r, replicate %s; it is tried again on a new worker",
                worker.name, worker.pid, how, cell.condition, cell.replicate,
            )  # fmt: skip
            self._retries.try_alone(culprit, outcome)
        elif not self._retries.try_again(culprit, outcome):
            self._finished(None, culprit, outcome)

    def _took_too_long(self, worker: WorkerHandle, index: int, overdue: Overdue) -> None:
        outcome = worker.with_log(self._retries.overdue(self._cells[index], overdue, worker.name))
        _LOGGER.info(
            "worker %s (pid %s) was ended while it ran condition %r, replicate %s: %s",
            worker.name, worker.pid, *self._cells[index], outcome.error and outcome.error.original_exception,
        )  # fmt: skip
        if not self._retries.try_again(index, outcome):
            self._finished(None, index, outcome)

    # -- the end ----------------------------------------------------------------------------------

    def _finish_workers(self) -> None:
        """Have every worker close what it opened, and take in its report."""
        self._closing = True
        for worker in list(self._workers.values()):
            if worker.ready:
                self._send(worker, None)
            else:
                self._release(worker)
        while self._workers:
            self._listen(_LOOK_EVERY)

    def _take_report(self, worker: WorkerHandle, report: Any) -> None:
        worker.reported = True
        if isinstance(report, str):
            _LOGGER.warning("%s: %s", worker.name, report)
        else:
            self._runner.absorb(report)
        self._release(worker)

    def _release(self, worker: WorkerHandle) -> None:
        if self._workers.pop(worker.number, None) is not None:
            if not worker.reported:
                worker.kill()
            worker.close()

    def _stop_early(self) -> None:
        """Start nothing more; give workers a moment to end what they are at, and keep what is finished."""
        self._closing = True
        for worker in list(self._workers.values()):
            worker.status.interrupt()
            self._send(worker, None)
        limit = time.monotonic() + _TO_FINISH
        while self._workers and (left := limit - time.monotonic()) > 0:
            self._listen(left)

    def _end(self, sound: bool) -> None:
        for worker in list(self._workers.values()):
            self._release(worker)
        if sound:
            self._give_back(self._starter)
        else:
            self._starter.close()
        if self._deadlines is not None:
            self._deadlines.stop()
        for memory in (self._payload, self._memory):
            if memory is not None:
                memory.close()
