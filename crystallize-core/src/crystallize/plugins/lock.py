"""The plugin lock: which plugins a run had, so that the same ones can be compared, installed and loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, overload

from crystallize.discovery.metadata import normalized, scan
from crystallize.errors import (
    ConfigurationError,
    MissingDistributionError,
    PluginConflictError,
    PluginDefinitionError,
    WorkerStartError,
)
from crystallize.hooks.settings import describe_settings
from crystallize.hooks.specs import CONTRACT
from crystallize.plugins.build import build_plugin
from crystallize.plugins.info import class_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from crystallize.plugins.info import PluginInfo

__all__ = [
    "FORM",
    "LockDifference",
    "VersionCheck",
    "checked_versions",
    "compare_lock",
    "lock_differences",
    "lock_digest",
    "lock_document",
    "lock_doubts",
    "lock_entry",
    "lock_requirements",
    "plugins_as_locked",
    "plugins_from_lock",
    "read_lock",
]

Entry = dict[str, Any]

FORM = 1
"""The version of the form in which a lock is written to a file."""


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


def lock_document(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a lock as the document that is written to a file.

    Parameters
    ----------
    entries : sequence of mapping
        ``result.provenance["plugins"]``, or the same from a run's folder.

    Returns
    -------
    dict
        ``lock``, the version of this form; ``contract``, the version of the hook contract; ``digest``, which is the
        same wherever distributions, order, settings and files are the same; ``plugins``, the entries.

    Examples
    --------
    >>> sorted(lock_document([]))
    ['contract', 'digest', 'lock', 'plugins']
    """
    return {
        "lock": FORM,
        "contract": CONTRACT,
        "digest": lock_digest(entries),
        "plugins": [dict(entry) for entry in entries],
    }


