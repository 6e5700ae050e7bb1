"""The engine: which cells to run, running one, the life of a run, judging hypotheses."""

from __future__ import annotations

from crystallize.engine.cell import CellRunner, SerialLoop
from crystallize.engine.run import Run

__all__ = ["CellRunner", "Run", "SerialLoop"]
