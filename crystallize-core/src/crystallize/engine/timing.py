"""Time-outs in the worker: who is at what until when, and the end of what awaits for too long."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from crystallize.engine.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from crystallize.context import FrozenContext
    from crystallize.engine.bridge import EventLoop
    from crystallize.engine.job import Job
    from crystallize.engine.policy import Policies
    from crystallize.engine.program import Program
    from crystallize.results.outcome import Cell, CellOutcome, Event

__all__ = ["TimedWorker", "Watched"]

GRACE = 0.5
"""Seconds that a coroutine has, once it was cancelled, before its process is ended."""


class Watched(Protocol):
    """Gets to know until when this process has to be left alone; for executors that end processes."""

    def __call__(self, end: float, position: int, *, whole_cell: bool) -> None:
        """Hear what is being done.

        Parameters
        ----------
        end : float
            When to end this process, by the monotonic clock; 0 where there is no limit.
        position : int
            Where in the cell: -1 before the data source, 0 the data source, then the steps.
        whole_cell : bool
            Whether it is the cell's time-out that passes then, not the step's.
        """


class TimedWorker(Worker):
    """A worker of a run in which something has a time-out.

    Parameters
    ----------
    job : Job
    policies : Policies
    watched : Watched or None
        Gets to know of limits in a process that can be ended.
    """

    def __init__(self, job: Job, policies: Policies, watched: Watched | None) -> None:
        super().__init__(job)
        # Not those that later runs share: the calls of ours know of this worker.
        self._programs = {}
        self._policies = policies
        self._watched = watched or _unwatched
        self._ends: dict[Cell, float] = {}
        self._untimed = self._fetch
        if policies.cell.timeout is not None:
            self._fetch = self._fetched

    async def run(self, cell: Cell, emit: Callable[[Event], object] | None, host: EventLoop | None) -> CellOutcome:
        """Run one cell; see `Worker.run`."""
        limit = self._policies.cell.timeout
        if limit is None:
            return await super().run(cell, emit, host)
        end = self._ends[cell] = monotonic() + limit
        self._watched(end, -1, whole_cell=True)
        try:
            return await super().run(cell, emit, host)
        finally:
            del self._ends[cell]
            self._watched(0, -1, whole_cell=True)

    def _program(self, condition: str) -> Program:
        program = super()._program(condition)
        whole_cell = self._policies.cell.timeout is not None
        calls = []
        for position, call, wants_ctx, late, step in program.calls:
            if whole_cell or self._policies.step_limit(position) is not None:
                timed = self._timed(position, call if wants_ctx else _without_ctx(call))
                calls.append((position, timed, True, late and self._timed(position, late), step))
            else:
                calls.append((position, call, wants_ctx, late, step))
        program.calls = tuple(calls)
        return program

    def _fetched(self, ctx: FrozenContext) -> Any:
        return self._limited(lambda _, ctx: self._untimed(ctx), None, ctx, 0)

    def _timed(self, position: int, call: Callable[[Any, FrozenContext], Any]) -> Callable[[Any, FrozenContext], Any]:
        def timed(data: Any, ctx: FrozenContext) -> Any:
            return self._limited(call, data, ctx, position)

        return timed

    def _limited(self, call: Callable[[Any, FrozenContext], Any], data: Any, ctx: FrozenContext, position: int) -> Any:
        """Make a call, within the limits of its step and of its cell."""
        now = monotonic()
        cell_end = self._ends.get(ctx._cell)
        limit = self._policies.step_limit(position)
        whole_cell = cell_end is not None and (limit is None or cell_end < now + limit)
        end = cell_end if cell_end is not None and whole_cell else now + (limit or 0.0)

        def too_slow() -> Exception:
            return self._policies.too_slow(position, whole_cell=whole_cell)

        self._watched(end, position, whole_cell=whole_cell)
        given = None
        try:
            given = call(data, ctx)
            if not hasattr(type(given), "__await__"):
                # Nobody could interrupt it here, or it came a moment before it would have been.
                if monotonic() > end:
                    raise too_slow()
                return given
        finally:
            if not hasattr(type(given), "__await__"):
                self._watched(cell_end or 0, position, whole_cell=True)
        self._watched(end + GRACE, position, whole_cell=whole_cell)
        return self._awaited(given, end, too_slow, ctx, position)

    async def _awaited(
        self, given: Awaitable[Any], end: float, too_slow: Callable[[], Exception], ctx: FrozenContext, position: int
    ) -> Any:
        from crystallize.engine.alarm import within

        try:
            return await within(given, end, too_slow)
        finally:
            self._watched(self._ends.get(ctx._cell, 0), position, whole_cell=True)


def _without_ctx(call: Callable[[Any], Any]) -> Callable[[Any, FrozenContext], Any]:
    return lambda data, _: call(data)


def _unwatched(end: float, position: int, *, whole_cell: bool) -> None:
    """Tell nobody: this process is not one to be ended."""
