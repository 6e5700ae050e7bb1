"""Finding and loading installed plugins by name.

The stages: find by metadata, check what is required, import one, say what it is. Installed is not active: nothing
is imported before somebody asks for it by name.
"""

from __future__ import annotations

import importlib
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystallize.discovery.metadata import OFFICIAL, PLUGINS, RESERVED, normalized, rescan, scan
from crystallize.errors import (
    MissingDistributionError,
    MissingExtraError,
    PluginConflictError,
    PluginError,
    PluginImportError,
    PluginNotFoundError,
)
from crystallize.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crystallize.discovery.metadata import PluginRecord


__all__ = [
    "PUBLIC",
    "PluginReport",
    "check_required",
    "examine_plugins",
    "find_plugin",
    "find_plugins",
    "import_error",
    "import_time",
    "load",
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
        ``"crystallize.configs"``, ``"crystallize.reports"`` or ``"crystallize.commands"``.

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
    return record.name == name and record.is_official


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
    installed = next((record for record in find_plugins() if record.is_official), None)
    why = f"{installed.origin} does not have it" if installed else f"{OFFICIAL}, which provides it, is not installed"
    upgrade = " --upgrade" if installed else ""
    return MissingDistributionError(
        f"{what}: {why}. Install it: pip install{upgrade} {OFFICIAL}",
        plugin=name,
        distribution=OFFICIAL,
        version=installed.version if installed else None,
    )


_import_times: dict[str, float] = {}
"""Milliseconds by module."""
_REQUIREMENT = re.compile(r"\s*(?P<name>[A-Za-z0-9][\w.-]*)[^;]*(?:;(?P<marker>.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
# Modules whose distribution has another name, of those that plugins are likely to need.
_PROVIDED_BY = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow", "cv2": "opencv-python"}


def check_required(record: PluginRecord) -> None:
    """Refuse an entry point that cannot be used, before anything is imported.

    Raises
    ------
    PluginConflictError
        Its name is taken twice, or reserved.
    PluginImportError
        Its declaration cannot be read.
    MissingExtraError
        It declares extras of its distribution that are not installed.
    """
    if record.problem is not None:
        kind = PluginConflictError if record.module else PluginImportError
        advice = (
            "uninstall one of them"
            if " both " in record.problem
            else f"ask for another version of {record.distribution}"
        )
        raise kind(
            f"plugin {record.name!r} ({record.origin}) cannot be used: {record.problem}. {advice.capitalize()}",
            **_fields(record),
        )
    for extra in record.extras:
        for requirement, marker in _requirements(record):
            # A marker that asks for more than the extra may rule the requirement out on this machine.
            if _EXTRA.fullmatch(marker.strip()) and extra in _EXTRA.findall(marker) and not _is_installed(requirement):
                raise _missing_extra(record, extra, f"{requirement} is not installed")


def load(record: PluginRecord) -> Any:
    """Import what an entry point leads to.

    Raises
    ------
    PluginConflictError, PluginImportError, MissingExtraError
        It cannot be used or imported; the cause is attached.
    """
    check_required(record)
    begun = None if record.module in sys.modules else time.perf_counter()
    try:
        found: Any = importlib.import_module(record.module)
    except (Exception, SystemExit) as exc:  # A stranger's module may raise anything while it is imported.
        raise import_error(record, exc) from exc
    if begun is not None:
        _import_times[record.module] = 1000 * (time.perf_counter() - begun)
    for part in record.attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise PluginImportError(
                f"plugin {record.name!r} ({record.origin}) cannot be loaded: {record.module} has no "
                f"{record.attribute}. Install another version of {record.distribution}",
                **_fields(record),
            ) from None
        except Exception as exc:
            raise import_error(record, exc) from exc
    return found


def import_time(plugin: object) -> float | None:
    """Return how many milliseconds importing a plugin's module took; None where something else imported it."""
    return _import_times.get(type(plugin).__module__)


def import_error(record: PluginRecord, exc: BaseException) -> PluginImportError | MissingExtraError:
    """Say why a plugin could not be imported, and what to install if that is the reason."""
    if isinstance(exc, MissingExtraError):  # The plugin's own word on what to type.
        return MissingExtraError(f"plugin {record.name!r} ({record.origin}) cannot be used: {exc}", **_fields(record))
    what = f"{type(exc).__name__}: {exc}"
    module = exc.name if isinstance(exc, ModuleNotFoundError) and exc.name else None
    package = module.partition(".")[0] if module else ""
    if not package or package == record.module.partition(".")[0]:
        return PluginImportError(
            f"plugin {record.name!r} ({record.origin}) cannot be imported: {what}. "
            f"Install another version of {record.distribution}, or leave the plugin out",
            **_fields(record),
        )
    wanted = normalized(_PROVIDED_BY.get(package, package))
    markers = [marker for requirement, marker in _requirements(record) if normalized(requirement) == wanted]
    extras = [extra for marker in markers for extra in _EXTRA.findall(marker)]
    if extras and all(_EXTRA.search(marker) for marker in markers):
        return _missing_extra(record, min(extras, key=lambda extra: (extra == "all", extra)), what)
    known = f"pip install {wanted}" if markers else f"install what provides the module {package!r}"
    return PluginImportError(
        f"plugin {record.name!r} ({record.origin}) cannot be imported: {what}. It needs {package!r}: {known}",
        **_fields(record),
    )


def _missing_extra(record: PluginRecord, extra: str, why: str) -> MissingExtraError:
    return MissingExtraError(
        f"plugin {record.name!r} ({record.origin}) needs the extra {extra!r}: {why}. "
        f'Install it: pip install "{record.distribution}[{extra}]"',
        **_fields(record),
    )


def _requirements(record: PluginRecord) -> Iterator[tuple[str, str]]:
    """Give name and marker of everything that the distribution requires."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        declared = requires(record.distribution) or []
    except PackageNotFoundError:
        return  # Uninstalled since the scan.
    for line in declared:
        match = _REQUIREMENT.fullmatch(line)
        if match is not None:
            yield match["name"], match["marker"] or ""


def _is_installed(distribution: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _fields(record: PluginRecord) -> dict[str, str | None]:
    return {"plugin": record.name, "distribution": record.distribution, "version": record.version}