def lock_digest(entries: Iterable[Mapping[str, Any]]) -> str:
    """Return a digest of what a lock names, without who asked for it and where it is installed."""
    import hashlib
    import json

    named = [
        {
            **{key: entry.get(key) for key in ("name", "distribution", "version", "entry_point", "settings")},
            # The record of an editable installation names the folder in which it is.
            "digests": {} if entry.get("editable") else entry.get("digests", {}),
        }
        for entry in _sorted(entries)
    ]
    text = json.dumps(named, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return f"sha256={hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class LockDifference:
    """Something in which the plugins of a lock are not what they were.

    Attributes
    ----------
    plugin : str
        The plugin's name; of another order, the first that is in another place.
    kind : {"version", "missing", "extra", "order", "settings", "files", "entry_point", "editable", "unknown"}
    recorded, now : object
        What the lock says, and what is there.
    text : str
        The same as a sentence.
    """

    plugin: str
    kind: str
    recorded: Any
    now: Any
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that any JSON writer takes."""
        return asdict(self)

    def __str__(self) -> str:
        return self.text


def lock_differences(
    lock: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]] | None = None
) -> list[LockDifference]:
    """Return what differs between a lock and another one, or what is installed.

    Parameters
    ----------
    lock : iterable of mapping
        What was recorded.
    now : iterable of mapping, optional
        The other lock. By default what is installed, which has neither an order nor settings.

    Returns
    -------
    list of LockDifference
        Empty where everything that can be compared is the same; `lock_doubts` names what cannot be.
    """
    if now is None:
        return [each for entry in lock if entry.get("distribution") for each in _between(entry, _installed(entry))]
    recorded, found = _by_name(lock), _by_name(now)
    differences: list[LockDifference] = []
    for key, entry in recorded.items():
        differences += _between(entry, found.get(key))
    for key, entry in found.items():
        if key not in recorded:
            text = f"plugin {entry['name']!r}: {_origin(entry)} was not there"
            differences.append(LockDifference(entry["name"], "extra", None, _origin(entry), text))
    orders = [[key[0] for key in each if key in recorded and key in found] for each in (recorded, found)]
    if orders[0] != orders[1]:
        moved = next(name for name, other in zip(*orders, strict=True) if name != other)
        text = f"the order of calls was {', '.join(orders[0])}, and is {', '.join(orders[1])}"
        differences.append(LockDifference(moved, "order", orders[0], orders[1], text))
    return differences


def lock_doubts(lock: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return sentences on what a lock does not pin: editable installations, and plugins of no distribution."""
    return [str(doubt) for doubt in _doubts(lock)]


def _doubts(lock: Iterable[Mapping[str, Any]]) -> Iterator[LockDifference]:
    for entry in lock:
        name, distribution = entry["name"], entry.get("distribution")
        if not distribution:
            text = f"plugin {name!r} came from no distribution ({entry.get('class')}), and cannot be compared"
        elif entry.get("editable"):
            text = f"plugin {name!r}: {distribution} is installed editable, so that its code cannot be compared"
        else:
            continue
        yield LockDifference(name, "unknown", entry.get("class"), None, text)


@overload
def compare_lock(lock: Sequence[Mapping[str, Any]], *, detail: Literal[False] = False) -> list[str]: ...
@overload
def compare_lock(lock: Sequence[Mapping[str, Any]], *, detail: Literal[True]) -> list[LockDifference]: ...
def compare_lock(lock: Sequence[Mapping[str, Any]], *, detail: bool = False) -> list[str] | list[LockDifference]:
    """Say how what is installed now differs from what a lock names.

    Parameters
    ----------
    lock : sequence of mapping
        ``result.provenance["plugins"]``, or the same from a run's folder.
    detail : bool, default False
        Whether to give records instead of sentences.

    Returns
    -------
    list of str, or list of LockDifference
        One a difference; empty where everything is the same. A plugin that was installed editable cannot be told apart
        by its version, and one that came from no distribution cannot be found: both are said. A record has ``kind``
        (``"missing"``, ``"version"``, ``"files"``, ``"entry_point"``, or ``"unknown"`` where it cannot be compared),
        ``plugin`` and ``text``.

    Examples
    --------
    >>> lock = [{"name": "csv", "distribution": "acme-csv", "version": "1.2", "class": "acme_csv:Csv"}]
    >>> [difference.kind for difference in compare_lock(lock, detail=True)]
    ['missing']
    """
    # Installed otherwise than it was, it cannot be compared either.
    found = [replace(each, kind="unknown") if each.kind == "editable" else each for each in lock_differences(lock)]
    found += _doubts(lock)
    return found if detail else [str(each) for each in found]


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
    for entry in _sorted(lock):
        name = entry["name"]
        if name in given:
            plugins.append(build_plugin(given[name]))
            continue
        _check_same(entry)
        why = _why_indescribable(entry)
        if why:
            raise _cannot_be_built(entry, f"{why}. Give it: instead={{{name!r}: ...}}")
        plugins.append(build_plugin((name, entry["settings"]) if entry["settings"] else name))
    return plugins


def plugins_as_locked(lock: Sequence[Mapping[str, Any]], plugins: Sequence[object]) -> list[Any]:
    """Build exactly the plugins that a lock names, with an experiment's own where a lock cannot describe one.

    Parameters
    ----------
    lock : sequence of mapping
        As for `compare_lock`.
    plugins : sequence of object
        The experiment's own, as instances.

    Returns
    -------
    list
        Instances, in the order of the lock.

    Raises
    ------
    MissingDistributionError, PluginConflictError, PluginDefinitionError
        As `plugins_from_lock`; and where an own plugin is not the one that the lock names.
    """
    from crystallize.plugins.manager import ActivePlugins

    own = {info.name: info.plugin for info in ActivePlugins.resolve(plugins, complete=False).infos}
    instead = {}
    for entry in lock:
        name, why = entry["name"], _why_indescribable(entry)
        if why and name not in own:
            raise _cannot_be_built(entry, f"{why}. Give the experiment itself a plugin of that name")
        if why:
            instead[name] = own[name]
    built = plugins_from_lock(lock, instead=instead)
    differences = [
        each for each in lock_differences(lock, ActivePlugins.resolve(built).lock()) if each.kind != "editable"
    ]
    if differences:
        raise PluginConflictError(
            f"what the lock names cannot be had: {'; '.join(map(str, differences))}. Install or declare what the lock "
            "names, or write a new lock: crystallize plugins lock RUN",
            plugin=differences[0].plugin,
        )
    return built


def _why_indescribable(entry: Mapping[str, Any]) -> str:
    """Say why only code can give a plugin; empty where the lock can."""
    if entry.get("opaque"):
        return f"its settings {', '.join(map(repr, entry['opaque']))} are not plain values"
    return "" if entry.get("entry_point") else f"{entry.get('class')} has no entry point"


def _cannot_be_built(entry: Mapping[str, Any], why: str) -> PluginDefinitionError:
    return PluginDefinitionError(
        f"plugin {entry['name']!r} cannot be built from the lock: {why}",
        plugin=entry["name"],
        distribution=entry.get("distribution"),
        version=entry.get("version"),
    )


def read_lock(text: str, source: str) -> list[Entry]:
    """Return the entries of a lock that was written to a file.

    Parameters
    ----------
    text : str
        What `lock_document` gave, as JSON.
    source : str
        What the message calls the file.

    Raises
    ------
    ConfigurationError
        It is no lock, or has a form that this version does not know.
    """
    import json

    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{source} is no plugin lock, since it is no JSON: {error}. {_WRITE_ONE}") from None
    if not isinstance(document, dict) or "lock" not in document:
        raise ConfigurationError(f"{source} is no plugin lock: it has no key 'lock'. {_WRITE_ONE}")
    if document["lock"] != FORM:
        raise ConfigurationError(
            f"{source} has the form {document['lock']!r}, and this version reads {FORM}. {_WRITE_ONE}"
        )
    entries = document.get("plugins")
    if not isinstance(entries, list) or not all(isinstance(each, dict) and each.keys() >= _NEEDED for each in entries):
        raise ConfigurationError(
            f"{source} is no plugin lock: 'plugins' has to be a list of objects with {', '.join(sorted(_NEEDED))}. "
            f"{_WRITE_ONE}"
        )
    return entries


_NEEDED = frozenset({"name", "distribution", "version", "entry_point", "class", "settings"})
_WRITE_ONE = "Write one with `crystallize plugins lock RUN`"


def _check_same(entry: Mapping[str, Any]) -> None:
    differences = [each for each in lock_differences([entry]) if each.kind != "editable"]
    if differences:
        missing = any(each.kind == "missing" for each in differences)
        kind = MissingDistributionError if missing else PluginConflictError
        raise kind(
            f"{'; '.join(map(str, differences))}. Install what the lock names: pip install "
            f"{lock_requirements([entry])[0]}",
            plugin=entry["name"],
            distribution=entry["distribution"],
            version=entry["version"],
        )


def _sorted(lock: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(lock, key=lambda entry: entry.get("order", 0))


def _by_name(lock: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Return entries by name, and by number where several instances have one name."""
    found: dict[tuple[str, int], Mapping[str, Any]] = {}
    for entry in _sorted(lock):
        number = sum(name == entry["name"] for name, _ in found)
        found[entry["name"], number] = entry
    return found


def _installed(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an entry with what is installed in place of what it says, or None where its distribution is gone."""
    distribution = entry["distribution"]
    version = _installed_version(distribution)
    if version is None:
        return None
    entry_point = entry.get("entry_point")
    digests, editable = _recorded(distribution, (entry_point or entry["class"]).partition(":")[0])
    if entry_point is not None:
        entry_point = _entry_point(distribution, entry["name"])
    return {**entry, "version": version, "entry_point": entry_point, "digests": digests, "editable": editable}


def _between(entry: Mapping[str, Any], now: Mapping[str, Any] | None) -> Iterator[LockDifference]:
    name = entry["name"]
    if now is None:
        text = f"plugin {name!r}: {_origin(entry)} is not {'installed' if entry.get('distribution') else 'there'}"
        yield LockDifference(name, "missing", _origin(entry), None, text)
        return
    same_distribution = normalized(entry.get("distribution") or "") == normalized(now.get("distribution") or "")
    if not same_distribution:
        text = f"plugin {name!r} came from {_origin(entry)}, and comes from {_origin(now)}"
        yield LockDifference(name, "version", _origin(entry), _origin(now), text)
    elif entry.get("version") != now.get("version"):
        text = f"plugin {name!r}: {entry['distribution']} was {entry['version']}, and {now['version']} is installed"
        yield LockDifference(name, "version", entry["version"], now["version"], text)
    if entry.get("entry_point") != now.get("entry_point"):
        values = entry.get("entry_point"), now.get("entry_point")
        text = f"plugin {name!r} of {entry.get('distribution')} led to {values[0]}, and leads to {values[1]}"
        yield LockDifference(name, "entry_point", *values, text)
    yield from _settings(name, entry.get("settings") or {}, now.get("settings") or {})
    if bool(entry.get("editable")) != bool(now.get("editable")):
        was = "editable" if entry.get("editable") else "as a copy"
        text = f"plugin {name!r}: {entry['distribution']} was installed {was}, and now is not"
        yield LockDifference(name, "editable", bool(entry.get("editable")), bool(now.get("editable")), text)
    elif not entry.get("editable") and same_distribution and entry.get("version") == now.get("version"):
        yield from _files(entry, now)


def _settings(name: str, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[LockDifference]:
    absent = object()
    differing = [key for key in dict.fromkeys((*recorded, *now)) if recorded.get(key, absent) != now.get(key, absent)]
    if differing:
        before, after = ({key: each[key] for key in differing if key in each} for each in (recorded, now))
        shown = "; ".join(
            f"{key} was {recorded.get(key, 'not given')!r}, and is {now.get(key, 'not given')!r}" for key in differing
        )
        yield LockDifference(name, "settings", before, after, f"plugin {name!r}: {shown}")


def _files(entry: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[LockDifference]:
    recorded, found = entry.get("digests"), now.get("digests") or {}
    if recorded is None or recorded == found:
        return
    differing = sorted(file for file in {*recorded, *found} if recorded.get(file) != found.get(file))
    before, after = ({file: each.get(file) for file in differing} for each in (recorded, found))
    named = ", ".join(file for file in differing if file != "*") or "outside its module"
    text = f"plugin {entry['name']!r}: files of {_origin(entry)} differ: {named}"
    yield LockDifference(entry["name"], "files", before, after, text)


def _origin(entry: Mapping[str, Any]) -> str:
    return f"{entry['distribution']} {entry['version']}" if entry.get("distribution") else str(entry.get("class"))


def _installed_version(distribution: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _entry_point(distribution: str, name: str) -> str | None:
    from crystallize.discovery.loading import find_plugins

    wanted = normalized(distribution)
    return next((r.value for r in find_plugins() if r.name == name and normalized(r.distribution) == wanted), None)


class VersionCheck:
    """The versions of distributions, which are compared with those of the process that unpickles this.

    Parameters
    ----------
    needed : iterable of tuple
        Plugin, distribution and version.
    """

    def __init__(self, needed: Iterable[tuple[str, str, str]]) -> None:
        self.needed = tuple(needed)

    @classmethod
    def of(cls, infos: Iterable[PluginInfo]) -> VersionCheck:
        """Return the check for plugins: those that came from a distribution."""
        return cls((info.name, info.distribution, info.version) for info in infos if info.distribution and info.version)

    def __reduce__(self) -> tuple[Any, ...]:
        return checked_versions, (self.needed,)


def checked_versions(needed: Iterable[tuple[str, str, str]]) -> VersionCheck:
    """Return the check again, in a process that has the same versions.

    Raises
    ------
    WorkerStartError
        A distribution is missing, or is there in another version.
    """
    needed = tuple(needed)
    versions = {distribution: _installed_version(distribution) for distribution in {each[1] for each in needed}}
    differing = [
        f"plugin {plugin!r}: the run has {distribution} {version}, and this worker has "
        + (f"{distribution} {versions[distribution]}" if versions[distribution] else f"no {distribution}")
        for plugin, distribution, version in needed
        if versions[distribution] != version
    ]
    if differing:
        wanted = sorted({f"{distribution}=={version}" for _, distribution, version in needed})
        raise WorkerStartError(
            f"{'; '.join(differing)}. Install in the worker's environment what the run has: "
            f"pip install {' '.join(wanted)}"
        )
    return VersionCheck(needed)


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
        if not digest or ".dist-info/" in file or file.startswith(("..", "/")):
            continue  # What the installer writes there, and scripts with its path, differ from machine to machine.
        everything.update(line.encode())
        if file.startswith((f"{path}/", f"{path}.")):
            digests[file.strip('"')] = digest
    direct_url = json.loads(found.read_text("direct_url.json") or "{}")
    editable = bool(direct_url.get("dir_info", {}).get("editable"))
    return ({**digests, "*": f"sha256={everything.hexdigest()}"} if digests else {}), editable
