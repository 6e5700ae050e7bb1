"""Running a graph: each experiment as soon as those that it depends on are done, in threads and in an event loop."""

from __future__ import annotations

import contextvars
import logging
import threading
from concurrent.futures import FIRST_COMPLETED, Future, wait
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from crystallize.checks import check_count
from crystallize.engine.failure import say_how_to_go_on
from crystallize.engine.program import steps_are_async
from crystallize.errors import GraphRunError, UnknownNameError
from crystallize.hooks.roles import ExecutorPlugin, SeederPlugin

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.graphs.planning import GraphPlan, PlannedRun
    from crystallize.results.result import Result

__all__ = ["GraphProgress", "GraphResults", "arun_plan", "run_plan"]


_LOGGER = logging.getLogger("crystallize")


class GraphResults(dict[str, "Result"]):
    """The results of a graph's experiments, by name, in the order in which they depend on each other.

    Attributes
    ----------
    skipped : dict of str to str
        The experiments that were not run, each with the reason.

    Examples
    --------
    >>> GraphResults().skipped
    {}
    """

    def __init__(self) -> None:
        super().__init__()
        self.skipped: dict[str, str] = {}

    def __missing__(self, name: object) -> Result:
        why = self.skipped.get(str(name))
        told = f"was not run ({why})" if why else "is not in the graph"
        raise UnknownNameError(f"the experiment {name!r} {told}; results are there of: {', '.join(self) or 'none'}")


class GraphProgress:
    """The state of a graph that is running; for the use of one thread.

    Parameters
    ----------
    plan : GraphPlan

    Attributes
    ----------
    failures : dict of str to Exception
        What was raised, by experiment.
    """

    def __init__(self, plan: GraphPlan) -> None:
        self._runs = plan.runs
        self._found: dict[str, Result] = {}
        self._stopped: dict[str, str] = {}
        self._skipped: dict[str, str] = {}
        self.failures: dict[str, Exception] = {}
        self._sorter: TopologicalSorter[str] = TopologicalSorter(
            {name: run.upstream for name, run in plan.runs.items()}
        )
        self._sorter.prepare()

    def startable(self) -> list[PlannedRun]:
        """Return the runs whose time has come, each once; what waits for something that failed is passed over."""
        found: list[PlannedRun] = []
        while True:
            ready = self._sorter.get_ready()
            if not ready:
                return found
            for name in ready:
                blocking = [above for above in self._runs[name].upstream if above in self._stopped]
                if blocking:
                    self._skip(name, blocking[0])
                else:
                    found.append(self._runs[name])

    def finished(self, name: str, result: Result) -> None:
        """Take in a result."""
        self._found[name] = result
        if not any(cells["completed"] for cells in result.provenance["cells"].values()):
            self._stopped[name] = "no cell of it succeeded"
        self._sorter.done(name)

    def raised(self, name: str, error: Exception) -> None:
        """Take in that an experiment gave no result."""
        self.failures[name] = error
        partial = getattr(error, "result", None)
        if partial is not None:
            self._found[name] = partial
        self._stopped[name] = f"it raised {type(error).__name__}: {error}"
        self._sorter.done(name)

    def results(self) -> GraphResults:
        """Return what there is so far."""
        found = GraphResults()
        for name in self._runs:
            if name in self._found:
                found[name] = self._found[name]
        found.skipped.update(self._skipped)
        return found

    def done(self) -> GraphResults:
        """Return the results, or raise what experiments raised."""
        if not self.failures:
            return self.results()
        first = next(iter(self.failures.values()))
        raise GraphRunError(self.failures, self.results()) from first

    def _skip(self, name: str, above: str) -> None:
        root = self._skipped.get(above) or f"{above!r}: {self._stopped[above]}"
        self._stopped[name] = root
        self._skipped[name] = root
        _LOGGER.warning("experiment %r is not run, since it depends on experiment %s", name, root)
        self._sorter.done(name)


_GRACE = 1.5
"""Seconds for which an interrupted graph waits for the experiments that are under way."""
_LOOK_EVERY = 0.2
"""Seconds after which the thread that waits looks up: where Ctrl-C is delivered to another, nothing else wakes it."""


