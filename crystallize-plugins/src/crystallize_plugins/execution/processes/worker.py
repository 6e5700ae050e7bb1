"""The life of a worker process: make ready, run batches of cells, report, leave."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import pickle
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

from crystallize_plugins.execution.library_threads import limit_library_threads
from crystallize_plugins.execution.processes.outbox import Outbox
from crystallize_plugins.execution.processes.patient import bench_for
from crystallize_plugins.execution.processes.payload import Payload
from crystallize_plugins.execution.processes.relay import Relay
from crystallize_plugins.execution.processes.slots import WorkerSlots
from crystallize_plugins.execution.processes.surroundings import take_over

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from crystallize.engine.runner import CellRunner
    from crystallize_plugins.execution.processes.bench import Bench
    from crystallize_plugins.execution.processes.segment import PrivateMap, Segment

__all__ = ["parent_watch", "work"]


def work(link: Connection, payload: Segment, slots: Segment, number: int) -> None:
    """Work until told to finish, or until the coordinator is gone.

    Parameters
    ----------
    link : Connection
        The line to the coordinator.
    payload : Segment
        Settings and experiment.
    slots : Segment
        See `crystallize_plugins.execution.processes.slots`.
    number : int
        Which worker this is.
    """
    had = len(sys.modules)
    outbox = Outbox(link)
    relay = Relay(outbox)
    # A coordinator that is gone needs no answer: there is nobody to tell.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            runner, cells, mapped, hears_interrupts = _prepare(payload, relay)
        except BaseException as exc:  # noqa: BLE001 - whatever a user's module or object raises ends this worker, by name
            outbox.tell("unfit", type(exc).__name__, _text(exc), traceback.format_exc())
            outbox.flush()
            return
        outbox.start(runner)
        outbox.tell("ready", os.getpid())
        outbox.flush()
        bench = bench_for(runner, cells, mapped, WorkerSlots(slots, number), relay, outbox, had)
        if hears_interrupts:
            bench.hear_interrupts()
        _obey(link, bench)


def _prepare(segment: Segment, relay: Relay) -> tuple[CellRunner, list[tuple[str, int]], PrivateMap | None, bool]:
    payload = Payload(segment)
    take_over(payload.settings["surroundings"], relay)
    loaded = len(sys.modules)
    runner = payload.load()
    relay.forget_handlers()
    if len(sys.modules) != loaded:  # else it has the libraries of whoever made it, who told them
        limit_library_threads(payload.settings["library_threads"])
    return runner, payload.cells, payload.mapped, payload.settings["hears_interrupts"]


def _obey(link: Connection, bench: Bench) -> None:
    outbox, slots = bench.outbox, bench.slots
    while True:
        order, *rest = pickle.loads(link.recv_bytes())
        if order == "run":
            indexes, confirmed, earlier = rest
            outbox.confirmed(confirmed)
            for index in indexes:
                if slots.interrupted:
                    break
                bench.run(index, earlier)
            outbox.flush()
            slots.words[slots.number] = 0
        elif order == "again":
            outbox.send_again(rest[0])
        else:
            try:
                report = bench.runner.stop()
            except KeyboardInterrupt:  # of a step's teardown
                bench.interrupted()
                report = bench.runner.stop()
            _run_exit_functions()
            bench.relay.end_of_cell()
            outbox.tell("report", _encoded(report), bench.imported())
            outbox.flush()
            return


def _encoded(report: Any) -> bytes:
    try:
        return pickle.dumps(report, 5)
    except Exception as exc:  # noqa: BLE001 - user objects inside
        return pickle.dumps(f"the worker's last report could not be sent ({type(exc).__name__}: {exc})", 5)


def _run_exit_functions() -> None:
    # What steps registered here has to run here: the process ends without the interpreter's own end,
    # because what it inherited is not its to finalize.
    atexit._run_exitfuncs()


def _text(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception as broken:  # noqa: BLE001 - user code
        return f"<its text cannot be made: {type(broken).__name__}>"


def parent_watch(parent: int) -> Callable[[], None]:
    """Give what has the kernel end the process that calls it when its parent ends, in the middle of C code too.

    Linux only: elsewhere workers are started in another way, and watch a pipe.

    Parameters
    ----------
    parent : int
        Whose child will call it.
    """
    # Here and not in the child: what is looked up before the fork is there after it.
    control = ctypes.CDLL(None, use_errno=True).prctl
    death_signal = 1

    def die_with_parent() -> None:
        control(death_signal, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it went before we asked
            os._exit(1)

    return die_with_parent
