"""The hook specifications: the contract with plugin authors.

A hook that says *coordinator* runs once, in the process that called ``run``. One that says *worker* runs where
the cells run, which may be another thread, process or machine: a plugin reaches another process as a pickled
copy, so what a worker hook changes on ``self`` stays there, and what the coordinator needs travels in the outcome.

An implementation names only the arguments that it uses, by the names given here. All hooks, the ``after_…`` ones
too, are called in the one total order of the plugins.

`CONTRACT` is the version of all this. A new hook, or a new argument, is a minor change; removing or renaming one
goes through a deprecation, and is a major change.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pluggy

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence

    from crystallize.context import FrozenContext
    from crystallize.hooks.roles import RunCell
    from crystallize.hooks.view import ExperimentView
    from crystallize.pipelines import PipelineStep
    from crystallize.results.outcome import Cell, CellOutcome, Event
    from crystallize.results.result import Result

    FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

__all__ = ["CONTRACT", "HOOKS", "PROJECT", "HookSpec", "HookSpecs", "facts_of", "hookspec"]

CONTRACT = "1.3"
"""The version of the contract between the core and plugins."""


PROJECT = "crystallize"

Where = Literal["coordinator", "worker"]
Policy = Literal["propagate", "fail_cell", "keep"]

_mark = pluggy.HookspecMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class HookSpec:
    """The facts about one hook, for the engine, the checks and the reference page.

    Attributes
    ----------
    name : str
    arguments : tuple of str
        In the order in which the engine hands them over.
    place : {"coordinator", "worker"}
        Where it runs.
    first_result : bool
        Whether one plugin's answer is enough; otherwise every plugin is called.
    undeclared : {"propagate", "fail_cell", "keep"}
        What becomes of an error in a plugin that declares no ``on_error``.
    since : str
        The version of the contract that brought it.
    doc : str
        The specification's text.
    """

    name: str
    arguments: tuple[str, ...]
    place: Where
    first_result: bool
    undeclared: Policy
    since: str
    doc: str


def hookspec(
    place: Where,
    undeclared: Policy,
    *,
    first_result: bool = False,
    since: str = "1.0",
) -> Callable[[FunctionT], FunctionT]:
    """Mark a function as the specification of the hook of its name; the arguments are those of `HookSpec`."""

    def mark(function: FunctionT) -> FunctionT:
        facts = {"place": place, "undeclared": undeclared, "first_result": first_result, "since": since}
        function.crystallize_facts = facts  # type: ignore[attr-defined]
        return _mark(function, firstresult=first_result)

    return mark


def facts_of(specs: type) -> dict[str, HookSpec]:
    """Give what is known about the hooks that a class specifies, by name, in its order."""
    found: dict[str, HookSpec] = {}
    for name, function in vars(specs).items():
        facts = getattr(function, "crystallize_facts", None)
        if facts is not None:
            code = function.__code__
            arguments = code.co_varnames[1 : code.co_argcount]
            found[name] = HookSpec(name=name, arguments=arguments, doc=function.__doc__ or "", **facts)
    return found


class HookSpecs:
    """Every hook that a plugin may implement, in the order in which a run reaches them."""

    @hookspec("coordinator", "propagate")
    def init_hook(self, experiment: Any) -> None:
        """An experiment has been built: add defaults to it.

        *When:* at the end of building an `Experiment`. A plugin that is appended to ``experiment.plugins`` later has
        missed that moment. *How often:* once per experiment and plugin.
        *May change:* the experiment, which here is the user's own object, not a view.
        *Errors:* propagate to whoever builds the experiment.

        Parameters
        ----------
        experiment : Experiment
            The user's own object.

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Ten(BasePlugin):
        ...     def init_hook(self, experiment):
        ...         experiment.description = experiment.description or "ten at least"
        """

    @hookspec("coordinator", "propagate")
    def before_run(self, experiment: ExperimentView) -> None:
        """A run is about to start: open, announce, refuse.

        *When:* before any cell, and before `completed_cells`. *How often:* once per run, for `apply` and `debug`
        too (``experiment.run.kind`` says which it is).
        *May change:* the facts in ``experiment.run`` that the plugin is responsible for: a store sets ``version``
        and ``folder``. The seed is settled before, by the `SeederPlugin`.
        *Errors:* propagate as they are to whoever called ``run``: no cell has been run yet.

        Parameters
        ----------
        experiment : ExperimentView
            This run's own view: ``replicates``, ``treatments`` and ``hypotheses`` are the run's values.

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class NeedsManyReplicates(BasePlugin):
        ...     neutral = True
        ...
        ...     def before_run(self, experiment):
        ...         if experiment.run.kind == "run" and experiment.replicates < 20:
        ...             raise ValueError(f"{experiment.replicates} replicates are too few")
        """

    @hookspec("coordinator", "propagate", first_result=True)
    def completed_cells(self, experiment: ExperimentView, cells: Sequence[Cell]) -> Iterable[CellOutcome] | None:
        """Give the outcomes that need no new run.

        *When:* after every plugin's `before_run`, in runs with ``strategy="resume"``. *How often:* once per run (of an
        optimisation, per batch), until one plugin gives an answer: the first in the order wins.
        *May change:* nothing.
        *Errors:* propagate: a run that was meant to resume must not silently start over.

        Parameters
        ----------
        experiment : ExperimentView
        cells : sequence of Cell
            Every cell of the run, or of the batch.

        Returns
        -------
        iterable of CellOutcome, LazyOutcomes or None
            Outcomes of some of `cells`, which do not run then. None, or `NotImplemented`, leaves the question to the
            next plugin.

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Remembers(BasePlugin):
        ...     def __init__(self):
        ...         self.known = {}
        ...
        ...     def collect(self, outcome):
        ...         if outcome.ok:
        ...             self.known[outcome.cell] = outcome
        ...
        ...     def completed_cells(self, cells):
        ...         return [self.known[cell] for cell in cells if cell in self.known]
        """

    @hookspec("coordinator", "propagate", first_result=True, since="1.1")
    def plan_cells(self, experiment: ExperimentView, cells: Sequence[Cell]) -> Mapping[Cell, str] | None:
        """Say what resuming would do with each cell, and do nothing.

        *When:* in ``Experiment.plan``, which runs nothing; no other hook is called, and the seeder is asked for its
        `SeederPlugin.base_seed` alone. *How often:* once per plan, until one plugin gives an answer: the first in the
        order wins.
        *May change:* nothing. *Errors:* propagate.

        Parameters
        ----------
        experiment : ExperimentView
        cells : sequence of Cell

        Returns
        -------
        mapping of Cell to str, or None
            ``"complete"`` for what `completed_cells` would give, else why the cell would run (``"missing"`` if left
            out); stored cells that are not taken over may be added. None, or `NotImplemented`, leaves it to the next.

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Remembers(BasePlugin):
        ...     def plan_cells(self, cells):
        ...         return {cell: "complete" for cell in cells if cell.replicate < 10}
        """

    @hookspec("coordinator", "propagate", first_result=True)
    def run_experiment_loop(
        self,
        experiment: ExperimentView,
        cells: Sequence[Cell],
        run_cell: RunCell,
        replicate_fn: Callable[[int], list[CellOutcome]],
    ) -> Iterable[CellOutcome] | AsyncIterable[CellOutcome] | None:
        """Spread the cells over workers: the execution strategy.

        *When:* after `completed_cells`; not for `apply` and `debug`, whose one cell runs in the calling thread.
        *How often:* once per run. Of the plugins that implement it the last one in the list is asked first, and the
        first answer wins; where nobody answers, the cells run one after the other.
        *May change:* nothing. Order is free: outcomes may come in any order, and results do not depend on it.
        *Errors:* propagate; what was collected before is stored, and is on the exception as ``.result``.

        A generator must stop its workers promptly when it is closed or when an exception is raised in it:
        `KeyboardInterrupt`, or `TooManyFailuresError` when the run is stopped because of failures. It may then go on
        to yield outcomes that are finished (once more, where it cannot tell what was taken), and raises the exception
        again. It may be an ``async def`` generator, which awaits ``run_cell.aio(cell)``. The engine drives either from
        plain code and from an event loop. There a plain generator is asked for its items in a helper thread, and the
        run can be cancelled between two of them: one that waits for its workers yields an empty list now and then.

        ``run_cell`` sees to retries, and to the time-outs of what awaits. Those of plain functions are refused, unless
        the plugin says ``ends_overdue_cells = True``: it runs cells in processes of its own, calls
        ``run_cell.watch(...)`` there, and ends a process whose time has come.

        Parameters
        ----------
        experiment : ExperimentView
        cells : sequence of Cell
            The cells to run, less those already complete.
        run_cell : RunCell
            ``run_cell(cell, emit=None) -> CellOutcome``. Pass ``emit`` on to have events live.
        replicate_fn : callable
            The short form: ``replicate_fn(r)`` runs every cell of replicate ``r`` and gives a list of outcomes.

        Returns
        -------
        iterable or async iterable of CellOutcome, or None
            Lists of outcomes in it are flattened. None, or `NotImplemented`, declines.

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Backwards(BasePlugin):
        ...     neutral = True
        ...
        ...     def run_experiment_loop(self, cells, run_cell):
        ...         for cell in reversed(cells):
        ...             yield run_cell(cell)

        >>> class ByReplicate(BasePlugin):
        ...     neutral = True
        ...
        ...     def run_experiment_loop(self, experiment, replicate_fn):
        ...         return [replicate_fn(r) for r in range(experiment.replicates)]
        """

    @hookspec("worker", "fail_cell")
    def worker_start(self, experiment: ExperimentView) -> None:
        """A worker process begins: import, connect, warm up.

        *When:* before the first cell of a run in this process, before the steps' ``setup``. *How often:* once in
        each worker process; in the coordinator once, for the serial, thread and async executors.
        *May change:* the plugin's own copy in this process.
        *Errors:* fail the cells of this process.

        Parameters
        ----------
        experiment : ExperimentView

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Warm(BasePlugin):
        ...     neutral = True
        ...
        ...     def worker_start(self):
        ...         import statistics
        """

    @hookspec("worker", "keep")
    def worker_stop(self, experiment: ExperimentView) -> None:
        """A worker process has done its part of this run: flush, disconnect.

        *When:* at the end of the run, after the last cell and the steps' ``teardown``. *How often:* once in each
        process that had `worker_start`, also where the processes stay for the next run; never in a process that
        died.
        *May change:* the plugin's own copy in this process.
        *Errors:* are kept in ``result.plugin_errors``: the cells are done.

        Parameters
        ----------
        experiment : ExperimentView

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Flushes(BasePlugin):
        ...     neutral = True
        ...
        ...     def worker_stop(self):
        ...         print("done", flush=True)
        """

    @hookspec("worker", "fail_cell")
    def before_replicate(self, experiment: ExperimentView, ctx: FrozenContext) -> None:
        """A cell is about to run: seed, open, prepare.

        *When:* before the data source is read. *How often:* once per cell, that is, for every condition of every
        replicate; where a cell is tried again, once per attempt, with the same seed.
        *May change:* the context, by adding keys: steps see them. A neutral plugin gets a context that refuses.
        *Errors:* fail the cell.

        Parameters
        ----------
        experiment : ExperimentView
        ctx : FrozenContext
            The cell's context: the initial one, ``replicate``, ``condition`` and the treatment's values.

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Fold(BasePlugin):
        ...     def before_replicate(self, experiment, ctx):
        ...         ctx.add("fold", ctx["replicate"] % 5)
        """

    @hookspec("worker", "fail_cell")
    def before_step(self, experiment: ExperimentView, step: PipelineStep, ctx: FrozenContext) -> None:
        """A step is about to run.

        *When:* before each step of each cell. *How often:* once per step and cell: the hottest place there is, so do
        little.
        *May change:* the context, by adding keys. A neutral plugin gets a context that refuses.
        *Errors:* fail the cell.

        Parameters
        ----------
        experiment : ExperimentView
        step : PipelineStep
            The step that is about to run.
        ctx : FrozenContext

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Trace(BasePlugin):
        ...     neutral = True
        ...
        ...     def before_step(self, step, ctx):
        ...         ctx.logger.debug("%s starts", type(step).__name__)
        """

    @hookspec("worker", "fail_cell")
    def after_step(self, experiment: ExperimentView, step: PipelineStep, data: Any, ctx: FrozenContext) -> None:
        """A step has run: look at what it gave, never change it.

        *When:* after each step that succeeded. *How often:* once per step and cell.
        *May change:* the context, by recording metrics or adding keys; never `data`, which is handed over as it is.
        In strict mode, and in the conformance kit, a neutral plugin that changes it is named.
        *Errors:* fail the cell.

        Parameters
        ----------
        experiment : ExperimentView
        step : PipelineStep
            The step that has run.
        data : object
            The step's output, without metrics.
        ctx : FrozenContext

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class RowCount(BasePlugin):
        ...     def after_step(self, step, data, ctx):
        ...         if hasattr(data, "__len__"):
        ...             ctx.record(f"rows after {type(step).__name__}", len(data))
        """

    @hookspec("worker", "fail_cell")
    def after_replicate(self, experiment: ExperimentView, ctx: FrozenContext, outcome: CellOutcome) -> None:
        """A cell has run, or failed: close what `before_replicate` opened.

        *When:* after the last step, or after the error. *How often:* once per cell whose `before_replicate` was
        reached, failed ones too; where a cell is tried again, once per attempt. Never for a cell whose process died
        or was ended.
        *May change:* the plugin's own copy in this process.
        *Errors:* fail the cell, if it has not failed already.

        Parameters
        ----------
        experiment : ExperimentView
        ctx : FrozenContext
        outcome : CellOutcome
            What will travel to the coordinator; ``outcome.error`` says whether the cell failed.

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Scratch(BasePlugin):
        ...     neutral = True
        ...
        ...     def before_replicate(self, ctx):
        ...         import tempfile
        ...
        ...         self.folder = tempfile.TemporaryDirectory()
        ...
        ...     def after_replicate(self, ctx, outcome):
        ...         self.folder.cleanup()
        """

    @hookspec("coordinator", "keep")
    def on_event(self, experiment: ExperimentView, event: Event) -> None:
        """Something happened: what a step sent with ``ctx.emit``, or the engine's own progress.

        *When:* at once where the executor passes ``emit`` on, otherwise when the cell's outcome arrives. The engine's
        own are ``run_started``, ``cell_started``, ``step_started``, ``cell_retried``, ``cell_finished`` and
        ``run_finished``; in an optimisation ``optimization_started``, ``trials_asked`` and ``trials_told``, too.
        *How often:* once per event of the plugin's ``wanted_events``. A plugin that wants ``step_started``, as one does
        that names no events, costs every step some microseconds.
        *May change:* nothing.
        *Errors:* are kept in ``result.plugin_errors``.

        Parameters
        ----------
        experiment : ExperimentView
        event : Event
            ``name``, ``fields``, ``cell`` (None for the run's own) and ``time``.

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Dots(BasePlugin):
        ...     neutral = True
        ...
        ...     def on_event(self, event):
        ...         if event.name == "cell_finished":
        ...             print("x" if event.fields["failed"] else ".", end="", flush=True)
        """

    @hookspec("coordinator", "keep")
    def collect(self, experiment: ExperimentView, outcome: CellOutcome) -> Any:
        """An outcome has arrived: store it, show it.

        *When:* as each outcome arrives, in whatever order; outcomes from `completed_cells` do not come by here.
        *How often:* once per cell that was run.
        *May change:* nothing of the outcome but what its documentation leaves to a store.
        *Errors:* are kept in ``result.plugin_errors``; a store says ``on_error = "stop_run"``.

        Parameters
        ----------
        experiment : ExperimentView
        outcome : CellOutcome

        Returns
        -------
        object or None
            A ticket with a method ``wait()``, if storing goes on in the background: ``stream`` waits for it before
            it shows the outcome to the caller.

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class FailedCells(BasePlugin):
        ...     neutral = True
        ...
        ...     def __init__(self):
        ...         self.cells = []
        ...
        ...     def collect(self, outcome):
        ...         if not outcome.ok:
        ...             self.cells.append(outcome.cell)
        """

    @hookspec("coordinator", "keep")
    def collect_provenance(self, experiment: ExperimentView) -> Mapping[str, Any] | None:
        """Give facts to keep with the run.

        *When:* after the last outcome, before the result is put together. *How often:* once per run.
        *May change:* nothing.
        *Errors:* are kept in ``result.plugin_errors``.

        Parameters
        ----------
        experiment : ExperimentView

        Returns
        -------
        mapping or None
            Facts that can be written as JSON; its keys become keys of ``result.provenance``.

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Machine(BasePlugin):
        ...     neutral = True
        ...
        ...     def collect_provenance(self):
        ...         import platform
        ...
        ...         return {"machine": platform.machine(), "python": platform.python_version()}
        """

    @hookspec("coordinator", "keep")
    def after_run(self, experiment: ExperimentView, result: Result) -> None:
        """The run is over: summarise, close.

        *When:* after hypotheses are judged. *How often:* once per run, also when cells failed, when another plugin's
        `after_run` raised, and, with what there is, when the run was interrupted or a `before_run` refused it. So look
        whether that which is to be closed was opened at all.
        *May change:* nothing of the result.
        *Errors:* are kept with the result, which reaches the caller all the same.

        Parameters
        ----------
        experiment : ExperimentView
        result : Result

        Examples
        --------
        >>> from crystallize import BasePlugin
        >>> class Summary(BasePlugin):
        ...     neutral = True
        ...
        ...     def after_run(self, experiment, result):
        ...         print(experiment.name, "had", len(result.errors), "errors")
        """


HOOKS: Mapping[str, HookSpec] = MappingProxyType(facts_of(HookSpecs))
"""Every hook by name, in the order in which a run reaches them."""
