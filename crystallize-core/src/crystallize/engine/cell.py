"""Running one cell, in whatever worker; what a worker prepares once, and what it has to tell at the end."""

from __future__ import annotations

import inspect
import os
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from crystallize.context import process
from crystallize.context.frozen import RESERVED_KEYS, FrozenContext
from crystallize.context.isolation import ATOMS, CellCopies, referenced
from crystallize.context.resources import ResourcePool
from crystallize.context.sharing import unshared
from crystallize.engine.account import Account
from crystallize.engine.bridge import awaited
from crystallize.engine.cell_log import CellLog, begin_keeping, current_log, end_keeping
from crystallize.engine.failure import (
    caught,
    ends_the_run,
    execution_error,
    hook_error,
    plugin_failure,
    running_task,
    text_of,
)
from crystallize.engine.handed import handed_view, refresh
from crystallize.engine.program import compile_condition
from crystallize.engine.shared import SharedObjects
from crystallize.engine.streams import StreamHold
from crystallize.engine.worker_hooks import WorkerHooks
from crystallize.errors import ArgumentTypeError, ContextMutationError, PluginHookError
from crystallize.hooks.roles import WorkerReport
from crystallize.pipelines.step import PipelineStep
from crystallize.results.description import describe
from crystallize.results.outcome import ArtifactRecord, Cell, CellOutcome, Event, PluginFailure
from crystallize.results.trace import CellTrace

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from crystallize.design import Treatment
    from crystallize.engine.bridge import EventLoop
    from crystallize.engine.caching import CacheBrief
    from crystallize.engine.limits import TimeLimits
    from crystallize.engine.policies import Policies
    from crystallize.engine.program import Program
    from crystallize.hooks import ActivePlugins, ExperimentView
    from crystallize.pipelines.cache.session import CacheSession
    from crystallize.plugins.manager import HookCall

__all__ = ["Job", "Worker"]

_HOST = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
_clock = time.perf_counter_ns  # whole numbers: what a store keeps of them is what was measured


@dataclass(slots=True)
class Job:
    """The part of a run that every worker needs.

    Attributes
    ----------
    view : ExperimentView
        What hooks are shown.
    active : ActivePlugins
    treatments : dict of str to Treatment
        By condition; the baseline has one only where a treatment of that name adjusts it.
    gives_data : bool
        Whether `data` stands for what the data source would fetch.
    data : object
    keeps_payload : bool
        Whether an outcome keeps the final data.
    policies : Policies or None
        When to try a cell again, and how long it may take; None where nothing was declared.
    accounts : bool
        Whether what plugins cost is noted.
    tells_cells, tells_steps : bool
        Whether somebody wants to hear when a cell, and a step of it, begins.
    keeps_logs : bool
        Whether what cells print is kept, for those that fail.
    cache : CacheBrief or None
        How the coordinating process sees the step cache; None there, and where no step is cacheable.
    off_host : bool
        Whether it is for another machine; see `elsewhere`.
    """

    view: ExperimentView
    active: ActivePlugins
    treatments: dict[str, Treatment]
    gives_data: bool = False
    data: Any = None
    keeps_payload: bool = False
    policies: Policies | None = None
    cache: CacheBrief | None = None
    keeps_logs: bool = False
    accounts: bool = False
    tells_cells: bool = False
    tells_steps: bool = False
    off_host: bool = False
    programs: dict[str, tuple[Treatment | None, Program]] = field(default_factory=dict)
    """Conditions that were compiled before in this process, each with the treatment that it is for."""
    shown: ExperimentView | None = None
    """The view as hooks are handed it, made once in each process."""

    @property
    def cached(self) -> tuple[bool, ...]:
        """Of each step, whether the step cache is used for it: as the coordinating process has settled it."""
        asked = self.view.run.cache
        return tuple(step.cacheable for step in self.view.pipeline.steps) if asked is None else asked

    def handed(self) -> ExperimentView:
        """Return the view as hooks are handed it; without any plugin nobody looks."""
        if self.shown is None:
            self.shown = handed_view(self.view) if self.active.infos else self.view
        return self.shown

    def elsewhere(self) -> Job:
        """Return the job as another machine needs it.

        It has the plugins with hooks that run in workers, and no others: those may not be installed there. What names a
        folder of this machine stays here, and the plugin lock goes along.
        """
        active = self.active.in_workers()
        view = self.view.elsewhere([info.plugin for info in active.infos])
        cache = self.cache
        if cache is None and any(self.cached):
            from crystallize.engine.caching import brief_for

            cache = brief_for(self)._replace(settings=None)
        return replace(self, view=view, active=active, cache=cache, off_host=True, programs={}, shown=None)

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        state = {name: getattr(self, name) for name in self.__slots__}
        if self.cache is None and any(self.cached):
            from crystallize.engine.caching import brief_for

            state["cache"] = brief_for(self)
        # Bound calls are closures: another process binds its own.
        return None, {**state, "programs": {}, "shown": None}


