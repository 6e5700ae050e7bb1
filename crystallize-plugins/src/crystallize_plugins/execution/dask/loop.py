"""`DaskLoop`: the coordinator's part of a run on a Dask cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import queue
import time
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crystallize.errors import WorkerCrashError, WorkerStartError
from crystallize.hooks import STOPS
from crystallize.hooks.tools import counted, fresh_id
from crystallize_plugins.execution.dask import worker as there
from crystallize_plugins.execution.remote import Ledger, pack
from crystallize_plugins.execution.remote.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from crystallize.hooks import Cell, CellOutcome, ExperimentView, RunCell
    from crystallize_plugins.execution.dask.cluster import Cluster
    from crystallize_plugins.execution.dask.executor import DaskExecution

__all__ = ["DaskLoop"]

_LOGGER = logging.getLogger("crystallize")
_LOOK_EVERY = 0.5
"""Seconds after which the workers of the cluster are looked at."""
_IN_VAIN = 10.0
"""Seconds after which it is said that nobody takes cells."""
_TO_ARRIVE = 2.0
"""Seconds after which it is asked whether the worker that has a result is still there."""


@dataclass
class _Worker:
    """A Dask worker as the run knows it."""

    address: str
    threads: int
    resources: Mapping[str, float]
    opening: Any = None
    """The future of `worker.begin`."""
    name: str = ""
    """Of its site; empty as long as that is not open."""
    refused: bool = False
    out: dict[str, list[Cell]] = field(default_factory=dict)
    """What it was given, by the task's key."""
    begun: set[str] = field(default_factory=set)


