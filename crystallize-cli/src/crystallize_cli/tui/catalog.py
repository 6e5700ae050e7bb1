"""The experiments below a folder, and the runs that are stored of them; no code of theirs is run."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize_cli.folders import CONFIG, find_folders

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize_plugins.config import Description

__all__ = ["ROOT", "Entry", "ago", "find_entries", "newest_runs", "run_name", "stored_runs"]

ROOT = Path("data")
"""Where runs are stored, below the folder that is open."""
_NO_GROUP = "Experiments"


@dataclass(frozen=True, slots=True)
class Entry:
    """One experiment of the list.

    Attributes
    ----------
    folder : Path
    description : Description or None
        What its config.yaml says; None where that cannot be read.
    problem : str
        Why not.
    stamp : tuple of int
        When the files that say so were changed, as the system counts.
    """

    folder: Path
    description: Description | None
    problem: str = ""
    stamp: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The experiment's name; the folder's where the file cannot be read."""
        return self.folder.resolve().name if self.description is None else self.description.name

    @property
    def group(self) -> str:
        """The heading that it is listed under."""
        return (self.description and self.description.cli.group) or _NO_GROUP

    @property
    def config(self) -> Path:
        """Its config.yaml."""
        return self.folder / CONFIG


def find_entries(top: Path, known: Mapping[Path, Entry] | None = None) -> list[Entry]:
    """Return the experiments at and below a folder, in the order in which they are listed.

    Parameters
    ----------
    top : Path
    known : mapping of Path to Entry, optional
        What was read before; a file that has not changed since is not read again.
    """
    entries = [_entry(folder, (known or {}).get(folder)) for folder in find_folders(top)]
    shown = [each for each in entries if each.description is None or not each.description.cli.hidden]
    shown.sort(key=_order)
    return shown


def _order(entry: Entry) -> tuple[bool, str, float, str]:
    priority = 999.0 if entry.description is None else entry.description.cli.priority
    return (entry.group == _NO_GROUP, entry.group, priority, entry.name)


def _entry(folder: Path, before: Entry | None) -> Entry:
    from crystallize.errors import CrystallizeError
    from crystallize_plugins.config import read_description

    stamp = tuple(_changed(file) for file in (folder / CONFIG, *sorted(folder.glob("*.py"))))
    if before is not None and before.stamp == stamp:
        return before
    try:
        return Entry(folder, read_description(folder), stamp=stamp)
    except (CrystallizeError, OSError) as error:
        return Entry(folder, None, str(error), stamp)


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def stored_runs() -> list[dict[str, Any]]:
    """Return what is told of every stored run, the newest first."""
    from crystallize_plugins.runs import described_runs

    return sorted(described_runs(ROOT), key=lambda run: (run["started"] or "", run["version"]), reverse=True)


def newest_runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the newest run of each experiment, from runs with the newest first."""
    found: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        found.setdefault(run["experiment"], run)
    return found


def run_name(run: Mapping[str, Any]) -> str:
    """Return the reference by which people find a run again: ``name@v3``."""
    return f"{run['experiment'] or Path(run['path']).parent.name}@v{run['version']}"


def ago(started: str | None) -> str:
    """Say how long ago something was: ``2 h``."""
    if started is None:
        return ""
    seconds = (dt.datetime.now(dt.timezone.utc) - dt.datetime.fromisoformat(started)).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "now"
