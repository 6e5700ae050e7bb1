"""`FrozenContext`: what a step may know, written once and never changed."""

from __future__ import annotations

import logging
import time
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from crystallize.context.isolation import ATOMS, CellCopies, isolate, snapshot
from crystallize.context.observer import ReadOnly
from crystallize.context.records import ArtifactLog, Event, MappingViews, Metrics
from crystallize.context.resources import ResourceFactory, ResourcePool
from crystallize.errors import (
    ArgumentTypeError,
    ContextMutationError,
    MissingKeyError,
    PrunedError,
    RandomnessError,
    ValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from crystallize.context.observer import Observer

__all__ = ["RESERVED_KEYS", "FrozenContext", "isolated_mapping", "keys_of", "standalone_context"]

RESERVED_KEYS = frozenset({"replicate", "condition", "seed_used", "step_name"})
"""Keys that the framework writes."""

_MOST_NAMES = 50
_ABSENT: Any = object()
_READ_ONLY = ReadOnly()
_LOGGER = logging.getLogger("crystallize")


class FrozenContext(MappingViews):
    """The context of one cell: keys are written once, values cannot be changed from outside.

    Parameters
    ----------
    initial : mapping of str to object, optional
        The first keys. Built-in containers are copied, arrays become read-only views, frames are copied on write, each
        cell has one copy of a generator of random numbers or of an estimator, other objects are kept by reference.
    logger : logging.Logger, optional
        What ``ctx.logger`` gives; by default the ``crystallize`` logger.

    Examples
    --------
    >>> ctx = FrozenContext({"grid": [1]})
    >>> ctx["grid"].append(2)
    >>> ctx["grid"]
    [1]
    >>> ctx.add("rate", 0.1)
    >>> ctx.get("rate"), ctx.get("absent", 7), "rate" in ctx
    (0.1, 7, True)
    """

    __slots__ = (
        "_artifacts", "_base", "_cell", "_copies", "_emit", "_events", "_journal", "_lineage", "_logger", "_observer",
        "_own", "_position", "_resources", "_rng", "_rng_factory", "_seen", "_steps", "metrics",
    )  # fmt: skip

    metrics: Metrics
    """What this cell has recorded."""
    _lineage: Any
    """What the step cache knows of the data at this position; None where it knows nothing."""
    _seen: FrozenContext | None
    """This context as neutral plugins see it, once one has."""
    _observer: Observer | None
    """Who is told of the use of this context."""
    _copies: CellCopies
    """What this cell was given of what all cells of the condition are given."""

    def __init__(self, initial: Mapping[str, Any] | None = None, logger: logging.Logger | None = None) -> None:
        base = isolated_mapping(initial, what="initial context")
        self._begin(base, {}, None, (), None, None, CellCopies(), logger)

    def _begin(
        self,
        base: Mapping[str, Any],
        own: dict[str, Any],
        cell: Any,
        steps: tuple[str, ...],
        resources: ResourcePool | None,
        emit: Callable[[Any], object] | None,
        copies: CellCopies,
        logger: logging.Logger | None = None,
    ) -> None:
        self._base = base
        self._own = own
        # In pairs: the position, and what was touched there: a read as its key, a write as a tuple of it, a hit of the
        # step cache as True.
        self._journal: list[int | str | tuple[str]] = []
        self._logger = logger
        self._artifacts: ArtifactLog | None = None
        self._position = 0
        self._rng: tuple[int, Any] | None = None
        self._rng_factory: Callable[[int], Any] | None = None
        self._emit = emit
        self._events: list[Any] | None = None
        self._cell = cell
        self._steps = steps
        self._resources = resources
        self._copies = copies
        self._observer = self._lineage = self._seen = None
        self.metrics = Metrics()

    @classmethod
    def _for_cell(
        cls,
        base: Mapping[str, Any],
        own: dict[str, Any],
        cell: Any,
        steps: tuple[str, ...],
        resources: ResourcePool | None,
        emit: Callable[[Any], object] | None,
        copies: CellCopies | None = None,
    ) -> FrozenContext:
        # Past __init__: `base` is isolated already and shared by all cells of a condition.
        self = object.__new__(cls)
        self._begin(base, own, cell, steps, resources, emit, CellCopies() if copies is None else copies)
        return self

    def _read_only(self) -> FrozenContext:
        """Return this context as neutral plugins see it: reads leave no trace, and writes are refused.

        It is made once, and shows what this context holds when somebody looks.
        """
        seen = self._seen
        if seen is None:
            seen = self._seen = self._for_cell(
                self._base, self._own, self._cell, self._steps, self._resources, self._deliver, self._copies
            )
            if self._artifacts is None:
                self._artifacts = ArtifactLog()
            seen._logger, seen._observer = self._logger, _READ_ONLY
            seen._artifacts = self._artifacts._observed_by(_READ_ONLY)
            seen.metrics = self.metrics._observed_by(_READ_ONLY)
        seen._position = self._position
        return seen

    def _watched_by(self, observer: Observer | None) -> None:
        """Tell somebody of the use of this context from now on, or nobody."""
        self._observer = self.metrics._observer = observer
        if self._artifacts is not None:
            self._artifacts._observer = observer

    # -- reading ----------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        value = self.get(key, _ABSENT)
        if value is _ABSENT:
            raise MissingKeyError(f"the context has no key {key!r}; its keys: {_listed(self)}")
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of `key`, or `default` where the context does not have it."""
        if self._observer is not None:
            self._observer.reads_key(key)
        copies = None  # What this cell has added is its own.
        value = self._own.get(key, _ABSENT)
        if value is _ABSENT:
            copies = self._copies
            value = self._base.get(key, _ABSENT)
            if value is _ABSENT:
                if key == "step_name" and self._position:
                    return self._steps[self._position - 1]
                self._journal.extend((self._position, key))
                return default
        self._journal.extend((self._position, key))
        return value if value.__class__ in ATOMS else self._handed_out(value, copies)

    def _handed_out(self, value: Any, copies: CellCopies | None) -> Any:
        if value.__class__ is ResourceFactory:
            if self._resources is None:
                self._resources = ResourcePool()
            return self._resources.get(value, self)
        return isolate(value, copies)

    def __contains__(self, key: object) -> bool:
        if self._observer is not None:
            self._observer.reads_key(key)
        if isinstance(key, str):
            self._journal.extend((self._position, key))
        return key in self._own or key in self._base or (key == "step_name" and self._position > 0)

    def _first_held(self, keys: Iterable[str]) -> str | None:
        """Return the first of these keys that the context has, which is not noted as a read."""
        for key in keys:
            if key in self._own or key in self._base:
                return key
        return None

    def __iter__(self) -> Iterator[str]:
        if self._observer is not None:
            self._observer.reads_keys()
        yield from self._base
        yield from (key for key in self._own if key not in self._base)

    def __len__(self) -> int:
        if self._observer is not None:
            self._observer.reads_keys()
        return len(self._base) + len(self._own)

    def as_dict(self) -> Mapping[str, Any]:
        """Return all keys and values as a read-only mapping; resources stand in it as their factories."""
        for key in self:
            if self._observer is not None:
                self._observer.reads_key(key)
            self._journal.extend((self._position, key))
        return MappingProxyType({**isolate(dict(self._base), self._copies), **isolate(self._own)})

    # -- writing ----------------------------------------------------------------------------------

    def add(self, key: str, value: Any) -> None:
        """Write a key that is not there yet.

        Raises
        ------
        ContextMutationError
            If the context has `key` already, or the key is one that the framework writes.
        ArgumentTypeError, ValidationError
            If `key` is no text, or empty.
        """
        if self._observer is not None:
            self._observer.writes_key(key)
        if key.__class__ is not str or not key:
            _check_key(key, "a key of the context")
        if key in self._own or key in self._base:
            raise ContextMutationError(
                f"context key {key!r} is there already, and a key is written once: use another key"
            )
        if key == "step_name" or (key == "seed_used" and self._position):
            raise ContextMutationError(f"context key {key!r} is reserved: the framework writes it; use another key")
        self._own[key] = value if value.__class__ in ATOMS else isolate(value)
        self._journal.extend((self._position, (key,)))

    def __setitem__(self, key: str, value: Any) -> None:
        self.add(key, value)

    def __delitem__(self, key: str) -> None:
        raise ContextMutationError(f"context key {key!r} cannot be deleted: what was written stays")

    def record(self, name: str, value: Any, tags: Mapping[str, Any] | None = None) -> None:
        """Record a metric; the same as ``ctx.metrics.add``."""
        self.metrics.add(name, value, tags)

    @property
    def artifacts(self) -> ArtifactLog:
        """The files that this cell writes."""
        log = self._artifacts
        if log is None:
            log = self._artifacts = ArtifactLog()
        log.position = self._position
        log._observer = self._observer
        return log

    # -- the rest of a step's world ---------------------------------------------------------------

    @property
    def logger(self) -> logging.Logger:
        """The logger to use in steps."""
        return self._logger or _LOGGER

    @property
    def rng(self) -> Any:
        """A NumPy generator of this step's own, the same for every condition of a replicate.

        It is fresh for every step, derived from the replicate's seed and the step's position.

        Raises
        ------
        RandomnessError
            If nothing seeds this cell: `SeedPlugin` supplies the generator.
        """
        if self._observer is not None:
            self._observer.reads_rng()
        rng = self._rng
        if rng is None or rng[0] != self._position:
            if self._rng_factory is None:
                raise RandomnessError(
                    "ctx.rng is supplied by SeedPlugin, and no such plugin is active: add SeedPlugin(seed=...) to the "
                    "experiment's plugins (pip install crystallize-plugins), or use a generator of your own"
                )
            rng = self._rng = (self._position, self._rng_factory(self._position))
            self._journal.extend((self._position, "seed_used"))
        return rng[1]

    def set_rng_factory(self, factory: Callable[[int], Any]) -> None:
        """Set where ``ctx.rng`` comes from; for seeding plugins.

        Parameters
        ----------
        factory : callable of int
            Gets the position that asks, 0 for the data source and ``i`` for the ``i``-th step counted
            from 1, and gives a fresh ``numpy.random.Generator``.
        """
        if self._observer is not None:
            self._observer.sets_rng_factory()
        self._rng_factory = factory
        self._rng = None

    def emit(self, event: str, **fields: Any) -> None:
        """Send an event to the ``on_event`` hooks, live where the executor can pass it on.

        Whoever shows a run reads ``"progress"`` as how far the cell is: ``percent``, a number from 0 to 100.

        Parameters
        ----------
        event : str
            Its name.
        **fields
            Its content; it has to be picklable where cells run in other processes.
        """
        _check_key(event, "the name of an event")
        self._send(event, fields)

    def _send(self, event: str, fields: dict[str, Any]) -> bool:
        """Send an event; say whether whoever got it wants this cell to stop."""
        return self._deliver(Event(event, snapshot(fields), self._cell, time.time()))

    def _deliver(self, event: Event) -> bool:
        stop = False
        if self._emit is not None:
            stop = self._emit(event) is True
        else:
            if self._events is None:
                self._events = []
            self._events.append(event)
        if self._observer is not None:
            self._observer.sent(event, stop=stop)
        return stop

    def report(self, name: str, value: float, step: int) -> None:
        """Report an intermediate value, such as the loss after an epoch.

        Parameters
        ----------
        name : str
            What it is.
        value : float
        step : int
            When it was: an epoch, a number of samples.

        Raises
        ------
        PrunedError
            If an optimiser wants the cell to stop here; let it through.
        """
        if self._send("report", {"name": name, "value": value, "step": step}):
            raise PrunedError(f"stopped by the optimiser after {name} = {value!r} at step {step}")

    def __repr__(self) -> str:
        # Without values: there may be secrets among them.
        shown = ", ".join(f"{key!r}: ..." for key in self)
        return f"{type(self).__name__}({{{shown}}})" if shown else f"{type(self).__name__}()"


def standalone_context(
    initial: Mapping[str, Any] | None = None, *, logger: logging.Logger | None = None
) -> FrozenContext:
    """Make a context to try a step alone.

    Parameters
    ----------
    initial : mapping, optional
        Its keys.
    logger : logging.Logger, optional

    Returns
    -------
    FrozenContext

    Examples
    --------
    >>> from crystallize import pipeline_step, standalone_context
    >>> @pipeline_step()
    ... def scale(data, ctx, *, factor=1):
    ...     return [value * factor for value in data]
    >>> scale()([1, 2], standalone_context({"factor": 3}))
    [3, 6]
    """
    return FrozenContext(initial, logger)


@lru_cache(maxsize=4096)
def keys_of(name: str, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys of a context that give a parameter its value, the one that counts most first.

    Parameters
    ----------
    name : str
        The parameter's.
    addresses : tuple of str
        The names by which ``name.parameter`` means just the step, or the data source, that has it.

    Examples
    --------
    >>> keys_of("rate", ("TrainStep", "train"))
    ('TrainStep.rate', 'train.rate', 'rate')
    """
    return (*(f"{address}.{name}" for address in addresses), name)


def isolated_mapping(values: Mapping[str, Any] | None, *, what: str) -> dict[str, Any]:
    """Check and copy a mapping that is about to become part of a context."""
    if values is None:
        return {}
    if not hasattr(values, "items"):
        raise ArgumentTypeError(f"{what} must be a mapping of names to values, not {type(values).__name__}")
    for key in values:
        _check_key(key, f"a key of the {what}")
    return isolate(dict(values))


def _listed(ctx: FrozenContext) -> str:
    names = sorted(ctx)
    shown = ", ".join(map(repr, names[:_MOST_NAMES])) or "none"
    return shown if len(names) <= _MOST_NAMES else f"{shown}, … ({len(names)} in all)"


def _check_key(key: object, what: str) -> None:
    if not isinstance(key, str):
        raise ArgumentTypeError(f"{what} must be text, not {type(key).__name__}: {key!r}")
    if not key:
        raise ValidationError(f"{what} must not be empty")
