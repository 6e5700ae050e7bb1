"""Removing old runs: by a policy that was asked for, never one that somebody may still need."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.hooks.tools import check_count, check_flag, printable
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.files.inside import files_below, is_folder
from crystallize_plugins.artifacts.files.layout import experiment_folder, is_temporary, temporary_name, versions
from crystallize_plugins.artifacts.files.synced import store_error, sync_folder
from crystallize_plugins.artifacts.reading.stored import StoredRun
from crystallize_plugins.artifacts.retention import alone

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Sequence

__all__ = ["Collected", "RemovedRun", "SkippedRun", "gc"]

_REMOVABLE = ("complete", "interrupted")
_STATUS = {
    "running": "it is being written",
    "damaged": "it is damaged: look at it, and remove it by hand",
}
_LINK = "it is a link: what it leads to lies elsewhere, and is not removed"


@dataclass(frozen=True, slots=True)
class RemovedRun:
    """A run that was removed, or would be.

    Attributes
    ----------
    path : Path
        Its folder.
    experiment : str
    version : int
    status : str
        ``"complete"`` or ``"interrupted"``.
    started : float
        Seconds since the epoch.
    files : int
    size : int
        Bytes that become free; files that another run has too stay on the disk.
    """

    path: Path
    experiment: str
    version: int
    status: str
    started: float
    files: int
    size: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "path": str(self.path),
            "experiment": self.experiment,
            "version": self.version,
            "status": self.status,
            "started": self.started,
            "files": self.files,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class SkippedRun:
    """A run that the policy meant and that stays all the same.

    Attributes
    ----------
    path : Path
    why : str
    """

    path: Path
    why: str

    def to_dict(self) -> dict[str, str]:
        """Return it as plain data."""
        return {"path": str(self.path), "why": self.why}


@dataclass(frozen=True, slots=True)
class Collected:
    """What `gc` removed, or would remove.

    Attributes
    ----------
    root : Path
    dry_run : bool
        Whether nothing was removed.
    removed : tuple of RemovedRun
    skipped : tuple of SkippedRun
    kept : int
        How many runs are left.
    left_over : int
        Bytes of what was left behind by a process that was killed while it removed runs.
    """

    root: Path
    dry_run: bool
    removed: tuple[RemovedRun, ...]
    skipped: tuple[SkippedRun, ...]
    kept: int
    left_over: int = 0

    @property
    def size(self) -> int:
        """Bytes that became free, or would."""
        return sum(run.size for run in self.removed) + self.left_over

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that any JSON writer takes."""
        return {
            "root": str(self.root),
            "dry_run": self.dry_run,
            "size": self.size,
            "kept": self.kept,
            "removed": [run.to_dict() for run in self.removed],
            "skipped": [run.to_dict() for run in self.skipped],
        }

    def __str__(self) -> str:
        verb = "would be removed" if self.dry_run else "removed"
        lines = [f"{verb}: {run.path} ({run.status}, {run.files} files, {run.size} bytes)" for run in self.removed]
        lines += [f"kept: {run.path}: {run.why}" for run in self.skipped]
        count = len(self.removed)
        lines.append(f"{count} run{'s' * (count != 1)} {verb}, {self.kept} kept, {self.size} bytes free")
        return "\n".join(map(printable, lines))


def gc(
    root: str | os.PathLike[str] = "data",
    *,
    keep: int | None = None,
    older_than: timedelta | None = None,
    experiments: Sequence[str] | None = None,
    dry_run: bool = False,
) -> Collected:
    """Remove old runs with all their files.

    Nothing goes that a policy does not name. A run that is being written, one that is damaged, the newest of an
    experiment, which the next resumption or the next experiment downstream would read, and its newest complete one
    are never removed, but for the last two with ``keep=0``.

    Parameters
    ----------
    root : path, default "data"
        The folder that ``ArtifactPlugin(root_dir=...)`` was given.
    keep : int, optional
        How many complete runs of each experiment stay: the newest ones, and every run that is newer than the oldest of
        them. 0 removes all that are not being written.
    older_than : timedelta, optional
        Only runs go that began longer ago. With `keep`, both must hold.
    experiments : sequence of str, optional
        The names of the experiments concerned; by default all.
    dry_run : bool, default False
        Whether only to say what would go.

    Returns
    -------
    Collected
        What went, and how many bytes. A run is renamed before its files are removed: whoever is killed meanwhile
        leaves no run behind in part, and the next call removes the rest.

    Raises
    ------
    ValidationError
        Neither `keep` nor `older_than` is given, or one of them is negative.
    ArgumentTypeError
        One of them is of another type.
    StoreError
        A run cannot be removed.

    Examples
    --------
    >>> from datetime import timedelta
    >>> print(gc("data", keep=3, older_than=timedelta(days=30), dry_run=True))  # doctest: +SKIP
    would be removed: /home/ada/data/tuning/v0 (complete, 14 files, 81920 bytes)
    1 run would be removed, 5 kept, 81920 bytes free
    """
    if keep is None and older_than is None:
        raise ValidationError(
            "gc removes nothing without a policy: give keep=<number of runs>, older_than=..., or both"
        )
    if keep is not None:
        check_count(keep, what="keep", minimum=0)
    before = _moment(older_than)
    check_flag(dry_run, what="dry_run")
    top = Path(root).absolute()
    collector = _Collector(keep, before, dry_run=dry_run)
    for folder in _folders(top, experiments):
        with alone(folder):
            collector.collect(folder)
    return Collected(
        top, dry_run, tuple(collector.removed), tuple(collector.skipped), collector.kept, collector.left_over
    )


