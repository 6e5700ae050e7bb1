"""Finding stored runs and opening them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crystallize.errors import StoreError
from crystallize_plugins.artifacts.layout import experiment_folder, is_version, versions
from crystallize_plugins.artifacts.stored import StoredRun

if TYPE_CHECKING:
    import os

    from crystallize import Result

__all__ = ["list_runs", "newest_run", "open_run"]


def open_run(path: str | os.PathLike[str]) -> Result:
    """Open a stored run as the result that it gave.

    Nothing is unpickled, imported or written, so that a folder from anywhere can be opened.

    Parameters
    ----------
    path : path
        The run's folder, ``<root>/<experiment>/v<N>``.

    Returns
    -------
    Result
        Equal to what `Experiment.run` gave; of a run that was cut short, what had been committed. Errors other than
        those of cells are of the class `StoredError`. ``provenance["run"]`` says where the run lies now.

    Raises
    ------
    StoreError
        There is no run, or it is damaged.

    Examples
    --------
    >>> result = open_run("data/quickstart/v0")  # doctest: +SKIP
    >>> result.metrics.baseline.metrics["accuracy"]  # doctest: +SKIP
    [0.95, 0.94]
    """
    folder = Path(path)
    if not is_version(folder) and versions(folder):
        raise StoreError(
            f"{folder} holds several runs: give the folder of one, such as {versions(folder)[-1].path}, "
            "or look at all of them with list_runs()"
        )
    return StoredRun(folder).result()


def list_runs(root: str | os.PathLike[str] = "data", experiment: str | None = None) -> list[StoredRun]:
    """Give the runs stored below a folder.

    Parameters
    ----------
    root : path, default "data"
        The folder that ``ArtifactPlugin(root_dir=...)`` was given.
    experiment : str, optional
        The name of an experiment; by default all are listed.

    Returns
    -------
    list of StoredRun
        Experiments in the order of their folders' names, the runs of each with the oldest first.

    Raises
    ------
    StoreError
        A run cannot be read.

    Examples
    --------
    >>> list_runs("nowhere")
    []
    """
    if experiment is not None:
        folders = [experiment_folder(root, experiment)]
    else:
        top = Path(root)
        folders = sorted(folder for folder in top.iterdir() if folder.is_dir()) if top.is_dir() else []
    return [StoredRun(version.path) for folder in folders for version in versions(folder)]


def newest_run(root: str | os.PathLike[str], experiment: str) -> StoredRun | None:
    """Give the newest run of an experiment that is not being written.

    Parameters
    ----------
    root : path
        As for `list_runs`.
    experiment : str
        The experiment's name.

    Returns
    -------
    StoredRun or None
        None where there is none. A run that was cut short counts: who reads what it did not get to is told so. Where
        a single run is kept, an attempt to replace it counts only once it is complete, or where there is nothing else.
    """
    left_over = None
    for version in reversed(versions(experiment_folder(root, experiment))):
        run = StoredRun(version.path)
        status = run.status
        # Without an identifier it was killed, or is, at its very first moment.
        if run.id and status != "running":
            if run.versioned or version.number == 0 or status == "complete":
                return run
            left_over = left_over or run
    return left_over
