"""Calling plugins in a worker; in strict mode a plugin that calls itself neutral is held to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.engine.failure import caught, hook_error, plugin_failure
from crystallize.engine.handed import handed_outcome, outcome_content, with_copies
from crystallize.engine.neutrality import RandomStates, violation
from crystallize.errors import ContextMutationError
from crystallize.fingerprint import value_of
from crystallize.hooks.specs import HOOKS
from crystallize.plugins.implementations import in_one_call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crystallize.context import FrozenContext
    from crystallize.engine.shared import SharedObjects
    from crystallize.hooks import ExperimentView
    from crystallize.hooks.roles import WorkerReport
    from crystallize.plugins.manager import HookCall
    from crystallize.results.outcome import Cell, PluginFailure

    CellHook = Callable[..., None]

__all__ = ["WorkerHooks"]


class WorkerHooks:
    """Calls the hooks that run in the worker, one implementation by one, each plugin's failure its own.

    Parameters
    ----------
    view : ExperimentView
        What hooks are handed.
    shared : SharedObjects
        What cells are given by reference.
    """

    def __init__(self, view: ExperimentView, shared: SharedObjects) -> None:
        self._view = view
        self._shared = shared
        self._states = RandomStates() if view.strict else None

    def in_cell(self, calls: Sequence[HookCall], report: WorkerReport) -> CellHook:
        """Return what calls a hook's implementations in a cell.

        Parameters
        ----------
        calls : sequence of HookCall
            Of one hook; there is one at least.
        report : WorkerReport
            Is told who returns what nobody takes.

        Returns
        -------
        callable
            Takes the cell, the list that gets failures which are kept as data, and the hook's arguments. It raises
            `PluginHookError` where a plugin fails whose failures are not kept.
        """
        hook = calls[0].hook
        content = outcome_content if self._view.strict else None
        calls = [with_copies(call, "outcome", handed_outcome, content) for call in calls]

        def failed(number: int, exc: BaseException, cell: Cell, failures: list[PluginFailure]) -> None:
            if isinstance(exc, KeyboardInterrupt):
                raise exc
            call = calls[number]
            if call.on_error != "record":
                raise hook_error(exc, call, hook) from exc
            failures.append(plugin_failure(exc, call, hook, cell))

        def gave(number: int) -> None:
            report.ignored.add((str(calls[number].info.origin), hook))

        if self._states is not None and any(call.neutral for call in calls):
            return self._strictly(calls, self._states, failed, gave)
        implementations = [(call.method, call.takes, call.neutral) for call in calls]
        return in_one_call(HOOKS[hook].arguments, implementations, failed=failed, gave=gave)

    def once(self, call: HookCall, failed: Callable[[BaseException], None], report: WorkerReport) -> None:
        """Call one implementation of `HookSpecs.worker_start` or `HookSpecs.worker_stop`."""
        states = self._states if call.neutral else None
        before = None if states is None else states.look()
        with caught(failed):
            if call.fn(self._view) is not None:
                report.ignored.add((str(call.info.origin), call.hook))
        changed = [] if states is None or before is None else states.restore(before)
        if changed:
            report.plugin_failures.append(plugin_failure(violation(call, changed), call, call.hook, None))

    def _strictly(
        self, calls: Sequence[HookCall], states: RandomStates, failed: Callable[..., None], gave: Callable[[int], None]
    ) -> CellHook:
        arguments = HOOKS[calls[0].hook].arguments
        place = arguments.index("ctx")
        data_place = arguments.index("data") if "data" in arguments else None

        def call_all(cell: Cell, failures: list[PluginFailure], *given: Any) -> None:
            ctx: FrozenContext = given[place]
            data = None if data_place is None else given[data_place]
            seen = (*given[:place], ctx._read_only(), *given[place + 1 :])
            for number, call in enumerate(calls):
                if not call.neutral:
                    one_alone(number, call, given, cell, failures)
                    continue
                looks_at_data = "data" in call.takes
                content = value_of(data) if looks_at_data else None
                before = states.look()
                try:
                    one_alone(number, call, seen, cell, failures)
                finally:
                    changed = states.restore(before)
                    if changed:
                        failures.append(plugin_failure(violation(call, changed), call, call.hook, cell))
                    beyond = self._cannot_be_put_back(call, ctx)
                    if looks_at_data and value_of(data) != content:
                        beyond.append("the data that goes to the next step")
                    if beyond:
                        # Whatever the plugin says of its errors: the numbers of this cell are not the experiment's.
                        error = violation(call, beyond)
                        failures.append(plugin_failure(error, call, call.hook, cell))
                        raise hook_error(error, call, call.hook)

        def one_alone(
            number: int, call: HookCall, given: tuple[Any, ...], cell: Cell, failures: list[PluginFailure]
        ) -> None:
            try:
                if call.fn(*given) is not None:
                    gave(number)
            except BaseException as exc:  # noqa: BLE001 - a plugin's failure is its own
                failed(number, exc, cell, failures)

        return call_all

    def _cannot_be_put_back(self, call: HookCall, ctx: FrozenContext) -> list[str]:
        """Return what was changed of the objects that cells are given by reference."""
        try:
            self._shared.check(ctx._copies.checked, call.info.name, kind="plugin")
        except ContextMutationError as exc:
            return [f"an object that cells share ({exc})"]
        return []
