"""The distribution that a folder holds, as its pyproject.toml declares it: it need not be installed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crystallize_cli.exits import Failure
from crystallize_cli.kinds import GROUPS

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.hooks import PluginRecord

__all__ = ["SourceDistribution", "read_distribution"]

_VALUE = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<attribute>[\w.]+)\s*(?:\[(?P<extras>.*)\])?")


@dataclass(frozen=True, slots=True)
class SourceDistribution:
    """A distribution that may not be installed.

    Attributes
    ----------
    records : list of PluginRecord
        Its entry points.
    path : list of Path
        The folders in which its packages are.
    requirements : list of str
    """

    records: list[PluginRecord]
    path: list[Path]
    requirements: list[str]


def read_distribution(folder: Path) -> SourceDistribution:
    """Return the distribution that a folder holds.

    Raises
    ------
    Failure
        There is no pyproject.toml, it cannot be read, or it declares nothing that concerns Crystallize.
    """
    file = folder / "pyproject.toml"
    if not file.is_file():
        raise Failure(f"{folder} holds no distribution: there is no {file.name} in it")
    project = _read_toml(file).get("project", {})
    name, version = str(project.get("name", folder.name)), str(project.get("version", "0"))
    groups = project.get("entry-points", {})
    records = [
        _record(group, each, str(value), name, version)
        for group in GROUPS.values()
        for each, value in groups.get(group, {}).items()
    ]
    if not records:
        raise Failure(
            f'{file} declares no plugin: write [project.entry-points."{GROUPS["plugin"]}"] and a line such as '
            f'name = "package.module:Class"'
        )
    path = [folder / "src"] if (folder / "src").is_dir() else [folder]
    return SourceDistribution(records, [each.resolve() for each in path], list(project.get("dependencies", ())))


def _record(group: str, name: str, value: str, distribution: str, version: str) -> PluginRecord:
    from crystallize.hooks import PluginRecord

    match = _VALUE.fullmatch(value.strip())
    if match is None:
        problem = f"its entry point {value!r} cannot be read: 'package.module:Class' is expected"
        return PluginRecord(group, name, value, distribution, version, problem=problem)
    extras = tuple(part.strip() for part in (match["extras"] or "").split(",") if part.strip())
    return PluginRecord(group, name, value, distribution, version, match["module"], match["attribute"], extras)


def _read_toml(file: Path) -> dict[str, Any]:
    import importlib
    import sys

    # The same library, which the standard library has from 3.11 on.
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        document: dict[str, Any] = toml.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Failure(f"{file} cannot be read: {error}") from error
    return document
