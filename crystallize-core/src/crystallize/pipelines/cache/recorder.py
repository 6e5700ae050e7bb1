"""What a step reads from its context, and what it leaves there, while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.context.artifacts import ArtifactLog
from crystallize.context.frozen import FrozenContext
from crystallize.context.metrics import Metrics
from crystallize.errors import ContextMutationError
from crystallize.fingerprint import combine, digest_of_buffer, identify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from crystallize.context.events import Event
    from crystallize.fingerprint import Identity

    Look = Callable[[FrozenContext, str, Any], Identity]

__all__ = ["ABSENT", "Recorder", "WatchedContext", "digest_of_read"]

ABSENT = "absent"
"""The digest of a key that is not there."""

# Names of what is read: a key of the context with this before it, or one of the others.
_KEY = "key "
_ALL_KEYS = "all keys"
_METRICS = "metrics"
_ARTIFACTS = "artifacts"
_RNG = "rng"


def digest_of_read(ctx: FrozenContext, name: str, position: int, look: Look) -> str:
    """Give the digest of what a step at a position would read now under a name.

    Parameters
    ----------
    ctx : FrozenContext
    name : str
        As `Recorder.reads` has it.
    position : int
    look : callable of context, key and value
        Gives the identity of the value of a key.
    """
    if name.startswith(_KEY):
        key = name[len(_KEY) :]
        value = _value(ctx, key)
        return ABSENT if value is _NOTHING else look(ctx, key, value).digest
    if name == _ALL_KEYS:
        return combine(*_keys(ctx))
    if name == _METRICS:
        return _digest_of_metrics(ctx, position)
    if name == _ARTIFACTS:
        return _digest_of_artifacts(ctx, position)
    return combine(str(position), identify(ctx._rng_factory).digest)


class Recorder:
    """What one step does while it runs.

    Attributes
    ----------
    reads : dict of str to str
        The digest of each thing that was there before the step began, and that it looked at, as it was then.
    untracked : list of str
        What among these is known by its type alone.
    wrote : set of str
        The keys of the context that it wrote.
    events : list of (str, dict)
        What it sent: names and fields.
    refused : str
        Why the output cannot be kept, if anything that the step did says so.
    """

    __slots__ = ("events", "look", "position", "reads", "refused", "untracked", "wrote")

    def __init__(self, position: int, look: Look) -> None:
        self.position = position
        self.look = look
        self.reads: dict[str, str] = {}
        self.untracked: list[str] = []
        self.wrote: set[str] = set()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.refused = ""

    def key(self, ctx: FrozenContext, key: object) -> None:
        """Note that a key of the context is looked at."""
        if not isinstance(key, str) or key in self.wrote or _KEY + key in self.reads:
            return
        if key == "step_name":
            return  # the step's name is part of what is known beforehand
        value = _value(ctx, key)
        if value is _NOTHING:
            self.reads[_KEY + key] = ABSENT
            return
        try:
            found = self.look(ctx, key, value)
        except Exception as problem:  # noqa: BLE001 - an object may refuse in any way to be looked at: not in this step
            self.refused = f"the context's value of {key!r} cannot be hashed ({type(problem).__name__}: {problem})"
        else:
            self.untracked += (f"context key {key!r}: {text}" for text in found.untracked)
            self.reads[_KEY + key] = found.digest

    def other(self, ctx: FrozenContext, name: str) -> None:
        """Note that something beside the keys is looked at."""
        if name in self.reads:
            return
        try:
            self.reads[name] = digest_of_read(ctx, name, self.position, self.look)
        except Exception as problem:  # noqa: BLE001 - the same
            self.refused = f"the {name} cannot be hashed ({type(problem).__name__}: {problem})"

    def keys(self, ctx: FrozenContext) -> None:
        """Note that the step looks at what keys there are."""
        if _ALL_KEYS not in self.reads:
            self.reads[_ALL_KEYS] = combine(*(key for key in _keys(ctx) if key not in self.wrote))

    def settled(self, ctx: FrozenContext) -> str | None:
        """Say what of the things that were read the step has changed, or None."""
        for name, digest in self.reads.items():
            if not name.startswith(_KEY) or name[len(_KEY) :] in self.wrote:
                continue
            if digest_of_read(ctx, name, self.position, self.look) != digest:
                return f"the context's value of {name[len(_KEY) :]!r}"
        return None


class WatchedContext(FrozenContext):
    """The context of a cell while a step runs whose output may be kept: the very object, of this class meanwhile."""

    __slots__ = ()

    _cache: Recorder

    def __getitem__(self, key: str) -> Any:
        self._cache.key(self, key)
        return FrozenContext.__getitem__(self, key)

    def get(self, key: str, default: Any = None) -> Any:
        """Give a value, and note that."""
        self._cache.key(self, key)
        return FrozenContext.get(self, key, default)

    def __contains__(self, key: object) -> bool:
        self._cache.key(self, key)
        return FrozenContext.__contains__(self, key)

    def __iter__(self) -> Iterator[str]:
        self._cache.keys(self)
        return FrozenContext.__iter__(self)

    def __len__(self) -> int:
        self._cache.keys(self)
        return FrozenContext.__len__(self)

    def as_dict(self) -> Mapping[str, Any]:
        """Give everything, and note that."""
        self._cache.keys(self)
        for key in (*self._base, *self._own):
            self._cache.key(self, key)
        return FrozenContext.as_dict(self)

    def add(self, key: str, value: Any) -> None:
        """Write a key, and note that."""
        try:
            FrozenContext.add(self, key, value)
        except ContextMutationError:
            self._cache.key(self, key)
            raise
        self._cache.wrote.add(key)

    @property
    def metrics(self) -> Metrics:  # type: ignore[override]
        """The metrics, as something that notes who looks at earlier ones."""
        return _WatchedMetrics(self, _METRICS_OF(self))

    @property
    def artifacts(self) -> ArtifactLog:
        """The artifacts, as something that notes who looks at earlier ones."""
        return _WatchedArtifacts(self, _ARTIFACTS_OF(self))

    @property
    def rng(self) -> Any:
        """The step's generator; asking for it is noted."""
        generator = _RNG_OF(self)
        self._cache.other(self, _RNG)
        return generator

    def set_rng_factory(self, factory: Callable[[int], Any]) -> None:
        """Say where ``ctx.rng`` comes from from now on, which no entry can repeat."""
        self._cache.refused = "it says where ctx.rng comes from"
        FrozenContext.set_rng_factory(self, factory)

    def _deliver(self, event: Event) -> bool:
        stop = FrozenContext._deliver(self, event)
        self._cache.events.append((event.name, dict(event.fields)))
        if stop:
            self._cache.refused = "an optimiser stopped it"
        return stop


