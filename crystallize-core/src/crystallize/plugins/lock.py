"""The plugin lock: which plugins a run had, so that the same ones can be compared, installed and loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.errors import MissingDistributionError, PluginConflictError, PluginDefinitionError
from crystallize.hooks.settings import describe_settings
from crystallize.plugins.build import build_plugin
from crystallize.plugins.info import class_name
from crystallize.plugins.metadata import normalized, scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from crystallize.plugins.info import PluginInfo

__all__ = ["compare_lock", "lock_entry", "lock_requirements", "plugins_from_lock"]

Entry = dict[str, Any]


def lock_entry(info: PluginInfo, order: int) -> Entry:
    """Describe one plugin so that it can be recognised, installed and built again.

    Parameters
    ----------
    info : PluginInfo
    order : int
        Its place in the order of calls.

    Returns
    -------
    dict
        ``name``, ``distribution``, ``version``, ``contract``, ``entry_point``, ``class``, ``order``, ``neutral``;
        ``asked_by``, who asked for it; ``settings`` after defaults, and ``opaque``, the names of those that only code
        can give again; ``digests``, by file of the plugin's module as its distribution's record lists them, and over
        the whole record under ``"*"``; ``editable``, whether it was installed so that its code may change without a new
        version.
    """
    settings, opaque = describe_settings(info.plugin)
    digests, editable = _recorded(info.distribution, (info.entry_point or class_name(info.plugin)).partition(":")[0])
    return {
        "name": info.name,
        "distribution": info.distribution,
        "version": info.version,
        "contract": info.contract,
        "entry_point": info.entry_point,
        "class": class_name(info.plugin),
        "order": order,
        "neutral": info.neutral,
        "asked_by": info.asked_by,
        "settings": settings,
        "opaque": list(opaque),
        "digests": digests,
        "editable": editable,
    }


def compare_lock(lock: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say how what is installed now differs from what a lock names.

    Parameters
    ----------
    lock : iterable of mapping
        ``result.provenance["plugins"]``, or the same from a run's folder.

    Returns
    -------
    list of str
        One sentence a difference; empty where everything is the same. A plugin that was installed editable cannot be
        told apart by its version, and one that came from no distribution cannot be found: both are said.
    """
    return [difference for entry in lock for difference in _differences(entry)]


def lock_requirements(lock: Iterable[Mapping[str, Any]]) -> list[str]:
    """Give the requirements that install what a lock names.

    Parameters
    ----------
    lock : iterable of mapping
        As for `compare_lock`.

    Returns
    -------
    list of str
        Lines such as ``"crystallize-plugins==0.1.0"``, sorted; a plugin that came from no distribution is a comment.

    Examples
    --------
    >>> lock_requirements([{"name": "csv", "distribution": "acme-csv", "version": "1.2"}])
    ['acme-csv==1.2']
    """
    found = set()
    for entry in lock:
        if entry.get("distribution"):
            found.add(f"{entry['distribution']}=={entry['version']}")
        else:
            found.add(f"# {entry['name']!r} ({entry.get('class')}) came from no distribution")
    return sorted(found)


def plugins_from_lock(lock: Sequence[Mapping[str, Any]], *, instead: Mapping[str, object] | None = None) -> list[Any]:
    """Build exactly the plugins that a lock names, in its order.

    Use them with ``Experiment(..., plugins=plugins_from_lock(lock), default_plugins=False)``.

    Parameters
    ----------
    lock : sequence of mapping
        As for `compare_lock`.
    instead : mapping of str to object, optional
        By name, what to use for plugins that a lock cannot describe: those of no distribution, and those whose
        settings are functions, objects or secrets.

    Returns
    -------
    list
        Instances.

    Raises
    ------
    MissingDistributionError
        A distribution is not installed.
    PluginConflictError
        Another version, or other files, are installed.
    PluginDefinitionError
        A plugin cannot be built from what the lock says, and `instead` has none.
    """
    given = dict(instead or {})
    plugins = []
    for entry in sorted(lock, key=lambda entry: entry.get("order", 0)):
        name = entry["name"]
        if name in given:
            plugins.append(build_plugin(given[name]))
            continue
        _check_same(entry)
        if entry.get("entry_point") is None or entry.get("opaque"):
            why = (
                f"its settings {', '.join(map(repr, entry['opaque']))} are not plain values"
                if entry.get("opaque")
                else f"{entry.get('class')} has no entry point"
            )
            raise PluginDefinitionError(
                f"plugin {name!r} cannot be built from the lock: {why}. Give it: instead={{{name!r}: ...}}",
                plugin=name,
                distribution=entry.get("distribution"),
                version=entry.get("version"),
            )
        plugins.append(build_plugin((name, entry["settings"]) if entry["settings"] else name))
    return plugins


