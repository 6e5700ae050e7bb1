"""A run as something that can be compared: from its folder, from a `StoredRun`, or from a result in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize import Result
from crystallize.errors import ArgumentTypeError, StoreError
from crystallize_plugins.artifacts import StoredRun
from crystallize_plugins.artifacts.database.connection import making_sense
from crystallize_plugins.artifacts.files.layout import is_version, versions
from crystallize_plugins.artifacts.recorded import recorded_treatments

if TYPE_CHECKING:
    from crystallize_plugins.artifacts.recorded import RecordedTreatment

__all__ = ["ComparedRun", "Run", "compared_run", "stored_run"]

Run = str | os.PathLike[str] | StoredRun | Result


class ComparedRun(NamedTuple):
    """One of the runs of a comparison."""

    name: str
    """What people call it."""
    result: Result
    facts: dict[str, Any]
    treatments: dict[str, RecordedTreatment]
    """Exact values, by treatment; none of a result in memory."""


def compared_run(run: Run) -> ComparedRun:
    """Make a run comparable; nothing of it is unpickled or imported.

    Parameters
    ----------
    run : path, StoredRun or Result

    Raises
    ------
    ArgumentTypeError
        It is none of these.
    StoreError
        There is no run, or it is damaged.
    """
    if isinstance(run, Result):
        about = run.facts.get("run", {})
        version = about.get("version")
        name = about.get("experiment") or "a result"
        return ComparedRun(name if version is None else f"{name}@v{version}", run, run.facts, {})
    stored = stored_run(run)
    result = stored.result()
    name = stored.experiment or stored.path.parent.name
    shown = f"{name}@v{stored.version}" if stored.version >= 0 else str(stored.path)
    with making_sense(stored.path):
        return ComparedRun(shown, result, result.facts, recorded_treatments(stored._documents))


def stored_run(run: Any) -> StoredRun:
    """Open a stored run, unless it is open.

    Parameters
    ----------
    run : path or StoredRun

    Raises
    ------
    ArgumentTypeError
        It is neither.
    StoreError
        There is no run.
    """
    if isinstance(run, StoredRun):
        return run
    try:
        folder = Path(run)
    except TypeError:
        raise ArgumentTypeError(
            f"a run is given as the path of its folder, as a StoredRun or as a Result, not as {type(run).__name__}"
        ) from None
    if not is_version(folder) and versions(folder):
        raise StoreError(f"{folder} holds several runs: give the folder of one, such as {versions(folder)[-1].path}")
    return StoredRun(folder)
