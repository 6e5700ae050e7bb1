"""`StoredRun`: a run on the disk, opened for reading; finding those that there are."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crystallize.errors import ArtifactMissingError, DamagedStoreError, StoreError
from crystallize.hooks import Cell, build_result
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.facts import facts_from_file, facts_from_row
from crystallize_plugins.artifacts.database.owner import is_alive
from crystallize_plugins.artifacts.files.inside import check_path
from crystallize_plugins.artifacts.files.layout import DATABASE, RUN, experiment_folder, is_version, versions
from crystallize_plugins.artifacts.files.synced import file_digest
from crystallize_plugins.artifacts.journal import read_journal
from crystallize_plugins.artifacts.reading import rows
from crystallize_plugins.artifacts.reading.documents import result_parts
from crystallize_plugins.artifacts.reading.outcomes import StoredOutcomes
from crystallize_plugins.artifacts.recorded import recorded_facts

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from crystallize import Result
    from crystallize.hooks import ArtifactRecord, CellOutcome, JournalEntry
    from crystallize_plugins.artifacts.database.facts import RunFacts, Session
    from crystallize_plugins.artifacts.database.owner import Owner

__all__ = ["StoredRun", "list_runs", "newest_run", "open_run"]


class StoredRun:
    """A run on the disk.

    What is in it is read when it is asked for the first time: of a run that is still being written, as much as there is
    at that moment.

    Parameters
    ----------
    path : path
        The run's folder, ``<root>/<experiment>/v<N>``.

    Raises
    ------
    StoreError
        There is no run.

    Examples
    --------
    >>> from crystallize_plugins.artifacts import list_runs
    >>> for run in list_runs("data"):
    ...     print(run.experiment, run.version, run.status)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._damage: StoreError | None = None
        self._intact: dict[Path, tuple[int, ...]] = {}
        self._facts, self._session = self._begun()

    # -- what it is -------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The number in the folder's name; -1 where it was given another name."""
        return int(self.path.name[1:]) if is_version(self.path) else -1

    @property
    def id(self) -> str:
        """What tells the run from all others; empty where it was killed before it could say."""
        return self._facts.id if self._facts else ""

    @property
    def experiment(self) -> str:
        """The experiment's name, or its identity where it has none."""
        return self._facts.experiment if self._facts else ""

    @property
    def kind(self) -> str:
        """``"run"``, or ``"trial"`` for an optimisation; empty where it was killed before it could say."""
        return self._facts.kind if self._facts else ""

    @property
    def description(self) -> str | None:
        """The experiment's description."""
        return self._facts.description if self._facts else None

    @property
    def started(self) -> float:
        """When it started, in seconds since the epoch; 0 where it was killed before it could say."""
        return self._facts.started if self._facts else 0.0

    @property
    def seed(self) -> int | None:
        """The base seed, given or drawn."""
        return self._facts.seed if self._facts else None

    @property
    def replicates(self) -> int:
        """How many replicates it was asked for."""
        return self._facts.replicates if self._facts else 0

    @property
    def versioned(self) -> bool:
        """False for the runs of a store that keeps a single one."""
        return self._facts.versioned if self._facts else True

    @property
    def status(self) -> Literal["running", "complete", "interrupted", "damaged"]:
        """How it stands: found out by looking whether the process that writes it is alive."""
        if self._damage is not None:
            return "damaged"
        if self._session is not None and self._session.ended is None:
            self._facts, self._session = self._begun()
        if self._facts is None or self._session is None:
            return "interrupted"
        if self._session.ended is not None:
            return "interrupted" if self._session.stopped_by else "complete"
        return "running" if is_alive(self._session.owner, self.path) else "interrupted"

    @property
    def owner(self) -> Owner | None:
        """The process that writes it, or wrote it last."""
        return self._session.owner if self._session else None

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the run recorded about itself; empty where it was killed before it could, or that is damaged."""
        if self._facts is None or self._damage is not None:
            return {}
        documents = self._documents
        with self._making_sense():
            known = {**recorded_facts(documents), **documents.get("facts", {})}
            return {**self._facts._asdict(), "status": self.status, **known}

    # -- what is in it ----------------------------------------------------------------------------

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """The names of the conditions that ran, those that failed included, in order."""
        ran = self._outcomes.conditions
        with self._making_sense():
            return tuple(name for name in self._documents.get("conditions", ran) if name in ran)

    @cached_property
    def seeds(self) -> frozenset[int]:
        """The seeds of the cells that are stored."""
        with database.reading(self.path, whole=False) as source:
            return frozenset(seed for (seed,) in source.execute("SELECT DISTINCT seed FROM cell") if seed is not None)

    @cached_property
    def artifacts(self) -> dict[Cell, list[ArtifactRecord]]:
        """The files that each cell wrote, with their hashes; whether they are still there is another question."""
        with database.reading(self.path) as source:
            return rows.artifacts(source, self.path)

    def artifact_path(self, *, step: str | None, name: str, condition: str, replicate: int) -> Path:
        """Give the path of a stored file.

        Parameters
        ----------
        step : str or None
            Name of the step's folder; None for the only step that wrote such a file.
        name : str
            Name of the file.
        condition : str
        replicate : int

        Raises
        ------
        ArtifactMissingError
            The cell did not run or failed, wrote no such file, or the file is gone.
        StoreError
            The file's content is not what was written.
        """
        record = self._artifact(step, name, Cell(condition, replicate))
        path = Path(str(record.path))
        try:
            self._check_content(path, record)
        except FileNotFoundError:
            raise ArtifactMissingError(
                f"the stored file {path} is gone (with artifact_retention only the newest runs keep their files): "
                "run the experiment that wrote it again"
            ) from None
        return path

    def artifact_digest(self, *, step: str | None, name: str, condition: str, replicate: int) -> str:
        """Give the SHA-256 hash that a file had when it was stored, as hexadecimal digits; as `artifact_path`."""
        return self._artifact(step, name, Cell(condition, replicate)).sha256

    def _artifact(self, step: str | None, name: str, cell: Cell) -> ArtifactRecord:
        # What a failed cell wrote is there to be looked at, not to go on from.
        usable = self.artifacts.get(cell, ()) if cell in self._outcomes and cell not in self._failed else ()
        found = {record.step: record for record in usable if record.name == name and step in (None, record.step)}
        if len(found) > 1:
            raise ArtifactMissingError(
                f"{len(found)} steps of {self.path} wrote a file {name!r}: say which is meant, of {', '.join(found)}"
            )
        if not found:
            raise ArtifactMissingError(self._why_missing(cell, step, name))
        return next(iter(found.values()))

    def outcomes(self) -> list[CellOutcome]:
        """Give the stored cells with their artifacts, in the order in which they arrived.

        Raises
        ------
        StoreError
            Something that was stored is damaged.
        """
        return list(self.lazy_outcomes().values())

    def lazy_outcomes(self) -> StoredOutcomes:
        """Give the stored cells, of which each is read when somebody looks at it.

        Returns
        -------
        StoredOutcomes
            A mapping of cell to outcome, in the order in which they arrived. To ask which cells there are, and which
            of them failed, costs little for each.

        Raises
        ------
        StoreError
            Something that was stored is damaged.
        """
        with database.reading(self.path, whole=None) as source:
            any_files = source.execute("SELECT 1 FROM artifact LIMIT 1").fetchone() is not None
            return StoredOutcomes(source, self.path, (lambda: self.artifacts) if any_files else dict)

    def result(self) -> Result:
        """Give what `Experiment.run` gave, or as much of it as there was when the run was cut short.

        Raises
        ------
        StoreError
            Something that was stored is damaged.
        """
        with database.reading(self.path, whole=None) as source:
            records = rows.condition_records(source)
        with self._making_sense():
            parts = result_parts(self._documents)
            outcomes = self.lazy_outcomes()
            if parts["plugin_errors"]:
                outcomes.forget_plugin_failures()  # they are among those of the run
            # Where it lies now, since it may have been moved.
            place = {"version": self.version, "folder": str(self.path)}
            facts = {**parts.pop("facts")}
            facts["run"] = {**facts.get("run", self._run_facts()), **place}
            return build_result(
                conditions=[records[name] for name in self._documents.get("conditions", records)],
                outcomes=outcomes,
                replicates=self.replicates,
                facts=facts,
                **parts,
            )

    def journal(self) -> list[JournalEntry]:
        """Give what an optimiser asked and was told, in order; empty for a run that is no optimisation.

        Raises
        ------
        StoreError
            Something that was stored is damaged.
        """
        with database.reading(self.path) as source:
            return read_journal(source)

    def __repr__(self) -> str:
        return f"StoredRun({str(self.path)!r})"

    # -- reading ----------------------------------------------------------------------------------

    def _making_sense(self) -> AbstractContextManager[None]:
        return database.making_sense(self.path / DATABASE)

    def _begun(self) -> tuple[RunFacts | None, Session | None]:
        if not self.path.is_dir():
            raise StoreError(f"there is no run at {self.path}")
        try:
            with database.reading(self.path, whole=False) as source:
                facts = facts_from_row(source)
                if facts is not None:
                    return facts, rows.last_session(source)[1]
        except StoreError as error:
            # So that it can be listed and named; what is asked of it will raise.
            self._damage = error
        # Killed, or still at work, before the first commit.
        begun = facts_from_file(self.path)
        if begun is not None and begun[1].ended is not None and self._damage is None:
            lost = self.path / DATABASE
            self._damage = DamagedStoreError(f"the run in {self.path} ended, and nothing of it is left in {lost}")
            self._damage.path = str(lost)
        if begun is None and self._damage is None and not is_version(self.path):
            raise StoreError(f"{self.path} is no run: a run's folder holds {RUN} and {DATABASE}")
        return begun or (None, None)

    @cached_property
    def _documents(self) -> dict[str, Any]:
        with database.reading(self.path, whole=None) as source:
            return rows.documents(source)

    @cached_property
    def _outcomes(self) -> StoredOutcomes:
        return self.lazy_outcomes()

    @cached_property
    def _failed(self) -> frozenset[Cell]:
        return self._outcomes.failed

    def _check_content(self, path: Path, record: ArtifactRecord) -> None:
        """Refuse a file that is not what was written; a file that was looked at is looked at again once it changed."""
        found = check_path(self.path, path)
        state = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if self._intact.get(path) == state:
            return
        if found.st_size != record.size or file_digest(path) != record.sha256:
            error = DamagedStoreError(
                f"the stored file {path} is damaged: its content is not what was written. "
                "Run the experiment that wrote it again, or put back a copy of the file"
            )
            error.path = str(path)
            raise error
        self._intact[path] = state

    def _why_missing(self, cell: Cell, step: str | None, name: str) -> str:
        wanted = f"{name!r}" + (f" of step {step!r}" if step else "")
        where = f"condition {cell.condition!r}, replicate {cell.replicate}, of {self.path}"
        if cell not in self._outcomes:
            return f"there is no file {wanted}: {where} was never run to its end (the run is {self.status})"
        if cell in self._failed:
            return f"there is no file {wanted}: {where} failed, and what a failed cell wrote is not handed on"
        written = ", ".join(f"{record.name!r} of {record.step}" for record in self.artifacts.get(cell, ()))
        return f"there is no file {wanted} in {where}; it wrote {written or 'no files'}"

    def _run_facts(self) -> dict[str, Any]:
        if self._facts is None:
            return {}
        facts = self._facts
        stopped_by = self._session.stopped_by if self._session else None
        return {
            "id": facts.id,
            "experiment": facts.experiment,
            "kind": facts.kind,
            "strategy": facts.strategy,
            "seed": facts.seed,
            "started": facts.started,
            "duration": None,
            "stopped_by": stopped_by or self.status,
        }


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
