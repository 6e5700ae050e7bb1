"""What plugins can be beside onlookers: executors, stores and seeders. A plugin declares its role by inheriting.

The engine finds a role with ``isinstance``, and never by the name of a class or by probing for an attribute.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from crystallize.hooks.base import BasePlugin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from crystallize.datasources.stored import StoredRun
    from crystallize.errors import CellTimeoutError, StepTimeoutError
    from crystallize.hooks.view import ExperimentView
    from crystallize.optimization.replay import JournalEntry
    from crystallize.results.columns import LazyOutcomes
    from crystallize.results.outcome import Attempt, Cell, CellOutcome, Event, PluginFailure

__all__ = [
    "DeadlineListener",
    "ExecutorPlugin",
    "FailurePolicies",
    "RunCell",
    "SeederPlugin",
    "StorePlugin",
    "WorkerReport",
]

_SEEDS = 2**32


class FailurePolicies(Protocol):
    """What was declared for the cells of a run that fail or take too long."""

    @property
    def limits_time(self) -> bool:
        """Whether a step or a whole cell has a time-out."""
        ...

    def delay_after(self, exc: BaseException, step: str, earlier: Sequence[Attempt]) -> float | None:
        """Return the seconds after which a cell is to be tried again, or None if it has failed for good.

        Parameters
        ----------
        exc : BaseException
            What ended the attempt.
        step : str
            Where.
        earlier : sequence of Attempt
            The attempts before this one.
        """
        ...

    def too_slow(self, position: int, *, whole_cell: bool, what_next: str = "") -> CellTimeoutError | StepTimeoutError:
        """Return the error of a time-out that has passed.

        Parameters
        ----------
        position : int
            Where in the cell: -1 before the data source, 0 the data source, then the steps.
        whole_cell : bool
            Whether it is the cell's time-out, not the step's.
        what_next : str
            What was done about it, for the message.
        """
        ...


class DeadlineListener(Protocol):
    """Is told until when its process has to be left alone; see `RunCell.watch`."""

    def __call__(self, end: float, position: int, *, whole_cell: bool) -> None:
        """Take note of a deadline.

        Parameters
        ----------
        end : float
            When to end this process, by the monotonic clock; 0 where there is no limit.
        position : int
            Where in the cell: -1 before the data source, 0 the data source, then the steps.
        whole_cell : bool
            Whether it is the cell's time-out that passes then, not the step's.
        """
        ...


@dataclass(slots=True)
class WorkerReport:
    """What a worker has to tell at the end: errors that belong to no cell.

    Attributes
    ----------
    errors : list of (str, str, str)
        Key in ``result.errors``, text, traceback's text.
    plugin_failures : list of PluginFailure
    setup : dict of str to object
        What ``setup`` added to the context, described.
    ignored : set of (str, str)
        Plugins and hooks that returned what nobody takes.
    spent : dict of (str, str) to (int, float)
        Calls and seconds by plugin and hook, where an account is kept.
    """

    errors: list[tuple[str, str, str]] = field(default_factory=list)
    plugin_failures: list[PluginFailure] = field(default_factory=list)
    setup: dict[str, Any] = field(default_factory=dict)
    ignored: set[tuple[str, str]] = field(default_factory=set)
    spent: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)

    def absorb(self, other: WorkerReport) -> None:
        """Take in what another process, or an earlier attempt to stop, has to tell."""
        self.errors.extend(other.errors)
        self.plugin_failures.extend(other.plugin_failures)
        self.setup.update(other.setup)
        self.ignored |= other.ignored
        for key, (calls, seconds) in other.spent.items():
            known = self.spent.get(key, (0, 0.0))
            self.spent[key] = (known[0] + calls, known[1] + seconds)


class RunCell(Protocol):
    """What `HookSpecs.run_experiment_loop` gets to run cells with.

    Calling it never raises for a cell that fails: the outcome has the error. `KeyboardInterrupt` alone passes through.
    It may be called from several threads at once. It pickles, and a copy, pickled or forked, starts afresh in another
    process, at its first cell there: `worker_start`, the steps' ``setup`` and so on run in that process. A plain
    executor needs ``run_cell(cell)`` alone; one that runs cells in processes of its own needs the rest.

    Examples
    --------
    An executor with one thread pool:

    >>> from concurrent.futures import ThreadPoolExecutor, as_completed
    >>> from crystallize.hooks import ExecutorPlugin
    >>> class Pool(ExecutorPlugin):
    ...     def run_experiment_loop(self, cells, run_cell):
    ...         with ThreadPoolExecutor() as pool:
    ...             for done in as_completed([pool.submit(run_cell, cell) for cell in cells]):
    ...                 yield done.result()
    """

    @property
    def needs_loop(self) -> bool:
        """Whether a step or the data source awaits, so that cells can overlap in one thread with `aio`."""
        ...

    @property
    def policies(self) -> FailurePolicies | None:
        """What was declared for cells that fail or take too long; None where nothing was."""
        ...

    @property
    def hears_cells(self) -> bool:
        """Whether somebody wants what cells send with ``ctx.emit``; where nobody does, it need not leave the worker."""
        ...

    @property
    def experiment(self) -> ExperimentView:
        """The run's view as its hooks are handed it."""
        ...

    def elsewhere(self) -> RunCell:
        """Return what another machine runs cells with: pickle this, and send it there.

        Plugins without hooks that run in workers stay here, and need not be installed there. There the view's
        ``run.folder`` is None, its ``lock()`` gives the plugin lock, its ``cell_identities()`` are computed of the code
        that is there, and cacheable steps use the cache of that machine.
        """
        ...

    def __call__(self, cell: Cell, emit: Callable[[Event], object] | None = None) -> CellOutcome:
        """Run one cell in the calling thread, and again where it failed and its policy says so.

        Parameters
        ----------
        cell : Cell
        emit : callable of Event, optional
            Gets what steps send with ``ctx.emit`` at once; True from it asks the cell to stop. By default the
            ``on_event`` hooks get it; in another process, where they are not, events come with the outcome.
        """
        ...

    def aio(self, cell: Cell, emit: Callable[[Event], object] | None = None) -> Awaitable[CellOutcome]:
        """Run one cell in the running event loop; as `__call__`."""
        ...

    def attempt(
        self, cell: Cell, emit: Callable[[Event], object] | None = None, earlier: Sequence[Attempt] = ()
    ) -> tuple[CellOutcome, float | None]:
        """Run a cell once; for executors that see to the next attempt themselves, so that no worker waits for it.

        Parameters
        ----------
        cell : Cell
        emit : callable of Event, optional
        earlier : sequence of Attempt
            Those that failed before.

        Returns
        -------
        CellOutcome
            Of this attempt alone.
        float or None
            Seconds after which the cell is to be tried again; None where the outcome stands.
        """
        ...

    def failed(self, cell: Cell, exc: BaseException, *, worker: str = "main", step: str = "worker") -> CellOutcome:
        """Return the outcome of a cell that could not be run to its end, such as one whose worker died.

        Parameters
        ----------
        cell : Cell
        exc : BaseException
            Why.
        worker : str
            Who was to run it.
        step : str
            What it was at, where that is known.
        """
        ...

    def retried(self, cell: Cell, attempt: Attempt, delay: float = 0.0) -> None:
        """Tell plugins that an attempt failed and is followed by another; in the coordinating process.

        Parameters
        ----------
        cell : Cell
        attempt : Attempt
            The one that failed.
        delay : float
            Seconds until the next one.
        """
        ...

    def emit(self, event: Event) -> bool:
        """Hand an event of another process to the ``on_event`` hooks; in the coordinating process.

        Returns
        -------
        bool
            Whether the cell is asked to stop: what the worker's ``emit`` has then to return to the cell.
        """
        ...

    def watch(self, listener: DeadlineListener) -> None:
        """Say who is told of deadlines, in each worker process before its first cell.

        An executor that says `ExecutorPlugin.ends_overdue_cells` does so, and ends a process whose time has come.
        """
        ...

    def give_up(self) -> None:
        """Have no thread wait for its cell's next attempt any more: the run is being stopped."""
        ...

    def close_worker(self) -> None:
        """Close what the calling thread opened; at the end of each thread of the executor's own."""
        ...

    def stop(self) -> WorkerReport:
        """End this worker process' part of the run: the steps' ``teardown``, `worker_stop`, closing of resources.

        Returns
        -------
        WorkerReport
            What went wrong. It pickles; the coordinator hands it to `absorb`.
        """
        ...

    def absorb(self, report: WorkerReport) -> None:
        """Take in what another process reported at its end; in the coordinating process."""
        ...


