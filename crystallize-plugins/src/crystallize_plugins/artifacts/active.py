"""A run that is being stored: its folder from the first moment to the last."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from crystallize.engine.plan import condition_names
from crystallize.engine.record import condition_records
from crystallize.errors import StoreError
from crystallize_plugins.artifacts import layout, readable, retention
from crystallize_plugins.artifacts.documents import documents_of
from crystallize_plugins.artifacts.facts import facts_of
from crystallize_plugins.artifacts.files import store_error
from crystallize_plugins.artifacts.owner import current_owner
from crystallize_plugins.artifacts.writer import RunWriter

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.hooks import ExperimentView
    from crystallize.results import Result

__all__ = ["ActiveRun"]

_LOGGER = logging.getLogger("crystallize")


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
            # The single run that is kept is replaced by one that is complete, so that one is made beside it.
            version = layout.take_version(self._folder, first=0 if versioned else 1)
        except OSError as error:
            raise store_error("cannot store the run: no folder can be made in", self._folder, error) from error
        self._path = version.path
        self._facts = facts_of(experiment, versioned=versioned)
        self._owner = current_owner()
        try:
            readable.write_beginning(self._path, self._facts, self._owner)
        except OSError as error:
            raise store_error("cannot store the run: nothing can be written to", self._path, error) from error
        self.writer = RunWriter(
            self._path,
            self._facts,
            self._owner,
            describe=partial(condition_records, experiment),
            # Only an optimisation may do without the baseline.
            conditions=condition_names(experiment.treatments, baseline=experiment.run.kind != "trial"),
        )
        if not versioned:
            version = layout.Version(0, self._folder / "v0")
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
            if not self._facts.versioned:
                self._settle(experiment, result, complete=not stopped_by)
        except StoreError:
            raise
        except OSError as error:
            ticket.wait()  # what it has to say comes first
            raise store_error("cannot store the run: writing failed in", self._path, error) from error

    def retain(self, count: int) -> None:
        """Remove the files of all runs but the newest; where that fails, nothing is lost, and it is logged."""
        try:
            retention.keep_files_of_newest(self._folder, count)
        except OSError as error:
            _LOGGER.warning("the files of old runs in %s could not all be removed: %s", self._folder, error)

    def _settle(self, experiment: ExperimentView, result: Result, *, complete: bool) -> None:
        """Take the place of the run before, if this one is complete, and say everywhere where it lies."""
        former = str(self._path)
        if complete:
            self._path = retention.keep_only(self._folder, self._path)
            for artifact in self.writer.stored:
                artifact.path = str(self._path) + str(artifact.path).removeprefix(former)
        else:
            run = experiment.run
            run.version, run.folder = int(self._path.name[1:]), former
            result.facts["run"].update(version=run.version, folder=run.folder)
