"""Finding folder experiments below a folder, and by their names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.shell_completion import CompletionItem

__all__ = ["CONFIG", "ExperimentPath", "check_path", "find_experiment", "find_folders"]

CONFIG = "config.yaml"

RUN_DATABASE = "run.db"
"""What makes a folder that of a stored run, from which no code is loaded."""

_NEVER = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages"})
# What tells an experiment from other folders that have a file of this name.
_MODULES = frozenset({"datasources.py", "steps.py"})


def find_folders(top: Path) -> Iterator[Path]:
    """Return the folders of experiments at and below a folder, in the order of their names.

    Parameters
    ----------
    top : Path
        Hidden folders below it, and those that tools make, are passed over; folders of an experiment, and of stored
        runs, are not looked into.

    Examples
    --------
    >>> from pathlib import Path
    >>> list(find_folders(Path("nowhere")))
    []
    """
    folders, files = [], set()
    try:
        with os.scandir(top) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                else:
                    files.add(entry.name)
    except OSError:
        return  # gone, or not ours to read
    if RUN_DATABASE in files:
        return  # what lies there, a run has brought along
    if CONFIG in files and not _MODULES.isdisjoint(files):
        yield top
        return
    for name in sorted(folders):
        if not name.startswith(".") and name not in _NEVER:
            yield from find_folders(top / name)


def find_experiment(path: Path) -> Path:
    """Return the path that is meant: itself where it exists, else the folder experiment of that name.

    Parameters
    ----------
    path : Path
        A path, or a name that ``crystallize list`` shows in the current folder.

    Raises
    ------
    Failure
        There is neither, or several experiments have that name.
    """
    if path.exists():
        check_path(path)
        return path
    name = str(path)
    known = _names()
    found = known.get(name, [])
    if len(found) > 1:
        folders = ", ".join(map(str, found))
        raise Failure(f"several experiments have the name {name!r}: give the folder of one of them: {folders}")
    if not found:
        from crystallize.hooks.tools import did_you_mean

        raise Failure(
            f"there is no file or folder {name}, and no experiment of that name.{did_you_mean(name, known)} "
            "`crystallize list` shows what is there",
            ExitCode.NOTHING,
        )
    return found[0]


def check_path(path: Path) -> None:
    """Refuse a path in a stored run: code that lies there came with it, from whoever sent it.

    Raises
    ------
    Failure
    """
    place = path.resolve()
    run = next((above for above in (place, *place.parents) if (above / RUN_DATABASE).is_file()), None)
    if run is not None:
        raise Failure(
            f"{path} lies in a stored run, {run}, and code from there is not loaded: give the Python file, or the "
            "folder with a config.yaml, that defines the experiment"
        )


class ExperimentPath(click.Path):
    """An argument that names an experiment: a path, or a name, which shells complete as well."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin like this, after what makes the shell complete paths."""
        from click.shell_completion import CompletionItem

        names = [name for name in _names() if name.startswith(incomplete)]
        return [*super().shell_complete(ctx, param, incomplete), *map(CompletionItem, names)]


def _names() -> dict[str, list[Path]]:
    """Return the folder experiments below the current folder by name, as ``crystallize list`` shows them."""
    from crystallize.errors import CrystallizeError
    from crystallize_plugins.config import read_description

    known: dict[str, list[Path]] = {}
    for folder in find_folders(Path()):
        try:
            name = read_description(folder).name
        except CrystallizeError:
            name = folder.name  # what is wrong with it is said where it is loaded
        known.setdefault(name, []).append(folder)
    return known