class ExecutorPlugin(BasePlugin):
    """A plugin that spreads cells over workers: the role of execution strategies.

    It implements `HookSpecs.run_experiment_loop`, with what `RunCell` offers. It is neutral: results do not depend on
    who runs the cells.

    Examples
    --------
    >>> class Backwards(ExecutorPlugin):
    ...     def run_experiment_loop(self, cells, run_cell):
    ...         for cell in reversed(cells):
    ...             yield run_cell(cell)
    """

    neutral = True

    @property
    def cells_leave_process(self) -> bool:
        """Whether cells run in other processes, so that those of several experiments share no global random state."""
        return False

    @property
    def ends_overdue_cells(self) -> bool:
        """Whether a plain function that takes too long can be ended: a process can, a thread cannot.

        Time-outs of plain functions are refused without such an executor. See `RunCell.watch`.
        """
        return False


class StorePlugin(BasePlugin):
    """A plugin that keeps runs: the role of stores.

    It implements `HookSpecs.collect`; to resume runs, `HookSpecs.completed_cells`, `HookSpecs.plan_cells` and
    `recorded_seed`; to continue optimisations, it keeps a journal (`keeps_journal`): what the optimiser asked and was
    told is compared with it by the engine. It is neutral, and stops the run where it fails: what can't be stored must
    not look done.

    Examples
    --------
    >>> class InMemory(StorePlugin):
    ...     def __init__(self):
    ...         self.outcomes = {}
    ...         self.seed = None
    ...
    ...     def recorded_seed(self, experiment):
    ...         return self.seed
    ...
    ...     def before_run(self, experiment):
    ...         self.seed = experiment.run.seed
    ...
    ...     def completed_cells(self, cells):
    ...         return [self.outcomes[cell] for cell in cells if cell in self.outcomes]
    ...
    ...     def plan_cells(self, cells):
    ...         return {cell: "complete" for cell in cells if cell in self.outcomes}
    ...
    ...     def collect(self, outcome):
    ...         if outcome.ok:
    ...             self.outcomes[outcome.cell] = outcome
    """

    neutral = True
    on_error = "stop_run"

    keeps_journal: bool = False
    """Whether `append_journal` stores what optimisers ask and are told, and `journal` gives it back."""

    gives_outcomes: bool = False
    """Whether `stored_outcomes` gives back what was collected: of a large run it is then kept by the store alone."""

    def recorded_seed(self, experiment: ExperimentView) -> int | None:
        """Return the base seed of the run that would be resumed, or None where there is no such run.

        Asked before every other hook, of runs that resume and of plans. A run without a seed of its own adopts it.
        """
        run = self.newest_run(experiment.name or experiment.id)
        return None if run is None else run.metadata.get("seed")

    def journal(self, experiment: ExperimentView) -> Sequence[JournalEntry]:
        """Return the journal of the optimisation that this run continues, in order; nothing where there is none.

        Asked of runs that resume before `HookSpecs.before_run` and again after it: a store that has begun a new run
        there returns nothing, and the optimiser is then asked from the beginning. ``experiment.run.optimization`` says
        why that has to be, and which outcomes count as they are, failed ones too.
        """
        del experiment
        return ()

    def append_journal(self, experiment: ExperimentView, entry: JournalEntry) -> None:
        """Store what an optimiser is asked and told; only what `journal` does not have already comes here."""

    def stored_outcomes(self, experiment: ExperimentView) -> LazyOutcomes | None:
        """Return everything that is stored of a run, for its result; those that it resumes among them.

        Asked of stores with `gives_outcomes`, at the end of runs so large that what was stored is not kept in memory,
        once all of it is safe and before `HookSpecs.after_run`. Numbers, text and arrays of numbers have to be what
        was collected; cells that recorded anything else, or failed, the engine keeps itself.
        """
        del experiment
        return None

    def used_seeds(self, experiment: ExperimentView) -> Mapping[int, str]:
        """Return the seeds that cells of the experiment's earlier stored runs had, each with what to call its run.

        Asked at the end of a preregistered run, before `HookSpecs.after_run`: what it shows confirms nothing where it
        has data that were looked at before.
        """
        del experiment
        return {}

    def newest_run(self, experiment_name: str) -> StoredRun | None:
        """Return the newest stored run of an experiment, for data sources that read from it; None where there is none.

        It is asked at every fetch, so it should cost little where nothing changed. The plugin travels to worker
        processes as part of those data sources, so it has to pickle, and to stay small.
        """
        del experiment_name
        return None


