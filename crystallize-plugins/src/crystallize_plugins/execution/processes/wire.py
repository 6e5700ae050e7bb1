"""Outcomes as they travel: an ordinary one as a plain row, which costs a fraction of pickling the object."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from crystallize.results.outcome import CellOutcome
from crystallize.results.trace import CellTrace, intern_shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.results.outcome import Cell

__all__ = ["decode", "encode"]

_ROW = 7


def encode(outcomes: Sequence[tuple[int, CellOutcome]]) -> bytes:
    """Pickle outcomes with the indexes of their cells.

    Raises
    ------
    Exception
        What pickling a user's object raised.
    """
    rows: list[tuple[Any, ...]] = []
    for index, outcome in outcomes:
        trace = outcome.provenance
        if trace is None or outcome.error is not None or outcome.artifacts or _has_extras(outcome):
            rows.append((index, outcome))
        else:
            rows.append(
                (index, outcome.metrics, outcome.seed, outcome.duration, trace.shape, trace.packed, trace.written)
            )
    return pickle.dumps(rows, 5)


def _has_extras(outcome: CellOutcome) -> bool:
    return bool(outcome.events or outcome.plugin_failures or outcome.tags or outcome.attempts)


def decode(encoded: bytes, cells: Sequence[Cell], worker: str) -> list[tuple[int, CellOutcome]]:
    """Rebuild outcomes that a worker encoded.

    Parameters
    ----------
    encoded : bytes
    cells : sequence of Cell
        Those of the run.
    worker : str
        Whose they are.

    Raises
    ------
    Exception
        What rebuilding a user's object raised.
    """
    outcomes: list[tuple[int, CellOutcome]] = []
    shape = known = None
    for row in pickle.loads(encoded):
        if len(row) != _ROW:
            outcomes.append(row)
            continue
        index, metrics, seed, duration, own, packed, written = row
        if own is not shape:
            shape, known = own, intern_shape(own)
        trace = CellTrace(known, packed, written)  # type: ignore[arg-type]
        outcomes.append((index, CellOutcome(cells[index], metrics, seed, None, (), trace, duration, worker)))
    return outcomes
