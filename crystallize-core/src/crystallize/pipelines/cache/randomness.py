"""Whether a step moved the global random state, which it shares with every thread of its process."""

from __future__ import annotations

import os
import pickle
import random
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GlobalRandomness", "global_randomness"]


class GlobalRandomness:
    """Watches the states of ``random`` and ``numpy.random`` while steps run that may be stored.

    Seeding other cells, in other threads, moves the states too. So it is announced, and does not count; what was drawn
    before it is noticed just then.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._watching = 0
        self._moves = 0
        self._known: Any = None

    def begin(self) -> int:
        """Start to watch for one step; give what `end` wants to be told."""
        with self._lock:
            self._look()
            self._watching += 1
            return self._moves

    def end(self, begun: int) -> bool:
        """Stop to watch for one step; say whether anything moved meanwhile, by that step or another."""
        with self._lock:
            self._look()
            self._watching -= 1
            return self._moves != begun

    @contextmanager
    def seeding(self) -> Iterator[None]:
        """Announce that the states are set now."""
        # Locked in any case: another thread may start to watch meanwhile.
        with self._lock:
            if not self._watching:
                yield
                return
            self._look()
            try:
                yield
            finally:
                self._known = _states()

    def _look(self) -> None:
        now = _states()
        if self._watching and not _same(now, self._known):
            self._moves += 1
        self._known = now


def _states() -> tuple[Any, Any]:
    numpy_random = sys.modules.get("numpy.random")
    # While another thread imports NumPy the module is there and the function may not be.
    get_state = getattr(numpy_random, "get_state", None)
    return random.getstate(), None if get_state is None else get_state(legacy=False)


def _same(now: tuple[Any, Any], before: tuple[Any, Any]) -> bool:
    if now[0] != before[0]:
        return False
    if before[1] is None:
        # NumPy came meanwhile: its generator is as new unless somebody has drawn from it.
        return now[1] is None or now[1].get("state", {}).get("pos") == _FRESH
    return pickle.dumps(now[1]) == pickle.dumps(before[1])


# Where the Mersenne twister stands as long as nothing was drawn from it.
_FRESH = 624

global_randomness = GlobalRandomness()
"""The one of this process: there is one state."""


def _restart() -> None:
    # In a forked child nobody runs the steps that threads of its parent ran, nor frees their lock.
    global_randomness.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart)
