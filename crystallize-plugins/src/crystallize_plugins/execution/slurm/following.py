"""`Following`: the coordinator's part in one folder of jobs: it reads what they say, and hands on what they leave."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import pickle
import shutil
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crystallize.errors import WorkerStartError
from crystallize.hooks import Cell
from crystallize.hooks.tools import counted, write_atomically
from crystallize_plugins.execution.slurm import commands
from crystallize_plugins.execution.slurm.folder import RecordReader, cells_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from crystallize.hooks import CellOutcome
    from crystallize_plugins.execution.remote import Ledger
    from crystallize_plugins.execution.slurm.commands import Task
    from crystallize_plugins.execution.slurm.folder import JobFolder, Record

__all__ = ["Following", "chunked"]

_LOGGER = logging.getLogger("crystallize")

_GONE = 2
"""How often in a row the queue has to show nothing of a task that was there: its last words may come late."""
_FAILED_STARTS = 3
_AFTER_REFUSAL = 60.0
_LOG_LINES = 20
_COORDINATOR = "coordinator"
_HELD = ("JobHeld", "launch failed", "DependencyNeverSatisfied", "BadConstraints")


@dataclass
class _Life:
    """What is known of one life of a task."""

    reader: RecordReader
    name: str
    task: str = ""
    restarts: int = 0
    node: str = ""
    at: dict[int, list[Cell]] = field(default_factory=dict)
    worked: bool = False
    reported: bool = False
    over: bool = False


def chunked(cells: Sequence[Cell], jobs: int) -> list[Sequence[Cell]]:
    """Cut cells into chunks for `jobs` to claim: large ones first, single ones at the end.

    A chunk is a quarter of a job's share of what is left (guided self-scheduling: Polychronopoulos and Kuck, 1987), so
    that jobs end together whatever their cells take.
    """
    chunks = []
    start = 0
    while start < len(cells):
        size = max(1, (len(cells) - start) // (4 * jobs))
        chunks.append(cells[start : start + size])
        start += size
    return chunks


class Following:
    """One folder of jobs, followed by this process alone.

    Parameters
    ----------
    folder : JobFolder
    manifest : mapping
    cells : collection of Cell
        What this run wants of it.
    ledger : Ledger
        Of these cells.

    Attributes
    ----------
    name : str
        What the names of its jobs begin with.
    unfinished : set of Cell
    jobs : dict of str to mapping
        Facts about tasks for the record, by id.
    ledger : Ledger
    refused : list of WorkerStartError
        Why jobs got no cells.
    drift : dict of str to None
        What libraries differ on nodes, as sentences.
    """

    def __init__(self, folder: JobFolder, manifest: Mapping[str, Any], cells: Collection[Cell], ledger: Ledger) -> None:
        self.folder = folder
        self.name: str = manifest["name"]
        self.unfinished = set(cells)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.ledger = ledger
        self._hand_out()
        self._most: int = manifest["jobs"]
        self._sets: dict[str, dict[str, Any]] = manifest["sets"]
        self._set_of = {name: each for each, found in self._sets.items() for name in found["conditions"]}
        self._lives: dict[str, _Life] = {}
        self._tasks: dict[str, Task] = {}
        self._missed: dict[str, int] = {}
        self.refused: list[WorkerStartError] = []
        self.drift: dict[str, None] = {}
        self._failed_starts: list[str] = []
        self._warned: set[str] = set()
        self._taken: dict[str, int] = {}
        self._read = self._taken
        self._not_before = 0.0
        self._pruned: set[Cell] = set()

    @property
    def names(self) -> list[str]:
        """The names of its jobs."""
        return [self._job_name(each) for each in self._sets]

    def _job_name(self, each: str) -> str:
        return f"{self.name}.{each}"

    def _hand_out(self) -> None:
        """Take what the ledger hands out: here chunks are what is handed out."""
        while self.ledger.batch(math.inf):
            pass

    # -- beginning --------------------------------------------------------------------------------

    def enqueue(self, cells: Iterable[Cell]) -> None:
        """Put cells into the queues, in chunks."""
        for each, found in self._by_set(cells).items():
            for order, chunk in enumerate(chunked(found, self._most), 1):
                self.folder.add_chunk(each, order, chunk)

    def begin(self) -> None:
        """Queue the first jobs.

        Raises
        ------
        WorkerStartError
            SLURM refuses some of them; none is queued then.
        """
        try:
            for each in self._sets:
                self._submit(each, min(self._most, len(self.folder.chunks(each))))
        except BaseException:
            self.cancel()
            raise

    def take_up(self) -> tuple[list[CellOutcome], list[Cell]]:
        """Read what jobs have said while nobody heard them.

        Returns
        -------
        list of CellOutcome
        list of Cell
            Those that have failed, which the coordinator before had heard of: they are not tried again here.
        """
        with contextlib.suppress(OSError, ValueError):
            self._taken = json.loads(self.folder.taken.read_text(encoding="utf-8"))
        outcomes, failed = [], []
        for life, record in self._records():
            known = life.reader.offset <= self._taken.get(life.name, 0)
            for outcome in self._take(life, record):
                if outcome.ok or not known:
                    outcomes.append(outcome)
                else:
                    failed.append(outcome.cell)
        return outcomes, failed

    def withdraw(self) -> None:
        """Take what nobody wants any more out of the queues."""
        for each in self._sets:
            for path in self.folder.chunks(each):
                claim = self.folder.claim(each, _COORDINATOR, [path])
                if claim is not None:
                    self.folder.give_back(claim, [cell for cell in claim.cells if cell in self.unfinished])

    # -- going on ---------------------------------------------------------------------------------

    def look(self, queue: Mapping[str, Task] | None) -> list[CellOutcome]:
        """Return the outcomes that have arrived; see to jobs that are gone, and to what they have left.

        Parameters
        ----------
        queue : mapping of str to Task, or None
            The tasks of all its jobs that wait or run; None where that is not known.
        """
        self._note_taken()
        for cell in self.ledger.stopping - self._pruned:
            self.folder.prune(cell)
        self._pruned |= self.ledger.stopping
        outcomes = [outcome for life, record in self._records() for outcome in self._take(life, record)]
        if queue is not None:
            outcomes += self._look_after(queue)
        return outcomes

    def _note_taken(self) -> None:
        """Write down how far what was read has been taken in: those outcomes are with the engine by now."""
        if self._read != self._taken:
            self._taken = self._read
            write_atomically(self.folder.taken, json.dumps(self._taken))

    def _records(self) -> Iterator[tuple[_Life, Record]]:
        for path in sorted(self.folder.records.iterdir()):
            if path.name not in self._lives:
                self._lives[path.name] = _Life(RecordReader(path), path.name)
        for life in self._lives.values():
            if not life.over:
                for record in life.reader.read():
                    yield life, record
        self._read = {life.name: life.reader.offset for life in self._lives.values()}

    def _take(self, life: _Life, record: Record) -> list[CellOutcome]:
        kind, data = record
        if kind == b"h":
            facts = json.loads(data)
            life.task, life.restarts, life.node = facts["task"], facts["restarts"], facts["node"]
            self.jobs[life.task] = {"id": life.task, "node": life.node, "restarts": life.restarts}
        elif kind == b"a":
            at = json.loads(data)
            life.at[at["lane"]] = [Cell(*cell) for cell in at["cells"]]
            life.worked = True
        elif kind == b"s":
            return self._stopped(life, **json.loads(data))
        elif kind == b"m":
            life.worked = True
            self.refused.append(pickle.loads(data))  # noqa: S301 - of our own job
            self._warn(f"refused by {life.node}", f"job {life.task} gets no cells: {self.refused[-1]}")
        elif kind == b"d":
            found = [f"{life.node}: {each}" for each in json.loads(data)]
            self.drift.update(dict.fromkeys(found))
            self._warn(f"drift of {life.node}", f"other libraries than here: {'; '.join(found)}")
        else:
            life.worked = True
            life.reported = kind == b"r"
            return self._took(self.ledger.take(data))
        return []

    def _took(self, outcomes: Iterable[CellOutcome]) -> list[CellOutcome]:
        taken = list(outcomes)
        self.unfinished.difference_update(outcome.cell for outcome in taken)
        if taken:
            self._failed_starts.clear()
        return taken

    def _stopped(self, life: _Life, *, lane: int, out_of_time: bool) -> list[CellOutcome]:
        """See to cells that a job was at when it was told to end."""
        stopped = [cell for cell in life.at.pop(lane, ()) if cell in self.unfinished]
        outcomes = self._lost(stopped, f"the time of job {life.task} was over", life) if out_of_time else []
        self._requeue(stopped)
        return outcomes

    # -- jobs that are gone -----------------------------------------------------------------------

    def _look_after(self, queue: Mapping[str, Task]) -> list[CellOutcome]:
        ours = {id_: task for id_, task in queue.items() if task.name.rpartition(".")[0] == self.name}
        gone = []
        for task in [*self._tasks.values()]:
            if task.id in ours:
                continue
            self._missed[task.id] = self._missed.get(task.id, 0) + 1
            if self._missed[task.id] >= _GONE:
                gone.append(task.id)
                del self._tasks[task.id]
        self._tasks.update(ours)
        for id_ in ours:
            self._missed.pop(id_, None)
        outcomes = self._bury(gone)
        self._warn_of_held()
        for each in self._sets:
            self._top_up(each)
        return outcomes

    def _bury(self, gone: Collection[str]) -> list[CellOutcome]:
        """Give what jobs that are over have left to others; `gone` are the tasks that left the queue just now."""
        outcomes = []
        newest: dict[str, int] = {}
        for life in self._lives.values():
            newest[life.task] = max(newest.get(life.task, 0), life.restarts)
        for life in self._lives.values():
            task = self._tasks.get(life.task)
            requeued = (task is not None and task.state == "PD") or life.restarts < newest[life.task]
            if life.over or not (task is None or requeued) or not life.task:
                continue
            life.over = True
            outcomes += self._inherit(life)
            if not life.worked:
                self._failed_starts.append(life.task)
        began = {life.task for life in self._lives.values()}
        self._failed_starts += [id_ for id_ in gone if id_ not in began]
        return outcomes

    def _inherit(self, life: _Life) -> list[CellOutcome]:
        outcomes: list[CellOutcome] = []
        for each in self._sets:
            for owner, claim in self.folder.claims(each):
                if owner == life.name:
                    at = [cell for cells in life.at.values() for cell in cells if cell in self.unfinished]
                    rest = [cell for cell in claim.cells if cell in self.unfinished and cell not in at]
                    self.folder.give_back(claim, rest)
                    reason = f"job {life.task} ended while it ran it on {life.node}"
                    outcomes += self._lost(at, reason, life)
                    self._requeue(at)
        return outcomes

    def _lost(self, cells: Sequence[Cell], reason: str, life: _Life) -> list[CellOutcome]:
        _LOGGER.warning(
            "%s: %s", reason, ", ".join(f"condition {c.condition!r}, replicate {c.replicate}" for c in cells)
        )
        outcomes = self._took(self.ledger.lost(cells, reason, site=f"slurm-{life.node}"))
        self._hand_out()
        return outcomes

    def _requeue(self, cells: Iterable[Cell]) -> None:
        """Put cells back, each alone and before all others."""
        for each, found in self._by_set(cell for cell in cells if cell in self.unfinished).items():
            for cell in found:
                self.folder.add_chunk(each, 0, [cell])

    def _by_set(self, cells: Iterable[Cell]) -> dict[str, list[Cell]]:
        found: dict[str, list[Cell]] = {}
        for cell in cells:
            found.setdefault(self._set_of[cell.condition], []).append(cell)
        return found

    def placed(self) -> set[Cell]:
        """Return the cells that are in a chunk, be it claimed or not."""
        found: set[Cell] = set()
        for each in self._sets:
            # Twice: a chunk may go back in between.
            for paths in (self.folder.chunks, self._claimed, self.folder.chunks):
                for path in paths(each):
                    with contextlib.suppress(FileNotFoundError):
                        found.update(cells_of(path))
        return found

    def _claimed(self, each: str) -> list[Path]:
        return [claim.path for owner, claim in self.folder.claims(each) if owner != _COORDINATOR]

    def requeue_lost(self, placed: set[Cell]) -> None:
        """Queue what is in no chunk, though nothing came of it: a coordinator died in the middle of moving it.

        Parameters
        ----------
        placed : set of Cell
            As `placed` gave it, before the last records were read: what was finished since is not lost.
        """
        for each, found in self._by_set(sorted(self.unfinished - placed)).items():
            for chunk in chunked(found, self._most):
                self.folder.add_chunk(each, 1, chunk)

    # -- more jobs --------------------------------------------------------------------------------

    def _top_up(self, each: str) -> None:
        """Queue jobs where there is more to do than those that wait or run will see to."""
        name = self._job_name(each)
        alive = [task for task in self._tasks.values() if task.name == name]
        waiting = len(self.folder.chunks(each))
        if not waiting and not alive and each in self._by_set(self.unfinished):
            self.requeue_lost(self.placed())
            waiting = len(self.folder.chunks(each))
        pending = sum(task.state == "PD" for task in alive)
        more = min(self._most - len(self.refused) - len(alive), waiting - pending)
        if not waiting or self._starts_fail(alive) or more <= 0 or time.monotonic() < self._not_before:
            return
        try:
            self._submit(each, more)
        except WorkerStartError as exc:
            if not self._tasks:
                raise
            self._not_before = time.monotonic() + _AFTER_REFUSAL
            self._warn("refused", str(exc))

    def _starts_fail(self, alive: Sequence[Task]) -> bool:
        """Whether jobs that were to work did not: then there are no more, until one of those that are left works.

        Raises
        ------
        WorkerStartError
            None is left.
        """
        if not alive and len(self.refused) >= min(self._most, _FAILED_STARTS):
            raise self.refused[0]
        if not alive and len(self._failed_starts) >= _FAILED_STARTS:
            last = self._failed_starts[-1]
            raise WorkerStartError(
                f"{len(self._failed_starts)} jobs in a row ended before they had begun a cell. "
                f"The log of the last, {self._log_of(last)}"
            )
        return len(self._failed_starts) >= _FAILED_STARTS

    def _log_of(self, task: str) -> str:
        path = self.folder.logs / f"{task}.log"
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LOG_LINES:]
        except OSError:
            return f"{path}, was never written: can the nodes write to this folder?"
        return f"{path}, ends with:\n" + "\n".join(lines or ["(nothing)"])

    def _submit(self, each: str, count: int) -> None:
        options = self._sets[each]["options"]
        largest = commands.largest_array()
        while count > 0:
            tasks = min(count, largest)
            array = commands.submit(
                self.folder.script, [str(self.folder.path), each],
                options=options, name=self._job_name(each), tasks=tasks, log=self.folder.logs,
            )  # fmt: skip
            for index in range(tasks):
                task = commands.Task(f"{array}_{index}", self._job_name(each), "PD", "")
                self._tasks[task.id] = task
            _LOGGER.info("queued %s in SLURM, %s", counted(tasks, "job"), array)
            count -= tasks

    def _warn_of_held(self) -> None:
        for task in self._tasks.values():
            if task.state == "PD" and task.reason.strip("()").startswith(_HELD):
                self._warn(
                    task.id, f"job {task.id} waits for ever ({task.reason}): release it with scontrol, or cancel it"
                )

    def _warn(self, key: str, text: str) -> None:
        if key not in self._warned:
            self._warned.add(key)
            _LOGGER.warning("%s", text)

    # -- the end ----------------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        """Whether a job that has worked has not reported yet."""
        return any(life.task in self._tasks for life in self._lives.values() if not (life.over or life.reported))

    def cancel(self, *, waiting: bool = False) -> None:
        """Cancel all jobs, or those alone that have not begun."""
        for name in self.names:
            commands.cancel(name, waiting=waiting)

    def discard(self) -> None:
        """Remove what was needed for running: all outcomes have been taken in. The logs stay."""
        self.folder.manifest.unlink(missing_ok=True)
        for each in (self.folder.queue, self.folder.claimed, self.folder.records, self.folder.pruned):
            shutil.rmtree(each, ignore_errors=True)
        for path in (self.folder.parcel, self.folder.taken):
            path.unlink(missing_ok=True)
