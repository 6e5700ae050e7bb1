"""The life of a run: before, cells, after. One path for `run`, `arun`, `stream`, `debug` and `apply`."""

from __future__ import annotations

import contextlib
import inspect
import logging
import time
from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from crystallize.engine.account import Account
from crystallize.engine.belief import Belief
from crystallize.engine.bridge import (
    STOPS,
    EventLoop,
    aclose,
    alast_items,
    as_async_iterator,
    as_iterator,
    awaited,
    flat,
    last_items,
)
from crystallize.engine.cell import Job
from crystallize.engine.dispatch import HookDispatch
from crystallize.engine.failure import attach_result, caught, free_key
from crystallize.engine.handed import HandedView, sealed_view
from crystallize.engine.identity import cell_identities
from crystallize.engine.interrupts import InterruptGuard
from crystallize.engine.judge import judge
from crystallize.engine.keys import TreatmentKeys, nowhere
from crystallize.engine.plan import (
    PlannedCells,
    check_treatment_keys,
    condition_names,
    outstanding,
    plan_cells,
    plan_for,
    settle_seed,
    treatments_by_condition,
)
from crystallize.engine.policies import FailureCount
from crystallize.engine.record import (
    condition_records,
    run_record,
    tell_how_to_go_on,
    tell_of_no_metrics,
    without_success,
)
from crystallize.engine.runner import CellRunner, SerialLoop
from crystallize.engine.streams import StreamHold
from crystallize.errors import CrystallizeError, PluginHookError, TooManyFailuresError
from crystallize.hooks.roles import StorePlugin
from crystallize.results.collected import CollectedOutcomes, collected
from crystallize.results.columns import CorrectedOutcomes, LazyOutcomes
from crystallize.results.metrics import collect_metrics
from crystallize.results.outcome import Cell, CellOutcome
from crystallize.results.result import build_result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize.design import Hypothesis, Treatment
    from crystallize.design.preregistration import Preregistration
    from crystallize.engine.identity import CellIdentities
    from crystallize.engine.plan import Plan
    from crystallize.engine.policies import Policies
    from crystallize.engine.stopping import Stopping
    from crystallize.errors import PipelineExecutionError
    from crystallize.hooks import ActivePlugins, ExperimentView, WorkerReport
    from crystallize.results.metrics import ExperimentMetrics, HypothesisResult
    from crystallize.results.result import Result

__all__ = ["Run"]

_LOGGER = logging.getLogger("crystallize")

_MOST_KEPT = 32 * 1024 * 1024
"""About how many bytes of outcomes a run keeps in memory that are stored."""
_MOST_NAMED = 5


