"""Where things lie: ``<root>/<experiment>/v<N>/``, and inside it names that cannot leave the folder or collide.

| path in a run's folder | what it is |
| --- | --- |
| ``run.db`` | the database; everything else can be made from it, the artifacts excepted |
| ``run.json`` | the run in short, for people and scripts |
| ``<condition>/results.json`` | the metrics of a condition; no other file has this name |
| ``replicate_<r>/<condition>/<Step>/<file>`` | what a step wrote |
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from crystallize.hooks.tools import folder_name
from crystallize_plugins.artifacts import operations

if TYPE_CHECKING:
    from crystallize.hooks import Cell

__all__ = [
    "DATABASE",
    "LOCK",
    "RESULTS",
    "RUN",
    "Version",
    "artifact_location",
    "condition_folder",
    "experiment_folder",
    "is_artifact_folder",
    "is_temporary",
    "is_version",
    "replicate_folder",
    "take_version",
    "temporary_name",
    "versions",
]

DATABASE = "run.db"
RUN = "run.json"
RESULTS = "results.json"
LOCK = "run.db-lock" if os.name == "nt" else ""
"""What its owner locks in a run's folder; nothing where the system can lock the folder itself."""

_TEMPORARY = "%part-"
_numbers = count()
_ARTIFACTS = re.compile(r"replicate_[0-9]+")
_VERSION = re.compile(r"v(0|[1-9][0-9]*)")
# Conditions lie beside the run's own files and the artifacts; the files of SQLite end in -wal, -shm and -journal.
_TAKEN_BESIDE_RUN = re.compile(r"run\.json|run\.db(-.*)?|results\.json|replicate_[0-9]+", re.IGNORECASE)


class Version(NamedTuple):
    """One run's folder."""

    number: int
    path: Path


def experiment_folder(root: str | os.PathLike[str], experiment: str) -> Path:
    """Give the folder of an experiment's runs, absolute.

    Parameters
    ----------
    root : path
        The folder of all experiments; relative to the current directory, unless it is absolute.
    experiment : str
        The experiment's name.

    Raises
    ------
    ValidationError
        The name could leave the root, or is none that a folder can have.
    """
    return Path(root).absolute() / folder_name(experiment)


def versions(folder: Path) -> list[Version]:
    """Give the runs of an experiment's folder, oldest first; none where there is no such folder."""
    return [Version(number, folder / f"v{number}") for number in sorted(_numbers_in(folder))]


def is_version(path: Path) -> bool:
    """Say whether a folder has the name of a run's."""
    return _VERSION.fullmatch(path.name) is not None


def take_version(folder: Path, *, first: int = 0) -> Version:
    """Make the folder of the next run, which is nobody else's.

    Parameters
    ----------
    folder : Path
        The experiment's folder; made where it is missing.
    first : int, default 0
        The lowest number that may be taken.

    Raises
    ------
    OSError
        No folder can be made there.
    """
    _make_with_parents(folder)
    number = max(first - 1, *_numbers_in(folder), -1) + 1
    while True:
        path = folder / f"v{number}"
        try:
            # Exclusive: of several processes that try, one succeeds.
            operations.make_folder(path)
        except FileExistsError:
            number += 1
        else:
            return Version(number, path)


@lru_cache(maxsize=4096)
def condition_folder(condition: str) -> str:
    """Give the folder name of a condition, which no file of the run has.

    Examples
    --------
    >>> condition_folder("baseline"), condition_folder("run.json")
    ('baseline', '%72un.json')
    """
    name = folder_name(condition)
    return _encode_first(name) if _TAKEN_BESIDE_RUN.fullmatch(name) else name


def is_artifact_folder(name: str) -> bool:
    """Say whether a folder of a run has the name of those that artifacts lie in."""
    return _ARTIFACTS.fullmatch(name) is not None


def replicate_folder(replicate: int) -> str:
    """Give the folder name of a replicate's artifacts."""
    return f"replicate_{replicate}"


def artifact_location(cell: Cell, step: str, name: str) -> str:
    """Give the path of an artifact inside its run's folder, with slashes.

    Parameters
    ----------
    cell : Cell
    step : str
        Name of the step's folder.
    name : str
        Name of the file; ``results.json`` is stored as ``%72esults.json``, since that name is the conditions' own.

    Examples
    --------
    >>> from crystallize.hooks import Cell
    >>> artifact_location(Cell("baseline", 3), "FitStep", "model.bin")
    'replicate_3/baseline/FitStep/model.bin'
    """
    parts = (replicate_folder(cell.replicate), condition_folder(cell.condition), _component(step), _component(name))
    return "/".join(parts)


def temporary_name() -> str:
    """Give a new file name that nothing stored can have: ``%`` begins an encoded character, and this is none."""
    return f"{_TEMPORARY}{os.getpid()}-{next(_numbers)}"


def is_temporary(name: str) -> bool:
    """Say whether a file was left behind by a process that was killed while it wrote it."""
    return name.startswith(_TEMPORARY)


@lru_cache(maxsize=4096)
def _component(name: str) -> str:
    safe = folder_name(name)
    return _encode_first(safe) if safe.casefold() == RESULTS else safe


def _make_with_parents(folder: Path) -> None:
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for place in reversed(missing):
        # Another process may be making it too.
        with suppress(FileExistsError):
            operations.make_folder(place)


def _numbers_in(folder: Path) -> list[int]:
    try:
        with os.scandir(folder) as entries:
            return [int(match[1]) for entry in entries if (match := _VERSION.fullmatch(entry.name)) and _is_dir(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _encode_first(name: str) -> str:
    return f"%{ord(name[0]):02X}{name[1:]}"
