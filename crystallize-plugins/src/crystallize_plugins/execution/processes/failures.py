"""`Failures`: the cells of a run that failed and may be tried again, as the coordinator knows them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from crystallize.engine.policies import History, attempt_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crystallize.engine.runner import CellRunner
    from crystallize.results.outcome import Attempt, Cell, CellOutcome, PluginFailure
    from crystallize_plugins.execution.processes.schedule import Schedule
    from crystallize_plugins.execution.processes.slots import Overdue

__all__ = ["Failures"]


class Failures:
    """Keeps the attempts that failed, and has cells tried again.

    Parameters
    ----------
    runner : CellRunner
        The coordinator's.
    schedule : Schedule

    Attributes
    ----------
    limits_time : bool
        Whether something has a time-out.
    """

    def __init__(self, runner: CellRunner, schedule: Schedule) -> None:
        self._runner = runner
        self._schedule = schedule
        self._policies = runner.policies
        self.limits_time = self._policies is not None and self._policies.limits_time
        self._histories: dict[int, History] = {}

    def earlier(self, indexes: Iterable[int]) -> Mapping[int, Sequence[Attempt]]:
        """Give the earlier attempts at those cells that have some."""
        known = self._histories
        return {index: known[index].attempts for index in indexes if index in known} if known else {}

    def completed(self, index: int, outcome: CellOutcome) -> CellOutcome:
        """Add what is known of the earlier attempts to a cell's outcome."""
        history = self._histories.pop(index, None)
        return outcome if history is None else history.completed(outcome)

    def again(
        self, index: int, cell: Cell, attempt: Attempt, delay: float, failures: Sequence[PluginFailure] = ()
    ) -> None:
        """Have a cell tried again after some seconds."""
        self._note(index, attempt, failures)
        self._schedule.later(index, delay)
        self._runner.retried(cell, attempt, delay)

    def suspect_again(self, index: int, outcome: CellOutcome) -> None:
        """Have a cell that cost a worker its life tried again, alone, whatever its policy is."""
        attempt = attempt_of(outcome, self._attempts(index))
        self._note(index, attempt)
        self._schedule.suspect_again(index)
        self._runner.retried(outcome.cell, attempt)

    def try_again(self, index: int, outcome: CellOutcome) -> bool:
        """Have a cell whose worker is gone tried again, if its policy says so."""
        error = outcome.error
        if self._policies is None or error is None or error.original_exception is None:
            return False
        attempts = self._attempts(index)
        delay = self._policies.delay_after(error.original_exception, error.step_name, attempts)
        if delay is None:
            return False
        self.again(index, outcome.cell, attempt_of(outcome, attempts), delay)
        return True

    def overdue(self, cell: Cell, overdue: Overdue, worker: str) -> CellOutcome:
        """Give the outcome of a cell whose worker was ended."""
        if self._policies is None:
            raise ValueError("nothing has a time-out")
        error = self._policies.too_slow(
            overdue.position, whole_cell=overdue.whole_cell, what_next="; its worker process was ended"
        )
        outcome = self._runner.failed(cell, error, worker=worker, step=error.step)
        outcome.duration = error.limit + max(0.0, (time.monotonic_ns() - overdue.end) / 1e9)
        return outcome

    def _attempts(self, index: int) -> Sequence[Attempt]:
        history = self._histories.get(index)
        return () if history is None else history.attempts

    def _note(self, index: int, attempt: Attempt, failures: Sequence[PluginFailure] = ()) -> None:
        self._histories.setdefault(index, History()).note(attempt, failures)
