"""The metrics of one cell: every recorded value, in order, with its tags."""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, ValuesView
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from crystallize.context.isolation import ATOMS, isolate, snapshot
from crystallize.errors import ArgumentTypeError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize.context.observer import Observer

__all__ = ["Metrics"]


class Metrics:
    """What the steps of one cell recorded.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.add("loss", 0.5)
    >>> metrics.add("loss", 0.25, tags={"epoch": 2})
    >>> metrics["loss"]
    (0.5, 0.25)
    >>> metrics["absent"]
    ()
    """

    __slots__ = ("_observer", "_order", "_position", "_tags", "_values")

    def __init__(self) -> None:
        self._values: dict[str, list[Any]] = {}
        self._tags: dict[str, dict[int, Mapping[str, Any]]] = {}
        # In pairs: the step that recorded, counted from 1, and the name.
        self._order: list[int | str] = []
        self._position = 0
        self._observer: Observer | None = None

    def _observed_by(self, observer: Observer) -> Metrics:
        """Return the same metrics with somebody who is told of their use."""
        observed = object.__new__(Metrics)
        observed._values, observed._tags, observed._order = self._values, self._tags, self._order
        observed._position, observed._observer = self._position, observer
        return observed

    def add(self, name: str, value: Any, tags: Mapping[str, Any] | None = None) -> None:
        """Record one value.

        Parameters
        ----------
        name : str
            The metric. A name may be recorded any number of times.
        value : object
            Anything; numbers are what hypotheses and optimisers can use. What can still change
            (containers, arrays) is recorded as it is now.
        tags : mapping, optional
            Labels of this one value, such as ``{"epoch": 2}``.

        Raises
        ------
        ArgumentTypeError
            If `name` is no text, or `tags` no mapping.
        ValidationError
            If `name` is empty.
        """
        if self._observer is not None:
            self._observer.writes_metric(name)
        if tags is not None and not hasattr(tags, "items"):
            raise ArgumentTypeError(f"tags of metric {name!r} must be a mapping, not {type(tags).__name__}")
        if value.__class__ not in ATOMS:
            value = snapshot(value)
        try:
            values = self._values[name]
        except (KeyError, TypeError):
            values = self._values[_checked(name)] = []
        values.append(value)
        self._order.extend((self._position, name))
        if tags is not None:
            self._tags.setdefault(name, {})[len(values) - 1] = isolate(dict(tags))

    def _looked_at(self) -> None:
        if self._observer is not None:
            self._observer.reads_metrics()

    def __getitem__(self, name: str) -> tuple[Any, ...]:
        self._looked_at()
        return isolate(tuple(self._values.get(name, ())))

    def __contains__(self, name: object) -> bool:
        self._looked_at()
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        self._looked_at()
        return iter(self._values)

    def __len__(self) -> int:
        self._looked_at()
        return len(self._values)

    def keys(self) -> KeysView[str]:
        """Return a view of the names, as a mapping does."""
        return KeysView(cast("Mapping[str, Any]", self))

    def values(self) -> ValuesView[tuple[Any, ...]]:
        """Return a view of what was recorded, a tuple for each name."""
        return ValuesView(cast("Mapping[str, Any]", self))

    def items(self) -> ItemsView[str, tuple[Any, ...]]:
        """Return a view of the pairs of a name and what was recorded under it."""
        return ItemsView(cast("Mapping[str, Any]", self))

    def get_tags(self, name: str) -> tuple[Mapping[str, Any], ...]:
        """Return the tags of each value of `name`, ``{}`` where a value has none."""
        self._looked_at()
        tags = self._tags.get(name, {})
        return tuple(isolate(tags.get(index, {})) for index in range(len(self._values.get(name, ()))))

    def as_dict(self) -> Mapping[str, tuple[Any, ...]]:
        """Return a read-only mapping of every metric to its values."""
        self._looked_at()
        return MappingProxyType({name: isolate(tuple(values)) for name, values in self._values.items()})

    def __repr__(self) -> str:
        return f"Metrics({dict(self.as_dict())!r})"


def _checked(name: Any) -> str:
    if not isinstance(name, str):
        raise ArgumentTypeError(f"a metric's name must be text, not {type(name).__name__}: {name!r}")
    if not name:
        raise ValidationError("a metric's name must not be empty")
    return name