class Worker:
    """Runs cells in this process; made, and started, at its first cell.

    Parameters
    ----------
    job : Job
        What is to be run.
    limits : TimeLimits or None
        Keeps the time-outs, where something has one.
    """

    def __init__(self, job: Job, limits: TimeLimits | None = None) -> None:
        self.job = job
        self.view = job.view
        self.resources = ResourcePool()
        self._programs = job.programs
        self._shapes: dict[Any, Any] = {}
        self._base: Mapping[str, Any] = job.view.initial_ctx
        self._steps = job.view.pipeline.steps
        self._labels = job.view.pipeline.labels
        self._set_up: list[Any] = []
        self._to_stop: list[HookCall] = []
        self._plain: set[type] = set()
        self._fetch = job.view.datasource.fetch
        self._shared = SharedObjects(self._labels)
        name = getattr(job.view.datasource, "name", None) or type(job.view.datasource).__name__
        self._source = f"the data source {name}"
        self._shown = job.handed()
        shown = self._shown.pipeline.steps
        self._shown_steps = [
            copied if step._calls_function else None for step, copied in zip(self._steps, shown, strict=True)
        ]
        self._cache: CacheSession | None = None
        if job.view.run.kind != "debug" and any(job.cached):
            self._use_cache()
        self._report = WorkerReport()
        self._account = Account() if job.accounts else None
        self._hooks = WorkerHooks(self._shown, self._shared)
        hooks = (
            self._hooks.in_cell(calls, self._report) if (calls := self._calls(hook)) else None
            for hook in ("before_replicate", "before_step", "after_step")
        )
        self._before_replicate, before_step, self._after_step = hooks
        self._before_step = self._told_of_steps(before_step) if job.tells_steps else before_step
        self._after_replicate = [
            (call, self._hooks.in_cell((call,), self._report)) for call in self._calls("after_replicate")
        ]
        self._limits = limits
        if limits is not None:
            # Not those that later runs share: calls within limits know of this worker.
            self._programs = {}
            self._fetch = limits.limited_fetch(self._fetch)
        self._start_error: tuple[str, BaseException] | None = None
        self._ctx: FrozenContext | None = None
        self._keeps_logs = False
        self._streams: StreamHold | None = None

    # -- the worker's own life --------------------------------------------------------------------

    def start(self) -> None:
        """Call ``worker_start`` and ``setup``; what goes wrong becomes the error of every cell."""
        if StreamHold.is_needed():  # in the coordinator the run holds them
            self._streams = StreamHold()
            self._streams.hold()
        if self.job.keeps_logs:
            begin_keeping()
            self._keeps_logs = True
        self._to_stop = list(reversed(self._calls("worker_stop")))
        for call in self._calls("worker_start"):
            self._hooks.once(call, partial(self._fail_start, call), self._report)
        self._set_steps_up()

    def _calls(self, hook: str) -> tuple[HookCall, ...]:
        calls = self.job.active.calls(hook)
        if self._account is not None:
            calls = tuple(map(self._account.timed, calls))
        if self._cache is None:
            return calls
        from crystallize.engine.caching import announced

        return announced(calls)

    def _shown_step(self, position: int) -> PipelineStep:
        """Return a step as hooks are handed it: one of a class of the user's may have changed since."""
        shown: PipelineStep = self._shown.pipeline.steps[position]
        if shown is not self._steps[position] and hasattr(shown, "__dict__"):
            refresh(shown, self._steps[position])
        return shown

    def _told_of_steps(self, then: Callable[..., object] | None) -> Callable[..., object]:
        """Return a ``before_step`` that tells of the step first: where nobody listens, the loop asks nothing."""
        labels = self._labels

        def before_step(
            cell: Cell, failures: list[PluginFailure], view: ExperimentView, step: PipelineStep, ctx: FrozenContext
        ) -> None:
            position = ctx._position
            fields = {"step": labels[position - 1], "position": position}
            ctx._deliver(Event("step_started", fields, cell, time.time()))
            if then is not None:
                then(cell, failures, view, step, ctx)

        return before_step

    def _set_steps_up(self) -> None:
        # By identity: a step that stands in two places is one object, and is set up once.
        setups = {
            id(step): (step, label)
            for step, label in reversed(list(zip(self._steps, self._labels, strict=True)))
            if type(step).setup is not PipelineStep.setup or type(step).teardown is not PipelineStep.teardown
        }
        if not setups:
            return
        ctx = self._ctx = FrozenContext._for_cell({}, dict(self._base), None, (), self.resources, None)
        for step, label in reversed(setups.values()):
            if self._start_error is not None:
                break
            with caught(partial(self._fail_setup, label)):
                step.setup(ctx)
                _check_reserved(ctx._own)
                self._set_up.append((step, label))
        self._report.setup = {key: describe(value, key=key) for key, value in ctx._own.items() if key not in self._base}
        self._shared.exempt(referenced([value for key, value in ctx._own.items() if key not in self._base]))
        self._base = dict(ctx._own)
        self._programs = {}

    def _fail_start(self, call: HookCall, exc: BaseException) -> None:
        if call.on_error == "record":
            self._keep(call, "worker_start", exc)
        elif self._start_error is None:
            self._start_error = ("worker_start", hook_error(exc, call, "worker_start"))

    def _fail_setup(self, label: str, exc: BaseException) -> None:
        self._start_error = (f"{label}.setup", exc)

    def _keep(self, call: HookCall, hook: str, exc: BaseException) -> None:
        self._report.plugin_failures.append(plugin_failure(exc, call, hook, None))

    def stop(self, loops: Iterable[EventLoop] = ()) -> WorkerReport:
        """Tear down, call ``worker_stop``, close what is open; nothing raises, all is reported.

        Parameters
        ----------
        loops : iterable of EventLoop
            Whose helper threads may have made resources.
        """
        # Taken off one by one, so that a second attempt goes on where Ctrl-C interrupted the first.
        while self._set_up:
            step, label = self._set_up.pop()
            with caught(partial(self._note, f"teardown:{label}", f"{label}.teardown")):
                step.teardown(self._ctx)
        while self._to_stop:
            call = self._to_stop.pop()
            self._hooks.once(call, partial(self._keep, call, "worker_stop"), self._report)
        for loop in loops:
            loop.call_in_helper(self.close_thread)
        self._note_closing(self.resources.close_all())
        if self._keeps_logs:
            self._keeps_logs = False
            end_keeping()
        if self._streams is not None:
            self._streams.release()
        if self._account is not None:
            self._report.spent = self._account.taken()
        report, self._report = self._report, WorkerReport()
        return report

    @property
    def cannot_work(self) -> bool:
        """Return whether it could not be started, so that every cell fails with the same error."""
        return self._start_error is not None

    def close_thread(self) -> None:
        """Close the resources that the calling thread made."""
        self._note_closing(self.resources.close_thread())

    def _note_closing(self, problems: Sequence[tuple[str, BaseException]]) -> None:
        for name, exc in problems:
            self._note(f"close:{name}", f"closing {name}", exc)

    def _note(self, key: str, what: str, exc: BaseException) -> None:
        record = execution_error(exc, step=what, cell=Cell("", 0))
        text = f"{what} failed: {type(exc).__name__}: {text_of(exc)}"
        self._report.errors.append((key, text, record.traceback_text))

    def _use_cache(self) -> None:
        from crystallize.engine import caching

        self._cache = caching.session_for(self.job)
        # Not those that later runs share: cached calls know of this worker.
        self._programs = self.job.programs = {}
        self._fetch = caching.fetch_for(self.job, self._cache, self._fetch)

    def _program(self, condition: str) -> Program:
        treatment = self.job.treatments.get(condition)
        program = compile_condition(
            treatment,
            base=self._base,
            pipeline=self.view.pipeline,
            outputs=self.view.outputs,
            shapes=self._shapes,
            cache=self._cache,
            cached=self.job.cached,
        )
        if self._limits is not None:
            self._limits.limit_steps(program)
        self._programs[condition] = (treatment, program)
        return program

    # -- one cell ---------------------------------------------------------------------------------

    def run(
        self, cell: Cell, emit: Callable[[Event], object] | None, loop: EventLoop | None
    ) -> Coroutine[Any, Any, CellOutcome]:
        """Run one cell.

        Parameters
        ----------
        cell : Cell
        emit : callable of Event or None
        loop : EventLoop or None
            Runs what has to be awaited where no event loop drives this coroutine; None where one does.
        """
        running = self._run(cell, emit, loop)
        return running if self._limits is None else self._limits.keep(cell, running)

    async def _run(  # noqa: C901, PLR0912, PLR0915 - the hot path: a step costs its call, and no other
        self, cell: Cell, emit: Callable[[Event], object] | None, loop: EventLoop | None
    ) -> CellOutcome:
        began, started = time.time(), _clock()
        if self._start_error is not None:
            place, reason = self._start_error
            return CellOutcome(
                cell, {}, error=execution_error(reason, step=place, cell=cell), started=began, host=_HOST
            )
        known = self._programs.get(cell.condition)
        try:
            if known is not None and known[0] is self.job.treatments.get(cell.condition):
                program = known[1]
            else:
                program = self._program(cell.condition)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:  # noqa: BLE001 - what a treatment holds is the user's
            return CellOutcome(
                cell, {}, error=execution_error(exc, step="treatment", cell=cell), started=began, host=_HOST
            )
        labels = program.labels
        own: dict[str, Any] = {"replicate": cell.replicate, "condition": cell.condition}
        copies = CellCopies(self._shared.handed_out)
        ctx = FrozenContext._for_cell(program.base, own, cell, labels, self.resources, emit, copies)
        before_step, after_step, plain = self._before_step, self._after_step, self._plain
        view, steps = self._shown, self._shown_steps
        failures: list[PluginFailure] = []
        recorded = ctx.metrics
        durations: list[int] = []
        tick = durations.append
        task = running_task() if loop is None else None
        log = None
        if self._keeps_logs:
            log = CellLog()
            current_log.set(log)
        shared = copies.checked
        position = 0
        phase = "treatment"
        data: Any = None
        error = None
        forks = process.forks
        try:
            if self.job.tells_cells:
                ctx._deliver(Event("cell_started", {}, cell, time.time()))
            if program.shared:
                copies.note(program.shared)
            if program.apply is not None:
                _check_applied(program.apply(ctx), own, cell)
                _unshare_values(ctx, cell)
            if self._before_replicate is not None:
                phase = "before_replicate"
                self._before_replicate(cell, failures, self._shown, ctx)
            phase = "datasource"
            if self.job.gives_data:
                data = self.job.data
            else:
                data = self._fetch(ctx)
                kind = data.__class__
                if kind not in plain:
                    while hasattr(kind, "__await__"):
                        data = await data if loop is None else loop.run(awaited(data))
                        kind = data.__class__
                    if kind is not tuple:  # of steps, a tuple may be data and metrics
                        plain.add(kind)
                if process.forks != forks:
                    process.leave()
                if kind not in ATOMS:
                    box, data = [data], None
                    data = unshared(box, copies, what=self._source)
            size = -1 if not program.late_names.isdisjoint(own) else len(own)
            then = _clock()
            for position, call, wants_ctx, late in program.calls:
                ctx._position = recorded._position = position
                if before_step is not None:
                    before_step(cell, failures, view, steps[position - 1] or self._shown_step(position - 1), ctx)
                if late is not None and len(own) != size:
                    # An earlier step wrote into the context: what it wrote may be a parameter of this one.
                    data = late(data, ctx)
                elif wants_ctx:
                    data = call(data, ctx)
                else:
                    data = call(data)
                kind = data.__class__
                if kind not in plain:
                    while hasattr(kind, "__await__"):  # what is awaited may give something to be awaited
                        data = await data if loop is None else loop.run(awaited(data))
                        kind = data.__class__
                    if kind is not tuple:
                        plain.add(kind)
                    elif len(data) == 2 and isinstance(data[1], Mapping):  # noqa: PLR2004
                        data, metrics = data
                        for name, value in metrics.items():
                            recorded.add(name, value)
                if process.forks != forks:
                    process.leave()
                if shared:
                    self._shared.check(shared, labels[position - 1])
                if after_step is not None:
                    after_step(cell, failures, view, steps[position - 1] or self._shown_step(position - 1), data, ctx)
                now = _clock()
                tick(now - then)
                then = now
        except BaseException as exc:
            process.leave_if_forked(forks, exc)
            # User code: a failed cell never takes another with it.
            if ends_the_run(exc, alone=loop is not None, task=task):
                raise
            error = execution_error(exc, step=labels[position - 1] if position else phase, cell=cell)
            data = None
        outcome = CellOutcome(
            cell,
            ctx.metrics._values if error is None else {},
            own.get("seed_used"),
            error,
            () if ctx._artifacts is None or (error is not None and error.pruned) else _artifact_records(ctx, labels),
            CellTrace(
                program.shape(position, ctx._journal, recorded._order),
                array("d", [each / 1e9 for each in durations]),
                # Beside replicate, condition and, with a seeding plugin, seed_used.
                _written(ctx) if len(own) > (3 if "seed_used" in own else 2) else None,
            ),
            (_clock() - started) / 1e9,
            "main",
            ctx._events or (),
            failures,
            ctx.metrics._tags,
            data if self.job.keeps_payload else None,
            started=began,
            host=_HOST,
        )
        if self._after_replicate:
            self._finish(cell, ctx, outcome, failures)
        ctx._seen = None  # which refers to the context in its turn
        if log is not None:
            current_log.set(None)
            if outcome.error is not None:
                outcome.error.log = log.text()
        return outcome

    def _finish(self, cell: Cell, ctx: FrozenContext, outcome: CellOutcome, failures: list[PluginFailure]) -> None:
        for call, run in self._after_replicate:
            try:
                run(cell, failures, self._shown, ctx, outcome)
            except PluginHookError as exc:
                if outcome.error is None:
                    outcome.error = execution_error(exc, step="after_replicate", cell=cell)
                    outcome.metrics, outcome.payload = {}, None
                else:
                    # The cell keeps the error that it has, and this one is not lost.
                    failures.append(plugin_failure(exc.__cause__ or exc, call, "after_replicate", cell))
                    outcome.error.stops_run |= call.on_error == "stop_run"


