"""Which plugins are installed, decided by a test."""

from __future__ import annotations

import itertools
import sys
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

from crystallize.discovery import metadata
from crystallize.discovery.metadata import GROUPS, PLUGINS, PluginRecord, Scan
from crystallize.errors import ArgumentTypeError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

__all__ = ["IsolatedPlugins", "isolated"]

_numbers = itertools.count(1)


class IsolatedPlugins:
    """What is installed within `isolated`."""

    def __init__(self, kept: Collection[PluginRecord]) -> None:
        self._records = list(kept)
        self._modules: list[str] = []

    def add(
        self,
        name: str,
        target: Any,
        *,
        group: str = PLUGINS,
        distribution: str = "isolated",
        version: str = "1.0",
    ) -> None:
        """Install something more.

        Parameters
        ----------
        name : str
            Its name, as an entry point would give it.
        target : object or str
            What the entry point leads to; text such as ``"package.module:Class"`` is imported when it is asked for.
        group : str, default "crystallize.plugins"
            The entry-point group.
        distribution, version : str
            What it is installed with.
        """
        if group not in GROUPS:
            raise ArgumentTypeError(f"group={group!r}: write one of {', '.join(map(repr, GROUPS))}")
        value = target if isinstance(target, str) else self._module_with(target)
        module, _, attribute = value.partition(":")
        self._records.append(PluginRecord(group, name, value, distribution, version, module, attribute))
        metadata.rescan()

    def scan(self) -> Scan:
        """Return what is installed, as the core's own look at the metadata would."""
        ordered = sorted(self._records, key=lambda record: (record.name, record.distribution))
        return Scan({group: tuple(metadata.judged(r for r in ordered if r.group == group)) for group in GROUPS})

    def _module_with(self, target: Any) -> str:
        name = f"crystallize_isolated_{next(_numbers)}"
        module: Any = ModuleType(name)
        module.target = target
        sys.modules[name] = module
        self._modules.append(name)
        return f"{name}:target"

    def _forget(self) -> None:
        for name in self._modules:
            sys.modules.pop(name, None)


@contextmanager
def isolated(plugins: Mapping[str, Any] | None = None, *, keep: Collection[str] = ()) -> Iterator[IsolatedPlugins]:
    """Have exactly these plugins installed, within the block.

    Parameters
    ----------
    plugins : mapping of str to object, optional
        By name, what an entry point would lead to: a class, a function, an instance, or text such as
        ``"package.module:Class"``.
    keep : collection of str, default ()
        Names of installed plugins, of any group, that stay.

    Yields
    ------
    IsolatedPlugins
        Its method ``add`` installs more.

    Examples
    --------
    >>> from crystallize.hooks import BasePlugin, build_plugin, find_plugins
    >>> class Quiet(BasePlugin):
    ...     pass
    >>> with isolated({"quiet": Quiet}, keep=["seed"]):
    ...     [record.name for record in find_plugins()], type(build_plugin("quiet")).__name__
    (['quiet', 'seed'], 'Quiet')
    """
    installed = (record for records in metadata.scan().records.values() for record in records)
    inside = IsolatedPlugins([replace(record, problem=None) for record in installed if record.name in keep])
    with metadata.scanning(inside.scan):
        try:
            for name, target in (plugins or {}).items():
                inside.add(name, target)
            yield inside
        finally:
            inside._forget()
