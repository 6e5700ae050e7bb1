"""The cells of a run that are not done: `CellQueue` says which go to a worker next, `Retries` which are tried again."""

from __future__ import annotations

import heapq
import time
from collections import deque
from typing import TYPE_CHECKING

from crystallize.hooks import History, attempt_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crystallize.hooks import Attempt, Cell, CellOutcome, PluginFailure, RunCell
    from crystallize_plugins.execution.processes.shared_memory import Overdue

__all__ = ["CellQueue", "Retries"]

BATCH = 0.010
"""Seconds of work that a worker is given at a time."""
LEAST = 0.001
"""Seconds of work for which it does not pay to ask again, though another worker stand idle for as long at the end."""

_MOST = 500


class CellQueue:
    """The cells that wait, as indexes; batches grow with what cells of a kind were seen to take.

    Parameters
    ----------
    kinds : sequence of str
        For each cell what it has in common with others: its condition.

    Attributes
    ----------
    unfinished : int
        How many cells are not done.
    """

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = list(kinds)
        self._next = 0
        self._returned: deque[int] = deque()
        self._finished = bytearray(len(self._kinds))
        self._typical: dict[str, float] = {}
        self._suspects: deque[int] = deque()
        self._later: list[tuple[float, int]] = []
        self.unfinished = len(self._kinds)

    def add(self, kinds: Sequence[str]) -> None:
        """Take in more cells, behind the others."""
        self._kinds.extend(kinds)
        self._finished.extend(bytes(len(kinds)))
        self.unfinished += len(kinds)

    @property
    def has_suspects(self) -> bool:
        """Whether a cell that cost a worker its life waits for its second try."""
        return bool(self._suspects)

    @property
    def suspected(self) -> int:
        """How many cells wait to be tried alone."""
        return len(self._suspects)

    @property
    def waiting(self) -> int:
        """How many ordinary cells nobody has yet."""
        return len(self._returned) + len(self._kinds) - self._next

    def is_unfinished(self, index: int) -> bool:
        """Whether a cell is not done."""
        return not self._finished[index]

    def finished(self, index: int, seconds: float) -> bool:
        """Note a cell that is done and how long it took; return False if it was done before."""
        if self._finished[index]:
            return False
        self._finished[index] = True
        self.unfinished -= 1
        kind = self._kinds[index]
        known = self._typical.get(kind)
        self._typical[kind] = seconds if known is None else 0.7 * known + 0.3 * seconds
        return True

    def batch(self, workers: int, seconds: float = BATCH) -> list[int]:
        """Take the next cells for one of `workers`, work of so many seconds.

        A kind that was never seen ends a batch, and no batch takes so much that the others would stand idle
        at the end for longer than it takes to ask again.
        """
        room = seconds
        taken: list[int] = []
        most = min(_MOST, max(1, self.waiting // (2 * workers)))
        while self.waiting and room > 0 and (len(taken) < most or (seconds - room < LEAST and len(taken) < _MOST)):
            if self._returned:
                index = self._returned.popleft()
            else:
                index, self._next = self._next, self._next + 1
            taken.append(index)
            room -= self._typical.get(self._kinds[index], seconds)
        return taken

    def later(self, index: int, delay: float) -> None:
        """Have a cell tried again after some seconds."""
        heapq.heappush(self._later, (time.monotonic() + delay, index))

    def due(self) -> int | None:
        """Take a cell whose time to be tried again has come."""
        if self._later and self._later[0][0] <= time.monotonic():
            return heapq.heappop(self._later)[1]
        return None

    def seconds_to_wait(self, most: float) -> float:
        """Return the seconds until a cell is to be tried again, or `most` if those are more."""
        return max(0.0, min(most, self._later[0][0] - time.monotonic())) if self._later else most

    def suspect(self) -> int:
        """Take a cell that is to be tried alone."""
        return self._suspects.popleft()

    def give_back(self, indexes: Iterable[int]) -> None:
        """Put cells back to the front."""
        self._returned.extendleft(sorted(filter(self.is_unfinished, indexes), reverse=True))

    def suspect_again(self, index: int) -> None:
        """Have a cell tried alone."""
        self._suspects.append(index)


class Retries:
    """Keeps the attempts that failed, and has cells tried again.

    Parameters
    ----------
    runner : RunCell
        The coordinator's.
    queue : CellQueue

    Attributes
    ----------
    limits_time : bool
        Whether something has a time-out.
    """

    def __init__(self, runner: RunCell, queue: CellQueue) -> None:
        self._runner = runner
        self._queue = queue
        self._policies = runner.policies
        self.limits_time = self._policies is not None and self._policies.limits_time
        self._histories: dict[int, History] = {}

    def attempts_before(self, indexes: Iterable[int]) -> Mapping[int, Sequence[Attempt]]:
        """Return the earlier attempts at those cells that have some."""
        known = self._histories
        return {index: known[index].attempts for index in indexes if index in known} if known else {}

    def completed(self, index: int, outcome: CellOutcome) -> CellOutcome:
        """Add what is known of the earlier attempts to a cell's outcome."""
        history = self._histories.pop(index, None)
        return outcome if history is None else history.completed(outcome)

    def try_again_later(
        self, index: int, cell: Cell, attempt: Attempt, delay: float, failures: Sequence[PluginFailure] = ()
    ) -> None:
        """Have a cell tried again after some seconds."""
        self._note(index, attempt, failures)
        self._queue.later(index, delay)
        self._runner.retried(cell, attempt, delay)

    def try_alone(self, index: int, outcome: CellOutcome) -> None:
        """Have a cell that cost a worker its life tried again, alone, whatever its policy is."""
        attempt = attempt_of(outcome, self._attempts(index))
        self._note(index, attempt)
        self._queue.suspect_again(index)
        self._runner.retried(outcome.cell, attempt)

    def try_again(self, index: int, outcome: CellOutcome) -> bool:
        """Have a cell whose worker is gone tried again, if its policy says so; return whether it does."""
        error = outcome.error
        if self._policies is None or error is None or error.original_exception is None:
            return False
        attempts = self._attempts(index)
        delay = self._policies.delay_after(error.original_exception, error.step_name, attempts)
        if delay is None:
            return False
        self.try_again_later(index, outcome.cell, attempt_of(outcome, attempts), delay)
        return True

    def overdue(self, cell: Cell, overdue: Overdue, worker: str) -> CellOutcome:
        """Return the outcome of a cell whose worker was ended."""
        if self._policies is None:
            raise ValueError("nothing has a time-out")
        error = self._policies.too_slow(
            overdue.position, whole_cell=overdue.whole_cell, what_next="; its worker process was ended"
        )
        outcome = self._runner.failed(cell, error, worker=worker, step=error.step)
        outcome.duration = error.limit + max(0.0, (time.monotonic_ns() - overdue.deadline) / 1e9)
        return outcome

    def _attempts(self, index: int) -> Sequence[Attempt]:
        history = self._histories.get(index)
        return () if history is None else history.attempts

    def _note(self, index: int, attempt: Attempt, failures: Sequence[PluginFailure] = ()) -> None:
        self._histories.setdefault(index, History()).note(attempt, failures)
