"""Which cells go to which worker, and how many at a time."""

from __future__ import annotations

import heapq
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Schedule"]

BATCH = 0.010
"""Seconds of work that a worker is given at a time."""
LEAST = 0.001
"""Seconds of work for which it does not pay to ask again, though another worker stand idle for as long at the end."""

_MOST = 500


class Schedule:
    """The cells that wait, as indexes; batches grow with what cells of a kind were seen to take.

    Parameters
    ----------
    kinds : sequence of str
        For each cell what it has in common with others: its condition.
    """

    def __init__(self, kinds: Sequence[str]) -> None:
        self._kinds = kinds
        self._waiting = deque(range(len(kinds)))
        self._typical: dict[str, float] = {}
        self._suspects: deque[int] = deque()
        self._later: list[tuple[float, int]] = []
        self.unfinished = set(self._waiting)

    @property
    def has_suspects(self) -> bool:
        """Whether a cell that cost a worker its life waits for its second try."""
        return bool(self._suspects)

    @property
    def waiting(self) -> int:
        """How many ordinary cells nobody has yet."""
        return len(self._waiting)

    def finished(self, index: int, seconds: float) -> bool:
        """Note a cell that is done and how long it took; false if it was done before."""
        if index not in self.unfinished:
            return False
        self.unfinished.discard(index)
        kind = self._kinds[index]
        known = self._typical.get(kind)
        self._typical[kind] = seconds if known is None else 0.7 * known + 0.3 * seconds
        return True

    def batch(self, workers: int) -> list[int]:
        """Take the next cells for one of `workers`.

        A kind that was never seen ends a batch, and no batch takes so much that the others would stand idle
        at the end for longer than it takes to ask again.
        """
        waiting, room = self._waiting, BATCH
        taken: list[int] = []
        most = min(_MOST, max(1, len(waiting) // (2 * workers)))
        while waiting and room > 0 and (len(taken) < most or (BATCH - room < LEAST and len(taken) < _MOST)):
            index = waiting.popleft()
            taken.append(index)
            room -= self._typical.get(self._kinds[index], BATCH)
        return taken

    def later(self, index: int, delay: float) -> None:
        """Have a cell tried again after some seconds."""
        heapq.heappush(self._later, (time.monotonic() + delay, index))

    def due(self) -> int | None:
        """Take a cell whose time to be tried again has come."""
        if self._later and self._later[0][0] <= time.monotonic():
            return heapq.heappop(self._later)[1]
        return None

    def patience(self, most: float) -> float:
        """Give the seconds until a cell is to be tried again, or `most` if those are more."""
        return max(0.0, min(most, self._later[0][0] - time.monotonic())) if self._later else most

    def suspect(self) -> int:
        """Take a cell that is to be tried alone."""
        return self._suspects.popleft()

    def give_back(self, indexes: Iterable[int]) -> None:
        """Put cells back to the front."""
        self._waiting.extendleft(sorted((index for index in indexes if index in self.unfinished), reverse=True))

    def suspect_again(self, index: int) -> None:
        """Have a cell tried alone."""
        self._suspects.append(index)