def _moment(older_than: timedelta | None) -> float | None:
    if older_than is None:
        return None
    if not isinstance(older_than, timedelta):
        raise ArgumentTypeError(
            f"older_than must be a timedelta, such as timedelta(days=30), not {type(older_than).__name__}"
        )
    if older_than < timedelta(0):
        raise ValidationError(f"older_than must not be negative: {older_than}")
    return time.time() - older_than.total_seconds()


def _folders(top: Path, experiments: Sequence[str] | None) -> list[Path]:
    if isinstance(experiments, str):
        raise ArgumentTypeError(f"experiments must be several names, not text: {experiments!r}")
    if experiments is not None:
        return [folder for folder in (experiment_folder(top, name) for name in experiments) if folder.is_dir()]
    if not top.is_dir():
        return []
    return [folder for folder in sorted(top.iterdir()) if folder.is_dir() and _is_ours(folder)]


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds runs, or nothing but what is left of some."""
    return bool(versions(folder)) or any(is_temporary(entry.name) for entry in folder.iterdir())


class _Collector:
    """What has gone so far."""

    def __init__(self, keep: int | None, before: float | None, *, dry_run: bool) -> None:
        self._keep = keep
        self._before = before
        self._dry_run = dry_run
        self.removed: list[RemovedRun] = []
        self.skipped: list[SkippedRun] = []
        self.kept = self.left_over = 0

    def collect(self, folder: Path) -> None:
        """Remove what is due of one experiment."""
        if folder.is_symlink():
            self._skip(folder, _LINK, len(versions(folder)))
            return
        for entry in folder.iterdir():
            if is_temporary(entry.name) and is_folder(entry):
                self.left_over += _measured(entry)[1]
                if not self._dry_run:
                    _remove(entry)
        runs = [StoredRun(version.path) for version in reversed(versions(folder))]
        statuses = [run.status for run in runs]
        needed = _needed(runs, statuses) if self._keep != 0 else {}
        complete = [run.version for run, status in zip(runs, statuses, strict=True) if status == "complete"]
        for run, status in zip(runs, statuses, strict=True):
            if not self._is_due(run, complete):
                self.kept += 1
            elif why := needed.get(run.path, "") if status in _REMOVABLE else _STATUS[status]:
                self._skip(run.path, why)
            elif run.path.is_symlink():
                self._skip(run.path, _LINK)
            else:
                self._collect_run(run, status)

    def _skip(self, path: Path, why: str, count: int = 1) -> None:
        self.kept += count
        self.skipped.append(SkippedRun(path, why))

    def _is_due(self, run: StoredRun, complete: Sequence[int]) -> bool:
        if self._before is not None and (run.started or _changed(run.path)) >= self._before:
            return False
        if self._keep is None or self._keep == 0:
            return True
        return len(complete) >= self._keep and run.version < complete[self._keep - 1]

    def _collect_run(self, run: StoredRun, status: str) -> None:
        files, size = _measured(run.path)
        self.removed.append(RemovedRun(run.path, run.experiment, run.version, status, run.started, files, size))
        if not self._dry_run:
            # From one moment to the next it is no run any more, rather than one that lacks files.
            moved = run.path.with_name(temporary_name())
            try:
                operations.rename(run.path, moved)
                sync_folder(run.path.parent)
            except OSError as error:
                raise store_error("cannot remove", run.path, error) from error
            _remove(moved)


def _needed(runs: Iterable[StoredRun], statuses: Iterable[str]) -> dict[Path, str]:
    """Return the runs that others read, newest first, and why they stay."""
    needed: dict[Path, str] = {}
    seen: set[tuple[str, str]] = set()
    for run, status in zip(runs, statuses, strict=True):
        if run.id and (run.kind, "any") not in seen:
            seen.add((run.kind, "any"))
            needed[run.path] = "it is the newest run, which would be resumed or read"
        if status == "complete" and (run.kind, status) not in seen:
            seen.add((run.kind, status))
            needed.setdefault(run.path, "it is the newest complete run (keep=0 removes it too)")
    return needed


def _measured(folder: Path) -> tuple[int, int]:
    """Count files, and the bytes that become free without them."""
    found = [path.lstat() for path in files_below(folder)]
    return len(found), sum(each.st_size for each in found if each.st_nlink == 1)


def _changed(folder: Path) -> float:
    """Say when a folder last changed, whose run was killed before it could say when it began."""
    return folder.stat().st_mtime


def _remove(folder: Path) -> None:
    try:
        operations.remove_tree(folder)
    except OSError as error:
        raise store_error("cannot remove", getattr(error, "filename", None) or folder, error) from error
