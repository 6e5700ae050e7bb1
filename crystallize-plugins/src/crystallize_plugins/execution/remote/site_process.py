"""The process of a site: it has the run's code and nothing of the engine's, and keeps the workers.

It speaks with the site in the engine's process over a line on which each message is a pickled list of tuples:

- ``("ready", differences)``: it has loaded the run; what differs from what the coordinator has
- ``("outcomes", batch, pickle)``, ``("outcome", batch, cell, pickle, cause)``, ``("done", batch)``
- ``("text" | "log" | "warning" | "event", ...)`` of workers, ``("retried", cell, attempt, delay)``
- ``("interrupted", where)``, ``("broken", type, text)``, ``("report", pickle)``
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from crystallize.hooks import Cell, RunCell, handle_interrupts
from crystallize_plugins.execution.processes.messages import Messages, is_plain
from crystallize_plugins.execution.processes.output import OutputCapture
from crystallize_plugins.execution.processes.payload import rebuilt_in_interpreter
from crystallize_plugins.execution.processes.pickling import dumps
from crystallize_plugins.execution.processes.spawn import follow_parent, opened_link
from crystallize_plugins.execution.processes.worker_pool import WorkerPool, close_kept_starter
from crystallize_plugins.execution.remote.code import write_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from multiprocessing.connection import Connection

    from crystallize.hooks import Attempt, CellOutcome, Event
    from crystallize_plugins.execution.processes.supervisor import Supervisor

__all__ = ["differing_parts", "load", "main"]


def main() -> None:
    """Run as the process of a site, until it is told to close or the engine's process is gone."""
    handle_interrupts(signal.SIG_IGN)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    needs = json.loads(line)
    lifeline = sys.stdin.buffer
    sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process lives
    link = opened_link(needs["link"])
    messages = Messages(link)
    output = OutputCapture(messages)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=output.disconnect)
    try:
        content = pickle.loads(link.recv_bytes())
        folder = Path(needs["folder"])
        os.environ["CRYSTALLIZE_CACHE_DIR"] = str(Path(os.environ.get("CRYSTALLIZE_CACHE_DIR") or ".cache").absolute())
        (folder / "work").mkdir()
        os.chdir(folder / "work")
        settings = content["settings"]
        sys.argv[:] = settings["argv"]
        output.install(settings["levels"], settings["filters"], settings["streams"])
        run_cell = load(content, folder)
        output.forget_handlers()
        differences = differing_parts(needs["parts"], run_cell)
        # Before there are threads: then workers are forks of this process, which has everything loaded.
        experiment = run_cell.experiment
        pool = WorkerPool(experiment, workers=needs["processes"], library_threads=needs["library_threads"])
        messages.start(run_cell)
        follow_parent(lifeline, lambda: shutil.rmtree(folder, ignore_errors=True))
        messages.tell("ready", differences)
        messages.flush()
        feed = _Feed(link)
        runner = _SiteRunner(run_cell, messages, feed.asked)
        feed.supervisor = supervisor = pool.loop(experiment, [], cast("RunCell", runner), feed=feed)
        for outcomes in supervisor:
            _send(messages, feed, outcomes, needs["name"])
        pool.close()
        messages.tell("report", dumps(run_cell.stop()))
    except KeyboardInterrupt as exc:
        messages.tell("interrupted", str(exc))
    except (EOFError, OSError):
        os._exit(1)  # the engine's process is gone
    except Exception as exc:  # noqa: BLE001 - whatever a user's module or object raises: who opened the site says it
        messages.tell("broken", type(exc).__name__, str(exc))
    messages.flush()
    close_kept_starter()
    os._exit(0)


def load(content: Mapping[str, Any], folder: Path) -> RunCell:
    """Write the files of a parcel, put the project's modules first on the path, and return what runs cells."""
    write_files(folder / "code", content["files"]["code"])
    write_files(folder / "work", content["files"]["ship"])
    sys.path.insert(0, str(folder / "code"))
    run_cell: RunCell = rebuilt_in_interpreter(pickle.loads(content["modules"]), content["stream"])
    return run_cell


def differing_parts(parts: Mapping[str, str], run_cell: RunCell) -> list[str]:
    """Return in what the code that was loaded is not what the coordinator has, as sentences."""
    identities = run_cell.experiment.cell_identities()
    found = {} if identities is None else identities.common_parts
    return [
        f"{name} is not what it is in the program that runs the experiment: its code differs, or a file or an "
        "environment variable that it reads"
        for name, digest in found.items()
        if parts.get(name) != digest
    ]


class _Feed:
    """Takes in what the engine's process sends."""

    def __init__(self, link: Connection) -> None:
        self.is_open = True
        self.asked: set[Cell] = set()
        self.batch_of: dict[Cell, int] = {}
        self.left: dict[int, int] = {}
        self.supervisor: Supervisor | None = None
        self._link = link

    def waited_on(self) -> list[Any]:
        return [self._link] if self.is_open else []

    def receive(self) -> Sequence[Cell]:
        cells: list[Cell] = []
        while self.is_open and self._link.poll():
            kind, *rest = pickle.loads(self._link.recv_bytes())
            if kind == "cells":
                number, those = rest
                self.left[number] = len(those)
                self.batch_of.update(dict.fromkeys(those, number))
                cells.extend(those)
            elif kind == "stop":
                self.asked.update(rest[0])
                if self.supervisor is not None:
                    self.supervisor.ask_to_stop(self.asked)
            else:
                self.is_open = False
        return cells


def _send(messages: Messages, feed: _Feed, outcomes: Iterable[CellOutcome], name: str) -> None:
    plain: dict[int, list[CellOutcome]] = {}
    done = []
    for outcome in outcomes:
        number = feed.batch_of.pop(outcome.cell)
        feed.asked.discard(outcome.cell)
        # An engine may have several sites on one host: it says which, behind a slash.
        process = outcome.worker.removeprefix("process-")
        outcome.worker = f"{name}-{process}" if "/" in name else f"{name}/{outcome.worker}"
        if is_plain(outcome):
            plain.setdefault(number, []).append(outcome)
        else:
            # What a step raised stays in its worker; how a worker ended is known here alone.
            cause = None if outcome.error is None else outcome.error.original_exception
            messages.tell("outcome", number, tuple(outcome.cell), messages.pickled(outcome), dumps(cause))
        feed.left[number] -= 1
        if not feed.left[number]:
            del feed.left[number]
            done.append(number)
    for number, several in plain.items():
        messages.tell("outcomes", number, pickle.dumps(several, 5))
    for number in done:
        messages.tell("done", number)
    messages.flush()


class _SiteRunner:
    """The run's `RunCell` in the process of a site: what the coordinator is to hear is sent there.

    Parameters
    ----------
    run_cell : RunCell
    messages : Messages
    asked : set of Cell
        Those that were asked to stop.
    """

    def __init__(self, run_cell: RunCell, messages: Messages, asked: set[Cell]) -> None:
        self._run_cell = run_cell
        self._messages = messages
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run_cell, name)

    def retried(self, cell: Cell, attempt: Attempt, delay: float = 0.0) -> None:
        self._messages.tell("retried", tuple(cell), attempt, delay)

    def emit(self, event: Event) -> bool:
        if not self._run_cell.hears_cells:
            return False
        self._messages.tell("event", dumps(event))
        return event.cell in self._asked

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self._run_cell,)


def _itself(run_cell: RunCell) -> RunCell:
    return run_cell
