"""A loop that blocks, iterated over in an event loop: a helper thread does the waiting."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from typing import TYPE_CHECKING

from crystallize.engine.handover import STOPS, flat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crystallize.results.outcome import CellOutcome
    from crystallize_plugins.execution.either_way import EitherWay

__all__ = ["outcomes_of"]


async def outcomes_of(source: EitherWay) -> AsyncIterator[CellOutcome | list[CellOutcome]]:
    """Give what a loop gives, without blocking the running event loop.

    Parameters
    ----------
    source : EitherWay
    """
    relay = _Relay(source, asyncio.get_running_loop())
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(relay.pump,), name="crystallize-loop", daemon=True).start()
    try:
        while True:
            await relay.news.wait()
            relay.news.clear()
            while relay.arrived:
                yield relay.arrived.popleft()
            if relay.done and not relay.arrived:
                break
    except (*STOPS, asyncio.CancelledError):
        source.hands_over = True
        await relay.wind_up()
        if relay.arrived:
            yield [outcome for item in relay.arrived for outcome in flat(item)]
        raise
    finally:
        await relay.wind_up()
    if relay.error is not None:
        raise relay.error


class _Relay:
    """What a helper thread hands over to an event loop."""

    def __init__(self, source: EitherWay, loop: asyncio.AbstractEventLoop) -> None:
        self._source = source
        self._loop = loop
        self.news = asyncio.Event()
        self.arrived: deque[CellOutcome | list[CellOutcome]] = deque()
        self.done = False
        self.error: BaseException | None = None

    def pump(self) -> None:
        try:
            for outcome in self._source.outcomes():
                self.arrived.append(outcome)
                if len(self.arrived) == 1:
                    self._tell()
        except BaseException as exc:  # noqa: BLE001 - raised again where it is waited for
            self.error = exc
        self.done = True
        self._tell()

    def _tell(self) -> None:
        self._loop.call_soon_threadsafe(self.news.set)

    async def wind_up(self) -> None:
        """Have the loop end, and wait for that."""
        self._source.stopped = True
        while not self.done:
            self._source.wake()
            await asyncio.shield(self.news.wait())
            self.news.clear()