class DaskLoop:
    """Runs cells on a cluster; iterate over it for the outcomes.

    Each batch is given to one worker by name, so that it is known whose cells are lost with whom, and Dask runs none of
    them again by itself.

    Parameters
    ----------
    plugin : DaskExecution
        With the settings.
    cluster : Cluster
    experiment : ExperimentView
    cells : sequence of Cell
    run_cell : RunCell
    facts : dict
        Gets what the record says.
    """

    def __init__(
        self,
        plugin: DaskExecution,
        cluster: Cluster,
        experiment: ExperimentView,
        cells: Sequence[Cell],
        run_cell: RunCell,
        facts: dict[str, Any],
    ) -> None:
        self._plugin = plugin
        self._cluster = cluster
        self._client = cluster.client
        self._run = experiment.run.id
        self._ledger = Ledger(
            experiment, cells, run_cell, max_losses=plugin.max_losses, group_of=self._group_of_condition
        )
        self._parcel = pack(experiment, run_cell, ship=plugin.ship)
        self._content: Any = None
        self._topic = f"crystallize-{fresh_id()}"
        self._workers: dict[str, _Worker] = {}
        self._futures: dict[str, tuple[Any, _Worker]] = {}
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._told: set[Cell] = set()
        self._standing = Standing("Dask", self._ledger, facts)
        self._number = 0
        self._seen = self._began = time.monotonic()

    def _group_of_condition(self, condition: str) -> tuple[tuple[str, float], ...]:
        wanted = self._plugin.condition_resources.get(condition, self._plugin.resources)
        return tuple(sorted(wanted.items()))

    # -- the loop ---------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[list[CellOutcome]]:
        """Run every cell; a run that is interrupted may get the last ones twice."""
        sound = False
        try:
            self._client.subscribe_topic(self._topic, self._hear)
            self._scatter()
            self._look()
            try:
                yield from self._arriving()
                sound = True
            except STOPS:
                yield self._gathered()
                raise
        finally:
            self._end(sound)

    def _arriving(self) -> Iterator[list[CellOutcome]]:
        while self._ledger.unfinished:
            yield self._listen()
            if time.monotonic() - self._seen > _LOOK_EVERY:
                yield self._look()
            self._hand_out()
            self._pass_on_requests()

    def _hear(self, event: tuple[float, Any]) -> None:
        # In the client's own thread.
        self._news.put(("event", event[1]))

    def _listen(self) -> list[CellOutcome]:
        """Take in what has come; wait a moment where nothing has."""
        outcomes: list[CellOutcome] = []
        done: list[str] = []
        with contextlib.suppress(queue.Empty):
            kind, what = self._news.get(timeout=0.1)
            while True:
                if kind == "done":
                    done.append(what)
                elif isinstance(what, bytes):
                    outcomes.extend(self._ledger.take(what))
                elif what in self._futures:
                    self._futures[what][1].begun.add(what)
                kind, what = self._news.get_nowait()
        for key in done:
            if key in self._futures:
                outcomes.extend(self._take(key, *self._futures.pop(key)))
        return outcomes

    def _gathered(self) -> list[CellOutcome]:
        """Return the outcomes of batches that are done, when the run is being stopped."""
        outcomes: list[CellOutcome] = []
        for key, (future, worker) in list(self._futures.items()):
            if future.status == "finished":
                del self._futures[key]
                with contextlib.suppress(Exception):
                    outcomes.extend(self._take(key, future, worker))
        return outcomes

    def _take(self, key: str, future: Any, worker: _Worker) -> list[CellOutcome]:
        if future is worker.opening:
            self._take_site(future, worker)
            return []
        cells = worker.out.pop(key)
        worker.begun.discard(key)
        if future.status == "finished":
            outcomes: list[CellOutcome] = []
            arrived, news = self._result(future, worker)
            if not arrived:
                return self._ledger.lost(cells, f"the Dask worker {worker.address} left", site=worker.name)
            if news is None:
                self._ledger.returned(cells)
                worker.name, worker.opening = "", None
            for data in news or ():
                outcomes.extend(self._ledger.take(data))
            return outcomes
        if future.status == "cancelled":  # the scheduler has forgotten it, with its worker
            return self._ledger.lost(cells, f"the Dask worker {worker.address} left", site=worker.name)
        reason, site = future.exception(), worker.name
        worker.name, worker.opening = "", None  # its site is gone: it opens another
        if isinstance(reason, WorkerStartError):
            self._refuse(worker, reason)
            self._ledger.returned(cells)
            return []
        return self._ledger.lost(cells, f"{type(reason).__name__}: {reason}", site=site)

    def _result(self, future: Any, worker: _Worker) -> tuple[bool, Any]:
        """Return whether the result of a finished task could be had, and what it is: it goes with its worker.

        Dask would have the task run again, on the worker that is gone, and wait for that.
        """
        while True:
            try:
                return True, future.result(timeout=_TO_ARRIVE)
            except (TimeoutError, asyncio.TimeoutError):
                if worker.address not in self._known():
                    return False, None
            except CancelledError:
                return False, None

    # -- workers ----------------------------------------------------------------------------------

    def _scatter(self) -> None:
        """Send the parcel to the workers that there are; those that come later get it of them."""
        self._content = self._client.scatter(pickle.dumps(self._parcel, 5), broadcast=True, hash=False)

    def _known(self) -> Mapping[str, Any]:
        """Return the workers of the cluster, by address."""
        try:
            try:
                found = self._client.scheduler_info(n_workers=-1)
            except TypeError:  # earlier releases give all
                found = self._client.scheduler_info()
        except Exception as exc:
            raise self._without_scheduler() from exc
        if self._client.status != "running":
            raise self._without_scheduler()
        workers: Mapping[str, Any] = found["workers"]
        return workers

    def _without_scheduler(self) -> WorkerCrashError:
        return WorkerCrashError(
            "the scheduler of the Dask cluster is gone. What had finished is stored where the experiment stores its "
            "runs: run(strategy='resume') goes on from there"
        )

    def _look(self) -> list[CellOutcome]:
        """Notice workers that have come or left."""
        self._cluster.look_after()
        known = self._known()
        outcomes: list[CellOutcome] = []
        for address in [address for address in self._workers if address not in known]:
            outcomes.extend(self._forget(self._workers.pop(address)))
        for address, facts in known.items():
            if address not in self._workers:
                self._workers[address] = _Worker(address, facts["nthreads"], facts.get("resources") or {})
        for worker in self._workers.values():
            if worker.opening is None and not worker.refused:
                self._open(worker)
        self._seen = time.monotonic()
        self._check_anybody()
        return outcomes

    def _forget(self, worker: _Worker) -> list[CellOutcome]:
        outcomes: list[CellOutcome] = []
        for key, cells in worker.out.items():
            self._futures.pop(key, None)
            if key in worker.begun:
                reason = f"the Dask worker {worker.address} left"
                outcomes.extend(self._ledger.lost(cells, reason, site=worker.name))
            else:
                self._ledger.returned(cells)
        if worker.opening is not None:
            self._futures.pop(worker.opening.key, None)
        return outcomes

    def _open(self, worker: _Worker) -> None:
        if self._content.status != "finished":  # its last copy died
            self._scatter()
        worker.opening = self._submit(worker, there.begin, self._content, isolate=self._plugin.isolate)

    def _submit(self, worker: _Worker, function: Any, *arguments: Any, key: str = "", **named: Any) -> Any:
        self._number += 1
        key = key or f"{self._topic}-{self._number}"
        future = self._client.submit(
            function,
            *arguments,
            key=key,
            pure=False,
            workers=[worker.address],
            priority=self._plugin.priority,
            **named,
        )
        self._futures[key] = future, worker
        future.add_done_callback(lambda future: self._news.put(("done", future.key)))
        return future

    def _take_site(self, future: Any, worker: _Worker) -> None:
        if future.status == "finished":
            arrived, opened = self._result(future, worker)
            if not arrived:
                return
            worker.name, host, drift = opened
            self._standing.opened(worker.name, host, drift)
            return
        worker.opening = None
        if future.status == "cancelled":  # the parcel died with its last copy: `_look` opens it anew
            return
        self._refuse(worker, future.exception())

    def _refuse(self, worker: _Worker, reason: Any) -> None:
        """Give a worker no cells any more, and say why."""
        worker.refused = True
        self._standing.refuse(worker.address, reason)

    def _check_anybody(self) -> None:
        """Raise where every worker was refused; warn where nobody takes cells."""
        if self._workers and all(worker.refused for worker in self._workers.values()):
            raise self._standing.nobody_left()
        if time.monotonic() - self._began < _IN_VAIN:
            return
        if not self._workers:
            self._standing.say_once("the Dask cluster has had no worker for %g s: cells run when one comes", _IN_VAIN)
        for group in self._ledger.groups:
            if group != () and self._workers and self._ledger.waiting(group) and not any(self._offers(group)):
                shown = ", ".join(f"{name}={amount:g}" for name, amount in group)  # type: ignore[attr-defined]
                self._standing.say_once(
                    "no Dask worker offers the resources %s: cells that take them wait for one that does (dask worker "
                    "--resources)",
                    shown,
                )

    # -- batches ----------------------------------------------------------------------------------

    def _offers(self, group: Any) -> Iterator[_Worker]:
        for worker in self._workers.values():
            if not worker.refused and all(worker.resources.get(name, 0) >= amount for name, amount in group):
                yield worker

    def _slots(self, worker: _Worker, group: Any) -> int:
        shares = [int(worker.resources[name] // amount) for name, amount in group]
        return min([worker.threads, *shares])

    def _hand_out(self) -> None:
        """Have each worker at work, and for each of its threads one batch that waits there."""
        ready = [worker for worker in self._workers.values() if worker.name]
        threads = sum(worker.threads for worker in ready)
        for group in self._ledger.groups:
            for worker in self._offers(group):
                while worker.name and len(worker.out) < 2 * self._slots(worker, group):
                    cells = self._ledger.batch(group=group, workers=max(1, threads))
                    if not cells:
                        break
                    self._send(worker, cells, dict(group))  # type: ignore[call-overload]

    def _send(self, worker: _Worker, cells: list[Cell], resources: dict[str, float]) -> None:
        self._number += 1
        key = f"{self._topic}-{self._number}"
        worker.out[key] = cells
        self._submit(
            worker, there.run_batch, self._parcel.id, cells, self._topic, key, key=key, resources=resources or None
        )

    def _pass_on_requests(self) -> None:
        asked = self._ledger.stopping - self._told
        if not asked:
            return
        self._told |= asked
        for worker in self._workers.values():
            cells = [cell for several in worker.out.values() for cell in several if cell in asked]
            if cells:
                # Of a worker that has just left, `_look` hears.
                self._client.run(
                    there.ask_to_stop,
                    self._parcel.id,
                    cells,
                    workers=[worker.address],
                    wait=False,
                    on_error="ignore",
                )

    # -- the end ----------------------------------------------------------------------------------

    def _end(self, sound: bool) -> None:
        import distributed

        self._standing.record(distributed.__version__)  # type: ignore[attr-defined]
        addresses = [worker.address for worker in self._workers.values() if worker.opening is not None]
        with contextlib.suppress(Exception):  # the scheduler may be gone
            self._client.unsubscribe_topic(self._topic)
        try:
            if not sound:
                self._client.cancel([future for future, _ in self._futures.values()], force=True)
            function = there.close_site if sound else there.kill_site
            reports = self._client.run(function, self._parcel.id, workers=addresses, on_error="return")
            for report in reports.values():
                if isinstance(report, bytes):
                    self._ledger.take(report)
        except Exception as exc:
            if sound:
                raise
            _LOGGER.debug("%s of the Dask cluster did not answer: %s", counted(len(addresses), "worker"), exc)
        self._futures.clear()
        self._workers.clear()
        self._content = None
