"""Which plugins are installed, by their distributions' metadata alone: nothing is imported.

One scan per process, at the first question. The standard library reads the metadata, in half the time that the
backport takes; the backport is used for `distribution_of` only, where Python 3.10 misses most modern wheels.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from importlib.metadata import Distribution

__all__ = [
    "GROUPS",
    "OFFICIAL",
    "PLUGINS",
    "RESERVED",
    "PluginRecord",
    "Scan",
    "distribution_of",
    "judged",
    "normalized",
    "rescan",
    "scan",
    "scanning",
]

PLUGINS = "crystallize.plugins"
GROUPS = (
    PLUGINS,
    "crystallize.verifiers",
    "crystallize.optimizers",
    "crystallize.seeders",
    "crystallize.configs",
    "crystallize.reports",
    "crystallize.commands",
)
OFFICIAL = "crystallize-plugins"
RESERVED = ("artifacts", "seed", "logging")
"""Names that only `OFFICIAL` may give to a plugin, in the order in which missing defaults are added."""

_LINE = re.compile(
    r"(?P<name>[^=]+?)\s*=\s*(?P<module>[\w.]+)\s*(?::\s*(?P<attribute>[\w.]+))?\s*(\[(?P<extras>.*)\])?"
)


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """One entry point, as its distribution's metadata declares it.

    Attributes
    ----------
    group, name : str
        ``"crystallize.plugins"``, and the name by which people ask for it.
    value : str
        Where it leads, ``"package.module:Class"``.
    distribution, version : str
        What declares it.
    module, attribute : str
        The parts of `value`; empty where it cannot be read.
    extras : tuple of str
        Extras of its distribution that the entry point says it needs.
    problem : str or None
        Why it cannot be used, as far as metadata tells.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str
    module: str = ""
    attribute: str = ""
    extras: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def is_official(self) -> bool:
        """Whether crystallize-plugins declares it."""
        return normalized(self.distribution) == OFFICIAL

    @property
    def origin(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Scan:
    """Everything that one scan found: records by group, sorted, and metadata that could not be read.

    `memory` is for what others find out about installed distributions: it holds as long as the scan does.
    """

    records: Mapping[str, tuple[PluginRecord, ...]]
    problems: tuple[str, ...] = ()
    memory: dict[tuple[str | None, ...], Any] = field(default_factory=dict)


_lock = threading.Lock()
_found: Scan | None = None
_look: Callable[[], Scan] | None = None
"""What takes the place of `_scan`, where something does."""


def scan() -> Scan:
    """Give what is installed; the first call in a process looks, later ones remember."""
    global _found  # noqa: PLW0603 - one scan per process is the promise
    if _found is None:
        with _lock:
            if _found is None:
                _found = (_look or _scan)()
    return _found


def rescan() -> Scan:
    """Look again: something was installed, or the import path changed, since this process looked."""
    global _found  # noqa: PLW0603 - as above
    import importlib

    importlib.invalidate_caches()
    with _lock:
        _found = (_look or _scan)()
    return _found


@contextmanager
def scanning(look: Callable[[], Scan]) -> Iterator[None]:
    """Have `look` say what is installed, within the block; for tests."""
    global _look, _found
    before = _look, _found
    _look, _found = look, None
    try:
        yield
    finally:
        _look, _found = before


def normalized(name: str) -> str:
    """Give a distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def distribution_of(cls: type) -> tuple[str, str] | None:
    """Give name and version of the distribution that a class was installed with, or None.

    Parameters
    ----------
    cls : type
        A class without an entry point of its own.
    """
    package = cls.__module__.partition(".")[0]
    memory = scan().memory
    if (package,) not in memory:
        memory[package,] = _owner(package)
    owner: tuple[str, str] | None = memory[package,]
    return owner


def _scan() -> Scan:
    """Look at every distribution once; of one name, the first on the path counts."""
    from importlib import metadata

    records: list[PluginRecord] = []
    problems: list[str] = []
    seen: set[str] = set()
    for distribution in metadata.distributions():
        try:
            name = _name_of(distribution)
            if name in seen:
                continue
            seen.add(name)
            text = distribution.read_text("entry_points.txt")
            if text and "crystallize." in text:
                described = distribution.metadata
                normalized(described["Name"])  # raises where there is none
                records.extend(_parse(text, str(described["Name"]), str(described["Version"])))
        except Exception as exc:  # noqa: BLE001 - a stranger's broken metadata must not hide everybody's plugins
            problems.append(f"metadata of {_place(distribution)} cannot be read: {type(exc).__name__}: {exc}")
    by_group = {
        group: tuple(judged(sorted((r for r in records if r.group == group), key=lambda r: (r.name, r.distribution))))
        for group in GROUPS
    }
    return Scan(by_group, tuple(sorted(problems)))


def _name_of(distribution: Distribution) -> str:
    """Return a distribution's normalized name: that of its folder, since reading all metadata would take long."""
    folder = os.path.basename(_place(distribution))  # noqa: PTH119 - of text, a tenth of the time
    if folder.endswith((".dist-info", ".egg-info")):
        return normalized(folder.rpartition(".")[0].partition("-")[0])
    return normalized(distribution.metadata["Name"])


def _place(distribution: Distribution) -> str:
    return str(getattr(distribution, "_path", None) or distribution.locate_file(""))


def _parse(text: str, distribution: str, version: str) -> Iterator[PluginRecord]:
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[] ")
        elif line and not line.startswith(("#", ";")) and group in GROUPS:
            match = _LINE.fullmatch(line)
            name, _, value = (part.strip() for part in line.partition("="))
            if match is None or not match["attribute"]:
                problem = f"its entry point {line!r} cannot be read: 'name = package.module:Class' is expected"
                yield PluginRecord(group, name, value, distribution, version, problem=problem)
            else:
                extras = tuple(part.strip() for part in (match["extras"] or "").split(",") if part.strip())
                yield PluginRecord(
                    group, name, value, distribution, version, match["module"], match["attribute"], extras
                )


def judged(records: Iterable[PluginRecord]) -> Iterator[PluginRecord]:
    """Mark names that are taken twice, and reserved ones in the wrong hands."""
    records = list(records)
    for record in records:
        same = [other for other in records if other.name == record.name]
        if record.group == PLUGINS and record.name in RESERVED:
            official = normalized(record.distribution) == OFFICIAL
            problem = None if official else f"the name {record.name!r} is reserved to {OFFICIAL}"
        elif len(same) > 1:
            problem = f"{' and '.join(other.origin for other in same)} both call a plugin {record.name!r}"
        else:
            problem = None
        yield replace(record, problem=record.problem or problem)


def _owner(package: str) -> tuple[str, str] | None:
    module = sys.modules.get(package)
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    root = Path(file).parent.parent if Path(file).stem == "__init__" else Path(file).parent
    try:
        if not any(entry.suffix in {".dist-info", ".egg-info"} for entry in root.iterdir()):
            return None  # A script or a checkout; asking every distribution for its files would take long.
    except OSError:
        return None
    from importlib_metadata import packages_distributions, version

    names = set(packages_distributions().get(package, ()))
    if len(names) != 1:
        return None  # Several distributions put modules into this package: any answer would be a guess.
    name = names.pop()
    return name, version(name)
