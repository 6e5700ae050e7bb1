"""The life of a worker process: load the experiment, run batches of cells, report, leave."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing.util
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from itertools import islice
from typing import TYPE_CHECKING

from crystallize.hooks import attempt_of, handle_interrupts
from crystallize_plugins.execution.library_threads import limit_library_threads
from crystallize_plugins.execution.processes.environment import apply_environment
from crystallize_plugins.execution.processes.messages import Messages
from crystallize_plugins.execution.processes.output import OutputCapture
from crystallize_plugins.execution.processes.payload import Payload
from crystallize_plugins.execution.processes.shared_memory import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from types import FrameType

    from crystallize.hooks import Attempt, Cell, CellOutcome, Event, RunCell
    from crystallize_plugins.execution.processes.shared_memory import Segment

__all__ = ["work"]

_TO_HEAR = 0.3
"""Seconds within which a coordinator that has heard Ctrl-C, too, tells its workers."""
_LOOK_EVERY = 0.005


def work(link: Connection, payload: Segment, memory: Segment, number: int) -> None:
    """Work until told to finish, or until the coordinator is gone.

    Parameters
    ----------
    link : Connection
        The line to the coordinator.
    payload : Segment
        Settings and experiment.
    memory : Segment
        Where the worker's `WorkerStatus` is.
    number : int
        Which worker this is.
    """
    modules = len(sys.modules)
    messages = Messages(link)
    output = OutputCapture(messages)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=output.disconnect)
    # A coordinator that is gone needs no answer: there is nobody to tell.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            loaded = Payload(payload)
            runner = _load(loaded, output)
        except BaseException as exc:  # noqa: BLE001 - whatever a user's module or object raises ends this worker, by name
            messages.tell("unfit", type(exc).__name__, _text(exc), traceback.format_exc())
            messages.flush()
            return
        messages.start(runner)
        messages.tell("ready", os.getpid())
        messages.flush()
        status = WorkerStatus(memory, number)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=status.disconnect)
        worker = _Worker(runner, loaded, status, output, messages)
        worker.obey(link)
        worker.report(_imported_since(modules))
        _end_pools()


def _load(payload: Payload, output: OutputCapture) -> RunCell:
    apply_environment(payload.settings["environment"], output)
    modules = len(sys.modules)
    runner: RunCell = payload.load()
    output.forget_handlers()
    if len(sys.modules) != modules:  # else it has the libraries of whoever made it, who told them
        limit_library_threads(payload.settings["library_threads"])
    return runner


class _Worker:
    """Runs cells one by one and hands in their outcomes."""

    def __init__(
        self, runner: RunCell, payload: Payload, status: WorkerStatus, output: OutputCapture, messages: Messages
    ) -> None:
        self._runner = runner
        self._cells = payload.cells
        self._mapped = payload.mapped
        self._status = status
        self._output = output
        self._messages = messages
        self._name = f"process-{status.number}"
        self._in_cell = False
        self._limits_time = runner.policies is not None and runner.policies.limits_time
        if self._limits_time:
            runner.watch(status.limit)
        if payload.settings["hears_interrupts"]:
            # A SIGINT that a step sends to its own process ends the run, as it does in any other process. Ctrl-C in a
            # terminal goes to all processes: what to do about it is the coordinator's to say.
            handle_interrupts(self._on_interrupt)

    def obey(self, link: Connection) -> None:
        """Run what cells the coordinator says, until it says that there are no more."""
        while True:
            order = pickle.loads(link.recv_bytes())
            if order is None:
                return
            indexes, earlier, later = order
            for index in indexes:
                if self._status.interrupted:
                    break
                cell = later[index] if index in later else self._cells[index]
                self._run(index, cell, earlier.get(index, ()))
            self._messages.flush()
            self._status.cell = -1

    def _run(self, index: int, cell: Cell, earlier: Sequence[Attempt]) -> None:
        """Run one attempt at a cell; to the next one the coordinator sees, so that no worker waits for it."""
        if self._limits_time:
            self._messages.flush()  # nothing may be left behind in a process that is ended
        self._status.cell = index
        self._output.cell = cell
        tried = self._attempt(cell, earlier)
        if tried is None:
            return
        outcome, delay = tried
        outcome.worker = self._name
        self._output.end_of_cell()
        if self._mapped is not None:
            self._mapped.restore()
        if delay is None:
            self._messages.add(index, outcome)
        else:
            self._messages.tell("retry", index, attempt_of(outcome, earlier), delay, outcome.plugin_failures)
            self._messages.flush()

    def _attempt(self, cell: Cell, earlier: Sequence[Attempt]) -> tuple[CellOutcome, float | None] | None:
        """Return what an attempt gave; None where a step raised KeyboardInterrupt, which has been told then."""
        try:
            self._in_cell = True
            return self._runner.attempt(cell, self._emit, earlier)
        except KeyboardInterrupt:
            self._tell_interrupted()
            return None
        finally:
            self._in_cell = False

    def _tell_interrupted(self) -> None:
        """Say that a step raised KeyboardInterrupt: it ends the run, here as anywhere."""
        self._status.interrupt()
        cell = self._output.cell
        where = "between two cells" if cell is None else f"condition {cell.condition!r}, replicate {cell.replicate}"
        self._messages.tell("interrupted", f"raised in a worker process ({self._name}), {where}")
        self._messages.flush()
        self._output.end_of_cell()

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        limit = time.monotonic() + _TO_HEAR
        while self._in_cell and not self._status.interrupted:
            if time.monotonic() > limit:
                signal.default_int_handler(number, frame)
            time.sleep(_LOOK_EVERY)

    def _emit(self, event: Event) -> bool:
        """Send on an event; return whether the coordinator has asked the cell to stop by now."""
        self._output.emit(event)
        return self._status.asked_to_stop

    def report(self, imported: list[str]) -> None:
        """Close what cells have opened, and say the last."""
        try:
            report = self._runner.stop()
        except KeyboardInterrupt:  # of a step's teardown
            self._tell_interrupted()
            report = self._runner.stop()
        # What steps registered has to run here: the process ends without the interpreter's own end, because what it
        # inherited is not its to finalize.
        atexit.unregister(multiprocessing.util._exit_function)  # type: ignore[attr-defined]  # it waits for children: see `_end_pools`
        atexit._run_exitfuncs()
        self._output.end_of_cell()
        try:
            encoded = pickle.dumps(report, 5)
        except Exception as exc:  # noqa: BLE001 - user objects inside
            encoded = pickle.dumps(f"the worker's last report could not be sent ({type(exc).__name__}: {exc})", 5)
        self._messages.tell("report", encoded, imported)
        self._messages.flush()


def _end_pools() -> None:
    """Shut pools of threads and processes down that steps have left open, and end their other processes.

    After the report: what still runs in a pool is waited for, and the run is not to wait for it.
    """
    for call in reversed(getattr(threading, "_threading_atexits", [])):
        with contextlib.suppress(Exception):  # nobody is there any more to hear of it
            call()
    multiprocessing.util._run_finalizers()  # type: ignore[attr-defined]
    for child in multiprocessing.active_children():
        child.terminate()


def _imported_since(count: int) -> list[str]:
    """Return the names of the libraries' modules that were imported since there were so many modules."""
    installed = tuple({sys.prefix, sys.base_prefix})
    # Counted from the end: to look at each of a thousand modules would copy the memory that they share with others.
    latest = list(islice(reversed(sys.modules), max(len(sys.modules) - count, 0)))
    return [
        name
        for name in reversed(latest)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and str(getattr(sys.modules.get(name), "__file__", None)).startswith(installed)
    ]


def _text(exc: BaseException) -> str:
    try:
        return str(exc)
    except BaseException as broken:  # noqa: BLE001 - user code
        return f"<its text cannot be made: {type(broken).__name__}>"
