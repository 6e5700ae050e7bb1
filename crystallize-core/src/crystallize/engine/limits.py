"""Time-outs in a worker: what is under way until when, and the end of what awaits for too long."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from crystallize.context import FrozenContext
    from crystallize.engine.policies import Policies
    from crystallize.engine.program import Program
    from crystallize.hooks.roles import DeadlineListener
    from crystallize.results.outcome import Cell, CellOutcome

__all__ = ["TimeLimits", "within"]

GRACE = 0.5
"""Seconds that a coroutine has, once it was cancelled, before its process is ended."""
_MESSAGE = "a time-out of crystallize has passed"


class TimeLimits:
    """The time-outs of a run's cells and steps, as one worker keeps them.

    Parameters
    ----------
    policies : Policies
    listener : DeadlineListener or None
        Gets to know of deadlines in a process that can be ended.
    """

    def __init__(self, policies: Policies, listener: DeadlineListener | None) -> None:
        self._policies = policies
        self._listener = listener or _nobody
        self._ends: dict[Cell, float] = {}

    async def keep(self, cell: Cell, running: Awaitable[CellOutcome]) -> CellOutcome:
        """Run a cell within its time-out."""
        limit = self._policies.cell.timeout
        if limit is None:
            return await running
        end = self._ends[cell] = monotonic() + limit
        self._listener(end, -1, whole_cell=True)
        try:
            return await running
        finally:
            del self._ends[cell]
            self._listener(0, -1, whole_cell=True)

    def limited_fetch(self, fetch: Callable[[FrozenContext], Any]) -> Callable[[FrozenContext], Any]:
        """Return a data source's ``fetch`` that keeps to the cell's time-out."""
        if self._policies.cell.timeout is None:
            return fetch
        return lambda ctx: self._limited(lambda _, ctx: fetch(ctx), None, ctx, 0)

    def limit_steps(self, program: Program) -> None:
        """Have the steps of a condition keep to their time-outs and the cell's."""
        whole_cell = self._policies.cell.timeout is not None
        calls = []
        for position, call, wants_ctx, late in program.calls:
            if whole_cell or self._policies.step_limit(position) is not None:
                timed = self._timed(position, call if wants_ctx else _without_ctx(call))
                calls.append((position, timed, True, late and self._timed(position, late)))
            else:
                calls.append((position, call, wants_ctx, late))
        program.calls = tuple(calls)

    def _timed(self, position: int, call: Callable[[Any, FrozenContext], Any]) -> Callable[[Any, FrozenContext], Any]:
        return lambda data, ctx: self._limited(call, data, ctx, position)

    def _limited(self, call: Callable[[Any, FrozenContext], Any], data: Any, ctx: FrozenContext, position: int) -> Any:
        """Make a call, within the limits of its step and of its cell."""
        now = monotonic()
        cell_end = self._ends.get(ctx._cell)
        limit = self._policies.step_limit(position)
        whole_cell = cell_end is not None and (limit is None or cell_end < now + limit)
        end = cell_end if cell_end is not None and whole_cell else now + (limit or 0.0)

        def too_slow() -> Exception:
            return self._policies.too_slow(position, whole_cell=whole_cell)

        self._listener(end, position, whole_cell=whole_cell)
        value = None
        try:
            value = call(data, ctx)
            if not hasattr(type(value), "__await__"):
                # Nobody could interrupt it here, or it came a moment before it would have been.
                if monotonic() > end:
                    raise too_slow()
                return value
        finally:
            if not hasattr(type(value), "__await__"):
                self._listener(cell_end or 0, position, whole_cell=True)
        self._listener(end + GRACE, position, whole_cell=whole_cell)
        return self._awaited(value, end, too_slow, ctx, position)

    async def _awaited(
        self,
        awaitable: Awaitable[Any],
        end: float,
        too_slow: Callable[[], Exception],
        ctx: FrozenContext,
        position: int,
    ) -> Any:
        try:
            return await within(awaitable, end, too_slow)
        finally:
            self._listener(self._ends.get(ctx._cell, 0), position, whole_cell=True)


def _without_ctx(call: Callable[[Any], Any]) -> Callable[[Any, FrozenContext], Any]:
    return lambda data, _: call(data)


def _nobody(end: float, position: int, *, whole_cell: bool) -> None:
    """Tell nobody: this process is not one to be ended."""


async def within(awaitable: Any, end: float, too_slow: Callable[[], Exception]) -> Any:
    """Await something until a deadline; what is still under way then is cancelled.

    Parameters
    ----------
    awaitable : awaitable
        It may give something to be awaited in its turn.
    end : float
        The deadline, by the monotonic clock.
    too_slow : callable
        Makes the error that is raised then.
    """
    import asyncio

    deadline = _Deadline(end)
    cause: BaseException | None = None
    try:
        value = awaitable
        while hasattr(type(value), "__await__"):
            value = await value
    except asyncio.CancelledError as exc:
        if not deadline.is_the_only_one(exc):
            raise
        cause = exc
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as exc:
        if not deadline.has_passed():
            raise
        cause = exc
    else:
        if not deadline.has_passed():
            return value
    finally:
        deadline.stop()
    raise too_slow() from cause


class _Deadline:
    """Cancels the current task when it comes; what `asyncio.timeout` does, which Python 3.10 does not have."""

    def __init__(self, end: float) -> None:
        import asyncio

        task: Any = asyncio.current_task()
        self._task = task
        # Python 3.10 neither counts who cancels a task nor takes it back.
        self._counts = hasattr(task, "cancelling")
        self._asked_before = task.cancelling() if self._counts else 0
        self._passed = False
        self._timer = asyncio.get_running_loop().call_later(max(0.0, end - monotonic()), self._pass)

    def _pass(self) -> None:
        self._passed = True
        self._task.cancel(_MESSAGE)

    def has_passed(self) -> bool:
        """Return whether it has passed; the cancellation is taken back."""
        if self._passed and self._counts:
            self._task.uncancel()
        return self._passed

    def is_the_only_one(self, exc: asyncio.CancelledError) -> bool:
        """Return whether nobody else has asked for this cancellation."""
        if not self.has_passed():
            return False
        return self._task.cancelling() <= self._asked_before if self._counts else exc.args == (_MESSAGE,)

    def stop(self) -> None:
        self._timer.cancel()