class _ExperimentThread:
    """An experiment that runs in a thread of its own; `future` has its result, or what it raised."""

    def __init__(self, run: PlannedRun) -> None:
        self.run = run
        self.future: Future[Result] = Future()
        self.future.set_running_or_notify_cancel()  # from now on nobody can cancel it
        context = contextvars.copy_context()
        # A daemon: a cell that never ends must not keep an interrupted program alive.
        self._thread = threading.Thread(
            target=context.run, args=(self._work,), name=f"crystallize-{run.name}", daemon=True
        )
        self._thread.start()

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the thread, as Ctrl-C does in the main thread."""
        import ctypes

        number = self._thread.ident
        if number is not None and not self.future.done():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(number), ctypes.py_object(KeyboardInterrupt))

    def _work(self) -> None:
        try:
            result = self.run.experiment.run(**self.run.arguments)
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits for this one
            self.future.set_exception(exc)
        else:
            self.future.set_result(result)


class _RunningGraph:
    """A graph on its way: what waits, what runs in which thread, and what has come of it."""

    def __init__(self, plan: GraphPlan, max_parallel: int | None) -> None:
        self._most = None if max_parallel is None else check_count(max_parallel, what="max_parallel")
        self.progress = GraphProgress(plan)
        self.waiting: list[PlannedRun] = []
        self.running: dict[Any, PlannedRun] = {}
        """By the future of each, the event loop's where one runs."""
        self._threads: dict[str, _ExperimentThread] = {}
        self._overlaps = _Overlaps()

    def goes_on(self) -> bool:
        """Look what may start now; return whether anything waits or runs."""
        self.waiting += self.progress.startable()
        return bool(self.waiting or self.running)

    def start(self, begin: Callable[[PlannedRun], Any]) -> None:
        """Start what waits, as much as may run at once; `begin` gives the future of each."""
        while self.waiting and (self._most is None or len(self.running) < self._most):
            run = self.waiting.pop(0)
            self._overlaps.note(run.name, run.experiment, [other.name for other in self.running.values()])
            self.running[begin(run)] = run

    def in_thread(self, run: PlannedRun) -> Future[Result]:
        """Start an experiment in a thread."""
        thread = self._threads[run.name] = _ExperimentThread(run)
        return thread.future

    def settle(self, ended: Iterable[Any]) -> None:
        """Take in what has ended; an ordinary error waits until the others are done."""
        for future in ended:
            run = self.running.pop(future)
            self._threads.pop(run.name, None)
            error = future.exception()
            if error is None:
                self.progress.finished(run.name, future.result())
            elif isinstance(error, Exception):
                self.progress.raised(run.name, error)
            else:
                raise error

    def interrupt(self) -> None:
        """Interrupt what still runs in threads, and give it a moment to store what is finished."""
        for thread in self._threads.values():
            thread.interrupt()
        _, left = wait([thread.future for thread in self._threads.values()], _GRACE)
        for name, thread in self._threads.items():
            if thread.future in left:
                _LOGGER.warning(
                    "experiment %r still runs in a thread, which nothing can stop; what its cells give is lost", name
                )
            elif thread.future.exception() is None:
                self.progress.finished(name, thread.future.result())

    def attach(self, exc: BaseException) -> None:
        """Keep what was collected with whatever ends the graph early."""
        if not hasattr(exc, "results"):
            exc.results = self.progress.results()  # type: ignore[attr-defined]
        if isinstance(exc, KeyboardInterrupt) and not exc.args:
            say_how_to_go_on(exc, 'to go on: run(strategy="resume")')


def run_plan(plan: GraphPlan, max_parallel: int | None) -> GraphResults:
    """Run a graph from plain code."""
    graph = _RunningGraph(plan, max_parallel)
    try:
        while graph.goes_on():
            if len(graph.waiting) == 1 and not graph.running:
                graph.start(_run_here)
                graph.settle(list(graph.running))
            else:
                graph.start(graph.in_thread)
                graph.settle(wait(graph.running, _LOOK_EVERY, FIRST_COMPLETED).done)
    except BaseException as exc:
        graph.interrupt()
        graph.attach(exc)
        raise
    return graph.progress.done()


async def arun_plan(plan: GraphPlan, max_parallel: int | None) -> GraphResults:
    """Run a graph in the running event loop: what awaits in the loop itself, everything else in threads."""
    import asyncio

    graph = _RunningGraph(plan, max_parallel)

    def begin(run: PlannedRun) -> asyncio.Future[Any]:
        if _awaits(run.experiment):
            return asyncio.ensure_future(run.experiment.arun(**run.arguments))
        return asyncio.wrap_future(graph.in_thread(run))

    try:
        while graph.goes_on():
            graph.start(begin)
            ended, _ = await asyncio.wait(graph.running, return_when=asyncio.FIRST_COMPLETED)
            graph.settle(ended)
    except BaseException as exc:
        for future in graph.running:
            future.cancel()
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, graph.interrupt))
        await asyncio.gather(*graph.running, return_exceptions=True)
        graph.attach(exc)
        raise
    return graph.progress.done()


def _run_here(run: PlannedRun) -> Future[Result]:
    """Run an experiment that is alone in the calling thread, where Ctrl-C reaches it."""
    future: Future[Result] = Future()
    try:
        future.set_result(run.experiment.run(**run.arguments))
    except Exception as exc:  # noqa: BLE001 - raised once what does not depend on it has run
        future.set_exception(exc)
    return future


def _awaits(experiment: Experiment) -> bool:
    return steps_are_async(experiment.pipeline) or bool(getattr(experiment.datasource, "is_async", False))


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
