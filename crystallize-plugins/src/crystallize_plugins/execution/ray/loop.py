"""`RayLoop`: the coordinator's part of a run on a Ray cluster."""

from __future__ import annotations

import contextlib
import pickle
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from crystallize.errors import WorkerStartError
from crystallize.hooks import STOPS
from crystallize_plugins.execution.ray.worker import RaySite
from crystallize_plugins.execution.remote import Ledger, pack
from crystallize_plugins.execution.remote.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from crystallize.hooks import Cell, CellOutcome, ExperimentView, RunCell
    from crystallize_plugins.execution.ray.executor import RayExecution

__all__ = ["RayLoop"]

_LOOK_EVERY = 0.5
"""Seconds after which the machines of the cluster are looked at."""
_IN_VAIN = 10.0
"""Seconds after which it is said that nobody takes cells."""
_TO_CLOSE = 35.0
"""Seconds; a site takes thirty at most."""
_OWN = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
"""Ray's names of resources, by those that its machines list."""

_AHEAD = 2
"""Batches that an actor has: one at work, and one that waits there."""
_TRIES = 3
"""How often an actor can end on a machine before it has opened its site; such as where there is no Crystallize."""
_ONCE: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0, "concurrency_groups": {"cells": 1, "asked": 1}}
_ACTOR: Any = ray.remote(**_ONCE)(RaySite)

Group = tuple[tuple[str, float], ...]


@dataclass(eq=False)
class _Worker:
    """An actor as the run knows it."""

    node: str
    group: Group
    actor: Any
    opening: Any
    """The reference of what `RaySite.open` gives."""
    name: str = ""
    """Of its site; empty as long as that is not open."""
    out: dict[Any, list[Cell]] = field(default_factory=dict)
    """What it was given, by the generator of what comes of it."""
    begun: set[Any] = field(default_factory=set)


