"""A stretch of a cell during which its context notes what is read, and the global random state is watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crystallize.context.frozen import FrozenContext
from crystallize.pipelines.cache.randomness import global_randomness
from crystallize.pipelines.cache.recorder import Recorder, WatchedContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.pipelines.cache.session import CacheSession

__all__ = ["Lineage", "Watching"]


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


class Watching:
    """What one step, or the data source, does inside of ``with``; several times where it has to be awaited.

    Attributes
    ----------
    recorder : Recorder
    moved : bool
        Whether the global random state moved meanwhile.
    """

    def __init__(self, session: CacheSession, position: int, ctx: FrozenContext) -> None:
        self.session = session
        self.ctx = ctx
        self.recorder = Recorder(position, session.value)
        self.moved = False
        self._begun = 0

    def __enter__(self) -> None:
        self._begun = global_randomness.begin()
        self.ctx._cache = self.recorder
        self.ctx.__class__ = WatchedContext

    def __exit__(self, *_: object) -> None:
        self.ctx.__class__ = FrozenContext
        self.ctx._cache = None
        self.moved |= global_randomness.end(self._begun)