def _check_same(entry: Mapping[str, Any]) -> None:
    differences = [text for text in _differences(entry) if not text.endswith(_UNKNOWN)]
    if differences:
        missing = entry.get("distribution") and _installed_version(entry["distribution"]) is None
        kind = MissingDistributionError if missing else PluginConflictError
        raise kind(
            f"{'; '.join(differences)}. Install what the lock names: pip install {lock_requirements([entry])[0]}",
            plugin=entry["name"],
            distribution=entry["distribution"],
            version=entry["version"],
        )


_UNKNOWN = "cannot be compared"


def _differences(entry: Mapping[str, Any]) -> list[str]:
    name, distribution, version = entry["name"], entry.get("distribution"), entry.get("version")
    if not distribution:
        return [f"plugin {name!r} came from no distribution ({entry.get('class')}), and {_UNKNOWN}"]
    installed = _installed_version(distribution)
    if installed is None:
        return [f"plugin {name!r}: {distribution} {version} is not installed"]
    found = []
    if installed != version:
        found.append(f"plugin {name!r}: {distribution} was {version}, and {installed} is installed")
    if entry.get("entry_point") is not None:
        value = _entry_point(distribution, name)
        if value != entry["entry_point"]:
            found.append(f"plugin {name!r} of {distribution} led to {entry['entry_point']}, and leads to {value}")
    digests, editable = _recorded(distribution, (entry.get("entry_point") or entry["class"]).partition(":")[0])
    if editable or entry.get("editable"):
        found.append(f"plugin {name!r}: {distribution} is installed editable, so that its code {_UNKNOWN}")
    elif installed == version and digests != entry.get("digests", digests):
        files = sorted(
            file for file in {*digests, *entry["digests"]} - {"*"} if digests.get(file) != entry["digests"].get(file)
        )
        found.append(
            f"plugin {name!r}: files of {distribution} {version} differ: {', '.join(files) or 'outside its module'}"
        )
    return found


def _installed_version(distribution: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _entry_point(distribution: str, name: str) -> str | None:
    from crystallize.plugins.discovery import find_plugins

    wanted = normalized(distribution)
    return next((r.value for r in find_plugins() if r.name == name and normalized(r.distribution) == wanted), None)


def _recorded(distribution: str | None, module: str) -> tuple[dict[str, str], bool]:
    memory = scan().memory
    if (distribution, module) not in memory:
        memory[distribution, module] = _read_record(distribution, module)
    found: tuple[dict[str, str], bool] = memory[distribution, module]
    return found


def _read_record(distribution: str | None, module: str) -> tuple[dict[str, str], bool]:
    """Give the digests that a distribution's record lists, and whether it is installed editable.

    Those of the module by file and one over all, since the record of a large distribution would swell every run.
    """
    if distribution is None:
        return {}, False
    import hashlib
    import json
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import distribution as find

    try:
        found = find(distribution)
    except PackageNotFoundError:
        return {}, False
    path = module.replace(".", "/")
    everything = hashlib.sha256()
    digests: dict[str, str] = {}
    for line in sorted((found.read_text("RECORD") or "").splitlines()):
        file, digest, _ = line.rsplit(",", 2) if line.count(",") > 1 else (line, "", "")
        if not digest or ".dist-info/" in file:
            continue  # What the installer writes there differs from machine to machine.
        everything.update(line.encode())
        if file.startswith((f"{path}/", f"{path}.")):
            digests[file.strip('"')] = digest
    direct_url = json.loads(found.read_text("direct_url.json") or "{}")
    editable = bool(direct_url.get("dir_info", {}).get("editable"))
    return ({**digests, "*": f"sha256={everything.hexdigest()}"} if digests else {}), editable
