"""Strict mode: a plugin that calls itself neutral is held to it."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any

from crystallize.errors import NeutralityError
from crystallize.fingerprint import value_of
from crystallize.pipelines.cache.randomness import torch_state

if TYPE_CHECKING:
    from crystallize.plugins.manager import HookCall

__all__ = ["Guard"]


class Guard:
    """Looks at what a neutral plugin must leave alone, before its hook and after it."""

    def look(self, data: Any) -> tuple[Any, Any, Any, str]:
        """Remember the global random states and the payload's content."""
        return random.getstate(), _numpy_state(), torch_state(), value_of(data)

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
        now = torch_state()
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