_METRICS_OF: Callable[[FrozenContext], Metrics] = vars(FrozenContext)["metrics"].__get__
_ARTIFACTS_OF: Callable[[FrozenContext], ArtifactLog] = FrozenContext.artifacts.fget  # type: ignore[attr-defined]
_RNG_OF: Callable[[FrozenContext], Any] = FrozenContext.rng.fget  # type: ignore[attr-defined]


class _WatchedMetrics(Metrics):
    __slots__ = ("_ctx",)

    def __init__(self, ctx: WatchedContext, metrics: Metrics) -> None:
        self._values = metrics._values
        self._tags = metrics._tags
        self._order = metrics._order
        self._position = metrics._position
        self._ctx = ctx

    def _looked(self) -> None:
        if isinstance(self._ctx, WatchedContext):  # it is not any more once the step has ended
            self._ctx._cache.other(self._ctx, _METRICS)

    def __getitem__(self, name: str) -> tuple[Any, ...]:
        self._looked()
        return Metrics.__getitem__(self, name)

    def __contains__(self, name: object) -> bool:
        self._looked()
        return Metrics.__contains__(self, name)

    def __iter__(self) -> Iterator[str]:
        self._looked()
        return Metrics.__iter__(self)

    def __len__(self) -> int:
        self._looked()
        return Metrics.__len__(self)

    def get_tags(self, name: str) -> tuple[Mapping[str, Any], ...]:
        self._looked()
        return Metrics.get_tags(self, name)

    def as_dict(self) -> Mapping[str, tuple[Any, ...]]:
        self._looked()
        return Metrics.as_dict(self)


class _WatchedArtifacts(ArtifactLog):
    __slots__ = ("_ctx",)

    def __init__(self, ctx: WatchedContext, log: ArtifactLog) -> None:
        self._files = log._files
        self.position = log.position
        self._ctx = ctx

    def _looked(self) -> None:
        if isinstance(self._ctx, WatchedContext):
            self._ctx._cache.other(self._ctx, _ARTIFACTS)

    def __len__(self) -> int:
        self._looked()
        return ArtifactLog.__len__(self)

    def written(self) -> tuple[Any, ...]:
        self._looked()
        return ArtifactLog.written(self)


_NOTHING: Any = object()


def _keys(ctx: FrozenContext) -> dict[str, None]:
    return dict.fromkeys((*ctx._base, *ctx._own))


def _value(ctx: FrozenContext, key: str) -> Any:
    value = ctx._own.get(key, _NOTHING)
    return ctx._base.get(key, _NOTHING) if value is _NOTHING else value


def _digest_of_metrics(ctx: FrozenContext, position: int) -> str:
    """Digest what was recorded before the step at `position`."""
    metrics = _METRICS_OF(ctx)
    counts: dict[str, int] = {}
    for at, name in zip(metrics._order[::2], metrics._order[1::2], strict=True):
        if at < position:  # type: ignore[operator]
            counts[name] = counts.get(name, 0) + 1  # type: ignore[index, arg-type]
    known = [
        (name, metrics._values[name][:count], [metrics._tags.get(name, {}).get(index) for index in range(count)])
        for name, count in counts.items()
    ]
    return identify(known).digest


def _digest_of_artifacts(ctx: FrozenContext, position: int) -> str:
    """Digest the files that were written before the step at `position`."""
    written = () if ctx._artifacts is None else ctx._artifacts._files.values()
    known = [(file.position, file.name, digest_of_buffer(file.data)) for file in written if file.position < position]
    return identify(known).digest
