"""Calling plugins in a worker; in strict mode a plugin that calls itself neutral is held to it."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any

from crystallize.engine.failure import hook_error, plugin_failure
from crystallize.errors import NeutralityError
from crystallize.fingerprint import value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.context import FrozenContext
    from crystallize.hooks import ExperimentView
    from crystallize.plugins.manager import HookCall
    from crystallize.results.outcome import Cell, PluginFailure

__all__ = ["WorkerHooks"]


class WorkerHooks:
    """Calls the hooks that run in the worker, one implementation by one, each plugin's failure its own.

    Parameters
    ----------
    view : ExperimentView
    """

    def __init__(self, view: ExperimentView) -> None:
        self._view = view
        self._guard = _NeutralityGuard() if view.strict else None

    def call(
        self,
        calls: Sequence[HookCall],
        hook: str,
        cell: Cell,
        failures: list[PluginFailure],
        ctx: FrozenContext,
        *arguments: Any,
    ) -> None:
        """Call one hook's implementations.

        Parameters
        ----------
        calls : sequence of HookCall
        hook : str
        cell : Cell
        failures : list of PluginFailure
            Gets what is kept as data.
        ctx : FrozenContext
        *arguments : object
            What the hook gets beside the context: the step, and the data that it gave, or the outcome.

        Raises
        ------
        PluginHookError
            If a plugin fails whose failures are not kept as data.
        """
        view = self._view
        data = arguments[1] if len(arguments) > 1 else None
        for call in calls:
            seen: FrozenContext = ctx._read_only() if call.neutral else ctx
            guard = self._guard if call.neutral else None
            before = guard.look(data) if guard is not None else None
            try:
                if hook == "after_replicate":
                    call.fn(view, seen, *arguments)
                else:
                    call.fn(view, *arguments, seen)
            except KeyboardInterrupt:
                raise
            except BaseException as exc:
                if call.on_error != "record":
                    raise hook_error(exc, call, hook) from exc
                failures.append(plugin_failure(exc, call, hook, cell))
            finally:
                if guard is not None:
                    violation = guard.restore(before, data, call, hook)
                    if violation is not None:
                        failures.append(plugin_failure(violation, call, hook, cell))


class _NeutralityGuard:
    """Looks at what a neutral plugin must leave alone, before its hook and after it."""

    def __init__(self) -> None:
        from crystallize.pipelines.cache.randomness import torch_state  # only here: it brings the whole step cache

        self._torch_state = torch_state

    def look(self, data: Any) -> tuple[Any, Any, Any, str]:
        """Remember the global random states and the payload's content."""
        return random.getstate(), _numpy_state(), self._torch_state(), value_of(data)

    def restore(self, before: Any, data: Any, call: HookCall, hook: str) -> NeutralityError | None:
        """Put the random states back; say what was changed, or None."""
        python, numpy_state, torch_before, content = before
        changed = []
        if random.getstate() != python:
            random.setstate(python)
            changed.append("the state of Python's random module (restored)")
        if not _same_numpy_state(_numpy_state(), numpy_state):
            sys.modules["numpy"].random.set_state(numpy_state)
            changed.append("the state of NumPy's global generator (restored)")
        now = self._torch_state()
        if now is not None and torch_before is not None and not bool((now == torch_before).all()):
            sys.modules["torch"].set_rng_state(torch_before)
            changed.append("the state of PyTorch's global generator (restored)")
        if value_of(data) != content:
            changed.append("the data that goes to the next step")
        if not changed:
            return None
        return NeutralityError(
            f"plugin {call.info.name!r} says that it is neutral, and changed {' and '.join(changed)} in {hook}: "
            "fix it, or set neutral = False on its class",
            plugin=call.info.name,
            distribution=call.info.distribution,
            version=call.info.version,
            hook=hook,
        )


def _numpy_state() -> Any:
    numpy_random = sys.modules.get("numpy.random")
    return None if numpy_random is None else numpy_random.get_state()


def _same_numpy_state(now: Any, then: Any) -> bool:
    if now is None or then is None:
        return True
    return now[0] == then[0] and (now[1] == then[1]).all() and tuple(now[2:]) == tuple(then[2:])
