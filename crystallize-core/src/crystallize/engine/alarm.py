"""The end of what is awaited for too long."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["within"]

_MESSAGE = "a time-out of crystallize has passed"


async def within(given: Any, end: float, too_slow: Callable[[], Exception]) -> Any:
    """Await something until a moment; what is still under way then is cancelled.

    Parameters
    ----------
    given : awaitable
        It may give something to be awaited in its turn.
    end : float
        By the monotonic clock.
    too_slow : callable
        Makes the error that is raised then.
    """
    alarm = _Alarm(end)
    cause: BaseException | None = None
    try:
        while hasattr(type(given), "__await__"):
            given = await given
    except asyncio.CancelledError as exc:
        if not alarm.is_the_only_one(exc):
            raise
        cause = exc
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as exc:
        if not alarm.has_rung():
            raise
        cause = exc
    else:
        if not alarm.has_rung():
            return given
    finally:
        alarm.stop()
    raise too_slow() from cause


class _Alarm:
    """Cancels the current task at a moment; what `asyncio.timeout` does, which Python 3.10 does not have."""

    def __init__(self, end: float) -> None:
        task: Any = asyncio.current_task()
        self._task = task
        # Python 3.10 neither counts who cancels a task nor takes it back.
        self._counts = hasattr(task, "cancelling")
        self._asked_before = task.cancelling() if self._counts else 0
        self._rang = False
        self._timer = asyncio.get_running_loop().call_later(max(0.0, end - monotonic()), self._ring)

    def _ring(self) -> None:
        self._rang = True
        self._task.cancel(_MESSAGE)

    def has_rung(self) -> bool:
        """Whether the moment has passed; the cancellation is taken back."""
        if self._rang and self._counts:
            self._task.uncancel()
        return self._rang

    def is_the_only_one(self, exc: asyncio.CancelledError) -> bool:
        """Whether nobody else has asked for this cancellation."""
        if not self.has_rung():
            return False
        return self._task.cancelling() <= self._asked_before if self._counts else exc.args == (_MESSAGE,)

    def stop(self) -> None:
        self._timer.cancel()
