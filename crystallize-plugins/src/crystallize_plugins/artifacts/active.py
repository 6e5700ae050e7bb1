"""A run that is being stored: its folder from the first moment to the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.engine.plan import condition_names
from crystallize.engine.record import condition_records
from crystallize_plugins.artifacts import layout, readable, retention
from crystallize_plugins.artifacts.documents import documents_of
from crystallize_plugins.artifacts.facts import facts_of
from crystallize_plugins.artifacts.files import store_error
from crystallize_plugins.artifacts.owner import current_owner
from crystallize_plugins.artifacts.writer import RunWriter

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.hooks import ExperimentView
    from crystallize.results import ConditionRecord, Result

__all__ = ["ActiveRun"]


class ActiveRun:
    """One run on its way to the disk.

    Parameters
    ----------
    experiment : ExperimentView
        Its ``run`` is told the folder and the version.
    root : Path
        The folder of all experiments.
    versioned : bool
        Whether it is kept beside those before it.

    Attributes
    ----------
    writer : RunWriter

    Raises
    ------
    StoreError
        Nothing can be written there.
    ValidationError
        The experiment's name cannot name a folder.
    """

    def __init__(self, experiment: ExperimentView, root: Path, *, versioned: bool) -> None:
        self._folder = layout.experiment_folder(root, experiment.name or experiment.id)
        try:
            version = layout.take_version(self._folder)
        except OSError as error:
            raise store_error("cannot store the run: no folder can be made in", self._folder, error) from error
        self._path = version.path
        self._facts = facts_of(experiment, versioned=versioned)
        self._owner = current_owner()
        try:
            readable.write_beginning(self._path, self._facts, self._owner)
        except OSError as error:
            raise store_error("cannot store the run: nothing can be written to", self._path, error) from error

        def describe(condition: str) -> ConditionRecord:
            return condition_records(experiment, [condition])[0]

        self.writer = RunWriter(
            self._path,
            self._facts,
            self._owner,
            describe=describe,
            # Only an optimisation may do without the baseline.
            conditions=condition_names(experiment.treatments, baseline=experiment.run.kind != "trial"),
        )
        experiment.run.version, experiment.run.folder = version.number, str(version.path)

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
        stopped_by = result.facts.get("run", {}).get("stopped_by")
        documents = documents_of(result, stored_errors=self.writer.failed)
        ticket = self.writer.finish(documents, stopped_by=stopped_by)
        try:
            # While the writer waits for the disk.
            readable.write_metrics(self._path, result)
            ticket.wait()
            readable.write_end(self._path, self._facts, self._owner, result)
            if not self._facts.versioned and not stopped_by:
                self._replace(experiment, result)
        except OSError as error:
            ticket.wait()  # what it has to say comes first
            raise store_error("cannot store the run: writing failed in", self._path, error) from error

    def retain(self, count: int) -> None:
        """Remove the files of all runs but the newest."""
        try:
            retention.keep_files_of_newest(self._folder, count)
        except OSError as error:
            raise store_error("cannot remove the files of old runs in", self._folder, error) from error

    def _replace(self, experiment: ExperimentView, result: Result) -> None:
        """Take the place of the run before, and say so wherever the old place was noted."""
        former = str(self._path)
        self._path = retention.keep_only(self._folder, self._path)
        place = {"version": 0, "folder": str(self._path)}
        experiment.run.version, experiment.run.folder = 0, str(self._path)
        result.facts["run"].update(place)
        for artifact in self.writer.stored:
            artifact.path = str(self._path) + str(artifact.path).removeprefix(former)
