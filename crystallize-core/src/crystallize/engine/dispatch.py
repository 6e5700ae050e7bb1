"""Calling the plugins of one run in the coordinating process, each plugin's failure its own."""

from __future__ import annotations

import json
import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from crystallize.checks import check_mapping
from crystallize.context.isolation import isolate
from crystallize.engine.failure import caught, free_key, plugin_failure
from crystallize.engine.handed import handed_outcome, outcome_content, result_content, with_copies
from crystallize.engine.interrupts import InterruptGuard
from crystallize.engine.neutrality import RandomStates, violation
from crystallize.errors import ReadOnlyError, ValidationError
from crystallize.hooks.roles import StorePlugin
from crystallize.hooks.specs import HOOKS
from crystallize.plugins.info import declared
from crystallize.results.outcome import Event
from crystallize.results.result import FRAMEWORK_FACTS, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from crystallize.engine.account import Account
    from crystallize.engine.runner import CellRunner
    from crystallize.hooks import ActivePlugins, ExperimentView
    from crystallize.plugins.manager import HookCall
    from crystallize.results.columns import LazyOutcomes
    from crystallize.results.outcome import Cell, CellOutcome, PluginFailure

__all__ = ["HookDispatch"]

_LOGGER = logging.getLogger("crystallize")
_PROGRESS = frozenset(
    {
        "run_started",
        "cell_retried",
        "cell_finished",
        "run_finished",
        "optimization_started",
        "trials_asked",
        "trials_told",
    }
)
_OF_WORKERS = frozenset({"cell_started", "step_started"})
"""The engine's own, too, and sent by whoever runs the cell."""


_HOOKS = tuple(name for name, spec in HOOKS.items() if spec.place == "coordinator" and name != "init_hook")
_LARGEST_FACT = 1_000_000
"""Bytes."""


