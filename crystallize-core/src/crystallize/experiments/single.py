"""One cell by itself, for whoever debugs or applies."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from crystallize.results.outcome import Cell

if TYPE_CHECKING:
    from crystallize.engine.run import Run
    from crystallize.experiments.setup import Request
    from crystallize.results.outcome import CellOutcome

__all__ = ["run_single"]

_LOGGER = logging.getLogger("crystallize")


def run_single(run: Run, request: Request, replicate: int) -> CellOutcome:
    """Run one cell of one condition, whatever it is called; its error reaches the caller."""
    cell = Cell(run.conditions[-1], replicate)
    run.conditions = [cell.condition]
    result = run.execute([cell])
    outcome = run.outcomes[cell]
    if request.kind == "debug":
        _LOGGER.info("%s", result.tree_text("treatment > replicate > step > action"))
    if request.seed is not None and outcome.seed is None:
        _LOGGER.warning(
            "seed=%d had no effect: no plugin seeds this experiment; add SeedPlugin() to its plugins", request.seed
        )
    if outcome.error is not None:
        raise outcome.error.original_exception or outcome.error
    return outcome
