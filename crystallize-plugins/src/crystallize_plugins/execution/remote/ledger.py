"""`Ledger`: the coordinator's account of cells that run on other hosts: each is done once, whatever gets lost."""

from __future__ import annotations

import logging
import pickle
from typing import TYPE_CHECKING, Any

from crystallize.errors import SerializationError, WorkerCrashError
from crystallize.hooks import Attempt, Cell
from crystallize.hooks.tools import check_count
from crystallize_plugins.execution.processes.cell_queue import CellQueue
from crystallize_plugins.execution.processes.output import OutputReceiver

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from crystallize.hooks import CellOutcome, ExperimentView, RunCell

__all__ = ["Ledger"]

_LOGGER = logging.getLogger("crystallize")


class Ledger:
    """Which cells of a run are to be handed out, are out, and are done.

    Parameters
    ----------
    experiment : ExperimentView
        What `run_experiment_loop` was given.
    cells : sequence of Cell
        The same.
    run_cell : RunCell
        The same; what comes from other hosts goes through it to the plugins of the run.
    max_losses : int, default 2
        How often the host of a cell may be lost; once more, and the cell has failed.
    group_of : callable of str, optional
        Gives what cells of a condition have in common; no batch holds cells of two groups. By default there is one
        group, None.

    Attributes
    ----------
    groups : tuple
        What `group_of` gave, in the order of the cells.
    losses : int
        How many cells were lost.
    stopping : set of Cell
        Those that are out and were asked to stop by whoever heard what they reported; for ``stop`` of `Site.run`.
    workers : dict of str to dict
        By site: ``host``, ``cells``, ``seconds`` and ``losses``.

    Examples
    --------
    A whole executor, of which `send` and `arrived` are the engine's::

        parcel = pack(experiment, run_cell)
        ledger = Ledger(experiment, cells, run_cell)
        while ledger.unfinished:
            while batch := ledger.batch():
                send(parcel, batch)
            for data in arrived():
                yield ledger.take(data)
    """

    def __init__(
        self,
        experiment: ExperimentView,
        cells: Sequence[Cell],
        run_cell: RunCell,
        *,
        max_losses: int = 2,
        group_of: Callable[[str], Hashable] | None = None,
    ) -> None:
        self._experiment = experiment
        self._run_cell = run_cell
        self._max_losses = check_count(max_losses, what="max_losses", minimum=0)
        self._queues: dict[Hashable, tuple[Sequence[Cell], CellQueue]] = {}
        for group, those in _grouped(cells, group_of).items():
            self._queues[group] = those, CellQueue(cell.condition for cell in those)
        self.groups = tuple(self._queues)
        self._out: dict[Cell, tuple[CellQueue, int]] = {}
        self._lost: dict[Cell, int] = {}
        self._output = OutputReceiver(run_cell)
        self.losses = 0
        self.stopping: set[Cell] = set()
        self.workers: dict[str, dict[str, Any]] = {}

    @property
    def unfinished(self) -> int:
        """How many cells are not done."""
        return sum(queue.unfinished for _, queue in self._queues.values())

    def waiting(self, group: Hashable = None) -> int:
        """Return how many cells of a group nobody has."""
        queue = self._queues[group][1] if group in self._queues else None
        return 0 if queue is None else queue.waiting + queue.suspected

    def batch(self, seconds: float = 0.2, *, group: Hashable = None, workers: int = 1) -> list[Cell]:
        """Take the next cells: about so much work, by what cells of their conditions took before.

        Parameters
        ----------
        seconds : float, default 0.2
            A condition of which nothing has come yet ends a batch.
        group : hashable, default None
            One of `groups`.
        workers : int, default 1
            How many take batches, so that at the end none gets so much that the others stand idle.

        Returns
        -------
        list of Cell
            Empty where no cell of the group waits. A cell that was lost twice comes alone.
        """
        if group not in self._queues:
            return []
        cells, queue = self._queues[group]
        indexes = [queue.suspect()] if queue.has_suspects else queue.batch(workers, seconds)
        taken = [cells[index] for index in indexes]
        self._out.update(zip(taken, ((queue, index) for index in indexes), strict=True))
        return taken

    def take(self, data: bytes) -> list[CellOutcome]:
        """Read what `Site.run`, its ``emit`` or `Site.close` gave.

        What cells printed, logged (with the record's ``cell``) and warned of is printed, logged and warned of here;
        events go to the plugins.

        Returns
        -------
        list of CellOutcome
            Of cells that were not done yet: each comes once, however often it ran.

        Raises
        ------
        KeyboardInterrupt
            A step has raised it. What else had come is lost with it.
        """
        site, host, news = pickle.loads(data)
        outcomes: list[CellOutcome] = []
        interrupted = None
        for kind, *rest in news:
            if kind == "outcomes":
                outcomes.extend(filter(self._finished, pickle.loads(rest[0])))
            elif kind == "outcome":
                cell, encoded, cause = rest
                outcomes.extend(filter(self._finished, [self._rebuilt(Cell(*cell), encoded, cause, site)]))
            elif kind == "event":
                asked = self._output.event(rest[0])
                if asked is not None and asked in self._out:
                    self.stopping.add(asked)
            elif kind == "retried":
                cell, attempt, delay = rest
                self._run_cell.retried(Cell(*cell), Attempt(*attempt), delay)
            elif kind == "report":
                self._run_cell.absorb(pickle.loads(rest[0]))
            elif kind == "interrupted":
                interrupted = rest[0]
            else:
                self._output.take(kind, *rest)
        account = self._account(site, host)
        account["cells"] += len(outcomes)
        account["seconds"] += sum(outcome.duration for outcome in outcomes)
        if interrupted is not None:
            raise KeyboardInterrupt(interrupted)
        return outcomes

    def lost(self, cells: Iterable[Cell], reason: str, *, site: str = "") -> list[CellOutcome]:
        """Note cells whose host is gone: they are handed out again.

        Parameters
        ----------
        cells : iterable of Cell
            What `batch` gave; those that are done meanwhile, or not out, are left alone.
        reason : str
            How it was lost, such as ``"the Dask worker tcp://10.0.0.7:41023 left"``.
        site : str, optional
            Whose account the loss goes to.

        Returns
        -------
        list of CellOutcome
            Of cells that were lost more than `max_losses` times: their error is a `WorkerCrashError`.
        """
        failed: list[CellOutcome] = []
        back: dict[CellQueue, list[int]] = {}
        for cell in cells:
            if cell not in self._out:
                continue
            self.losses += 1
            if site:
                self._account(site, "")["losses"] += 1
            self.stopping.discard(cell)
            times = self._lost[cell] = self._lost.get(cell, 0) + 1
            queue, index = self._out[cell]
            if times > self._max_losses:
                error = WorkerCrashError(
                    f"condition {cell.condition!r}, replicate {cell.replicate} was lost with its host {times} times, "
                    f"and max_losses is {self._max_losses}; the last time, {reason}"
                )
                failed.extend(filter(self._finished, [self._run_cell.failed(cell, error, worker=site or "lost")]))
                continue
            del self._out[cell]
            if times > 1:
                queue.suspect_again(index)
            else:
                back.setdefault(queue, []).append(index)
        for queue, indexes in back.items():
            queue.give_back(indexes)
        return failed

    def returned(self, cells: Iterable[Cell]) -> None:
        """Take cells back that nobody has begun; that is no loss."""
        for cell in cells:
            if cell in self._out:
                queue, index = self._out.pop(cell)
                queue.give_back([index])

    def _finished(self, outcome: CellOutcome) -> bool:
        queue, index = self._out.pop(outcome.cell, (None, 0))
        if queue is None:
            return False
        self._lost.pop(outcome.cell, None)
        self.stopping.discard(outcome.cell)
        return queue.finished(index, outcome.duration)

    def _rebuilt(self, cell: Cell, encoded: bytes, cause: bytes, worker: str) -> CellOutcome:
        try:
            outcome: CellOutcome = pickle.loads(encoded)
            if outcome.error is not None:
                outcome.error.original_exception = outcome.error.__cause__ = pickle.loads(cause)
        except Exception as exc:  # noqa: BLE001 - user code: that cell fails, by name, and no other
            reason = SerializationError(
                f"what the cell recorded cannot be rebuilt outside its worker process ({type(exc).__name__}: {exc}); "
                "record numbers, text or arrays instead"
            )
            return self._run_cell.failed(cell, reason, worker=worker)
        return outcome

    def _account(self, site: str, host: str) -> dict[str, Any]:
        account = self.workers.setdefault(site, {"host": host, "cells": 0, "seconds": 0.0, "losses": 0})
        account["host"] = account["host"] or host
        return account


def _grouped(cells: Sequence[Cell], group_of: Callable[[str], Hashable] | None) -> dict[Hashable, Sequence[Cell]]:
    if group_of is None:
        return {None: cells}
    found: dict[Hashable, list[Cell]] = {}
    known: dict[str, list[Cell]] = {}
    for cell in cells:
        those = known.get(cell.condition)
        if those is None:
            those = known[cell.condition] = found.setdefault(group_of(cell.condition), [])
        those.append(cell)
    return dict(found)
