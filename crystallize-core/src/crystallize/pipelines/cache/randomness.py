"""Whether a step moved the global random state, which it shares with every thread of its process."""

from __future__ import annotations

import os
import pickle
import random
import struct
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GlobalRandomness", "global_randomness", "torch_state"]


class GlobalRandomness:
    """Watches the states of ``random``, ``numpy.random`` and PyTorch while steps run that may be stored.

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


def torch_state() -> Any:
    """Return the state of PyTorch's global generator of the CPU, as a tensor; None where PyTorch is not imported."""
    # While another thread imports PyTorch the module is there and the function may not be.
    get_state = getattr(sys.modules.get("torch"), "get_rng_state", None)
    return None if get_state is None else get_state()


def _states() -> tuple[Any, Any, bytes | None]:
    torch = torch_state()
    numpy_random = sys.modules.get("numpy.random")
    # While another thread imports NumPy the module is there and the function may not be.
    get_state = getattr(numpy_random, "get_state", None)
    numpy = None if get_state is None else get_state(legacy=False)
    return random.getstate(), numpy, None if torch is None else torch.numpy().tobytes()


def _same(now: tuple[Any, Any, bytes | None], before: tuple[Any, Any, bytes | None]) -> bool:
    if now[0] != before[0] or not _same_torch(now[2], before[2]):
        return False
    if before[1] is None:
        # NumPy came meanwhile: its generator is as new unless somebody has drawn from it.
        return now[1] is None or now[1].get("state", {}).get("pos") == _FRESH
    return pickle.dumps(now[1]) == pickle.dumps(before[1])


def _same_torch(now: bytes | None, before: bytes | None) -> bool:
    if now is None or before is not None:
        return now == before
    # PyTorch came meanwhile: its generator is as new unless somebody has drawn from it.
    return now[_TORCH_PLACE] == _FRESH_TORCH


# Where the Mersenne twister stands as long as nothing was drawn from it.
_FRESH = 624
# PyTorch's, behind the seed, which is another one in each process: numbers left, whether seeded, the next one's place.
_TORCH_PLACE = slice(8, 24)
_FRESH_TORCH = struct.pack("=iiQ", 1, 1, 0)

global_randomness = GlobalRandomness()
"""The one of this process: there is one state."""


def _restart() -> None:
    # In a forked child nobody runs the steps that threads of its parent ran, nor frees their lock.
    global_randomness.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart)
