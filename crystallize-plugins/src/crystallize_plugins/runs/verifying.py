"""Whether what is stored is what was written: every row, every file, read and compared, and nothing changed by it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crystallize.errors import CrystallizeError, DamagedStoreError, StoreError
from crystallize.hooks.tools import printable
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.files.inside import check_file, check_path, files_below, read_file
from crystallize_plugins.artifacts.files.layout import (
    DATABASE,
    RESULTS,
    RUN,
    condition_folder,
    is_artifact_folder,
    is_temporary,
    is_version,
    versions,
)
from crystallize_plugins.artifacts.files.readable import DATABASE_FILE, FILES_REMOVED, metrics_json, read_entries
from crystallize_plugins.artifacts.files.synced import file_digest
from crystallize_plugins.artifacts.reading.rows import check_every_row
from crystallize_plugins.artifacts.reading.stored import StoredRun

if TYPE_CHECKING:
    import os

    from crystallize import Result

__all__ = ["Finding", "Verification", "verify"]

_SQLITE_FILES = frozenset({DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal"})

Kind = Literal["damaged", "missing", "unexpected", "unfinished", "left over"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written.

    Attributes
    ----------
    path : Path
        The file or folder.
    kind : str
        ``"damaged"``: its content is not what was written. ``"missing"``: it is not there. ``"unexpected"``: the
        store did not write it. ``"unfinished"``: it can be made again from the database, and its process was killed
        before it had. ``"left over"``: a process that was killed had not finished it, and nothing refers to it.
    text : str
        What is wrong, in words.
    """

    path: Path
    kind: Kind
    text: str

    def to_dict(self) -> dict[str, str]:
        """Return it as plain data."""
        return {"path": str(self.path), "kind": self.kind, "text": self.text}

    def __str__(self) -> str:
        return printable(f"{self.kind}: {self.path}: {self.text}")


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` found.

    Attributes
    ----------
    path : Path
        What was verified.
    runs, files : int
        How many runs and files were read.
    size : int
        How many bytes.
    findings : tuple of Finding
    """

    path: Path
    runs: int
    files: int
    size: int
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not any(finding.kind in ("damaged", "missing") for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that any JSON writer takes."""
        return {
            "path": str(self.path),
            "ok": self.ok,
            "runs": self.runs,
            "files": self.files,
            "size": self.size,
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def __str__(self) -> str:
        count = f"{self.runs} run{'s' * (self.runs != 1)}, {self.files} files, {self.size} bytes"
        verdict = "as it was written" if self.ok else "NOT as it was written"
        return "\n".join([printable(f"{self.path}: {count}: {verdict}"), *map(str, self.findings)])


def verify(path: str | os.PathLike[str] | StoredRun) -> Verification:
    """Read everything that is stored, compare it with its checksums, and name what is not as it was written.

    Nothing is unpickled, imported or written, so that a folder from anywhere can be verified.

    Parameters
    ----------
    path : path or StoredRun
        A run, the folder of an experiment's runs, or the folder of all experiments.

    Returns
    -------
    Verification
        ``.ok`` says whether anything is damaged or missing, ``.findings`` names each file.

    Raises
    ------
    StoreError
        Nothing is stored there.

    Examples
    --------
    >>> found = verify("data")  # doctest: +SKIP
    >>> print(found)  # doctest: +SKIP
    /home/ada/data: 12 runs, 340 files, 52428800 bytes: as it was written
    """
    top = path.path if isinstance(path, StoredRun) else Path(path).absolute()
    verifier = _Verifier()
    if (top / DATABASE).exists() or (top / RUN).exists() or (is_version(top) and top.is_dir()):
        verifier.run(top)
    else:
        folders = [top] if versions(top) else _experiments(top)
        if not folders:
            raise StoreError(f"there are no runs in {top}")
        for folder in folders:
            verifier.experiment(folder)
    return Verification(top, verifier.runs, verifier.files, verifier.size, tuple(verifier.findings))


def _experiments(top: Path) -> list[Path]:
    return [folder for folder in sorted(top.iterdir()) if versions(folder)] if top.is_dir() else []


class _Verifier:
    """What has been read so far."""

    def __init__(self) -> None:
        self.runs = self.files = self.size = 0
        self.findings: list[Finding] = []

    def experiment(self, folder: Path) -> None:
        for version in versions(folder):
            self.run(version.path)
        for entry in sorted(folder.iterdir()):
            if not is_version(entry):
                self._stray(entry, unfinished=False)

    def run(self, folder: Path) -> None:
        self.runs += 1
        run = StoredRun(folder)
        status = run.status
        known = {folder / name for name in _SQLITE_FILES}
        with suppress(DamagedStoreError):
            stored = check_file(folder / DATABASE)
            if stored is not None:
                self._counted(stored.st_size)
        result = None
        if self._database(run):
            result = run.result()
            known |= self._artifacts(run)
        told = self._described(run, status == "complete")
        known.add(folder / RUN)
        if result is not None:
            known |= self._metrics(folder, result, complete=status == "complete", finished=told)
            if status != "running":
                self._others(folder, known, unfinished=status != "complete")

    def _database(self, run: StoredRun) -> bool:
        """Read every row; say whether there is any use in looking further."""
        try:
            if run._damage is not None:
                raise run._damage
            with database.reading(run.path) as source:
                problems = [str(row[0]) for row in source.execute("PRAGMA integrity_check(10)") if row[0] != "ok"]
                check_every_row(source, run.outcomes())
            run.journal()
        except (CrystallizeError, sqlite3.Error) as error:
            problems = [str(error)]
        for problem in problems:
            self._note(run.path / DATABASE, "damaged", problem)
        return not problems

    def _artifacts(self, run: StoredRun) -> set[Path]:
        known = set()
        removed = _entries(run.path).get(FILES_REMOVED, False)
        for records in run.artifacts.values():
            for record in records:
                path = Path(str(record.path))
                known.add(path)
                try:
                    size = check_path(run.path, path).st_size
                    digest = file_digest(path) if size == record.size else ""
                except FileNotFoundError:
                    if not removed:
                        self._note(path, "missing", f"{record.step} wrote it")
                    continue
                except OSError as error:
                    self._note(path, "damaged", f"it cannot be read: {error.strerror or error}")
                    continue
                self._counted(size)
                if size != record.size:
                    self._note(path, "damaged", f"it has {size} bytes, and {record.size} were written")
                elif digest != record.sha256:
                    self._note(path, "damaged", f"its SHA-256 is {digest}, and was {record.sha256}")
        return known

    def _described(self, run: StoredRun, complete: bool) -> bool:
        """Look at ``run.json``; say whether it is that of a run that is over."""
        path = run.path / RUN
        try:
            told = self._json(run.path, path)
        except FileNotFoundError:
            if run.id:
                self._note(path, "missing", "it describes the run in short")
            return complete
        if told is None:
            return complete
        wrong = [name for name, value in _identity(run).items() if told.get(name) != value]
        if run.id and wrong:
            self._note(path, "damaged", f"it differs from the database in {', '.join(wrong)}")
        elif complete and told.get("duration") is None:
            self._note(path, "unfinished", "the process was killed after its last commit; the database has everything")
            return False
        elif complete:
            self._unchanged(run.path / DATABASE, told.get(DATABASE_FILE))
        return True

    def _unchanged(self, path: Path, told: Any) -> None:
        """Compare a closed database with what was said of it; one of the first version said nothing."""
        if not isinstance(told, dict):
            return
        if told.get("size") != path.stat().st_size or told.get("sha256") != file_digest(path):
            self._note(path, "damaged", f"its SHA-256 is not {told.get('sha256')}; every row is as it was written")

    def _metrics(self, folder: Path, result: Result, *, complete: bool, finished: bool) -> set[Path]:
        known = set()
        for condition in result.conditions:
            cells = result.provenance["cells"][condition.name]
            path = folder / condition_folder(condition.name) / RESULTS
            known.add(path)
            if not cells["completed"] + cells["failed"] + cells.get("pruned", 0):
                continue
            try:
                found = self._json(folder, path)
            except FileNotFoundError:
                if complete:
                    self._note(path, "missing" if finished else "unfinished", "it holds a condition's metrics")
                continue
            if found is None:
                continue
            by_name = {"baseline": result.metrics.baseline, **result.metrics.treatments}
            values = by_name[condition.name].metrics if condition.name in by_name else {}
            if complete and finished and found != json.loads(metrics_json(values)):
                self._note(path, "damaged", "it does not hold the metrics that the database has")
        return known

    def _others(self, folder: Path, known: set[Path], *, unfinished: bool) -> None:
        """Name what else lies in the run's folder."""
        for path in files_below(folder):
            if path not in known:
                self._stray(path, unfinished=unfinished and is_artifact_folder(path.relative_to(folder).parts[0]))

    def _stray(self, path: Path, *, unfinished: bool) -> None:
        if is_temporary(path.name):
            self._note(path, "left over", "a process was killed while it wrote or removed this")
        elif unfinished:
            self._note(path, "left over", "its cell was not stored: the process was killed before it could be")
        else:
            self._note(path, "unexpected", "the store did not write it")

    def _json(self, folder: Path, path: Path) -> dict[str, Any] | None:
        """Read a file of JSON that holds a mapping; None where it does not, which is noted."""
        try:
            check_path(folder, path)
            content = read_file(path)
            self._counted(len(content))
            told = json.loads(content)
        except DamagedStoreError as error:
            self._note(path, "damaged", str(error))
        except (ValueError, RecursionError) as error:
            self._note(path, "damaged", f"it is not valid JSON: {error}")
        else:
            if isinstance(told, dict):
                return told
            self._note(path, "damaged", "it holds no mapping")
        return None

    def _counted(self, size: int) -> None:
        self.files += 1
        self.size += size

    def _note(self, path: Path, kind: Kind, text: str) -> None:
        self.findings.append(Finding(path, kind, text))


def _entries(folder: Path) -> dict[str, Any]:
    try:
        return read_entries(folder)
    except (OSError, ValueError):
        return {}


def _identity(run: StoredRun) -> dict[str, Any]:
    return {"id": run.id, "experiment": run.experiment, "kind": run.kind, "seed": run.seed}
