"""`Watch`: ends worker processes that have been at something for too long, whatever the coordinator is doing."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from crystallize_plugins.execution.processes.family import descendants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from crystallize_plugins.execution.processes.family import Relative
    from crystallize_plugins.execution.processes.slots import Overdue, Slots
    from crystallize_plugins.execution.processes.starters import Hand

__all__ = ["Watch", "Watched"]

_LOOK_EVERY = 0.2
"""Seconds after which a limit that a worker has set meanwhile is seen at the latest."""


class Watched(Protocol):
    """What a watch knows of a worker.

    Attributes
    ----------
    hand : Hand
    gone : bool
    overdue : Overdue or None
        Why it was ended.
    relatives : sequence of Relative
        What it had started by then.
    """

    hand: Hand
    gone: bool
    overdue: Overdue | None
    relatives: Sequence[Relative]


class Watch:
    """A thread of its own: the coordinator may be busy with what a user does with the outcomes.

    Parameters
    ----------
    slots : Slots
    members : callable
        Gives the workers of now.
    """

    def __init__(self, slots: Slots, members: Callable[[], Iterable[Watched]]) -> None:
        self._slots = slots
        self._members = members
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="crystallize-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        nap = 0.0
        while not self._over.wait(nap):
            nap = min(map(self._look_after, self._members()), default=_LOOK_EVERY)

    def _look_after(self, member: Watched) -> float:
        """End a worker that is overdue; give the seconds after which to look again."""
        if member.gone or member.overdue is not None:
            return _LOOK_EVERY
        now = time.monotonic_ns()
        overdue = self._slots.overdue(member.hand.number, now)
        if overdue is None:
            end = self._slots.end(member.hand.number)
            return min(max((end - now) / 1e9, 0.0005), _LOOK_EVERY) if end else _LOOK_EVERY
        member.relatives = descendants(member.hand.pid)
        member.overdue = overdue
        member.hand.kill()
        return _LOOK_EVERY
