"""The rows of conditions: what their cells begin with, the parameters of their steps, and their identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import RunStateError
from crystallize_plugins.artifacts.database.schema import seal
from crystallize_plugins.artifacts.database.typed_json import encode_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from crystallize.hooks import CellIdentities, CellOutcome, ConditionRecord, TraceShape

__all__ = ["ConditionRows", "NewConditions", "StoredCondition"]

_MOST_KEYS = 256
"""Of contexts with more keys is written what steps read: what nobody read changed no result."""


class StoredCondition(NamedTuple):
    """A condition that is in the run's database already."""

    number: int
    identity: str | None
    common: str | None
    parts: Mapping[str, str]
    has_cells: bool


class NewConditions(NamedTuple):
    """Rows that are due."""

    conditions: list[tuple[Any, ...]]
    parameters: list[tuple[Any, ...]]
    replaced: list[tuple[str]]
    """The names of conditions whose former parameters count no more."""


class ConditionRows:
    """Makes the rows of conditions, numbered from 1 in the order of meeting.

    Parameters
    ----------
    describe : callable of a sequence of str
        Gives the records of conditions that are met for the first time.
    identities : CellIdentities, optional
        Tells what makes the cells of a condition what they are.
    stored : mapping of str to StoredCondition, optional
        Those of a run that goes on.

    Attributes
    ----------
    large : dict
        The conditions whose context is large; their outcomes are to be noted.
    """

    def __init__(
        self,
        describe: Callable[[Sequence[str]], Sequence[ConditionRecord]],
        identities: CellIdentities | None = None,
        stored: Mapping[str, StoredCondition] | None = None,
    ) -> None:
        self._describe = describe
        self._identities = identities
        self._stored = dict(stored or {})
        self._count = max((each.number for each in self._stored.values()), default=0)
        self._met: dict[str, str | None] = {}
        self._conditions: list[tuple[Any, ...]] = []
        self._parameters: list[tuple[Any, ...]] = []
        self._replaced: list[tuple[str]] = []
        self.large: dict[str, _LargeContext] = {}

    def introduce(self, names: Sequence[str]) -> None:
        """Make the rows of new conditions, and of those that were stored and are others now.

        Raises
        ------
        RunStateError
            There are stored cells of a condition that is another now.
        """
        if not names:
            return
        identities = self._identities
        for name, record in zip(names, self._describe(names), strict=True):
            stored = self._stored.get(name)
            identity = self._met[name] = None if identities is None else identities.condition(name)
            context = record.context
            if len(context) > _MOST_KEYS:
                self.large[name] = _LargeContext(context)
                context = {}
            if stored is None:
                self._count += 1
            elif stored.identity is not None and stored.identity == identity:
                continue
            elif stored.has_cells:
                raise RunStateError(
                    f"condition {name!r} is stored in this run with other code, parameters or data: "
                    "its cells would be mixed with new ones"
                )
            number = self._count
            if stored is not None:
                number = stored.number
                self._replaced.append((name,))
            steps = encode_plain([[step.name, dict(step.params), step.injected] for step in record.steps])
            parts = None if identities is None else encode_plain(dict(identities.own_parts(name)))
            row = (number, name, steps, identity, None if identities is None else identities.common, parts)
            self._conditions.append((*row, seal(*row)))
            self._add_parameters(name, context)

    def is_new(self, name: str) -> bool:
        """Whether a condition was not introduced yet."""
        return name not in self._met

    def is_stored(self, name: str) -> bool:
        """Whether a condition has, or had already, a row."""
        return name in self._met or name in self._stored

    def identity(self, name: str) -> str | None:
        """Return the identity of the cells of a condition that was introduced."""
        return self._met[name]

    def note(self, outcome: CellOutcome) -> None:
        """Write down what a cell was the first to read of a large context."""
        condition = outcome.cell.condition
        large = self.large.get(condition)
        if large is not None and outcome.provenance is not None:
            self._add_parameters(condition, large.news(outcome.provenance.shape))

    def take_new(self) -> NewConditions:
        """Return the rows that were made since the last time."""
        new = NewConditions(self._conditions, self._parameters, self._replaced)
        self._conditions, self._parameters, self._replaced = [], [], []
        return new

    def common(self) -> tuple[Any, ...] | None:
        """Return the row of the table `identity`: what all conditions share."""
        if self._identities is None:
            return None
        row = (self._identities.common, encode_plain(dict(self._identities.common_parts)))
        return (*row, seal(*row))

    def _add_parameters(self, condition: str, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            row = (condition, name, encode_plain(value))
            self._parameters.append((*row, seal(*row)))


class _LargeContext:
    """A context of which only what was read is written."""

    __slots__ = ("_context", "_shapes", "_written")

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = context
        # By identity, and kept, so that no other shape gets it.
        self._shapes: dict[int, TraceShape] = {}
        self._written: set[str] = set()

    def news(self, shape: TraceShape) -> dict[str, Any]:
        """Return the values that nobody has read before."""
        if id(shape) in self._shapes:
            return {}
        self._shapes[id(shape)] = shape
        keys = {key for step in (shape.before, *shape.steps) for key in step.reads}.difference(self._written)
        self._written |= keys
        return {key: self._context[key] for key in sorted(keys) if key in self._context}
