"""Finding and loading installed plugins by name.

The stages: find by metadata, check what is required, import one, say what it is. Installed is not active: nothing
is imported before somebody asks for it by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystallize.errors import MissingDistributionError, PluginError, PluginNotFoundError
from crystallize.hooks.loading import check_required, load
from crystallize.hooks.metadata import OFFICIAL, PLUGINS, RESERVED, normalized, rescan, scan
from crystallize.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crystallize.hooks.metadata import PluginRecord

__all__ = [
    "PUBLIC",
    "PluginReport",
    "examine_plugins",
    "find_plugin",
    "find_plugins",
    "load_plugin",
    "load_public",
    "public_plugin_names",
]

PUBLIC = {
    "SeedPlugin": "seed",
    "LoggingPlugin": "logging",
    "ArtifactPlugin": "artifacts",
    "SerialExecution": "serial",
    "ParallelExecution": "parallel",
    "AsyncExecution": "async",
}
"""The names that ``from crystallize import ...`` gets from crystallize-plugins, and their entry points."""


@dataclass(frozen=True, slots=True)
class PluginReport:
    """What an attempt to load one installed plugin gave.

    Attributes
    ----------
    record : PluginRecord
    target : object or None
        What the entry point leads to.
    error : PluginError or None
        Why it cannot be used.
    """

    record: PluginRecord
    target: Any = None
    error: PluginError | None = None


def find_plugins(group: str = PLUGINS) -> tuple[PluginRecord, ...]:
    """Give the installed plugins of a group, by metadata alone, sorted by name.

    Parameters
    ----------
    group : str, default "crystallize.plugins"
        Or ``"crystallize.verifiers"``, ``"crystallize.optimizers"``, ``"crystallize.seeders"``,
        ``"crystallize.configs"`` or ``"crystallize.commands"``.

    Returns
    -------
    tuple of PluginRecord
        One that cannot be used is among them, and its ``problem`` says why.

    Examples
    --------
    >>> "seed" in [record.name for record in find_plugins()]
    True
    """
    return scan().records[group]


def find_plugin(name: str, group: str = PLUGINS) -> PluginRecord:
    """Give the one installed plugin of a name, without importing it.

    Parameters
    ----------
    name : str
        An entry point's name.
    group : str, default "crystallize.plugins"
        As for `find_plugins`.

    Raises
    ------
    PluginNotFoundError
        Nothing of that name is installed; the message has the nearest name.
    MissingDistributionError
        The name is one of crystallize-plugins', which is not installed.
    PluginConflictError
        Two distributions use the name, or one uses a reserved name that is not its own.
    MissingExtraError
        The plugin says that it needs an extra that is not installed.
    """
    found = _named(name, find_plugins(group)) or _named(name, rescan().records[group])
    if not found:
        raise _not_found(name, group)
    record = next((record for record in found if record.problem is None), found[0])
    check_required(record)
    return record


def load_plugin(name: str, group: str = PLUGINS) -> Any:
    """Import what the entry point of a name leads to.

    Parameters
    ----------
    name : str
        An entry point's name.
    group : str, default "crystallize.plugins"
        As for `find_plugins`.

    Returns
    -------
    object
        For a hook plugin a class, a function that builds one, or an instance.

    Raises
    ------
    PluginNotFoundError, MissingDistributionError, PluginConflictError, MissingExtraError
        As `find_plugin`.
    PluginImportError
        It cannot be imported; the cause is attached.
    """
    return load(find_plugin(name, group))


def load_public(name: str) -> Any:
    """Give what ``from crystallize import name`` stands for, where crystallize-plugins provides it.

    Parameters
    ----------
    name : str
        One of `PUBLIC`.

    Raises
    ------
    MissingDistributionError
        crystallize-plugins is not installed, or lacks it.
    PluginImportError
        It is installed and cannot be imported.

    Examples
    --------
    >>> load_public("SeedPlugin").__name__
    'SeedPlugin'
    """
    record = next((record for record in find_plugins() if _is_official(record, PUBLIC[name])), None)
    if record is None:
        raise _missing_distribution(f"{name!r} cannot be imported from crystallize", PUBLIC[name])
    return load(record)


def public_plugin_names() -> list[str]:
    """Give those names of `PUBLIC` that are installed, by metadata alone."""
    records = find_plugins()
    return [name for name, entry in PUBLIC.items() if any(_is_official(record, entry) for record in records)]


def examine_plugins(group: str = PLUGINS) -> list[PluginReport]:
    """Try to load every installed plugin of a group; for a doctor.

    A plugin that cannot be loaded is reported, and hides none of the others.

    Parameters
    ----------
    group : str, default "crystallize.plugins"
        As for `find_plugins`.
    """
    reports = []
    for record in find_plugins(group):
        try:
            reports.append(PluginReport(record, load(record)))
        except PluginError as exc:
            reports.append(PluginReport(record, error=exc))
    return reports


def _named(name: str, records: Iterable[PluginRecord]) -> list[PluginRecord]:
    return [record for record in records if record.name == name]


def _is_official(record: PluginRecord, name: str) -> bool:
    return record.name == name and normalized(record.distribution) == OFFICIAL


def _not_found(name: str, group: str) -> PluginError:
    if group == PLUGINS and name in {*PUBLIC.values(), *RESERVED}:
        return _missing_distribution(f"there is no plugin {name!r}", name)
    names = [record.name for record in find_plugins(group)]
    listed = ", ".join(map(repr, names)) or "none"
    return PluginNotFoundError(
        f"no installed plugin is called {name!r}.{did_you_mean(name, names)} Installed: {listed}. "
        f"Install the distribution that provides it, or give an instance",
        plugin=name,
    )


def _missing_distribution(what: str, name: str) -> MissingDistributionError:
    installed = next((record for record in find_plugins() if normalized(record.distribution) == OFFICIAL), None)
    why = f"{installed.origin} does not have it" if installed else f"{OFFICIAL}, which provides it, is not installed"
    upgrade = " --upgrade" if installed else ""
    return MissingDistributionError(
        f"{what}: {why}. Install it: pip install{upgrade} {OFFICIAL}",
        plugin=name,
        distribution=OFFICIAL,
        version=installed.version if installed else None,
    )
