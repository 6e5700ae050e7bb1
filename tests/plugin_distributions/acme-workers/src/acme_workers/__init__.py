"""Cells in worker processes: an executor that is made of the published contract alone."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import threading
import time
import warnings
from collections import deque
from multiprocessing.connection import wait

import cloudpickle

from crystallize.errors import SerializationError, WorkerCrashError
from crystallize.hooks import STOPS, ExecutorPlugin, History

LOOK_EVERY = 0.05
TO_FINISH = 0.25


class PoolExecution(ExecutorPlugin):
    """Run cells in worker processes that are forked.

    Parameters
    ----------
    workers : int, default 2
        How many.
    """

    cells_leave_process = True
    ends_overdue_cells = True

    def __init__(self, workers=2):
        self.workers = workers

    def run_experiment_loop(self, cells, run_cell):
        """Run the cells on the workers."""
        return Pool(cells, run_cell, self.workers).outcomes()


class Worker:
    """One worker process, as the coordinator knows it."""

    def __init__(self, number, run_cell):
        self.name = f"pool-{number}"
        self.cell = self.deadline = None
        self.link, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=work, args=(theirs, run_cell, self.name), daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            self.process.start()
        theirs.close()

    def kill(self):
        """End the process at once."""
        self.process.kill()
        self.process.join()
        self.link.close()


class Pool:
    """The workers of one run: hands out cells, takes in outcomes, replaces workers that died or were ended."""

    def __init__(self, cells, run_cell, count):
        self.run_cell = run_cell
        self.todo = deque((0.0, cell) for cell in cells)
        self.unfinished = set(cells)
        self.histories = {}
        self.count = min(count, len(self.unfinished))
        self.workers = []
        self.started = 0
        self.finished = []
        self.interrupted = None

    def outcomes(self):
        """Yield lists of outcomes as they arrive."""
        try:
            try:
                while self.unfinished:
                    self.hand_out()
                    self.listen(LOOK_EVERY)
                    yield self.taken()
                    self.check_interrupted()
            except STOPS:
                end = time.monotonic() + TO_FINISH
                while any(worker.cell for worker in self.workers) and time.monotonic() < end:
                    self.listen(0.01)
                yield self.taken()
                raise
            self.end()
            self.check_interrupted()
        finally:
            for worker in self.workers:
                worker.kill()

    def check_interrupted(self):
        if self.interrupted is not None:
            raise KeyboardInterrupt(self.interrupted)

    def taken(self):
        taken, self.finished = self.finished, []
        return taken

    def hand_out(self):
        while len(self.workers) < self.count:
            self.workers.append(Worker(self.started, self.run_cell))
            self.started += 1
        now = time.monotonic()
        for worker in self.workers:
            due = next((item for item in self.todo if item[0] <= now), None)
            if worker.cell is None and due is not None:
                self.todo.remove(due)
                worker.cell = due[1]
                earlier = self.histories[worker.cell].attempts if worker.cell in self.histories else ()
                worker.link.send(("run", worker.cell, tuple(earlier)))

    def listen(self, timeout):
        by_link = {worker.link: worker for worker in self.workers}
        wait([*by_link, *(worker.process.sentinel for worker in self.workers)], timeout)
        for link, worker in by_link.items():
            try:
                while link.poll():
                    self.hear(worker, *link.recv())
            except (EOFError, OSError):
                self.replace(worker, self.crash(worker))
                continue
            if not worker.process.is_alive() and not link.poll():
                self.replace(worker, self.crash(worker))
            elif worker.deadline and time.monotonic() > worker.deadline[0]:
                _, position, whole_cell = worker.deadline
                self.replace(
                    worker,
                    self.run_cell.policies.too_slow(
                        position, whole_cell=whole_cell, what_next="; its worker process was ended"
                    ),
                )

    def hear(self, worker, kind, *rest):
        if kind == "event":
            worker.link.send(self.run_cell.emit(pickle.loads(rest[0])))
        elif kind == "deadline":
            worker.deadline = rest if rest[0] else None
        elif kind == "report":
            self.run_cell.absorb(pickle.loads(rest[0]))
        elif kind == "interrupted":
            self.interrupted = rest[0]
            worker.cell = None
        else:
            outcome, delay = pickle.loads(rest[0]), rest[1]
            worker.cell = worker.deadline = None
            self.ended(outcome, delay)

    def ended(self, outcome, delay):
        cell = outcome.cell
        history = self.histories.setdefault(cell, History())
        if delay is None:
            self.unfinished.discard(cell)
            self.finished.append(history.completed(outcome))
        else:
            self.run_cell.retried(cell, history.add(outcome), delay)
            self.todo.append((time.monotonic() + delay, cell))

    def replace(self, worker, error):
        """Bury a worker; its cell fails, or is tried again where its policy says so."""
        self.workers.remove(worker)
        worker.kill()
        if worker.cell is None:
            return
        step = getattr(error, "step", "worker")
        outcome = self.run_cell.failed(worker.cell, error, worker=worker.name, step=step)
        history = self.histories.setdefault(worker.cell, History())
        policies = self.run_cell.policies
        self.ended(outcome, policies and policies.delay_after(error, step, history.attempts))

    @staticmethod
    def crash(worker):
        worker.process.join(1)
        code = worker.process.exitcode
        return WorkerCrashError(f"the worker process {worker.name} died with exit code {code}", exit_code=code)

    def end(self):
        """Have every worker end its part of the run, and take in what it reports."""
        for worker in self.workers:
            worker.link.send(("stop",))
        for worker in self.workers:
            try:
                self.hear(worker, *worker.link.recv())
            except (EOFError, OSError):
                continue
            worker.process.join(1)


def work(link, run_cell, name):
    """Run cells in a worker process until it is told to stop."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    talking = threading.Lock()

    def emit(event):
        with talking:
            link.send(("event", cloudpickle.dumps(event)))
            return link.recv()

    def listen(end, position, *, whole_cell):
        with talking:
            link.send(("deadline", end, position, whole_cell))

    if run_cell.policies is not None and run_cell.policies.limits_time:
        run_cell.watch(listen)
    while (order := link.recv())[0] == "run":
        _, cell, earlier = order
        try:
            outcome, delay = run_cell.attempt(cell, emit, earlier)
            outcome.worker = name
            link.send(("done", packed(run_cell, outcome), delay))
        except KeyboardInterrupt as exc:
            link.send(("interrupted", str(exc)))
    try:
        report = run_cell.stop()
    except KeyboardInterrupt as exc:
        link.send(("interrupted", str(exc)))
    else:
        link.send(("report", cloudpickle.dumps(report)))


def packed(run_cell, outcome):
    """Return an outcome as bytes; one that does not pickle is a failure of its cell."""
    try:
        encoded = cloudpickle.dumps(outcome)
        pickle.loads(encoded)
    except Exception as exc:  # noqa: BLE001 - user objects may raise anything
        reason = SerializationError(f"what the cell recorded cannot leave its process: {type(exc).__name__}: {exc}")
        return cloudpickle.dumps(run_cell.failed(outcome.cell, reason, worker=outcome.worker))
    return encoded
