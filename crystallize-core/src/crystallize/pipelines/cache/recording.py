"""What a step reads from its context, and what it leaves there, while it runs, and whether it draws random numbers.

What is read goes by names: a key of the context as ``key 'name'`` without the quotes, and beside the keys ``all keys``,
``metrics``, ``artifacts`` and ``rng``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.context.observer import Observer
from crystallize.fingerprint import combine, digest_of_buffer, identify
from crystallize.pipelines.cache.randomness import global_randomness

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.context.frozen import FrozenContext
    from crystallize.context.records import Event
    from crystallize.fingerprint import Identity

    Look = Callable[[FrozenContext, str, Any], Identity]

__all__ = ["ABSENT", "Lineage", "Recording", "digest_of_read"]

ABSENT = "absent"
"""The digest of a key that is not there."""

_KEY = "key "
_ALL_KEYS = "all keys"
_METRICS = "metrics"
_ARTIFACTS = "artifacts"
_RNG = "rng"
_NOTHING: Any = object()


class Lineage(NamedTuple):
    """What is known of the data that a position gave: kept in the context until the next step asks.

    Attributes
    ----------
    position : int
    identity : str
    still_holds : callable or None
        Whether that is known of it indeed, to be asked before an output is kept: looking again takes time, and an entry
        that is there was kept by somebody who had asked.
    """

    position: int
    identity: str
    still_holds: Callable[[], bool] | None = None


class Recording(Observer):
    """What one step, or the data source, does inside of ``with``; several times where it has to be awaited.

    Parameters
    ----------
    ctx : FrozenContext
    position : int
        The step's, counted from 1; 0 for the data source.
    look : callable of context, key and value
        Returns the identity of the value of a key.

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
    moved : bool
        Whether the global random state moved meanwhile.
    """

    __slots__ = ("_begun", "_look", "_position", "ctx", "events", "moved", "reads", "refused", "untracked", "wrote")

    def __init__(self, ctx: FrozenContext, position: int, look: Look) -> None:
        self.ctx = ctx
        self._position = position
        self._look = look
        self.reads: dict[str, str] = {}
        self.untracked: list[str] = []
        self.wrote: set[str] = set()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.refused = ""
        self.moved = False
        self._begun = 0

    def __enter__(self) -> None:
        self._begun = global_randomness.begin()
        self.ctx._watched_by(self)

    def __exit__(self, *_: object) -> None:
        self.ctx._watched_by(None)
        self.moved |= global_randomness.end(self._begun)

    def changed(self) -> str | None:
        """Return what of the values that were read the step has changed, or None."""
        for name, digest in self.reads.items():
            key = name[len(_KEY) :]
            if not name.startswith(_KEY) or key in self.wrote:
                continue
            if digest_of_read(self.ctx, name, self._position, self._look) != digest:
                return f"the context's value of {key!r}"
        return None

    # -- what the context tells -------------------------------------------------------------------

    def reads_key(self, key: object) -> None:
        """Note the value that a key has."""
        if not isinstance(key, str) or key in self.wrote or _KEY + key in self.reads:
            return
        if key == "step_name":
            return  # the step's name is part of what is known beforehand
        value = _value(self.ctx, key)
        if value is _NOTHING:
            self.reads[_KEY + key] = ABSENT
            return
        try:
            found = self._look(self.ctx, key, value)
        except Exception as problem:  # noqa: BLE001 - an object may refuse in any way to be looked at: not in this step
            self.refused = f"the context's value of {key!r} cannot be hashed ({type(problem).__name__}: {problem})"
        else:
            self.untracked += (f"context key {key!r}: {text}" for text in found.untracked)
            self.reads[_KEY + key] = found.digest

    def reads_keys(self) -> None:
        """Note which keys there are."""
        if _ALL_KEYS not in self.reads:
            self.reads[_ALL_KEYS] = combine(*(key for key in _keys(self.ctx) if key not in self.wrote))

    def reads_metrics(self) -> None:
        """Note what was recorded before."""
        self._note(_METRICS)

    def reads_artifacts(self) -> None:
        """Note which files were written before."""
        self._note(_ARTIFACTS)

    def reads_rng(self) -> None:
        """Note the generator that the step gets."""
        self._note(_RNG)

    def _note(self, name: str) -> None:
        if name in self.reads:
            return
        try:
            self.reads[name] = digest_of_read(self.ctx, name, self._position, self._look)
        except Exception as problem:  # noqa: BLE001 - the same
            self.refused = f"the {name} cannot be hashed ({type(problem).__name__}: {problem})"

    def writes_key(self, key: object) -> None:
        """Note that a key is the step's own, or that it was there already, which the step gets told."""
        if not isinstance(key, str):
            return
        if _value(self.ctx, key) is _NOTHING:
            self.wrote.add(key)
        else:
            self.reads_key(key)

    def sets_rng_factory(self) -> None:
        """Note what no entry can repeat."""
        self.refused = "it says where ctx.rng comes from"

    def sent(self, event: Event, *, stop: bool) -> None:
        """Note an event."""
        self.events.append((event.name, dict(event.fields)))
        if stop:
            self.refused = "an optimiser stopped it"


def digest_of_read(ctx: FrozenContext, name: str, position: int, look: Look) -> str:
    """Return the digest of what a step at a position would read now under a name.

    Parameters
    ----------
    ctx : FrozenContext
    name : str
        As `Recording.reads` has it.
    position : int
    look : callable of context, key and value
        Returns the identity of the value of a key.
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


def _keys(ctx: FrozenContext) -> dict[str, None]:
    return dict.fromkeys((*ctx._base, *ctx._own))


def _value(ctx: FrozenContext, key: str) -> Any:
    value = ctx._own.get(key, _NOTHING)
    return ctx._base.get(key, _NOTHING) if value is _NOTHING else value


def _digest_of_metrics(ctx: FrozenContext, position: int) -> str:
    """Digest what was recorded before the step at `position`."""
    metrics = ctx.metrics
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