def _unshare_values(ctx: FrozenContext, cell: Cell) -> None:
    """Isolate what a treatment's function has added from what it is held by."""
    own = ctx._own
    for key in list(own):
        box = [own.pop(key)]
        own[key] = unshared(box, ctx._copies, what=f"treatment {cell.condition!r}, which gives it as {key!r},")


def _check_applied(returned: Any, own: Mapping[str, Any], cell: Cell) -> None:
    """Refuse a treatment's function that was meant otherwise than it works."""
    if isinstance(returned, Mapping) or hasattr(type(returned), "__await__"):
        if inspect.iscoroutine(returned):
            returned.close()
        raise ArgumentTypeError(
            f"the function of treatment {cell.condition!r} returned a {type(returned).__name__}, which would be lost: "
            "write into the context with ctx.add(key, value), or give the values themselves as "
            f"Treatment({cell.condition!r}, {{key: value}})"
        )
    if "seed_used" in own:
        raise ContextMutationError(
            f"the function of treatment {cell.condition!r} writes the context key 'seed_used', which is reserved: "
            "use another key"
        )


def _check_reserved(keys: Mapping[str, Any]) -> None:
    for key in RESERVED_KEYS.intersection(keys):
        raise ContextMutationError(f"context key {key!r} is reserved: the framework writes it; use another key")


def _artifact_records(ctx: FrozenContext, labels: tuple[str, ...]) -> list[ArtifactRecord]:
    records = []
    for written in ctx._artifacts.written() if ctx._artifacts is not None else ():
        folder = labels[written.position - 1] if written.position else "datasource"
        records.append(ArtifactRecord(folder, written.name, written.data, size=len(written.data)))
    return records


def _written(ctx: FrozenContext) -> dict[str, Any] | None:
    written = {
        key: describe(value, key=key)
        for key, value in ctx._own.items()
        if key not in ("replicate", "condition", "seed_used")
    }
    return written or None
