"""The step cache during a run, in one process: opened at its first use, and telling of each problem once."""

from __future__ import annotations

import logging
import sys
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from crystallize.context.isolation import ATOMS, is_ndarray
from crystallize.errors import ConfigurationError
from crystallize.fingerprint import Identity, added_code, combine, identify, may_have_added
from crystallize.pipelines.cache.settings import current_settings, load_key
from crystallize.pipelines.cache.store import EntryStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.context import FrozenContext
    from crystallize.datasources.base import DataSource
    from crystallize.pipelines.cache.settings import CacheSettings

__all__ = ["CacheSession", "identity_as_seen", "together", "unsaid"]

_LOGGER = logging.getLogger("crystallize")
_MOST_ARRAYS = 256
_all_atoms = ATOMS.issuperset


def together(added: Mapping[str, Identity]) -> Identity | None:
    """Return one identity for what was added to libraries, by place; None for nothing."""
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
    """

    def __init__(
        self, settings: CacheSettings | None, *, plugins: str = "", chained: bool = True, added: Identity | None = None
    ) -> None:
        self.plugins = plugins
        self.chained = chained
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
        """Return the identity of the value of a key, as a step sees it.

        That of an array which the cells of a condition share, and that none of them can write to, is found out once.
        """
        return identity_as_seen(value) if key in ctx._own else self._kept(value)

    def _kept(self, value: Any) -> Identity:
        """Return the identity of what is handed out as it is, or as a view that cannot be written to."""
        if not is_ndarray(value) or value.dtype.hasobject:
            return identity_as_seen(value)
        known = self._arrays.get(id(value))
        if known is not None and known[0]() is value:
            return known[1]
        found = identity_as_seen(value)
        if len(self._arrays) > _MOST_ARRAYS:
            self._arrays.clear()
        with suppress(TypeError):  # a scalar of an array's type, which is quickly hashed again
            self._arrays[id(value)] = (weakref.ref(value), found)
        return found

    def source_identity(self, source: DataSource) -> str | None:
        """Return the identity of what a data source gives, or None where it does not say all that this depends on.

        What it reads from its context comes on top.
        """
        if not source.is_declared:
            return None
        found = [part for _, part in source._identity_parts("", self._parameters)]
        return None if any(part.untracked for part in found) else combine(*(part.digest for part in found))

    def _parameters(self, values: Mapping[str, Any]) -> Identity:
        """Return the identity of parameters by all that can be seen of them."""
        found = {name: self._kept(value) for name, value in sorted(values.items())}
        digests = (text for name, each in found.items() for text in (name, each.digest))
        return Identity(combine(*digests), tuple(text for each in found.values() for text in each.untracked))


def identity_as_seen(value: Any) -> Identity:
    """Return the identity of a value by all that a step can see of it.

    Resuming compares values. A step may go by more: the order of a dict's keys, how an array lies in memory (sums
    differ in their last bits).
    """
    found = identify(value)
    more = unsaid(value)
    return found if more is None else found._replace(digest=combine(found.digest, identify(more).digest))


def unsaid(value: Any) -> Any:
    """Return what equality of values does not tell of one; None where there is nothing."""
    return None if type(value) in ATOMS else _unsaid(value, {})


def _unsaid(value: Any, seen: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in ATOMS:
        return None
    if kind is dict:
        parts = _unsaid_parts(value, list(value.values()), seen)
        return (list(value), parts) if len(value) > 1 or parts else None
    if kind is list or kind is tuple:
        return _unsaid_parts(value, value, seen)
    return value.strides if is_ndarray(value) and not value.flags.c_contiguous else None


def _unsaid_parts(value: Any, items: Sequence[Any], seen: dict[int, Any]) -> Any:
    if _all_atoms(map(type, items)) or id(value) in seen:
        return None
    seen[id(value)] = value
    parts = [(at, part) for at, item in enumerate(items) if (part := _unsaid(item, seen)) is not None]
    return parts or None