class HookDispatch:
    """The hooks that run in the coordinator, with the policies for their errors.

    Attributes
    ----------
    failures : list of PluginFailure
        Errors that were kept as data.
    hears_cells : bool
        Whether some plugin wants what steps send.
    hears_ends : bool
        Whether some plugin wants to be told of every cell that is finished.
    cells_run_here : callable
        Says whether all cells of this process run in the calling thread.
    lock : threading.RLock
        Held while events are handed round.
    stopped : BaseException or None
        The first error of a plugin that wants the run to stop when its hooks fail.
    """

    def __init__(
        self, view: ExperimentView, store_view: ExperimentView, active: ActivePlugins, account: Account | None = None
    ) -> None:
        self.view = view
        self._account = account
        self._store_view = store_view
        self.active = active
        self.failures: list[PluginFailure] = []
        self.stopped: BaseException | None = None
        self._warned: set[str] = set()
        self._ignored: set[tuple[str, str]] = set()
        self._states = RandomStates() if view.strict else None
        self.cells_run_here: Callable[[], bool] = lambda: True
        self._calls = {hook: tuple(map(self._ready, active.calls(hook))) for hook in _HOOKS}
        self._collect = self._calls["collect"]
        self._latest: dict[int, Any] = {}
        self._on_event = tuple((call, _wanted(call)) for call in self._calls["on_event"])
        self._listeners: dict[str, tuple[HookCall, ...]] = {}
        self.hears_cells = any(wanted is None or not wanted <= _PROGRESS for _, wanted in self._on_event)
        self.hears_ends = bool(self._listening("cell_finished"))
        self.lock = threading.RLock()

    def _ready(self, call: HookCall) -> HookCall:
        """Return a call that gets what hooks are handed, and is held to be neutral where it says so."""
        if self._account is not None:
            call = self._account.timed(call)
        if call.hook == "collect":
            call = with_copies(call, "outcome", handed_outcome, outcome_content if self.view.strict else None)
        elif call.hook == "after_run":
            call = with_copies(call, "result", Result.copied, result_content if self.view.strict else None)
        if isinstance(call.info.plugin, StorePlugin):
            store, view = call.fn, self._store_view
            call = replace(call, fn=lambda _, *arguments: store(view, *arguments))
        # A loop may run cells before it returns, and those draw random numbers.
        if self._states is None or not call.neutral or call.hook == "run_experiment_loop":
            return call
        states, fn = self._states, call.fn

        def held(*arguments: Any) -> Any:
            if not self.cells_run_here():  # Whose doing it is nobody can tell.
                return fn(*arguments)
            before = states.look()
            try:
                return fn(*arguments)
            finally:
                changed = states.restore(before)
                if changed:
                    self._keep(call, call.hook, None, violation(call, changed))

        return replace(call, fn=held)

    def before_run(self) -> None:
        """Call ``before_run``; errors propagate as they are, unless the plugin asks for them to be recorded."""
        for call in self._calls["before_run"]:
            self._look(call, self._call_or_raise(call))

    def completed_cells(self, cells: Sequence[Cell]) -> Iterable[CellOutcome] | LazyOutcomes:
        """Ask who knows outcomes that need no new run; the first answer wins."""
        calls = self._calls["completed_cells"]
        if not calls and self.view.run.kind == "run":
            _LOGGER.warning(
                "strategy='resume' finds nothing to keep, since no plugin of this experiment stores runs: add "
                "ArtifactPlugin; all cells run"
            )
        for call in calls:
            answer = self._call_or_raise(call, cells)
            if answer is not None and answer is not NotImplemented:
                return answer  # type: ignore[no-any-return]
        return ()

    def planned_cells(self, cells: Sequence[Cell]) -> Mapping[Cell, str]:
        """Ask why each cell would be kept or run; the first answer wins."""
        for call in self._calls["plan_cells"]:
            answer = self._call_or_raise(call, cells)
            if answer is not None and answer is not NotImplemented:
                return answer  # type: ignore[no-any-return]
        return {}

    def _call_or_raise(self, call: HookCall, *arguments: Any) -> Any:
        """Call a hook whose errors propagate as they are, unless the plugin asks for them to be recorded."""
        try:
            return call.fn(self.view, *arguments)
        except Exception as exc:
            if call.on_error == "record":
                self._keep(call, call.hook, None, exc)
            elif isinstance(exc, ReadOnlyError):  # It does not know who was called.
                raise exc.in_hook(call.info.origin, call.hook, **call.info.origin.fields) from None
            else:
                raise
        return None

    def _look(self, call: HookCall, returned: object) -> None:
        """Take note of what a hook returned though nothing takes it."""
        if returned is not None:
            self.tell_ignored({(str(call.info.origin), call.hook)})

    def tell_ignored(self, ignored: Collection[tuple[str, str]]) -> None:
        """Warn, once, of plugins that returned in a hook what nothing takes."""
        for origin, hook in sorted(set(ignored) - self._ignored):
            _LOGGER.warning(
                "%s returned a value from %s, and nothing takes it: leave the return out; what a hook may change says "
                "the reference of hooks",
                origin,
                hook,
            )
        self._ignored.update(ignored)

    def executor_loop(
        self, cells: Sequence[Cell], run_cell: CellRunner, replicate_fn: Callable[[int], list[CellOutcome]]
    ) -> tuple[Any, str | None]:
        """Ask the executors, the last in the user's list first; give the answer and whose it is."""
        calls = self._calls["run_experiment_loop"]
        if not calls:
            return None, None
        position = {id(plugin): index for index, plugin in enumerate(self.view.plugins)}
        for call in sorted(calls, key=lambda call: -position.get(id(call.info.plugin), -1)):
            try:
                answer = call.fn(self.view, cells, run_cell, replicate_fn)
            except ReadOnlyError as exc:
                raise exc.in_hook(call.info.origin, call.hook, **call.info.origin.fields) from None
            if answer is not None and answer is not NotImplemented:
                return answer, call.info.name
        return None, None

    def collect(self, outcome: CellOutcome, tickets: list[Any] | None) -> None:
        """Hand an outcome round; keep what says when it is stored, where somebody waits for that."""
        if outcome.plugin_failures:
            self.note(outcome.plugin_failures)
        if outcome.events and self.hears_cells:
            for event in outcome.events:
                self.event(event)
        for call in self._collect:
            try:  # `caught` costs a microsecond, and this is done for each cell
                ticket = call.fn(self.view, outcome)
            except KeyboardInterrupt:
                raise
            except BaseException as exc:  # noqa: BLE001 - a plugin's failure is its own
                self._apply_policy(call, "collect", outcome.cell, exc)
            else:
                if ticket is not None:
                    self._keep_ticket(call, ticket, tickets)

    def _keep_ticket(self, call: HookCall, ticket: Any, tickets: list[Any] | None) -> None:
        if not hasattr(ticket, "wait"):
            self._look(call, ticket)
            return
        self._latest[id(call)] = ticket
        if tickets is not None:
            tickets.append(ticket)

    def stored(self) -> bool:
        """Wait until everything that was collected is stored; say whether it is."""
        try:
            for ticket in self._latest.values():
                ticket.wait()
        except Exception:  # noqa: BLE001 - whoever hands in the next outcome is told of it
            return False
        return True

    def settle(self) -> None:
        """Return once everything that was collected is stored, though Ctrl-C be pressed: once, it waits for that."""
        with InterruptGuard(hold=True):
            for ticket in self._latest.values():
                # What cannot be stored is told of when the run ends.
                with suppress(Exception):
                    ticket.wait()
            self._latest.clear()

    def note(self, failures: Sequence[PluginFailure]) -> None:
        """Take in errors that were kept as data elsewhere."""
        if failures:
            for failure in failures:
                self._warn(failure)
            self.failures.extend(failures)

    def event(self, event: Event) -> None:
        """Hand an event round; one at a time, whatever thread it comes from."""
        calls = self._listening(event.name)
        if not calls:
            return
        with self.lock:
            for call in calls:
                with caught(partial(self._apply_policy, call, "on_event", event.cell)):
                    self._look(call, call.fn(self.view, event))

    @property
    def sink(self) -> Callable[[Event], None]:
        """What takes the events of cells, also where no plugin wants any: a long run would keep millions of them."""
        return self.event if self.hears_cells else _unheard

    def listens(self, name: str) -> bool:
        """Return whether some plugin wants events of a name."""
        return bool(self._on_event) and bool(self._listening(name))

    def _listening(self, name: str) -> tuple[HookCall, ...]:
        calls = self._listeners.get(name)
        if calls is None:
            calls = tuple(call for call, wanted in self._on_event if wanted is None or name in wanted)
            if name in _PROGRESS or name in _OF_WORKERS:  # steps may send any number of names
                self._listeners[name] = calls
        return calls

    def progress(self, name: str, *, cell: Cell | None = None, **fields: Any) -> None:
        """Tell of the engine's own progress, where somebody listens."""
        if self._on_event and self._listening(name):
            self.event(Event(name, fields, cell, time.time()))

    def provenance(self) -> Mapping[str, Any]:
        """Collect what plugins want to be kept with the run."""
        facts: dict[str, Any] = {}
        given_by: dict[str, HookCall] = {}
        for call in self._calls["collect_provenance"]:
            refuse = partial(self._apply_policy, call, "collect_provenance", None)
            with caught(refuse):
                given = call.fn(self.view) or {}
                for key, value in check_mapping(given, what=f"what {call.info.origin} gives").items():
                    problem = _problem(key, value, given_by, of_store=isinstance(call.info.plugin, StorePlugin))
                    if problem is None:
                        facts[key], given_by[key] = isolate(value), call
                    else:
                        refuse(ValidationError(f"{call.info.origin} gives the fact {key!r}, {problem}"))
        return facts

    def after_run(self, result: Result) -> BaseException | None:
        """Call every ``after_run``, also if another's raised; give the error that is to be raised, if any."""
        stopping: BaseException | None = None
        known = len(self.failures)
        for call in self._calls["after_run"]:
            try:
                self._look(call, call.fn(self.view, result))
            except BaseException as exc:  # noqa: BLE001 - kept with the result, or raised once all were called
                # Ctrl-C as well: whoever stores the results comes last, and has its turn.
                if call.on_error == "stop_run" or isinstance(exc, KeyboardInterrupt):
                    stopping = stopping or exc
                else:
                    self._keep(call, "after_run", None, exc)
                    if call.on_error != "record":
                        result.errors[free_key(f"after_run:{call.info.name}", result.errors)] = exc
            # At once: a store that comes later in the order is to keep them.
            result.note_plugin_errors(self.failures[known:])
            known = len(self.failures)
        return stopping

    def check(self) -> None:
        """Raise what a plugin's hook raised that wants the run to stop then."""
        if self.stopped is not None:
            raise self.stopped

    def _apply_policy(self, call: HookCall, hook: str, cell: Cell | None, exc: BaseException) -> None:
        if call.on_error == "stop_run":
            # Raised between two cells: an event's hook runs in the middle of a step, which it must not fail.
            self.stopped = self.stopped or exc
        else:
            self._keep(call, hook, cell, exc)

    def _keep(self, call: HookCall, hook: str, cell: Cell | None, exc: BaseException) -> None:
        failure = plugin_failure(exc, call, hook, cell)
        self.failures.append(failure)
        self._warn(failure)

    def _warn(self, failure: PluginFailure) -> None:
        if failure.plugin in self._warned:
            return
        self._warned.add(failure.plugin)
        origin = f" ({failure.distribution} {failure.version})" if failure.distribution else ""
        _LOGGER.warning(
            "plugin %r%s raised in %s: %s; the run goes on, and its record is incomplete\n%s",
            failure.plugin,
            origin,
            failure.hook,
            failure.error,
            failure.traceback.rstrip(),
        )


def _problem(key: Any, value: Any, given_by: Mapping[str, HookCall], *, of_store: bool) -> str | None:
    """Say why a fact is not kept with the run; None where it is."""
    if key in FRAMEWORK_FACTS:
        return "whose name is the framework's: call it otherwise"
    if key in given_by:
        return f"which {given_by[key].info.origin} gives already: call it otherwise"
    if of_store:
        return None  # It keeps the source of everything that was run.
    try:
        size = len(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as exc:
        return f"which JSON cannot hold ({exc}): give text, finite numbers, lists and dictionaries"
    if size > _LARGEST_FACT:
        return f"which is {size} bytes long as JSON, and may be {_LARGEST_FACT}: store it elsewhere, and say where"
    return None


def _wanted(call: HookCall) -> frozenset[str] | None:
    names = declared(call.info.plugin, "wanted_events")
    return None if names is None else frozenset(names)


def _unheard(event: Event) -> None:
    """Take an event that nobody wants."""
