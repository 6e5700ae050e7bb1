"""Which stored run is meant: a folder, an experiment's newest run, or one by its number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from crystallize_cli.exits import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize_plugins.artifacts import StoredRun

__all__ = ["find_run", "root_option", "stored_name"]

F = TypeVar("F", bound="Callable[..., Any]")

_NUMBERED = re.compile(r"(?P<name>.+?)[@/\\]v?(?P<number>[0-9]+)[/\\]?")


def root_option(command: F) -> F:
    """Return a command ``--root``, the folder of all experiments."""
    option = click.option(
        "--root",
        type=click.Path(path_type=Path),
        default=Path("data"),
        show_default=True,
        help="The folder in which runs are stored.",
    )
    return option(command)


def find_run(reference: str, root: Path) -> StoredRun:
    """Open the run that is meant.

    Parameters
    ----------
    reference : str
        A run's folder; an experiment's folder or name, for its newest run; or ``name@v3``, ``name@3`` or ``name/v3``.
    root : Path
        Where names are looked up.

    Returns
    -------
    StoredRun
        It may be damaged or still be running; what is asked of it then says so.

    Raises
    ------
    Failure
        There is no such run.
    """
    from crystallize.errors import StoreError, ValidationError
    from crystallize_plugins.artifacts import StoredRun
    from crystallize_plugins.artifacts.files import layout

    given = Path(reference)
    if given.is_dir():
        folder = _run_in(given)
        if folder is not None:
            return StoredRun(folder)
    named = _NUMBERED.fullmatch(reference)
    name, number = (named["name"], int(named["number"])) if named else (reference, None)
    try:
        stored = layout.versions(layout.experiment_folder(root, name))
    except ValidationError as error:
        raise Failure(f"{reference} is neither a run's folder nor an experiment's name: {error}") from error
    if not stored:
        raise Failure(f"no run of {name!r} is stored in {root}{_nearest(name, root)}", ExitCode.NOTHING)
    version = stored[-1] if number is None else next((one for one in stored if one.number == number), None)
    if version is None:
        known = ", ".join(f"v{one.number}" for one in stored[-10:])
        raise Failure(f"{name!r} has no run v{number} in {root}: the newest are {known}", ExitCode.NOTHING)
    try:
        return StoredRun(version.path)
    except StoreError as error:
        raise Failure(str(error), ExitCode.NOTHING) from error


def stored_name(run: StoredRun) -> str:
    """Return the reference by which people find a run again: ``name@v3``."""
    return f"{run.experiment or run.path.parent.name}@v{run.version}" if run.version >= 0 else str(run.path)


def _run_in(folder: Path) -> Path | None:
    """Return the run that a folder is, or the newest that it holds."""
    from crystallize_plugins.artifacts.files import layout

    if any((folder / file).exists() for file in (layout.DATABASE, layout.RUN)):
        return folder
    stored = layout.versions(folder)
    return stored[-1].path if stored else None


def _nearest(name: str, root: Path) -> str:
    from crystallize.hooks.tools import did_you_mean

    if not root.is_dir():
        return ": there is no such folder. --root says where runs are stored"
    known = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
    return f".{did_you_mean(name, known)} `crystallize runs` lists what is there"
