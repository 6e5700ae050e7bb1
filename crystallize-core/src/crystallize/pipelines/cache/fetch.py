"""Fetching data such that the first step's cache knows what it is without looking at it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from crystallize.context.frozen import FrozenContext
from crystallize.fingerprint import combine
from crystallize.pipelines.cache.watching import Lineage, Watching

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.pipelines.cache.session import CacheSession

__all__ = ["watched_fetch"]

_LOGGER = logging.getLogger("crystallize")


def watched_fetch(session: CacheSession, source: Any, fetch: Callable[[FrozenContext], Any]) -> Callable[..., Any]:
    """Give a `fetch` that notes the identity of what it gives, where the source says what that depends on.

    Parameters
    ----------
    session : CacheSession
    source : DataSource
    fetch : callable of FrozenContext
        The source's own, or one that stands for it.
    """

    def fetched(ctx: FrozenContext) -> Any:
        if ctx.__class__ is not FrozenContext or session.store is None:
            return fetch(ctx)
        attempt = _Fetch(session, source, ctx)
        with attempt:
            data = fetch(ctx)
        if hasattr(type(data), "__await__"):
            return awaited(data, attempt)
        attempt.note()
        return data

    async def awaited(data: Any, attempt: _Fetch) -> Any:
        with attempt:
            while hasattr(type(data), "__await__"):
                data = await data
        attempt.note()
        return data

    return fetched


class _Fetch(Watching):
    """One fetch of a source that says what its data depends on."""

    def __init__(self, session: CacheSession, source: Any, ctx: FrozenContext) -> None:
        super().__init__(session, 0, ctx)
        self._source = source
        self._before = self._identity()

    def note(self) -> None:
        recorder = self.recorder
        self.ctx._cache = None
        if self._before is None or self.moved or recorder.refused or recorder.untracked:
            return
        reads = [f"{name}={recorder.reads[name]}" for name in sorted(recorder.reads)]
        self.ctx._cache = Lineage(0, combine("source", self._before, *reads), self._still_holds)

    def _still_holds(self) -> bool:
        """Whether the fetch has changed nothing of what it goes by."""
        return self.recorder.settled(self.ctx) is None and self._identity() == self._before

    def _identity(self) -> str | None:
        try:
            return self.session.sources.of(self._source)
        except Exception:
            _LOGGER.debug("what %r depends on cannot be hashed, so its data is", self._source, exc_info=True)
            return None
