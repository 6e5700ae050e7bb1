"""What is written of each condition: its context and its steps' parameters, described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize_plugins.artifacts.checksum import seal
from crystallize_plugins.artifacts.encoding import encode_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize.results import CellOutcome
    from crystallize.results.provenance import ConditionRecord
    from crystallize.results.trace import TraceShape
    from crystallize_plugins.artifacts.shapes import ShapeTable

__all__ = ["ConditionRow", "ConditionTable"]

_MOST_KEYS = 256
"""Contexts with more keys are written key by key, as steps read them: what nobody read changed no result."""


class ConditionRow(NamedTuple):
    """A row of the table ``condition``."""

    number: int
    name: str
    record: bytes


class ConditionTable:
    """The conditions of a run, numbered from 1 in the order of meeting.

    Parameters
    ----------
    describe : callable of a sequence of str
        Gives the records of conditions that are met for the first time.
    shapes : ShapeTable
        Gets what was read of large contexts.

    Attributes
    ----------
    numbers : dict of str to int
    large : dict
        The conditions whose context is large; their outcomes are to be noted.
    """

    def __init__(self, describe: Callable[[Sequence[str]], Sequence[ConditionRecord]], shapes: ShapeTable) -> None:
        self.numbers: dict[str, int] = {}
        self._describe = describe
        self._shapes = shapes
        self.large: dict[str, _LargeContext] = {}

    def introduce(self, names: Sequence[str]) -> list[ConditionRow]:
        """Give the rows of new conditions."""
        rows = []
        for name, record in zip(names, self._describe(names), strict=True):
            number = self.numbers[name] = len(self.numbers) + 1
            context = record.context
            if len(context) > _MOST_KEYS:
                self.large[name] = _LargeContext(context)
                context = {}
            steps = [(step.name, dict(step.params), step.injected) for step in record.steps]
            body = encode_plain({"context": dict(context), "steps": steps})
            rows.append(ConditionRow(number, name, seal(body, number, name)))
        return rows

    def note(self, outcome: CellOutcome) -> None:
        """Write down what a cell was the first to read of a large context."""
        condition = outcome.cell.condition
        large = self.large.get(condition)
        if large is not None and outcome.provenance is not None:
            values = large.news(outcome.provenance.shape)
            if values:
                self._shapes.context(self.numbers[condition], values)


class _LargeContext:
    """A context of which only what was read is written."""

    __slots__ = ("_context", "_shapes", "_written")

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = context
        # By identity, and kept, so that no other shape gets it.
        self._shapes: dict[int, TraceShape] = {}
        self._written: set[str] = set()

    def news(self, shape: TraceShape) -> dict[str, Any]:
        """Give the values that nobody has read before."""
        if id(shape) in self._shapes:
            return {}
        self._shapes[id(shape)] = shape
        keys = {key for step in (shape.before, *shape.steps) for key in step.reads}.difference(self._written)
        self._written |= keys
        return {key: self._context[key] for key in sorted(keys) if key in self._context}
