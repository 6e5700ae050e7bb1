"""What was declared for the cells of a run: when to try again, how long anything may take, when to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.engine.failure import text_of
from crystallize.errors import (
    CellTimeoutError,
    ConfigurationError,
    StepTimeoutError,
    TooManyFailuresError,
)
from crystallize.hooks.roles import ExecutorPlugin
from crystallize.pipelines.policy import FailurePolicy, policy_of
from crystallize.results.outcome import Attempt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crystallize.errors import PipelineExecutionError
    from crystallize.pipelines import Pipeline
    from crystallize.results.outcome import CellOutcome, PluginFailure

__all__ = ["NO_POLICY", "FailureCount", "History", "Policies", "attempt_of", "policies_of"]

NO_POLICY = FailurePolicy()
"""One attempt, as long as it takes."""

_BEFORE = ("before_replicate", "datasource")


class Policies(NamedTuple):
    """The policies of one run.

    Attributes
    ----------
    cell : FailurePolicy
        The experiment's: its retries count every failure of a cell, its time-out is for the whole cell.
    steps : tuple of FailurePolicy
        One for each step: its retries count failures of that step, its time-out is for the step.
    labels : tuple of str
        The steps' names.
    plain : tuple of str
        The steps of which a time-out was declared, and that only the end of their process can interrupt.
    """

    cell: FailurePolicy
    steps: tuple[FailurePolicy, ...]
    labels: tuple[str, ...]
    plain: tuple[str, ...]

    @property
    def limits_time(self) -> bool:
        """Return whether anything has a time-out."""
        return self.cell.timeout is not None or any(policy.timeout is not None for policy in self.steps)

    def delay_after(self, exc: BaseException, step: str, earlier: Sequence[Attempt]) -> float | None:
        """Return the seconds after which a cell is to be tried again, or None if it has failed for good.

        Parameters
        ----------
        exc : BaseException
            What ended the attempt.
        step : str
            Where.
        earlier : sequence of Attempt
            The attempts before this one.
        """
        if step in self.labels and not isinstance(exc, CellTimeoutError):
            policy = self.steps[self.labels.index(step)]
            failures = 1 + sum(
                attempt.step == step and attempt.error_type != CellTimeoutError.__name__ for attempt in earlier
            )
            if policy.covers(exc) and failures <= policy.retries:
                return policy.delay(failures)
        if self.cell.covers(exc) and len(earlier) < self.cell.retries:
            return self.cell.delay(len(earlier) + 1)
        return None

    def place(self, position: int) -> str:
        """Name a place in a cell: -1 is before the data source, 0 is the data source, then come the steps."""
        return self.labels[position - 1] if position > 0 else _BEFORE[position + 1]

    def step_limit(self, position: int) -> float | None:
        """Return the time-out of what stands at a place."""
        return self.steps[position - 1].timeout if position > 0 else None

    def too_slow(self, position: int, *, whole_cell: bool, what_next: str = "") -> CellTimeoutError | StepTimeoutError:
        """Return the error of a time-out.

        Parameters
        ----------
        position : int
            See `place`.
        whole_cell : bool
            Whether it is the cell's time-out that has passed.
        what_next : str
            What was done about it.
        """
        place = self.place(position)
        if whole_cell:
            limit = self.cell.timeout or 0.0
            text = f"the cell took longer than its time-out of {limit:g} s, and was at {place} by then{what_next}"
            return CellTimeoutError(text, step=place, limit=limit)
        limit = self.step_limit(position) or 0.0
        return StepTimeoutError(
            f"{place} took longer than its time-out of {limit:g} s{what_next}", step=place, limit=limit
        )

    def described(self) -> dict[str, Any]:
        """Return what was declared as plain data."""
        steps = {
            label: _described(policy)
            for label, policy in zip(self.labels, self.steps, strict=True)
            if policy != NO_POLICY
        }
        return {**_described(self.cell), "steps": steps}

    def check_executors(self, executors: Iterable[object]) -> None:
        """Refuse time-outs that nobody could keep.

        Parameters
        ----------
        executors : iterable
            The plugins that may run the cells.

        Raises
        ------
        ConfigurationError
            Naming the step, with what to do.
        """
        if self.plain and not any(
            isinstance(executor, ExecutorPlugin) and executor.ends_overdue_cells for executor in executors
        ):
            raise self.unkept()

    def unkept(self) -> ConfigurationError:
        """Return the error of time-outs that nobody here can keep."""
        label = self.plain[0]
        limit = self.steps[self.labels.index(label)].timeout
        what = (
            f"the experiment has a time-out of {self.cell.timeout:g} s for each cell, and its step {label}"
            if limit is None
            else f"the step {label} has a time-out of {limit:g} s, and"
        )
        return ConfigurationError(
            f"{what} is a plain function, which only the end of its process can interrupt: run the cells in worker "
            "processes, with plugins=[ParallelExecution(executor_type='process')], or write the step as an async def "
            "that awaits what takes long"
        )


def policies_of(pipeline: Pipeline, cell: FailurePolicy = NO_POLICY) -> Policies | None:
    """Return what the steps of a pipeline and their experiment declare; None where that is nothing.

    Raises
    ------
    ArgumentTypeError, ValidationError
        If a step's declaration cannot be used.
    """
    steps = pipeline.steps
    if cell == NO_POLICY and not any(step.retries or step.timeout is not None for step in steps):
        return None
    policies = tuple(policy_of(step, label) for step, label in zip(steps, pipeline.labels, strict=True))
    plain = tuple(
        label
        for step, label, policy in zip(steps, pipeline.labels, policies, strict=True)
        if (policy.timeout is not None or cell.timeout is not None) and not step._is_awaited()
    )
    return Policies(cell, policies, pipeline.labels, plain)


def attempt_of(outcome: CellOutcome, earlier: Sequence[Attempt]) -> Attempt:
    """Make the record of an attempt that failed."""
    error: PipelineExecutionError | None = outcome.error
    if error is None:
        raise ValueError("the attempt did not fail")
    text = str(error) if error.original_exception is None else text_of(error.original_exception)
    return Attempt(len(earlier) + 1, error.step_name, error.error_type, text, outcome.duration)


def _described(policy: FailurePolicy) -> dict[str, Any]:
    return {
        "retries": policy.retries,
        "retry_on": [kind.__qualname__ for kind in policy.retry_on],
        "backoff": policy.backoff,
        "timeout": policy.timeout,
    }


class History:
    """The attempts at one cell that failed."""

    __slots__ = ("attempts", "failures")

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.failures: list[PluginFailure] = []

    def add(self, outcome: CellOutcome) -> Attempt:
        """Take down an attempt that is followed by another."""
        attempt = attempt_of(outcome, self.attempts)
        self.note(attempt, outcome.plugin_failures)
        return attempt

    def note(self, attempt: Attempt, failures: Sequence[PluginFailure] = ()) -> None:
        """Take down the record of an attempt."""
        self.attempts.append(attempt)
        self.failures.extend(failures)

    def completed(self, outcome: CellOutcome) -> CellOutcome:
        """Add what is known of the earlier attempts to the outcome of the last one."""
        if self.attempts:
            outcome.attempts = tuple(self.attempts)
            if self.failures:
                outcome.plugin_failures = [*self.failures, *outcome.plugin_failures]
        return outcome


class FailureCount:
    """Counts the cells of a run that failed, and says when those are too many.

    Parameters
    ----------
    limit : int
        How many cells may fail.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failed = 0

    def add(self, error: PipelineExecutionError) -> None:
        """Count a cell; one that an optimiser stopped has not failed.

        Raises
        ------
        TooManyFailuresError
            Once: what arrives while the run is being stopped is taken in as well.
        """
        if error.pruned:
            return
        self._failed += 1
        if self._failed != self._limit + 1:
            return
        what = "a cell failed, and none may (fail_fast)"
        if self._limit:
            what = f"{self._failed} cells failed, and {self._limit} may (max_failures)"
        raise TooManyFailuresError(
            f"the run was stopped: {what}; the last failure: {error}. What had finished is in this error's .result, "
            "and stored where the experiment stores its runs: run(strategy='resume') goes on from there",
            failed=self._failed,
            limit=self._limit,
        ) from error
