"""Running a graph: each experiment as soon as those that it depends on are done."""

from __future__ import annotations

import logging
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from crystallize.checks import check_count
from crystallize.engine.failure import say_how_to_go_on
from crystallize.engine.program import steps_are_async
from crystallize.experiments.graphs._branches import Branch, end
from crystallize.experiments.graphs._schedule import Schedule
from crystallize.hooks.roles import ExecutorPlugin, SeederPlugin

if TYPE_CHECKING:
    import asyncio

    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.graphs._planning import GraphPlan, PlannedRun
    from crystallize.experiments.graphs._schedule import GraphResults

__all__ = ["arun_plan", "run_plan"]

_LOGGER = logging.getLogger("crystallize")
_LOOK_EVERY = 0.2


def run_plan(plan: GraphPlan, max_parallel: int | None) -> GraphResults:
    """Run a graph from plain code."""
    limit = _limit(max_parallel)
    schedule = Schedule(plan)
    waiting: list[PlannedRun] = []
    branches: dict[str, Branch] = {}
    over: SimpleQueue[Branch] = SimpleQueue()
    watch = _Overlaps()
    try:
        while True:
            waiting += schedule.startable()
            if not waiting and not branches:
                return schedule.done()
            if len(waiting) == 1 and not branches:
                _run_here(schedule, waiting.pop())
                continue
            while waiting and len(branches) < limit:
                run = waiting.pop(0)
                watch.note(run.name, run.experiment, branches)
                branches[run.name] = Branch(run, over.put)
            for branch in _arrived(over):
                del branches[branch.run.name]
                _settle(schedule, branch)
    except BaseException as exc:
        end(branches.values())
        for branch in branches.values():
            if branch.result is not None:
                schedule.finished(branch.run.name, branch.result)
        _attach(exc, schedule)
        raise


async def arun_plan(plan: GraphPlan, max_parallel: int | None) -> GraphResults:
    """Run a graph in the running event loop: what awaits in the loop itself, everything else in threads."""
    import asyncio

    limit = _limit(max_parallel)
    schedule = Schedule(plan)
    loop = asyncio.get_running_loop()
    waiting: list[PlannedRun] = []
    branches: dict[str, Branch] = {}
    tasks: dict[asyncio.Future[Any], PlannedRun] = {}
    watch = _Overlaps()
    try:
        while True:
            waiting += schedule.startable()
            if not waiting and not tasks:
                return schedule.done()
            while waiting and len(tasks) < limit:
                run = waiting.pop(0)
                watch.note(run.name, run.experiment, [other.name for other in tasks.values()])
                if _awaits(run.experiment):
                    tasks[asyncio.ensure_future(_in_loop(run))] = run
                else:
                    tasks[_in_thread(run, branches, loop)] = run
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                run = tasks.pop(task)
                branches.pop(run.name, None)
                error = task.exception()
                if error is None:
                    schedule.finished(run.name, task.result())
                else:
                    _raised(schedule, run.name, error)
    except BaseException as exc:
        for task in tasks:
            task.cancel()
        await asyncio.shield(loop.run_in_executor(None, end, list(branches.values())))
        await asyncio.gather(*tasks, return_exceptions=True)
        _attach(exc, schedule)
        raise


def _limit(max_parallel: int | None) -> float:
    return float("inf") if max_parallel is None else check_count(max_parallel, what="max_parallel")


def _run_here(schedule: Schedule, run: PlannedRun) -> None:
    """Run an experiment that is alone in the calling thread, where Ctrl-C reaches it."""
    try:
        result = run.experiment.run(**run.arguments)
    except Exception as exc:  # noqa: BLE001 - raised once what does not depend on it has run
        schedule.raised(run.name, exc)
    else:
        schedule.finished(run.name, result)


def _arrived(over: SimpleQueue[Branch]) -> list[Branch]:
    # With a limit: where Ctrl-C is delivered to another thread, nothing else wakes this one.
    try:
        return [over.get(timeout=_LOOK_EVERY)]
    except Empty:
        return []


def _settle(schedule: Schedule, branch: Branch) -> None:
    if branch.error is None:
        schedule.finished(branch.run.name, branch.result)
    else:
        _raised(schedule, branch.run.name, branch.error)


def _raised(schedule: Schedule, name: str, error: BaseException) -> None:
    """Take in an error, which waits until the others are done; what is no ordinary one ends the graph."""
    if not isinstance(error, Exception):
        raise error
    schedule.raised(name, error)


def _awaits(experiment: Experiment) -> bool:
    return steps_are_async(experiment.pipeline) or bool(getattr(experiment.datasource, "is_async", False))


async def _in_loop(run: PlannedRun) -> Any:
    return await run.experiment.arun(**run.arguments)


def _in_thread(run: PlannedRun, branches: dict[str, Branch], loop: asyncio.AbstractEventLoop) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = loop.create_future()

    def settle(branch: Branch) -> None:
        if future.done():
            return
        if branch.error is None:
            future.set_result(branch.result)
        else:
            future.set_exception(branch.error)

    branches[run.name] = Branch(run, lambda branch: loop.call_soon_threadsafe(settle, branch))
    return future


def _attach(exc: BaseException, schedule: Schedule) -> None:
    """Keep what was collected with whatever ends the graph early."""
    if not hasattr(exc, "results"):
        exc.results = schedule.results()  # type: ignore[attr-defined]
    if isinstance(exc, KeyboardInterrupt) and not exc.args:
        say_how_to_go_on(exc, 'to go on: run(strategy="resume")')


class _Overlaps:
    """Says once which experiments share the global random state."""

    def __init__(self) -> None:
        self._seeding: dict[str, str] = {}
        self._told = False

    def note(self, name: str, experiment: Experiment, running: Any) -> None:
        plugin = _seeds_here(experiment)
        if plugin is None:
            return
        self._seeding[name] = plugin
        beside = [other for other in running if other in self._seeding]
        if beside and not self._told:
            self._told = True
            _LOGGER.warning(
                "experiments %s and %r run at the same time in this process and share one global random state, and %s "
                "seeds that state for each cell: numbers that steps draw from it are not reproducible in this run. "
                "Draw from ctx.rng, which gives the same numbers always, run the cells in processes "
                '(ParallelExecution(executor_type="process")), or use run(max_parallel=1)',
                ", ".join(map(repr, beside)), name, plugin,
            )  # fmt: skip


def _seeds_here(experiment: Experiment) -> str | None:
    """Name the plugin that seeds the global state of this process for each cell, if one does."""
    for plugin in experiment.plugins:
        if isinstance(plugin, ExecutorPlugin) and plugin.cells_leave_process:
            return None
    seeders = (plugin for plugin in experiment.plugins if isinstance(plugin, SeederPlugin))
    return next((type(seeder).__name__ for seeder in seeders if seeder.seeds_global_state), None)