class SeederPlugin(BasePlugin):
    """A plugin that seeds cells: the role of those that manage randomness.

    It implements `HookSpecs.before_replicate`: there it adds ``seed_used`` to the context and sets the generator of
    ``ctx.rng``. It comes before all other plugins. The base seed is part of the identity of every cell, so it is
    settled before anything else, and a plan does as the run would: the engine puts into ``experiment.run.seed`` what
    `base_seed` returns, else what `draw_seed` returns. Nobody else sets it.

    Attributes
    ----------
    seeds_global_state : bool, default False
        Whether `before_replicate` seeds global generators, such as that of ``random``: threads and overlapping
        coroutines share them, so their draws can't be repeated, and users are warned.

    Examples
    --------
    >>> class Fixed(SeederPlugin):
    ...     def __init__(self, seed=None):
    ...         self.seed = seed
    ...
    ...     def base_seed(self, experiment):
    ...         return self.seed if self.seed is not None else super().base_seed(experiment)
    ...
    ...     def before_replicate(self, experiment, ctx):
    ...         ctx.add("seed_used", experiment.run.seed + ctx["replicate"])
    """

    neutral = False

    @property
    def seeds_global_state(self) -> bool:
        """Whether global generators are seeded."""
        return False

    def base_seed(self, experiment: ExperimentView) -> int | None:
        """Return the base seed of a run: the plugin's own, else the one that is adopted from the run before.

        Parameters
        ----------
        experiment : ExperimentView
            ``experiment.run.seed`` is what a store has recorded, where the run resumes;
            ``experiment.run.seed_override`` what ``apply(seed=...)`` or ``debug`` asks for.

        Returns
        -------
        int or None
            None where a seed has to be drawn. Nothing must be drawn here: plans ask too.
        """
        run = experiment.run
        return run.seed_override if run.seed is None else run.seed

    def draw_seed(self, experiment: ExperimentView) -> int:
        """Return a new base seed for a run that has none."""
        del experiment
        return random.SystemRandom().randrange(_SEEDS)
