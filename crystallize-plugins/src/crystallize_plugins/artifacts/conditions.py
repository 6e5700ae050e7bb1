"""What is written of each condition: its context and its steps' parameters, described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import RunStateError
from crystallize_plugins.artifacts.checksum import seal
from crystallize_plugins.artifacts.encoding import encode_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize.hooks import CellIdentities, CellOutcome, ConditionRecord, TraceShape
    from crystallize_plugins.artifacts.shapes import ShapeTable

__all__ = ["ConditionRow", "ConditionTable", "StoredCondition"]

_MOST_KEYS = 256
"""Contexts with more keys are written key by key, as steps read them: what nobody read changed no result."""


class ConditionRow(NamedTuple):
    """A row of the table ``condition``."""

    number: int
    name: str
    record: bytes
    identity: str | None
    common: str | None
    parts: bytes | None


class StoredCondition(NamedTuple):
    """A condition that is in the run's database already."""

    number: int
    identity: str | None
    has_cells: bool


class ConditionTable:
    """The conditions of a run, numbered from 1 in the order of meeting.

    Parameters
    ----------
    describe : callable of a sequence of str
        Gives the records of conditions that are met for the first time.
    shapes : ShapeTable
        Gets what was read of large contexts.
    identities : CellIdentities, optional
        Tells what makes the cells of a condition what they are.
    stored : mapping of str to StoredCondition, optional
        Those of a run that goes on.

    Attributes
    ----------
    numbers : dict of str to int
    large : dict
        The conditions whose context is large; their outcomes are to be noted.
    """

    def __init__(
        self,
        describe: Callable[[Sequence[str]], Sequence[ConditionRecord]],
        shapes: ShapeTable,
        identities: CellIdentities | None = None,
        stored: Mapping[str, StoredCondition] | None = None,
    ) -> None:
        self.numbers: dict[str, int] = {}
        self._describe = describe
        self._shapes = shapes
        self._identities = identities
        self._stored = dict(stored or {})
        self._count = max((each.number for each in self._stored.values()), default=0)
        self.large: dict[str, _LargeContext] = {}

    def introduce(self, names: Sequence[str]) -> list[ConditionRow]:
        """Give the rows of new conditions, and of those that were stored and are others now.

        Raises
        ------
        RunStateError
            There are stored cells of a condition that is another now.
        """
        rows: list[ConditionRow] = []
        if not names:
            return rows
        for name, record in zip(names, self._describe(names), strict=True):
            stored = self._stored.get(name)
            identity, common, parts = self._identity(name)
            context = record.context
            if len(context) > _MOST_KEYS:
                self.large[name] = _LargeContext(context)
                context = {}
            if stored is not None:
                number = self.numbers[name] = stored.number
                if stored.identity is not None and stored.identity == identity:
                    continue
                if stored.has_cells:
                    raise RunStateError(
                        f"condition {name!r} is stored in this run with other code, parameters or data: "
                        "its cells would be mixed with new ones"
                    )
            else:
                self._count += 1
                number = self.numbers[name] = self._count
            steps = [(step.name, dict(step.params), step.injected) for step in record.steps]
            body = encode_plain({"context": dict(context), "steps": steps})
            sealed = None if parts is None else seal(parts, number, name, identity, common)
            rows.append(ConditionRow(number, name, seal(body, number, name), identity, common, sealed))
        return rows

    def has(self, name: str) -> bool:
        """Whether a condition has, or had already, a row."""
        return name in self.numbers or name in self._stored

    def common(self) -> tuple[str, bytes] | None:
        """Give the row of the table ``identity``: what all conditions share."""
        if self._identities is None:
            return None
        digest = self._identities.common
        return digest, seal(encode_plain(dict(self._identities.common_parts)), digest)

    def _identity(self, name: str) -> tuple[str | None, str | None, bytes | None]:
        identities = self._identities
        if identities is None:
            return None, None, None
        return identities.condition(name), identities.common, encode_plain(dict(identities.own_parts(name)))

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
