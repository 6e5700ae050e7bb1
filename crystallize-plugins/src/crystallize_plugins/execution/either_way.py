"""An executor's loop that plain code and an event loop can both iterate over."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

from crystallize.engine.handover import STOPS, flat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from crystallize.results.outcome import CellOutcome

__all__ = ["EitherWay"]


class EitherWay(ABC):
    """A loop that waits by blocking; in an event loop a helper thread does the waiting.

    Attributes
    ----------
    stopped : bool
        Whether no more cells are to be run.
    hands_over : bool
        Whether what is finished by then is still wanted.
    """

    def __init__(self) -> None:
        self.stopped = False
        self.hands_over = False

    @abstractmethod
    def outcomes(self) -> Iterator[CellOutcome | list[CellOutcome]]:
        """Run the cells."""

    @abstractmethod
    def wake(self) -> None:
        """Have a blocked `outcomes` look at `stopped`; called from another thread."""

    def __iter__(self) -> Iterator[CellOutcome | list[CellOutcome]]:
        return self.outcomes()

    async def __aiter__(self) -> AsyncIterator[CellOutcome | list[CellOutcome]]:
        relay = _Relay(self, asyncio.get_running_loop())
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
            self.hands_over = True
            await self._wind_up(relay)
            if relay.arrived:
                yield [outcome for item in relay.arrived for outcome in flat(item)]
            raise
        finally:
            await self._wind_up(relay)
        if relay.error is not None:
            raise relay.error

    async def _wind_up(self, relay: _Relay) -> None:
        self.stopped = True
        while not relay.done:
            self.wake()
            await asyncio.shield(relay.news.wait())
            relay.news.clear()


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
