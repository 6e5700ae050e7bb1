"""Running a graph: each experiment as soon as those that it depends on are done, in threads and in an event loop."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from graphlib import TopologicalSorter
from queue import Empty, SimpleQueue
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

__all__ = ["ExperimentThread", "GraphProgress", "GraphResults", "arun_plan", "interrupt_all", "run_plan"]


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


class ExperimentThread:
    """One experiment on its way.

    Parameters
    ----------
    run : PlannedRun
    tell : callable of ExperimentThread
        Called in the thread when it is over.

    Attributes
    ----------
    result : Result or None
    error : BaseException or None
        What it raised.
    """

    def __init__(self, run: PlannedRun, tell: Callable[[ExperimentThread], object]) -> None:
        self.run = run
        self.result: Any = None
        self.error: BaseException | None = None
        self.over = threading.Event()
        self._tell = tell
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
        if number is not None and not self.over.is_set():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(number), ctypes.py_object(KeyboardInterrupt))

    def _work(self) -> None:
        try:
            self.result = self.run.experiment.run(**self.run.arguments)
        except BaseException as exc:  # noqa: BLE001 - raised again in the thread that waits for this one
            self.error = exc
        finally:
            self.over.set()
            self._tell(self)


def interrupt_all(threads: Iterable[ExperimentThread]) -> None:
    """Interrupt what still runs, and give it a moment to store what is finished."""
    left = list(threads)
    for thread in left:
        thread.interrupt()
    limit = time.monotonic() + _GRACE
    for thread in left:
        # Not with join: after an interrupted one, Python 3.11 takes a live thread for dead.
        if not thread.over.wait(max(limit - time.monotonic(), 0)):
            _LOGGER.warning(
                "experiment %r still runs in a thread, which nothing can stop; what its cells give is lost",
                thread.run.name,
            )


_LOOK_EVERY = 0.2


def run_plan(plan: GraphPlan, max_parallel: int | None) -> GraphResults:
    """Run a graph from plain code."""
    limit = _limit(max_parallel)
    progress = GraphProgress(plan)
    waiting: list[PlannedRun] = []
    threads: dict[str, ExperimentThread] = {}
    over: SimpleQueue[ExperimentThread] = SimpleQueue()
    watch = _Overlaps()
    try:
        while True:
            waiting += progress.startable()
            if not waiting and not threads:
                return progress.done()
            if len(waiting) == 1 and not threads:
                _run_here(progress, waiting.pop())
                continue
            while waiting and len(threads) < limit:
                run = waiting.pop(0)
                watch.note(run.name, run.experiment, threads)
                threads[run.name] = ExperimentThread(run, over.put)
            for thread in _arrived(over):
                del threads[thread.run.name]
                _settle(progress, thread)
    except BaseException as exc:
        interrupt_all(threads.values())
        for thread in threads.values():
            if thread.result is not None:
                progress.finished(thread.run.name, thread.result)
        _attach(exc, progress)
        raise


async def arun_plan(plan: GraphPlan, max_parallel: int | None) -> GraphResults:
    """Run a graph in the running event loop: what awaits in the loop itself, everything else in threads."""
    import asyncio

    limit = _limit(max_parallel)
    progress = GraphProgress(plan)
    loop = asyncio.get_running_loop()
    waiting: list[PlannedRun] = []
    threads: dict[str, ExperimentThread] = {}
    tasks: dict[asyncio.Future[Any], PlannedRun] = {}
    watch = _Overlaps()
    try:
        while True:
            waiting += progress.startable()
            if not waiting and not tasks:
                return progress.done()
            while waiting and len(tasks) < limit:
                run = waiting.pop(0)
                watch.note(run.name, run.experiment, [other.name for other in tasks.values()])
                if _awaits(run.experiment):
                    tasks[asyncio.ensure_future(_in_loop(run))] = run
                else:
                    tasks[_in_thread(run, threads, loop)] = run
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                run = tasks.pop(task)
                threads.pop(run.name, None)
                error = task.exception()
                if error is None:
                    progress.finished(run.name, task.result())
                else:
                    _raised(progress, run.name, error)
    except BaseException as exc:
        for task in tasks:
            task.cancel()
        await asyncio.shield(loop.run_in_executor(None, interrupt_all, list(threads.values())))
        await asyncio.gather(*tasks, return_exceptions=True)
        _attach(exc, progress)
        raise


def _limit(max_parallel: int | None) -> float:
    return float("inf") if max_parallel is None else check_count(max_parallel, what="max_parallel")


def _run_here(progress: GraphProgress, run: PlannedRun) -> None:
    """Run an experiment that is alone in the calling thread, where Ctrl-C reaches it."""
    try:
        result = run.experiment.run(**run.arguments)
    except Exception as exc:  # noqa: BLE001 - raised once what does not depend on it has run
        progress.raised(run.name, exc)
    else:
        progress.finished(run.name, result)


def _arrived(over: SimpleQueue[ExperimentThread]) -> list[ExperimentThread]:
    # With a limit: where Ctrl-C is delivered to another thread, nothing else wakes this one.
    try:
        return [over.get(timeout=_LOOK_EVERY)]
    except Empty:
        return []


def _settle(progress: GraphProgress, thread: ExperimentThread) -> None:
    if thread.error is None:
        progress.finished(thread.run.name, thread.result)
    else:
        _raised(progress, thread.run.name, thread.error)


def _raised(progress: GraphProgress, name: str, error: BaseException) -> None:
    """Take in an error, which waits until the others are done; what is no ordinary one ends the graph."""
    if not isinstance(error, Exception):
        raise error
    progress.raised(name, error)


def _awaits(experiment: Experiment) -> bool:
    return steps_are_async(experiment.pipeline) or bool(getattr(experiment.datasource, "is_async", False))


async def _in_loop(run: PlannedRun) -> Any:
    return await run.experiment.arun(**run.arguments)


def _in_thread(
    run: PlannedRun, threads: dict[str, ExperimentThread], loop: asyncio.AbstractEventLoop
) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = loop.create_future()

    def settle(thread: ExperimentThread) -> None:
        if future.done():
            return
        if thread.error is None:
            future.set_result(thread.result)
        else:
            future.set_exception(thread.error)

    threads[run.name] = ExperimentThread(run, lambda thread: loop.call_soon_threadsafe(settle, thread))
    return future


def _attach(exc: BaseException, progress: GraphProgress) -> None:
    """Keep what was collected with whatever ends the graph early."""
    if not hasattr(exc, "results"):
        exc.results = progress.results()  # type: ignore[attr-defined]
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