class RayLoop:
    """Runs cells on a cluster; iterate over it for the outcomes.

    Each actor is bound to one machine, so that a machine that was refused gets no other; Ray starts none again and
    repeats no batch, since the ledger does that, with an account of losses.

    Parameters
    ----------
    plugin : RayExecution
        With the settings.
    experiment : ExperimentView
    cells : sequence of Cell
    run_cell : RunCell
    facts : dict
        Gets what the record says.
    """

    def __init__(
        self,
        plugin: RayExecution,
        experiment: ExperimentView,
        cells: Sequence[Cell],
        run_cell: RunCell,
        facts: dict[str, Any],
    ) -> None:
        self._plugin = plugin
        self._ledger = Ledger(
            experiment, cells, run_cell, max_losses=plugin.max_losses, group_of=self._group_of_condition
        )
        self._standing = Standing("Ray", self._ledger, facts)
        self._content: Any = ray.put(pickle.dumps(pack(experiment, run_cell, ship=plugin.ship), 5))
        self._workers: list[_Worker] = []
        self._refused: set[str] = set()
        self._failures: dict[str, int] = {}
        self._told: set[Cell] = set()
        self._seen = self._began = time.monotonic()

    def _group_of_condition(self, condition: str) -> Group:
        names = {"cpu": "CPU", "gpu": "GPU"}
        wanted = self._plugin.condition_resources.get(condition, self._plugin.resources)
        named = {names.get(name.lower(), name): amount for name, amount in wanted.items()}
        return tuple(sorted({"CPU": self._plugin.num_cpus, "GPU": self._plugin.num_gpus, **named}.items()))

    # -- the loop ---------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[list[CellOutcome]]:
        """Run every cell; a run that is interrupted may get the last ones twice."""
        sound = False
        try:
            self._look()
            try:
                while self._ledger.unfinished:
                    yield self._listen()
                    if time.monotonic() - self._seen > _LOOK_EVERY:
                        self._look()
                    self._hand_out()
                    self._pass_on_requests()
                sound = True
            except STOPS:
                with contextlib.suppress(RayError):
                    yield self._listen(0)
                raise
        finally:
            self._end(sound)

    def _listen(self, seconds: float = 0.1) -> list[CellOutcome]:
        """Take in what has come; wait a moment where nothing has."""
        sources = {source: worker for worker in self._workers for source in worker.out}
        sources.update({worker.opening: worker for worker in self._workers if not worker.name})
        if not sources:
            time.sleep(seconds)
            return []
        ready, _ = ray.wait(list(sources), timeout=seconds, fetch_local=False)
        if ready:
            ready, _ = ray.wait(list(sources), num_returns=len(sources), timeout=0, fetch_local=False)
        outcomes: list[CellOutcome] = []
        for source in ready:
            worker = sources[source]
            if source is worker.opening:
                self._take_site(worker)
            elif source in worker.out:  # else its worker was given up of late
                outcomes.extend(self._take(worker, source))
        return outcomes

    def _take(self, worker: _Worker, source: Any) -> list[CellOutcome]:
        try:
            data = ray.get(next(source))
        except StopIteration:
            del worker.out[source]
            worker.begun.discard(source)
            return []
        except RayError as exc:
            reason = exc.cause if isinstance(exc, RayTaskError) else exc
            if isinstance(reason, WorkerStartError):
                self._refuse(worker.node, reason)
            return self._give_up(worker, str(reason).strip().replace("\n", "; "))
        worker.begun.add(source)
        return self._ledger.take(data) if data else []

    def _take_site(self, worker: _Worker) -> None:
        try:
            worker.name, host, drift = ray.get(worker.opening)
        except RayTaskError as exc:
            self._refuse(worker.node, exc.cause)
            self._give_up(worker, "")
        except RayError as exc:
            self._give_up(worker, "")
            self._failures[worker.node] = self._failures.get(worker.node, 0) + 1
            if self._failures[worker.node] >= _TRIES:
                self._refuse(worker.node, exc)
        else:
            self._standing.opened(worker.name, host, drift)

    def _give_up(self, worker: _Worker, reason: str) -> list[CellOutcome]:
        """End an actor; what it had begun is lost."""
        self._workers.remove(worker)
        ray.kill(worker.actor)
        outcomes: list[CellOutcome] = []
        for source, cells in worker.out.items():
            if source in worker.begun:
                outcomes.extend(self._ledger.lost(cells, reason, site=worker.name))
            else:
                self._ledger.returned(cells)
        worker.out.clear()
        return outcomes

    def _refuse(self, node: str, reason: Any) -> None:
        if node not in self._refused:
            self._refused.add(node)
            self._standing.refuse(node, reason)

    # -- who there is -----------------------------------------------------------------------------

    def _look(self) -> None:
        """Start actors where there is room and work for them."""
        nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
        offered = False
        for group in self._ledger.groups:
            room = {node: _room(there, group) for node, there in nodes.items()}  # type: ignore[arg-type]
            able = [node for node, count in room.items() if count]
            offered = offered or any(node not in self._refused for node in able)
            if not able and time.monotonic() - self._began > _IN_VAIN:
                shown = ", ".join(f"{name}={amount:g}" for name, amount in group if amount)  # type: ignore[attr-defined]
                self._standing.say_once(
                    "no machine of the Ray cluster offers %s: cells that take them wait for one that does (ray start "
                    "--resources)",
                    shown,
                )
            idle = sum(not worker.out for worker in self._workers if worker.group == group)
            for _ in range(self._ledger.waiting(group) - idle):
                taken = {node: 0 for node in able if node not in self._refused}
                for worker in self._workers:
                    if worker.group == group and worker.node in taken:
                        taken[worker.node] += 1
                free = [node for node, count in taken.items() if count < room[node]]
                if not free or len(self._workers) >= (self._plugin.workers or len(self._workers) + 1):
                    break
                self._start(min(free, key=lambda node: taken[node]), group)  # type: ignore[arg-type]
        if self._refused and not offered:
            raise self._standing.nobody_left()
        self._seen = time.monotonic()

    def _start(self, node: str, group: Group) -> None:
        options = {_OWN[name]: amount for name, amount in group if name in _OWN}
        actor = _ACTOR.options(
            **options,
            resources={name: amount for name, amount in group if name not in _OWN},
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote()
        threads = max(1, int(options["num_cpus"]))
        opening = actor.open.remote(self._content, threads, isolate=self._plugin.isolate)
        self._workers.append(_Worker(node, group, actor, opening))

    # -- batches ----------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        """Have each actor at work, and one batch that waits there."""
        for worker in [worker for worker in self._workers if worker.name]:
            while len(worker.out) < _AHEAD:
                cells = self._ledger.batch(group=worker.group, workers=len(self._workers))
                if not cells:
                    break
                worker.out[worker.actor.run.remote(cells)] = cells
            if not worker.out and len(self._ledger.groups) > 1:  # cells of other conditions may need its room
                self._close([worker])
                self._give_up(worker, "")

    def _pass_on_requests(self) -> None:
        asked = self._ledger.stopping - self._told
        self._told |= asked
        for worker in self._workers if asked else ():
            cells = [cell for several in worker.out.values() for cell in several if cell in asked]
            if cells:
                worker.actor.ask_to_stop.remote(cells)

    # -- the end ----------------------------------------------------------------------------------

    def _close(self, workers: Sequence[_Worker]) -> None:
        for answer in [worker.actor.close.remote() for worker in workers]:
            with contextlib.suppress(RayError):  # gone meanwhile, with nothing that is missed
                self._ledger.take(ray.get(answer, timeout=_TO_CLOSE))

    def _end(self, sound: bool) -> None:
        if sound:
            self._close([worker for worker in self._workers if worker.name])
        for worker in self._workers:
            with contextlib.suppress(RayError):
                ray.kill(worker.actor)
        self._workers = []
        self._content = None
        self._standing.record(ray.__version__)


def _room(there: Mapping[str, float], group: Group) -> int:
    return min(int(there.get(name, 0) / amount) for name, amount in group if amount)
