"""The words that the coordinator shares with its workers: who is at what, and until when.

Every worker has four: the cell that it is at (one more than its index; 0 for none), the cell that the coordinator asks
to stop, the moment at which to end the worker (nanoseconds of the monotonic clock; 0 for none), and where in the cell
it is. One more at the end says whether the run was interrupted. A word is read and written in one go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from crystallize_plugins.execution.processes.segment import Segment

__all__ = ["Overdue", "Slots", "WorkerSlots"]

_WORDS = 4
_SIZE = 8


class Overdue(NamedTuple):
    """A worker that has been at something for too long.

    Attributes
    ----------
    cell : int
        Its index.
    position : int
        Where in the cell; see `Policies.place`.
    whole_cell : bool
        Whether it is the cell's time-out that has passed.
    end : int
        When that was.
    """

    cell: int
    position: int
    whole_cell: bool
    end: int


class Slots:
    """All of them, for the coordinator.

    Parameters
    ----------
    memory : Segment
        Of `size_for` so many workers.
    """

    def __init__(self, memory: Segment) -> None:
        self.words = memoryview(memory.shared()).cast("q")
        self._count = (len(self.words) - 1) // _WORDS

    @staticmethod
    def size_for(workers: int) -> int:
        """Give the bytes that so many workers need."""
        return _SIZE * (_WORDS * workers + 1)

    def cell(self, number: int) -> int:
        """Give the index of the cell that a worker is at, -1 for none."""
        return self.words[number] - 1

    def ask_to_stop(self, number: int) -> None:
        """Have a worker's cell learn, with its next event, that it is to stop."""
        self.words[self._count + number] = self.words[number]

    def interrupt(self) -> None:
        """Have no worker begin another cell."""
        self.words[-1] = 1

    def clear(self, number: int) -> None:
        """Forget a worker that is gone."""
        for word in range(_WORDS):
            self.words[word * self._count + number] = 0

    def end(self, number: int) -> int:
        """Give the moment at which a worker has to be ended, 0 for none."""
        return self.words[2 * self._count + number]

    def overdue(self, number: int, now: int) -> Overdue | None:
        """Say at what a worker has been for too long; None if it has not."""
        end = self.end(number)
        if not end or end > now:
            return None
        index, place = self.cell(number), self.words[3 * self._count + number]
        if self.end(number) != end:
            return None  # it went on meanwhile
        return Overdue(index, (place >> 1) - 1, bool(place & 1), end)

    def close(self) -> None:
        """Let go of the memory."""
        self.words.release()


class WorkerSlots:
    """Those of one worker, as it sees them.

    Parameters
    ----------
    memory : Segment
    number : int
        Which worker it is.
    """

    __slots__ = ("_end", "_place", "_stop", "number", "words")

    def __init__(self, memory: Segment, number: int) -> None:
        self.words = memoryview(memory.shared()).cast("q")
        self.number = number
        count = (len(self.words) - 1) // _WORDS
        self._stop, self._end, self._place = (word * count + number for word in range(1, _WORDS))

    def interrupt(self) -> None:
        """Have no worker begin another cell."""
        self.words[-1] = 1

    @property
    def interrupted(self) -> bool:
        """Whether no further cell is to begin."""
        return bool(self.words[-1])

    @property
    def asked_to_stop(self) -> bool:
        """Whether the coordinator has asked the cell at hand to stop."""
        at = self.words[self.number]
        return bool(at and self.words[self._stop] == at)

    def limit(self, end: float, position: int, *, whole_cell: bool) -> None:
        """Say until when to leave this process alone; see `crystallize.hooks.DeadlineListener`."""
        words = self.words
        words[self._end] = 0  # first: whoever reads now must not take one moment for another
        words[self._place] = (position + 1) << 1 | whole_cell
        words[self._end] = int(end * 1e9)
