"""A thread beside an event loop, for code that may take its time."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Aside"]

T = TypeVar("T")


class Aside:
    """Makes one call after the other in one thread, while the event loop of whoever waits goes on.

    Examples
    --------
    >>> from contextlib import closing
    >>> async def main():
    ...     with closing(Aside()) as aside:
    ...         return await aside.call(sum, [1, 2])
    >>> asyncio.run(main())
    3
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "crystallize-aside")

    def close(self) -> None:
        """End the thread, once it is idle."""
        self._pool.shutdown(wait=False)

    async def call(self, fn: Callable[..., T], *args: Any) -> T:
        """Call a function in the thread, in a copy of the caller's context, and give what it returns.

        Whoever is cancelled meanwhile waits for its end all the same, since nothing can end it: a second cancellation
        is taken at its word.
        """
        run = contextvars.copy_context().run
        future = asyncio.get_running_loop().run_in_executor(self._pool, _ended, run, fn, *args)
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            await asyncio.wait({future})
            raise
        value, raised = future.result()
        if raised is not None:
            raise raised
        return value  # type: ignore[no-any-return]


def _ended(run: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
    # Not as a future's exception: StopIteration could not be told of, and Ctrl-C would end the thread.
    try:
        return run(*args), None
    except BaseException as exc:  # noqa: BLE001 - raised where it is waited for
        return None, exc
