"""`SerialExecution`: one cell after the other, in the calling thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.hooks import SerialLoop
from crystallize_plugins.execution.executor import Executor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.hooks import Cell, ExperimentView, RunCell

__all__ = ["SerialExecution"]


class SerialExecution(Executor):
    """Run one cell after the other, in the calling thread.

    That is what happens without any executor, too; this one can show a progress bar.

    Parameters
    ----------
    progress : bool, default False
        Show cells done, failed, rate and time left on a terminal or in a notebook.

    Raises
    ------
    ArgumentTypeError
        If `progress` is no bool.

    Examples
    --------
    >>> SerialExecution().progress
    False
    """

    def __init__(self, progress: bool = False) -> None:
        super().__init__(progress=progress)

    def run_experiment_loop(self, experiment: ExperimentView, cells: Sequence[Cell], run_cell: RunCell) -> SerialLoop:
        """Run the cells in order."""
        self._show_progress(experiment, cells)
        return SerialLoop(cells, run_cell)
