"""What is seen of a run while it goes on: cells done, failed and cached, the rate and the time left."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from crystallize import BasePlugin
from crystallize.hooks.tools import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crystallize import Experiment
    from crystallize.hooks import CellOutcome, Event, ExperimentView

__all__ = ["Board", "LiveProgress", "show_progress"]


def show_progress(experiments: Iterable[Experiment]) -> Board | None:
    """Show one bar for all of these experiments while they run, where stderr is a terminal.

    An experiment whose own executor shows its progress is left alone.

    Returns
    -------
    Board or None
        To be closed at the end.
    """
    if not sys.stderr.isatty():
        return None
    board = Board()
    for experiment in experiments:
        if not any(getattr(plugin, "progress", False) for plugin in experiment.plugins):
            experiment.plugins.append(LiveProgress(board))
    return board


class Board:
    """One bar; experiments that run at the same time share it."""

    def __init__(self) -> None:
        from crystallize_plugins.execution.progress import open_bar

        self._bar: Any = open_bar("terminal", leave=False)
        self._lock = threading.Lock()
        self._counts = {"kept": 0, "cached": 0, "failed": 0}
        self._running: list[str] = []

    def begin(self, name: str, cells: int, kept: int) -> None:
        """Expect cells."""
        with self._lock:
            self._running.append(name)
            self._counts["kept"] += kept
            self._bar.total += cells
            self._bar.set_description_str(printable(", ".join(self._running)), refresh=False)
            self._show()
            self._bar.refresh()

    def count(self, *, failed: bool, cached: bool) -> None:
        """Count a cell that is done."""
        with self._lock:
            self._counts["failed"] += failed
            self._counts["cached"] += cached
            if failed or cached:
                self._show()
            self._bar.update()

    def end(self, name: str) -> None:
        """Take an experiment off."""
        with self._lock:
            if name in self._running:
                self._running.remove(name)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def _show(self) -> None:
        from crystallize_plugins.execution.progress import show_counts

        show_counts(self._bar, self._counts)


class LiveProgress(BasePlugin):
    """Counts the cells of a run on a board.

    Parameters
    ----------
    board : Board
        Where it is shown.
    """

    neutral = True
    on_error = "record"
    recorded = False
    wanted_events = frozenset({"run_started"})

    def __init__(self, board: Board | None = None) -> None:
        self._board = board

    def on_event(self, experiment: ExperimentView, event: Event) -> None:
        """Expect the cells of a run."""
        if self._board is not None and event.name == "run_started":
            cells = event.fields["cells"]
            planned = experiment.replicates * (1 + sum(each.name != "baseline" for each in experiment.treatments))
            self._board.begin(_name(experiment), cells, max(planned - cells, 0))

    def collect(self, outcome: CellOutcome) -> None:
        """Count an outcome."""
        if self._board is not None:
            trace = outcome.provenance
            cached = trace is not None and any(step.cache_hit for step in trace.shape.steps)
            self._board.count(failed=not outcome.ok, cached=cached)

    def after_run(self, experiment: ExperimentView) -> None:
        """Take the run off the board."""
        if self._board is not None:
            self._board.end(_name(experiment))

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process shows nothing.
        return {"_board": None}


def _name(experiment: ExperimentView) -> str:
    return experiment.name or experiment.id[:8]