class Run:
    """One run, from the first hook to the last.

    Parameters
    ----------
    view : ExperimentView
        What hooks are shown; its `run` is filled in as the run goes on.
    active : ActivePlugins
    baseline : bool, default True
        Whether the baseline is a condition.
    gives_data, data
        Whether, and what, data replaces the data source's.
    programs : dict, optional
        Conditions compiled by earlier runs of the same pipeline and initial context.
    policies : Policies, optional
        When to try a cell again, and how long it may take.
    most_failures : int, optional
        How many cells may fail before the run is stopped.
    elsewhere : callable of str
        Says whether another experiment that this one belongs with reads a key.
    account : bool, default False
        Whether what plugins cost is kept in the provenance.
    stopping : Stopping, optional
        The rule by which the run may stop before all replicates have run.
    preregistration : Preregistration, optional
        The plan that is carried out.

    Attributes
    ----------
    interrupts : InterruptGuard
        How Ctrl-C is received while cells run.
    """

    def __init__(
        self,
        view: ExperimentView,
        active: ActivePlugins,
        *,
        baseline: bool = True,
        gives_data: bool = False,
        data: Any = None,
        programs: dict[str, Any] | None = None,
        policies: Policies | None = None,
        most_failures: int | None = None,
        elsewhere: Callable[[str], bool] = nowhere,
        account: bool = False,
        stopping: Stopping | None = None,
        preregistration: Preregistration | None = None,
    ) -> None:
        self.view = view
        view.lock = active.lock
        self.active = active
        self.outcomes = CollectedOutcomes()
        self.kept: LazyOutcomes | None = None
        self.result: Result | None = None
        self.conditions = condition_names(view.treatments, baseline=baseline)
        self._keys = TreatmentKeys(view, active, elsewhere)
        self._keys.check(() if gives_data else self.conditions)
        self.annotators: list[Callable[[CellOutcome], None]] = [self._keys.note] if self._keys.listens else []
        """Called with each outcome before it is stored: they add what only the coordinator knows, or take note."""
        view.identities = partial(cell_identities, view, active)
        view.describe = partial(condition_records, view)
        job = Job(
            view,
            active,
            treatments_by_condition(view.treatments),
            gives_data=gives_data,
            data=data,
            keeps_payload=view.run.kind in ("apply", "debug"),
            policies=policies,
            programs={} if programs is None else programs,
            accounts=account,
        )
        self.shown = job.handed()
        self._store_view = sealed_view(view) if active.infos else view
        self._account = Account() if account else None
        self.dispatch = HookDispatch(self.shown, self._store_view, active, self._account)
        if self._account is not None:
            self.annotators.append(self._account.note)
        job.tells_cells, job.tells_steps = map(self.dispatch.listens, ("cell_started", "step_started"))
        self._executor = "the engine"
        self._started = time.perf_counter()
        self._logged: set[tuple[str, str]] = set()
        self._cells: Sequence[Cell] = ()
        self._todo = outstanding(())
        self._again: dict[Cell, PluginHookError] = {}
        self._each = False
        self._prunes = view.run.kind == "trial"  # elsewhere nobody does: a cell that says so has failed
        self._tickets: list[Any] = []
        self._item: Any = ()
        self._failed_cells = 0
        # The cells of an optimisation are looked at one by one.
        stores = (plugin for plugin in view.plugins if isinstance(plugin, StorePlugin) and plugin.gives_outcomes)
        self._store = None if view.run.kind != "run" else next(stores, None)
        self._released = False
        self._failures = None if most_failures is None else FailureCount(most_failures)
        self.stopping = stopping
        self._preregistration = preregistration
        self._planned_parts: Mapping[str, Mapping[str, str]] = {}
        self.interrupts = InterruptGuard()
        self._streams = StreamHold()
        self.runner = CellRunner(job, self.dispatch.sink, self.dispatch.progress)
        self.runner.hears_cells = self.dispatch.hears_cells
        self.dispatch.cells_run_here = self.runner.in_one_thread

    # -- faces ------------------------------------------------------------------------------------

    def execute(self, cells: Sequence[Cell] | None = None) -> Result:
        """Run everything in the calling thread and return the result."""
        with self.interrupts:
            for _ in self.stream(cells, each=False):
                pass
        return self._done()

    def stream(self, cells: Sequence[Cell] | None = None, *, each: bool = True) -> Iterator[CellOutcome]:
        """Run everything and finish the run, whatever happens; yield each outcome once it is stored."""
        try:
            yield from self._consume_batches(self.begin(cells), each=each)
        except BaseException as exc:
            self.finish(exc)
            raise
        self.finish(None)

    def _consume_batches(self, cells: Sequence[Cell], *, each: bool) -> Iterator[CellOutcome]:
        # Apart: Ctrl-C may be raised where a loop begins anew, and there no `try` of the same function catches it.
        for batch in self._batches(cells):
            yield from self.consume(batch, each=each)

    def _batches(self, cells: Sequence[Cell]) -> Iterator[Sequence[Cell]]:
        """Return the cells in the parts after which the run may stop."""
        return iter((cells,)) if self.stopping is None else self.stopping.batches(self, cells)

    def consume(self, cells: Sequence[Cell], *, each: bool = False) -> Iterator[CellOutcome]:
        """Run cells in plain code; a run may do so several times between its beginning and its end."""
        if not cells:
            return
        self._cells, self._todo, self._each = cells, outstanding(cells), each
        answer = self._loop(cells)
        if inspect.isawaitable(answer):
            with contextlib.closing(EventLoop()) as loop:
                answer = loop.run(awaited(answer))
        self._check_answer(answer)
        outcomes = as_iterator(answer)
        try:
            yield from self._arriving(outcomes, each=each)
        except (*STOPS, GeneratorExit) as exc:
            self._accept_rest(self._item)
            try:
                self._accept_rest(last_items(outcomes, exc))
            except KeyboardInterrupt:
                _LOGGER.debug("interrupted again: no more outcomes are waited for")
            raise
        finally:
            close = getattr(outcomes, "close", None)
            if close is not None:
                close()
        self._check_complete(cells)

    def _arriving(self, outcomes: Iterator[Any], *, each: bool) -> Iterator[CellOutcome]:
        # Apart: Ctrl-C may be raised where a loop begins anew, and there no `try` of the same function catches it.
        self._item = ()
        for item in outcomes:
            self._item = item
            several = (item,) if item.__class__ is CellOutcome else flat(item)
            if not each:
                for outcome in several:
                    self.accept(outcome)
                continue
            with self.interrupts:
                taken_in = [outcome for outcome in several if self.accept(outcome)]
            for ticket in self._tickets:
                ticket.wait()
            self._tickets.clear()
            yield from taken_in

    def _accept_rest(self, item: Any) -> None:
        """Take in what of an executor's last word was not taken in yet: finished work is stored."""
        for outcome in item if isinstance(item, Iterator) else flat(item):
            if outcome.cell in self._todo:
                self.accept(outcome)

    async def aexecute(self) -> Result:
        """Run everything in the running event loop; what blocks goes to a helper thread."""
        try:
            for batch in self._batches(self.begin(None)):
                await self.aconsume(batch)
        except BaseException as exc:
            self.finish(exc)
            raise
        self.finish(None)
        return self._done()

    async def aconsume(self, cells: Sequence[Cell]) -> None:
        """Run cells in the running event loop; see `consume`."""
        if not cells:
            return
        self._cells, self._todo, self._each = cells, outstanding(cells), False
        answer = self._loop(cells)
        if inspect.isawaitable(answer):
            answer = await answer
        self._check_answer(answer)
        # What cells made in a helper thread is closed there.
        outcomes = as_async_iterator(answer, self.runner.close_worker)
        item: Any = ()
        try:
            async for item in outcomes:
                for outcome in flat(item):
                    self.accept(outcome)
        except TooManyFailuresError as exc:
            self._accept_rest(item)
            async for outcome in alast_items(outcomes, exc):
                self._accept_rest(outcome)
            raise
        finally:
            await aclose(outcomes)
        self._check_complete(cells)

    def _done(self) -> Result:
        if self.result is None:
            raise CrystallizeError("the run ended without a result; please report this")
        return self.result

    def admit(self, treatments: Sequence[Treatment]) -> None:
        """Add conditions to a run that is under way."""
        for treatment in treatments:
            check_treatment_keys(treatment, self.view.initial_ctx)
        self._keys.admit(treatments)
        self.view.treatments = [*self.view.treatments, *treatments]
        for handed in (self.shown, self._store_view):
            if isinstance(handed, HandedView):
                handed.admit(treatments)
        self.conditions.extend(treatment.name for treatment in treatments)
        self.runner.admit(treatments)

    def plan(self) -> Plan:
        """Say what the run would do with each cell; it is not begun by that."""
        cells = plan_cells(self.conditions, self.view.replicates)
        if self.view.run.strategy != "resume":
            return plan_for(cells, None)
        settle_seed(self._store_view, draw=False)
        return plan_for(cells, self.dispatch.planned_cells(cells))

    # -- before -----------------------------------------------------------------------------------

    def begin(self, cells: Sequence[Cell] | None) -> Sequence[Cell]:
        """Open the run and give the cells that are to be run."""
        self._streams.hold()
        view = self.view
        view.run._note(started=time.time())
        self._started = time.perf_counter()
        plan = self._preregistration
        settle_seed(self._store_view, planned=None if plan is None else plan.seed)
        if self.stopping is not None and view.run.strategy == "resume":
            self._set_replicates(self.stopping.recall(self._recorded_stopping()))
        self.dispatch.before_run()
        if plan is not None:
            self._planned_parts = self.identities().without_seed(self.conditions)  # before cells change anything
        if view.run.kind in ("run", "trial") and self.active.calls("completed_cells"):
            self.runner.keep_logs()  # somebody stores the run
        planned = plan_cells(self.conditions, view.replicates) if cells is None else cells
        if view.run.strategy == "resume" and planned:
            planned = self.without_completed(planned)
        self.dispatch.progress("run_started", cells=len(planned))
        self.dispatch.check()
        return planned

    def without_completed(self, planned: Sequence[Cell]) -> Sequence[Cell]:
        """Take in the outcomes that somebody has stored, and give the cells that are left."""
        answer = self.dispatch.completed_cells(planned)
        if isinstance(answer, LazyOutcomes) and self.view.run.kind != "trial":
            # Of thousands of cells none is looked at.
            self.kept = known = answer.restricted(planned)
            return [] if len(known) == len(planned) else _without(planned, known)
        wanted = set(planned)
        for outcome in answer.values() if isinstance(answer, LazyOutcomes) else answer:
            if outcome.cell in wanted:
                self.outcomes.add(outcome)
        return _without(planned, self.outcomes)

    # -- stopping ---------------------------------------------------------------------------------

    def _recorded_stopping(self) -> Mapping[str, Any]:
        """Return the record of the looks that were taken at the stored run which is resumed."""
        store = next((plugin for plugin in self.view.plugins if isinstance(plugin, StorePlugin)), None)
        stored = None if store is None else store.newest_run(self.view.name or self.view.id)
        about = {} if stored is None else stored.metadata
        return about.get("stopping") or {} if about.get("kind") == "run" else {}

    def _set_replicates(self, count: int) -> None:
        for view in (self.view, self.shown, self._store_view):
            view._note(replicates=count)

    def tested(self, hypothesis: Hypothesis, replicates: int) -> HypothesisResult:
        """Test a hypothesis on what the first replicates gave."""
        outcomes = self._outcomes_of(replicates)
        metrics = collect_metrics(outcomes, condition_records(self.view, self.conditions))
        (result,), _ = self._judged([hypothesis], metrics, without_success(metrics, outcomes), replicates, Belief())
        return result

    def extend(self, replicates: int, start: int) -> Sequence[Cell]:
        """Let the run have more replicates, and return the cells from a replicate on that are left to run."""
        self._set_replicates(replicates)
        left = self.without_completed(plan_cells(self.conditions, replicates))
        return [cell for cell in left if cell.replicate >= start]

    def end_at(self, replicates: int) -> None:
        """Let the run have no more replicates than these."""
        self._set_replicates(replicates)

    def _outcomes_of(self, replicates: int) -> LazyOutcomes:
        """Return those of the first replicates: where a run stops by a rule, more may be stored."""
        outcomes = self._all_outcomes()
        if self.stopping is None or self.view.run.strategy != "resume":
            return outcomes
        return outcomes.restricted(plan_cells(self.conditions, replicates))

    @property
    def takes_over(self) -> bool:
        """Whether something that was stored is kept; asked before any cell runs."""
        return bool(self.kept or self.outcomes)

    # -- cells ------------------------------------------------------------------------------------

    def _loop(self, cells: Sequence[Cell]) -> Any:
        """Ask the executors, the last in the list first; run serially where none answers."""
        if isinstance(cells, list):
            cells = tuple(cells)
        if self.view.run.kind in ("apply", "debug"):
            return SerialLoop(cells, self.runner)

        replicates: dict[int, list[Cell]] = {}

        def replicate_fn(replicate: int) -> list[CellOutcome]:
            if not replicates:
                for cell in cells:
                    replicates.setdefault(cell.replicate, []).append(cell)
            return [self.runner(cell) for cell in replicates.get(replicate, ())]

        answer, name = self.dispatch.executor_loop(cells, self.runner, replicate_fn)
        if name is None:
            return SerialLoop(cells, self.runner)
        self._executor = f"plugin {name!r}"
        return answer

    def accept(self, outcome: CellOutcome) -> bool:
        """Take an outcome in: log a failure, store it, tell whoever listens; False where that was done before."""
        if not isinstance(outcome, CellOutcome):
            raise self._executor_error(
                f"gave {type(outcome).__name__} instead of a cell's outcome: hand on what run_cell(cell) returns"
            )
        cell = outcome.cell
        interrupts = self.interrupts
        interrupts.held = True  # else Ctrl-C may come when a cell counts as done, and is not stored
        try:
            try:
                self._todo.remove(cell)
            except KeyError:
                self._come_again(outcome)
                return False
            self.outcomes.add(outcome)
            for annotate in self.annotators:
                annotate(outcome)
            dispatch = self.dispatch
            dispatch.collect(outcome, self._tickets if self._each else None)
            error = None if outcome.error is None else self._failure(outcome.error)
            self._failed_cells += error is not None
            if dispatch.hears_ends:
                dispatch.progress("cell_finished", cell=cell, failed=error is not None, duration=outcome.duration)
            if dispatch.stopped is not None:
                dispatch.check()
            if self._store is not None and self.outcomes.size > _MOST_KEPT and dispatch.stored():
                self.outcomes.release()
                self._released = True
        finally:
            interrupts.held = False
        if interrupts.noted:
            interrupts.let_through()
        if error is not None and self._failures is not None:
            self._failures.add(error)
        return True

    def _is_of_this_run(self, cell: Cell) -> bool:
        """Whether a stored cell is one of the result: there may be more than was asked for, and some to be replaced."""
        asked = cell.replicate < self.view.replicates and cell.condition in self.conditions
        return asked and cell not in self._todo

    def _all_outcomes(self) -> LazyOutcomes:
        """Return those of this run and those that were kept, wherever they are."""
        kept = self.kept
        if not self._released and (kept is None or not self.outcomes):
            return self.outcomes if kept is None else kept
        if self._store is not None and self.dispatch.stored():
            stored = self._store.stored_outcomes(self._store_view)
            if stored is not None:
                self.outcomes.release()
                if self.view.run.strategy == "resume":
                    cells = (Cell(name, each) for name in stored.conditions for each in stored.columns(name).replicates)
                    stored = stored.without([cell for cell in cells if not self._is_of_this_run(cell)])
                return CorrectedOutcomes(stored, self.outcomes)
        return collected(chain(() if kept is None else kept.values(), self.outcomes.values()))

    def _failure(self, error: PipelineExecutionError) -> PipelineExecutionError | None:
        """Log why a cell did not run to its end, and give that where the cell has failed: a pruned one has not."""
        pruned = self._prunes and error.pruned
        # One traceback for each kind of failure: a hundred equal ones would bury everything else.
        kind = (error.step_name, error.error_type)
        first = kind not in self._logged
        self._logged.add(kind)
        if pruned or self.view.run.kind in ("apply", "debug"):
            _LOGGER.debug("%s", error)  # it has not failed, or the caller gets the exception itself
        elif first and error.traceback_text:
            _LOGGER.warning("%s\n%s", error, error.traceback_text.rstrip())
        else:
            _LOGGER.warning("%s", error)
        if error.stops_run:
            raise error.original_exception or error
        return None if pruned else error

    def _come_again(self, outcome: CellOutcome) -> None:
        cell, known = outcome.cell, self.outcomes.get(outcome.cell)
        what = " twice" if known is not None or cell in self._cells else ", which it was not asked to run"
        error = self._executor_error(f"gave the outcome of {cell.key}{what}")
        if known is not outcome or cell in self._again:
            raise error from None
        # Where Ctrl-C is raised in an executor, it cannot tell what it has handed on: refused only if none follows.
        self._again[cell] = error

    def _check_answer(self, answer: Any) -> None:
        if not hasattr(answer, "__iter__") and not hasattr(answer, "__aiter__"):
            raise self._executor_error(
                f"answered run_experiment_loop with {type(answer).__name__}: it must give an iterable or an async "
                "iterable of outcomes, or None to decline"
            )

    def _check_complete(self, cells: Sequence[Cell]) -> None:
        for error in self._again.values():
            raise error
        if self._todo:
            missing = [cell.key for cell in cells if cell in self._todo]
            names = ", ".join(missing[:_MOST_NAMED]) + (", …" if len(missing) > _MOST_NAMED else "")
            raise self._executor_error(f"gave no outcome for {len(missing)} of {len(cells)} cells: {names}")

    def _executor_error(self, what: str) -> PluginHookError:
        return PluginHookError(f"{self._executor} {what}", hook="run_experiment_loop")

    # -- after ------------------------------------------------------------------------------------

    def finish(self, stopped_by: BaseException | None) -> None:
        """Judge, build the result and tell the plugins; what was collected survives whatever was raised.

        `stopped_by` is what ended the run early, if anything did; the caller raises it.
        """
        try:
            if stopped_by is not None:
                self.dispatch.settle()
            self._finish(stopped_by)
        except KeyboardInterrupt:
            # Whoever presses Ctrl-C leaves soon: what has finished is not to wait for the next commit.
            self.dispatch.settle()
            raise
        finally:
            self._streams.release()

    def _finish(self, stopped_by: BaseException | None) -> None:
        raised = stopped_by
        try:
            report = self.runner.stop()
        except BaseException as exc:  # noqa: BLE001 - Ctrl-C in a teardown: raised below, with the result
            stopped_by = stopped_by or exc
            report = self.runner.stop()
        self.dispatch.note(report.plugin_failures)
        self.dispatch.tell_ignored(report.ignored)
        errors: dict[str, Exception] = {}
        for key, text, traceback_text in report.errors:
            errors[free_key(key, errors)] = CrystallizeError(text)
            _LOGGER.warning("%s\n%s", text, traceback_text.rstrip())
        outcomes = self._outcomes_of(self.view.replicates)
        conditions = condition_records(self.view, self.conditions, report.setup)
        metrics = collect_metrics(outcomes, conditions)
        absent = without_success(metrics, outcomes)
        belief = self._belief(outcomes, stopped_by)
        hypotheses, judged = self._judged(self.view.hypotheses, metrics, absent, self.view.replicates, belief)
        for key, error in judged.items():
            errors[key] = error
            _LOGGER.warning("%s: %s", key, error)
        self.dispatch.progress("run_finished", failed=self._failed_cells)
        unread = self._keys.settle(self.conditions, self.kept)
        self.result = build_result(
            conditions=conditions,
            outcomes=outcomes,
            replicates=self.view.replicates,
            facts=self._facts(stopped_by, unread, report),
            errors=errors,
            plugin_errors=self.dispatch.failures,
            hypotheses=hypotheses,
            metrics=metrics,
        )
        tell_of_no_metrics(self.result)
        late = self.dispatch.after_run(self.result)
        first = stopped_by or self.dispatch.stopped or late or self._keys.error(unread)
        for problem in (first, late):
            if problem is not None:
                attach_result(problem, self.result)
        tell_how_to_go_on(first, self.view, self.result)
        if first is not None and first is not raised:
            raise first

    def _judged(
        self,
        hypotheses: Sequence[Hypothesis],
        metrics: ExperimentMetrics,
        absent: Sequence[str],
        replicates: int,
        belief: Belief,
    ) -> tuple[list[HypothesisResult], dict[str, Exception]]:
        if not hypotheses:
            return [], {}
        measured = {name: part.unpacked() for name, part in metrics.treatments.items() if name not in absent}
        return judge(
            hypotheses, metrics.baseline.unpacked(), measured, absent=absent, replicates=replicates, belief=belief
        )

    def identities(self) -> CellIdentities:
        """Return what makes the cells of this run what they are."""
        found = self.view.cell_identities()
        if found is None:
            raise CrystallizeError("the view of a run has no identities of its cells; please report this")
        return found

    def _belief(self, outcomes: LazyOutcomes, stopped_by: BaseException | None) -> Belief:
        """Find out whether the run went as it was planned."""
        until = None if self.stopping is None else self.stopping.hypothesis
        plan = self._preregistration
        if plan is None:
            return Belief(until=until)
        used = {seed for name in outcomes.conditions for seed in outcomes.columns(name).seeds if seed is not None}
        stores = [plugin for plugin in self.view.plugins if isinstance(plugin, StorePlugin)]
        earlier: dict[int, str] = {}
        doubts = [] if stopped_by is None else [f"{type(stopped_by).__name__} ended the run before the plan was done"]
        # Whatever a store raises, the result is not lost to it.
        with caught(lambda error: doubts.append(f"it cannot be said whether its data are new: {error}")):
            earlier = {seed: run for store in stores for seed, run in store.used_seeds(self._store_view).items()}
        return Belief(
            plan,
            identities=self._planned_parts,
            until=until,
            reused={seed: run for seed, run in earlier.items() if seed in used},
            doubt="; ".join(doubts),
        )

    def _facts(
        self, stopped_by: BaseException | None, unread: Mapping[str, Any], report: WorkerReport
    ) -> dict[str, Any]:
        facts = {**self.dispatch.provenance(), **unread, "plugins": self.active.lock()}
        if self.runner.policies is not None:
            facts["policies"] = self.runner.policies.described()
        if self.stopping is not None:
            facts["stopping"] = self.stopping.record()
        if self._preregistration is not None:
            facts["preregistration"] = {
                "digest": self._preregistration.digest,
                "created": self._preregistration.created,
            }
        if self._account is not None:
            facts["plugin_cost"] = self._account.record(self.active.infos, report)
        facts["run"] = run_record(self.view, duration=time.perf_counter() - self._started, stopped_by=stopped_by)
        return facts


def _without(planned: Sequence[Cell], known: Mapping[Cell, CellOutcome]) -> Sequence[Cell]:
    return planned.without(known) if isinstance(planned, PlannedCells) else [c for c in planned if c not in known]
