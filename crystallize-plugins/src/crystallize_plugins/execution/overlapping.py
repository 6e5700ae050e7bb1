"""Cells that overlap on one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from crystallize.engine.handover import STOPS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from crystallize.engine.cell import CellRunner
    from crystallize.results.outcome import Cell, CellOutcome

__all__ = ["overlapping"]


async def overlapping(
    cells: Sequence[Cell], run_cell: CellRunner, together: int
) -> AsyncIterator[CellOutcome | list[CellOutcome]]:
    """Keep up to `together` cells under way, and give what has arrived since the last look.

    Parameters
    ----------
    cells : sequence of Cell
    run_cell : CellRunner
    together : int
    """
    crew = _Crew(iter(cells), run_cell, together)
    tasks = [asyncio.ensure_future(crew.work()) for _ in range(together)]
    try:
        while crew.working or crew.arrived:
            await crew.news.wait()
            crew.news.clear()
            if crew.arrived:
                arrived = [*crew.arrived]
                crew.arrived.clear()
                yield arrived
            if crew.error is not None:
                raise crew.error
    except (*STOPS, asyncio.CancelledError):
        for task in tasks:
            task.cancel()
        if crew.arrived:
            # At once: whoever winds this up may ask but once.
            yield [*crew.arrived]
        raise
    finally:
        unfinished = [task for task in tasks if not task.done()]
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)


class _Crew:
    """Tasks that take cells from one list."""

    def __init__(self, cells: Iterator[Cell], run_cell: CellRunner, working: int) -> None:
        self._cells = cells
        self._run = run_cell.aio
        self.news = asyncio.Event()
        self.arrived: list[CellOutcome] = []
        self.working = working
        self.error: BaseException | None = None

    async def work(self) -> None:
        run, arrived, news = self._run, self.arrived, self.news
        try:
            for cell in self._cells:
                arrived.append(await run(cell))
                news.set()
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # noqa: BLE001 - raised where outcomes are waited for
            # Ctrl-C, too: out of a task it would end the loop at once, and what has arrived would be lost.
            self.error = exc
        finally:
            self.working -= 1
            news.set()
