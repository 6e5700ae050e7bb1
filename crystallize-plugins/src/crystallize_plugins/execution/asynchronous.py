"""`AsyncExecution`: cells that wait, overlapping on one event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.hooks import STOPS, SerialLoop
from crystallize.hooks.tools import check_count
from crystallize_plugins.execution.executor import Executor

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence

    from crystallize.hooks import Cell, CellOutcome, ExperimentView, RunCell

__all__ = ["AsyncExecution"]


class AsyncExecution(Executor):
    """Run cells on one event loop, so that those whose steps are ``async def`` wait at the same time.

    ``arun`` uses the caller's loop; ``run`` one of its own, in a notebook too. Steps that await nothing run one cell
    after the other here.

    Parameters
    ----------
    max_concurrency : int, optional
        How many cells may be under way at the same time. By default all of them.
    progress : bool, default False
        Show cells done, failed, rate and time left on a terminal or in a notebook.

    Attributes
    ----------
    max_concurrency : int or None

    Raises
    ------
    ArgumentTypeError
        If `max_concurrency` is no integer, or `progress` no bool.
    ValidationError
        If `max_concurrency` is smaller than 1.

    Examples
    --------
    >>> AsyncExecution(max_concurrency=100).max_concurrency
    100
    """

    def __init__(self, max_concurrency: int | None = None, progress: bool = False) -> None:
        super().__init__(progress=progress)
        self.max_concurrency = None if max_concurrency is None else check_count(max_concurrency, what="max_concurrency")

    def run_experiment_loop(
        self, experiment: ExperimentView, cells: Sequence[Cell], run_cell: RunCell
    ) -> AsyncIterable[CellOutcome | list[CellOutcome]]:
        """Run the cells on the loop that iterates."""
        together = min(self.max_concurrency or len(cells), len(cells))
        if together > 1 and run_cell.needs_loop:
            self._warn_where_seeding_is_unsound(
                experiment,
                f"Up to {together} asynchronous cells that overlap on one event loop",
                "use AsyncExecution(max_concurrency=1)",
            )
        self._show_progress(experiment, cells)
        if together == 1 or not run_cell.needs_loop:
            # Cells that never wait would all run before anybody got to see the first.
            return SerialLoop(cells, run_cell)
        return _overlapping(cells, run_cell, together)


async def _overlapping(cells: Sequence[Cell], run_cell: RunCell, together: int) -> AsyncIterator[list[CellOutcome]]:
    """Keep up to `together` cells under way, and yield what has arrived since the last look."""
    import asyncio

    left = iter(cells)
    arrived: list[CellOutcome] = []
    raised: list[BaseException] = []
    news = asyncio.Event()
    tasks = [asyncio.ensure_future(_work(left, run_cell, arrived, raised, news)) for _ in range(together)]
    try:
        given = 0
        while given < len(cells):
            await news.wait()
            news.clear()
            if arrived:
                given += len(arrived)
                batch = arrived[:]
                arrived.clear()  # not later: others run while this one is at its yield
                yield batch
            if raised:
                raise raised[0]
    except (*STOPS, asyncio.CancelledError):
        for task in tasks:
            task.cancel()
        yield arrived  # at once: whoever winds this up may ask but once
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _work(
    cells: Iterator[Cell],
    run_cell: RunCell,
    arrived: list[CellOutcome],
    raised: list[BaseException],
    news: asyncio.Event,
) -> None:
    """Run one cell after the other of those that several tasks share."""
    try:
        for cell in cells:
            arrived.append(await run_cell.aio(cell))
            news.set()
    except BaseException as exc:  # noqa: BLE001 - raised where outcomes are waited for
        # Ctrl-C, too: out of a task it would end the loop at once, and what has arrived would be lost.
        raised.append(exc)
        news.set()
