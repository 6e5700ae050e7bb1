"""Metrics as tidy CSV: one value a line, while the run goes on."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize import BasePlugin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crystallize.hooks import ExperimentView
    from crystallize.results.outcome import CellOutcome

__all__ = ["TidyCsv"]

COLUMNS = ("run", "condition", "replicate", "seed", "metric", "value")


class TidyCsv(BasePlugin):
    """Write every value of every metric as one line of a CSV file.

    Parameters
    ----------
    path : str or Path, default "metrics.csv"
        The file; further runs are appended to it.
    metrics : iterable of str, optional
        The metrics to write; all of them by default.
    """

    neutral = True  # It looks, and never changes results.
    on_error = "record"  # A full disk must not end an experiment that is stored elsewhere.
    after = ("artifacts",)  # A line says that the cell is stored, where a store is active.
    contract = ">=1,<2"

    def __init__(self, path: str | Path = "metrics.csv", *, metrics: Iterable[str] | None = None) -> None:
        self.path = Path(path)
        self.metrics = None if metrics is None else frozenset(metrics)
        self._file: Any = None
        self._lines = 0

    def before_run(self, experiment: ExperimentView) -> None:
        """Open the file; one cell of `apply` or `debug` is nobody's measurement."""
        self._lines = 0
        if experiment.run.kind in {"apply", "debug"}:
            return
        fresh = not self.path.exists() or self.path.stat().st_size == 0
        self._file = self.path.open("a", newline="", encoding="utf-8")
        if fresh:
            csv.writer(self._file).writerow(COLUMNS)

    def collect(self, experiment: ExperimentView, outcome: CellOutcome) -> None:
        """Write what one cell measured."""
        if self._file is None:
            return
        cell = outcome.cell
        rows = [
            (experiment.run.id, cell.condition, cell.replicate, outcome.seed, name, value)
            for name, values in outcome.metrics.items()
            if self.metrics is None or name in self.metrics
            for value in values
        ]
        csv.writer(self._file).writerows(rows)
        self._file.flush()
        self._lines += len(rows)

    def collect_provenance(self) -> dict[str, Any]:
        """Keep with the run where its lines are."""
        return {} if self._file is None else {"tidy_csv": {"path": str(self.path), "lines": self._lines}}

    def after_run(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file out: it cannot travel to a worker process, and is not needed there."""
        return {**vars(self), "_file": None}
