"""Compact provenance of one cell: what each step read, wrote and recorded, and how long it took.

All cells of a condition usually share one *shape* (the names), which is interned; a cell of its own
keeps packed durations and the few values that steps wrote into the context.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["CellTrace", "StepShape", "TraceShape", "intern_shape"]


class StepShape(NamedTuple):
    """The names that one step touched, in order of first touch."""

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    metrics: tuple[tuple[str, int], ...]
    """Name and number of values recorded by this step."""
    cache_hit: bool = False


class TraceShape(NamedTuple):
    """What all cells with the same trace have in common.

    ``before`` is what happened before the first step: treatment, ``before_replicate``, fetching.
    """

    before: StepShape
    steps: tuple[StepShape, ...]


@dataclass(slots=True, eq=False)
class CellTrace:
    """What one cell did."""

    shape: TraceShape
    """Shared by all cells that touched the same names."""
    durations: array[float]
    """Seconds, one per step that ran to its end."""
    written: dict[str, Any] | None
    """Values that the cell wrote into its context: scalars as they are, anything else as a short text."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.shape, self.durations.tobytes(), self.written)


_SHAPES: dict[TraceShape, TraceShape] = {}
_SHAPES_LIMIT = 4096


def intern_shape(shape: TraceShape) -> TraceShape:
    """Return the one object that stands for all equal shapes in this process."""
    known = _SHAPES.get(shape)
    if known is None:
        if len(_SHAPES) >= _SHAPES_LIMIT:
            _SHAPES.clear()
        known = _SHAPES[shape] = shape
    return known


def _rebuild(shape: TraceShape, durations: bytes, written: dict[str, Any] | None) -> CellTrace:
    return CellTrace(intern_shape(shape), array("d", durations), written)
