"""`AsyncExecution`: cells that wait, overlapping on one event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.checks import check_count
from crystallize.engine.cell import SerialLoop
from crystallize_plugins.execution.executor import Executor, warn_where_seeding_is_unsound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from crystallize.engine.cell import CellRunner
    from crystallize.hooks import ExperimentView
    from crystallize.results.outcome import Cell, CellOutcome

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
        self, experiment: ExperimentView, cells: Sequence[Cell], run_cell: CellRunner
    ) -> AsyncIterator[CellOutcome | list[CellOutcome]]:
        """Run the cells on the loop that iterates."""
        together = min(self.max_concurrency or len(cells), len(cells))
        if together > 1 and run_cell.needs_loop:
            warn_where_seeding_is_unsound(
                experiment,
                f"Up to {together} asynchronous cells that overlap on one event loop",
                "use AsyncExecution(max_concurrency=1)",
            )
        self._show_progress(experiment, cells)
        if together == 1 or not run_cell.needs_loop:
            # Cells that never wait would all run before anybody got to see the first.
            return aiter(SerialLoop(cells, run_cell))
        # Only here: asyncio takes a twentieth of a second to import.
        from crystallize_plugins.execution.overlapping import overlapping

        return overlapping(cells, run_cell, together)
