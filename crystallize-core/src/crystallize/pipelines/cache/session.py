"""The step cache during a run, in one process: opened at its first use, and telling of each problem once."""

from __future__ import annotations

import logging
import sys
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from crystallize.errors import ConfigurationError
from crystallize.fingerprint import Identity, added_code, combine, may_have_added
from crystallize.pipelines.cache.keyfile import load_key
from crystallize.pipelines.cache.settings import current_settings
from crystallize.pipelines.cache.sources import SourceIdentities
from crystallize.pipelines.cache.store import EntryStore
from crystallize.pipelines.cache.values import Looks, is_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize.context import FrozenContext
    from crystallize.pipelines.cache.settings import CacheSettings

__all__ = ["CacheSession", "together"]

_LOGGER = logging.getLogger("crystallize")
_MOST_ARRAYS = 256


def together(added: Mapping[str, Identity]) -> Identity | None:
    """Give one identity for what was added to libraries, by place; None for nothing."""
    if not added:
        return None
    return Identity(
        combine(*(each.digest for each in added.values())),
        tuple(text for each in added.values() for text in each.untracked),
    )


class CacheSession:
    """What the cached calls of one worker share.

    Parameters
    ----------
    settings : CacheSettings, optional
        Those of the process that started the run; by default the environment's.
    plugins : str
        The digest of the plugins that may influence a step in a way that its context does not show; empty where there
        is none.
    chained : bool
        Whether nobody between two steps may change the data.
    added : Identity, optional
        Of what the project had added to libraries when the run began.

    Attributes
    ----------
    looks : Looks
    sources : SourceIdentities
    """

    def __init__(
        self, settings: CacheSettings | None, *, plugins: str = "", chained: bool = True, added: Identity | None = None
    ) -> None:
        self.plugins = plugins
        self.chained = chained
        self.looks = Looks()
        self.sources = SourceIdentities(self.looks)
        self._settings = settings
        self._added = added
        self._modules = len(sys.modules)
        self._store: EntryStore | None = None
        self._opened = False
        self._lock = threading.Lock()
        self._told: set[tuple[str, ...]] = set()
        self._arrays: dict[int, tuple[weakref.ref[Any], Identity]] = {}

    @property
    def added(self) -> Identity | None:
        """The identity of what the project has added to libraries; None where that is nothing.

        A module that is imported while the run goes on may add something.
        """
        loaded = len(sys.modules)
        if loaded != self._modules:
            if may_have_added(self._modules):
                self._added = together(added_code())
            self._modules = loaded
        return self._added

    @property
    def store(self) -> EntryStore | None:
        """The entries; None where they cannot be used, which is said once."""
        if not self._opened:
            with self._lock:
                if not self._opened:
                    self._store = self._open()
                    self._opened = True
        return self._store

    def _open(self) -> EntryStore | None:
        try:
            settings = self._settings or current_settings()
            return EntryStore(settings, load_key(settings))
        except ConfigurationError as problem:
            _LOGGER.warning("no step is cached in this run: %s", problem)
            return None

    def tell(self, step: str, text: str, *details: str) -> None:
        """Warn, once in a run for each step and problem."""
        told = (step, text, *details)
        with self._lock:
            if told in self._told:
                return
            self._told.add(told)
        _LOGGER.warning(text, step, *details)

    def value(self, ctx: FrozenContext, key: str, value: Any) -> Identity:
        """Give the identity of the value of a key, as a step sees it.

        That of an array which the cells of a condition share, and that none of them can write to, is found out once.
        """
        if key in ctx._own or not is_array(value) or value.dtype.hasobject:
            return self.looks.identity(value)
        known = self._arrays.get(id(value))
        if known is not None and known[0]() is value:
            return known[1]
        found = self.looks.identity(value)
        if len(self._arrays) > _MOST_ARRAYS:
            self._arrays.clear()
        with suppress(TypeError):  # a scalar of an array's type, which is quickly hashed again
            self._arrays[id(value)] = (weakref.ref(value), found)
        return found
