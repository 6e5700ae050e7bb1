"""What is known about one active plugin: its name, where it comes from, what it declares."""

from __future__ import annotations

import sys
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from crystallize.discovery.metadata import PLUGINS, RESERVED, distribution_of, scan
from crystallize.hooks.base import BasePlugin
from crystallize.hooks.roles import SeederPlugin, StorePlugin
from crystallize.hooks.settings import arguments_of, describe_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize.discovery.metadata import PluginRecord

__all__ = [
    "Origin",
    "PluginInfo",
    "asked_by",
    "class_name",
    "declared",
    "default_kind",
    "note_asked_by",
    "note_name",
    "note_origin",
    "origin_of",
]

OnError = Literal["record", "fail_cell", "stop_run"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a plugin comes from.

    Attributes
    ----------
    name : str
        Its entry point's name, or its class's where it has no entry point.
    distribution, version : str or None
        What it was installed with; None for a class of a script, say.
    entry_point : str or None
        Where its entry point leads, ``"package.module:Class"``.
    """

    name: str
    distribution: str | None = None
    version: str | None = None
    entry_point: str | None = None

    def __str__(self) -> str:
        source = f"{self.distribution} {self.version}" if self.distribution else "from no distribution"
        return f"plugin {self.name!r} ({source})"

    @property
    def fields(self) -> dict[str, str | None]:
        """What a `PluginError` carries about a plugin."""
        return {"plugin": self.name, "distribution": self.distribution, "version": self.version}


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One active plugin.

    Attributes
    ----------
    origin : Origin
    plugin : object
        The instance.
    neutral : bool or None
    on_error : {"record", "fail_cell", "stop_run"} or None
    contract : str or None
        As declared.
    hooks : tuple of str
        The hooks in which it is called, in the order of a run.
    asked_by : str
        Who asked for it: ``"code"``, ``"default"``, ``"config.yaml"``, ``"-p"``, or an environment variable's name.
    """

    origin: Origin
    plugin: Any
    neutral: bool | None = None
    on_error: OnError | None = None
    contract: str | None = None
    hooks: tuple[str, ...] = ()
    asked_by: str = "code"

    @property
    def name(self) -> str:
        """The entry point's name, or the class's."""
        return self.origin.name

    @property
    def distribution(self) -> str | None:
        """What the plugin was installed with."""
        return self.origin.distribution

    @property
    def version(self) -> str | None:
        """The distribution's version."""
        return self.origin.version

    @property
    def entry_point(self) -> str | None:
        """Where the entry point leads."""
        return self.origin.entry_point

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The settings as they were given, after defaults."""
        return arguments_of(self.plugin)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings in a form that can be written down."""
        return describe_settings(self.plugin)[0]


class _Notes(dict[int, tuple[weakref.ref[Any], Any]]):
    """What is known of instances beside what they are: they may be unhashable, and equal ones are not the same."""

    def put(self, plugin: object, note: object) -> None:
        key = id(plugin)
        with suppress(TypeError):  # It cannot be referred to weakly: nothing is noted.
            self[key] = (weakref.ref(plugin, lambda _: self.pop(key, None)), note)

    def of(self, plugin: object) -> Any:
        found = self.get(id(plugin))
        return found[1] if found is not None and found[0]() is plugin else None


_origins = _Notes()
_askers = _Notes()


def note_origin(plugin: object, record: PluginRecord) -> None:
    """Remember from which entry point a plugin was built, where its class does not tell."""
    origin = _origin_of(record)
    if origin_of(plugin) != origin:
        _origins.put(plugin, origin)


def note_name(plugin: object, name: str) -> None:
    """Remember what a plugin of no distribution is called, where its class does not tell."""
    if origin_of(plugin) != (origin := Origin(name)):
        _origins.put(plugin, origin)


def note_asked_by(plugin: object, asked_by: str) -> None:
    """Remember who asked for a plugin: what its entry in the lock says as ``asked_by``."""
    _askers.put(plugin, asked_by)


def asked_by(plugin: object) -> str:
    """Return who asked for a plugin: ``"code"`` where nobody noted anything else."""
    found: str | None = _askers.of(plugin)
    return found or "code"


def origin_of(plugin: object) -> Origin:
    """Return what a plugin, or a class of plugins, is called and where it comes from; nothing is imported."""
    noted: Origin | None = _origins.of(plugin)
    if noted is not None:
        return noted
    cls = plugin if isinstance(plugin, type) else type(plugin)
    if cls.__module__ == "__main__":
        return Origin(cls.__name__)
    for record in _candidates(cls):
        target = _loaded(record)
        if target is cls or target is plugin:
            return _origin_of(record)
    distribution, version = distribution_of(cls) or (None, None)
    return Origin(cls.__name__, distribution, version)


def declared(plugin: object, name: str) -> Any:
    """Return what a plugin declares by an attribute of `BasePlugin`; one of another class may leave it out."""
    return getattr(plugin, name, getattr(BasePlugin, name))


def default_kind(plugin: object) -> str | None:
    """Say of which default plugin's kind one is: ``"seed"``, ``"logging"``, ``"artifacts"``, or None."""
    if isinstance(plugin, SeederPlugin):
        return "seed"
    if isinstance(plugin, StorePlugin):
        return "artifacts"
    packages = {cls.__module__.partition(".")[0] for cls in type(plugin).__mro__}
    if packages <= {"__main__", "abc", "builtins", "crystallize", "typing"}:
        return None  # Nobody else's class is among them: nothing to look up.
    for record in scan().records[PLUGINS]:
        if record.name in RESERVED and record.is_official:
            target = _loaded(record)
            if isinstance(target, type) and isinstance(plugin, target):
                return record.name
    return None


def class_name(plugin: object) -> str:
    """Give module and name of a plugin's class, ``"package.module:Class"``."""
    return f"{type(plugin).__module__}:{type(plugin).__qualname__}"


def _candidates(cls: type) -> Iterator[PluginRecord]:
    package = cls.__module__.partition(".")[0]
    return (record for record in scan().records[PLUGINS] if record.module.partition(".")[0] == package)


def _loaded(record: PluginRecord) -> Any:
    """Give what an entry point leads to if its module is loaded already: an instance of its class implies that."""
    found: Any = sys.modules.get(record.module)
    for part in record.attribute.split("."):
        found = getattr(found, part, None)
    return found


def _origin_of(record: PluginRecord) -> Origin:
    return Origin(record.name, record.distribution, record.version, record.value)
