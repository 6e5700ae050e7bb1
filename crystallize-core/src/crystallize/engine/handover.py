"""What an executor hands over: one outcome or several at a time, plainly or asynchronously, and the last ones."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from crystallize.errors import TooManyFailuresError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from crystallize.results.outcome import CellOutcome

__all__ = ["STOPS", "Turns", "alast_ones", "awaited", "closed", "flat", "last_ones", "next_into"]

STOPS = (KeyboardInterrupt, TooManyFailuresError)
"""What ends a run whose executor is to hand over what it has."""

_TURN = 0.005
"""Seconds for which cells may keep an event loop that others use too."""

_FINISHED: tuple[type[Any], ...] = (type(iter([])), type(iter(())))


def flat(item: Any) -> Iterable[CellOutcome]:
    """Give the outcomes of one item: the short form of a loop hands over a whole replicate at once."""
    return item if isinstance(item, (list, tuple)) else (item,)


def last_ones(outcomes: Iterator[Any], exc: BaseException) -> Iterator[CellOutcome]:
    """Tell an executor that the run is stopped, and give what it has at hand.

    Parameters
    ----------
    outcomes : iterator
        The executor's; a generator has `exc` raised at its ``yield``, and may go on to yield what is finished.
    exc : BaseException
        Why.
    """
    throw = getattr(outcomes, "throw", None)
    if throw is None:
        # What was handed over as a list has run; another iterator might go on running.
        for item in outcomes if isinstance(outcomes, _FINISHED) else ():
            yield from flat(item)
        return
    try:
        item = throw(exc if isinstance(exc, STOPS) else KeyboardInterrupt())
        while True:
            yield from flat(item)
            item = next(outcomes)
    except (*STOPS, StopIteration):
        return


async def alast_ones(outcomes: AsyncIterator[Any], exc: BaseException) -> AsyncIterator[CellOutcome]:
    """Tell an asynchronous executor; see `last_ones`."""
    throw = getattr(outcomes, "athrow", None)
    if throw is None or getattr(outcomes, "ag_running", False) or getattr(outcomes, "ag_frame", True) is None:
        return  # there is no telling it, or it has ended, or is about to
    try:
        item = await throw(exc if isinstance(exc, STOPS) else KeyboardInterrupt())
        while True:
            for outcome in flat(item):
                yield outcome
            item = await outcomes.__anext__()
    except (*STOPS, StopAsyncIteration):
        return


async def awaited(awaitable: Any) -> Any:
    """Await it."""
    return await awaitable


async def next_into(arrived: list[CellOutcome], iterator: AsyncIterator[Any]) -> bool:
    """Replace what has arrived by what is in an iterator's next item; say whether there was one.

    What it returned would be lost where Ctrl-C ends the loop in the meantime.
    """
    arrived.clear()
    try:
        arrived.extend(flat(await iterator.__anext__()))
    except StopAsyncIteration:
        return False
    return True


class Turns:
    """Turns in an event loop that belongs to others too: cells that never wait would keep it to themselves."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    @property
    def over(self) -> bool:
        """Whether it has been some milliseconds since others had theirs."""
        return time.perf_counter() - self._since > _TURN

    async def pass_on(self) -> None:
        """Let the others have theirs, and be cancelled."""
        import asyncio  # only here: where a loop runs, it is there

        await asyncio.sleep(0)
        self._since = time.perf_counter()


async def closed(iterator: Any) -> None:
    """Close it, where that can be done."""
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()
