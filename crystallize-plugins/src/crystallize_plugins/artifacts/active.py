"""A run that is being stored: its folder from the first moment to the last."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from crystallize.errors import StoreError
from crystallize.hooks import LazyOutcomes, condition_names
from crystallize_plugins.artifacts import retention
from crystallize_plugins.artifacts.database.facts import Session, facts_of
from crystallize_plugins.artifacts.database.owner import RunLock
from crystallize_plugins.artifacts.database.writer import RunWriter
from crystallize_plugins.artifacts.files import layout, readable
from crystallize_plugins.artifacts.files.inside import read_file
from crystallize_plugins.artifacts.files.synced import discard, publish, store_error
from crystallize_plugins.artifacts.reading.documents import documents_of
from crystallize_plugins.artifacts.reading.stored import StoredRun
from crystallize_plugins.artifacts.recorded import RECORDED, Recorder
from crystallize_plugins.artifacts.resume.plan import claim, locked
from crystallize_plugins.artifacts.resume.previous import PreviousRun

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize import Result
    from crystallize.hooks import ExperimentView
    from crystallize_plugins.artifacts.database.facts import RunFacts
    from crystallize_plugins.artifacts.database.writer import StoredBefore
    from crystallize_plugins.artifacts.files.synced import Prepared
    from crystallize_plugins.artifacts.reading.outcomes import StoredOutcomes

__all__ = ["ActiveRun", "take_folder"]

_LOGGER = logging.getLogger("crystallize")


class ActiveRun:
    """One run on its way to the disk.

    Parameters
    ----------
    experiment : ExperimentView
        Its ``run`` is told the folder and the version.
    path : Path
        The run's folder.
    facts : RunFacts
    session : Session
        This process' work on it.
    lock : RunLock
        This process' hold on the folder.
    before : StoredBefore, optional
        What it has already, or takes over from another run.

    Attributes
    ----------
    writer : RunWriter
    recorder : Recorder
        Finds out what surrounds the run.
    """

    def __init__(
        self,
        experiment: ExperimentView,
        path: Path,
        facts: RunFacts,
        session: Session,
        lock: RunLock,
        before: StoredBefore | None = None,
    ) -> None:
        self._path = path
        self._folder = path.parent
        self._facts = facts
        self._session = session
        self._lock = lock
        self._before = before
        self._read_back: StoredOutcomes | None = None
        identities = experiment.cell_identities()
        if identities is None:
            raise StoreError(f"{path} cannot be written for a view of an experiment that belongs to no run")
        self.recorder = Recorder(experiment, path.parent.parent, identities)
        self.writer = RunWriter(
            path,
            facts,
            session,
            lock,
            describe=experiment.describe,
            # Only an optimisation may do without the baseline.
            conditions=condition_names(experiment.treatments, baseline=experiment.run.kind != "trial"),
            recorded=lambda: self.recorder.begin(self.writer),
            identities=identities,
            before=before,
        )
        # A single run that is kept will have the place of the one before it.
        version = (
            layout.Version(0, path.parent / "v0") if not facts.versioned else layout.Version(int(path.name[1:]), path)
        )
        experiment.run.version, experiment.run.folder = version.number, str(version.path)

    @classmethod
    def begin(
        cls, experiment: ExperimentView, version: layout.Version, *, versioned: bool, before: StoredBefore | None = None
    ) -> ActiveRun:
        """Begin a run in a folder of its own.

        Parameters
        ----------
        experiment : ExperimentView
        version : Version
            Its folder, which is empty.
        versioned : bool
            Whether it is kept beside those before it.
        before : StoredBefore, optional
            What it takes over from another run.

        Raises
        ------
        StoreError
            Nothing can be written there.
        """
        facts = facts_of(experiment, versioned=versioned)
        try:
            lock = RunLock(version.path, experiment.run.started)
        except StoreError:
            raise
        except OSError as error:
            raise _no_write(version.path, error) from error
        return cls._begun(experiment, version.path, facts, lock, before)

    @classmethod
    def _begun(
        cls, experiment: ExperimentView, path: Path, facts: RunFacts, lock: RunLock, before: StoredBefore | None
    ) -> ActiveRun:
        """Say in the folder whose it is."""
        try:
            session = Session(lock.owner, experiment.run.id, experiment.run.started)
            # What it said of the end of a run that goes on is true no more.
            readable.write_beginning(path, facts, session)
            return cls(experiment, path, facts, session, lock, before)
        except BaseException as error:
            lock.release()
            if isinstance(error, OSError) and not isinstance(error, StoreError):
                raise _no_write(path, error) from error
            raise

    @classmethod
    def go_on(cls, experiment: ExperimentView, previous: PreviousRun) -> ActiveRun | None:
        """Go on with a stored run in its folder.

        Parameters
        ----------
        experiment : ExperimentView
        previous : PreviousRun

        Returns
        -------
        ActiveRun or None
            None where something was added to it since it was looked at.

        Raises
        ------
        RunLockedError
            Another process is working on it.
        StoreError
            It cannot be written to.
        """
        try:
            lock = RunLock(previous.path, experiment.run.started)
        except BlockingIOError:
            raise locked(previous.path, PreviousRun(previous.path).session) from None
        except StoreError:
            raise
        except OSError as error:
            raise _no_write(previous.path, error) from error
        try:
            session = Session(lock.owner, experiment.run.id, experiment.run.started)
            if not claim(previous, session, experiment.replicates):
                lock.release()
                return None
            before = previous.going_on()
        except BaseException:
            lock.release()
            raise
        facts = previous.facts._replace(replicates=max(previous.facts.replicates, experiment.replicates))
        return cls._begun(experiment, previous.path, facts, lock, before)

    def finish(self, experiment: ExperimentView, result: Result) -> None:
        """Store what is known at the end, and write the files that people read.

        Parameters
        ----------
        experiment : ExperimentView
        result : Result
            Where the run replaces another, its paths are those of its new place afterwards.

        Raises
        ------
        StoreError
            Something cannot be written.
        """
        try:
            self._finish(experiment, result)
        except BaseException:
            self.writer.leave()
            raise
        finally:
            self._lock.release()

    def _finish(self, experiment: ExperimentView, result: Result) -> None:
        stopped_by = result.facts.get("run", {}).get("stopped_by")
        documents = documents_of(result, stored_errors=self.writer.failed, recorded=RECORDED)
        more = self._more_than(result)
        if more:
            documents["conditions"] = list(dict.fromkeys([*documents["conditions"], *more]))
        self.writer.add_documents(self.recorder.rest())
        # A run with a rule by which it stops knows only now how long it is.
        count = self._length(result) if result.facts.get("stopping", {}).get("reason") else None
        ticket = self.writer.finish(documents, stopped_by=stopped_by, replicates=count)
        prepared: list[Prepared] = []
        try:
            # While the writer waits for the disk; unless that reads the database, whose log a reader would keep alive.
            self._lock.check()
            prepared = [] if more or self._read_back is not None else readable.prepare_metrics(self._path, result)
            ticket.wait()
            if self._before is not None and self._before.source is not None:
                self._move_kept(str(self._before.source))
            whole = StoredRun(self._path).result() if more else result
            self._lock.check()
            publish(prepared or readable.prepare_metrics(self._path, whole))
            readable.write_end(self._path, self.writer.facts, self._session, whole)
            if not self._facts.versioned:
                self._settle(experiment, result, complete=not stopped_by)
        except StoreError:
            discard(prepared)
            raise
        except OSError as error:
            discard(prepared)
            ticket.wait()  # what it has to say comes first
            raise store_error("cannot store the run: writing failed in", self._path, error) from error

    def _more_than(self, result: Result) -> list[str]:
        """Give the conditions of which the run has cells that nobody asked for this time; nothing where it has none."""
        if self._before is None or self._before.source is not None:
            return []
        asked = {condition.name for condition in result.conditions}
        count = result.provenance["replicates_requested"]
        unasked = (name for name, replicate in self._before.cells if name not in asked or replicate >= count)
        return list(dict.fromkeys(unasked))

    def _length(self, result: Result) -> int:
        """Give how many replicates the run has, with those that nobody asked for this time."""
        goes_on = self._before is not None and self._before.source is None
        kept = [cell.replicate + 1 for cell in self._before.cells] if self._before is not None and goes_on else []
        requested: int = result.provenance["replicates_requested"]
        return max(requested, *kept, 0)

    def _move_kept(self, former: str) -> None:
        """Say of the files of the cells that were kept where they lie now."""
        if self._before is not None:
            for cell, records in self._before.files.items():
                for record in records if cell in self._before.cells else ():
                    record.path = str(self._path) + str(record.path).removeprefix(former)

    def outcomes(self) -> LazyOutcomes:
        """Give what has been committed."""
        self._read_back = StoredRun(self._path).lazy_outcomes()
        return self._read_back

    def take_in(self, outcomes: LazyOutcomes | tuple[()]) -> None:
        """Store cells of another version as they are."""
        for outcome in outcomes.values() if isinstance(outcomes, LazyOutcomes) else outcomes:
            for artifact in outcome.artifacts:
                artifact.data = read_file(str(artifact.path), None)
            self.writer.collect(outcome)

    def retain(self, count: int) -> None:
        """Remove the files of all runs but the newest; where that fails, nothing is lost, and it is logged."""
        try:
            retention.keep_files_of_newest(self._folder, count, kept=self._path)
        except OSError as error:
            _LOGGER.warning("the files of old runs in %s could not all be removed: %s", self._folder, error)

    def _settle(self, experiment: ExperimentView, result: Result, *, complete: bool) -> None:
        """Take the place of the run before, if this one is complete, and say everywhere where it lies."""
        former = str(self._path)
        if complete:
            if layout.LOCK:
                self._lock.release()  # no folder in which a file is open can be renamed there
            self._path = retention.keep_only(self._folder, self._path)
            for artifact in self.writer.stored:
                artifact.path = str(self._path) + str(artifact.path).removeprefix(former)
            self._move_kept(former)
            if self._read_back is not None:
                self._read_back.moved(self._path)
        else:
            run = experiment.run
            run.version, run.folder = int(self._path.name[1:]), former
            result.facts["run"].update(version=run.version, folder=run.folder)


def take_folder(folder: Path, *, versioned: bool) -> layout.Version:
    """Take the next version's folder.

    Raises
    ------
    StoreError
        No folder can be made there.
    """
    try:
        # The single run that is kept is replaced by one that is complete, so that one is made beside it.
        return layout.take_version(folder, first=0 if versioned else 1)
    except OSError as error:
        raise store_error("cannot store the run: no folder can be made in", folder, error) from error


def _no_write(path: Path, error: OSError) -> StoreError:
    return store_error("cannot store the run: nothing can be written to", path, error)
