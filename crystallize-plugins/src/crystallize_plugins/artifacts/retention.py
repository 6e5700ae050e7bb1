"""What is removed, and only where it was asked for: old artifacts, and the run that a new one replaces."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from crystallize.errors import DamagedStoreError, StoreError
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.database.owner import identity_of, is_alive
from crystallize_plugins.artifacts.files.inside import check_path, is_folder
from crystallize_plugins.artifacts.files.layout import is_artifact_folder, is_temporary, temporary_name, versions
from crystallize_plugins.artifacts.files.readable import note_files_removed
from crystallize_plugins.artifacts.reading.stored import StoredRun

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["alone", "keep_files_of_newest", "keep_only"]

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


def keep_files_of_newest(folder: Path, count: int, *, kept: Path) -> None:
    """Remove the artifacts of all runs of an experiment but the newest that are over; their metrics stay.

    Parameters
    ----------
    folder : Path
        The experiment's folder.
    count : int
        How many runs keep their files. Those that are being written keep them as well, and are not counted.
    kept : Path
        The run that has just ended, which keeps them even if newer ones have ended before it.

    Raises
    ------
    OSError
        A file cannot be removed.
    """
    over = 0
    with alone(folder):
        for version in reversed(versions(folder)):
            if version.path == kept:
                over += 1
            # What a link leads to lies elsewhere, and is somebody else's to remove.
            elif over < count or (
                is_folder(version.path) and any(is_artifact_folder(entry.name) for entry in version.path.iterdir())
            ):
                run = StoredRun(version.path)
                if run.status != "running":
                    over += 1
                    if over > count and is_folder(version.path):
                        _remove_files(run)


def keep_only(folder: Path, newest: Path) -> Path:
    """Let a run that is complete take the place of the one before it, as ``v0``.

    At every moment one of the two is there, whole, whoever is killed.

    Parameters
    ----------
    folder : Path
        The experiment's folder.
    newest : Path
        The folder of the run that is complete, in it.

    Returns
    -------
    Path
        Where it lies now.

    Raises
    ------
    StoreError
        A store that keeps every run is writing one to ``v0``, or that is no folder.
    """
    place = folder / "v0"
    while newest != place:
        if _is_running(place):
            raise StoreError(
                f"{newest} is complete and cannot replace {place}, which another process is writing: "
                "do not run one experiment with versioned=True and versioned=False at once"
            )
        if os.path.lexists(place) and not place.is_dir():
            raise StoreError(
                f"{newest} is complete and cannot take the place of {place}, which is no folder: it is a file, or a "
                "link that leads nowhere. Move that away"
            )
        former = temporary_name()
        with suppress(FileNotFoundError):
            # Into the new run's own folder, since nothing but runs lies beside them.
            operations.rename(place, newest / former)
        try:
            operations.rename(newest, place)
        except OSError as error:
            # Another process was quicker, and it is that one's run which is to be replaced now, unless a third did.
            if error.errno not in _TAKEN and not place.exists():
                raise
            continue
        newest = place
    for version in versions(folder):
        if version.path != place:
            # Gone already, if another process that replaces the run was quicker.
            with suppress(FileNotFoundError, StoreError), alone(folder):
                if _is_failed_attempt(version.path):
                    # Into the run, since nothing but runs lies beside it; from there it goes whatever happens.
                    operations.rename(version.path, place / temporary_name())
    with suppress(FileNotFoundError):
        _remove_temporary(place)
    return place


def _is_running(place: Path) -> bool:
    try:
        return StoredRun(place).status == "running"
    except StoreError:
        return False  # there is none, or no longer: another process is just replacing it


def _is_failed_attempt(path: Path) -> bool:
    """Whether an earlier attempt to replace the run left this behind, and nobody meant to keep it."""
    here = identity_of(path)
    run = StoredRun(path)
    if run.versioned or run.owner is None:
        return False
    # One that is complete may be about to take its place, unless its process was killed before it could.
    # Its number may have been given to another run meanwhile.
    return (run.status == "interrupted" or not is_alive(run.owner, path)) and identity_of(path) == here


def _remove_temporary(place: Path) -> None:
    """Remove what was put aside; what cannot be removed goes with the run that has it, which may be this moment."""
    for entry in list(place.iterdir()):
        if is_temporary(entry.name):
            operations.remove_tree(entry, ignore_errors=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep others waiting that remove runs of this experiment, where the system has locks for folders.

    So what was found to be nobody's is still what lies there when it is removed.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some file systems have no locks.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_files(run: StoredRun) -> None:
    """Remove the files that the run's database names, then the folders that are empty by that."""
    note_files_removed(run.path)
    folders: set[Path] = set()
    left: StoreError | None = None
    for records in run.artifacts.values():
        for record in records:
            path = Path(str(record.path))
            try:
                check_path(run.path, path)
                operations.unlink(path)
            except FileNotFoundError:
                pass  # somebody removed it by hand
            except DamagedStoreError as error:
                left = error  # a link stands on the way to it, or something else is in its place
                continue
            folders.update(above for above in path.parents if run.path in above.parents and above.is_dir())
    for folder in sorted(folders, key=lambda above: len(above.parts), reverse=True):
        for entry in folder.iterdir():
            if is_temporary(entry.name):
                operations.unlink(entry)
        # What is not empty holds something that is not ours.
        with suppress(OSError):
            operations.remove_folder(folder)
    if left is not None:
        raise left
