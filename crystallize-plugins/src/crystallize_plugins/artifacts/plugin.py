"""`ArtifactPlugin`: every run in a folder of its own, stored while it goes on."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from crystallize.errors import ArgumentTypeError, RunLockedError, ValidationError
from crystallize.hooks import StorePlugin
from crystallize.hooks.tools import check_count, check_flag, mask_text
from crystallize_plugins.artifacts.files import layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize import Result
    from crystallize.hooks import Cell, CellOutcome, ExperimentView, JournalEntry, LazyOutcomes
    from crystallize_plugins.artifacts.active import ActiveRun
    from crystallize_plugins.artifacts.database.writer import Ticket
    from crystallize_plugins.artifacts.reading.stored import StoredRun
    from crystallize_plugins.artifacts.resume.optimization import Continuation
    from crystallize_plugins.artifacts.resume.plan import Newest, Resumption

__all__ = ["ArtifactPlugin"]

_NOT_STORED = ("apply", "debug")
# Of two letters at least: one is a drive. A `Path` has made one slash of two.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


class ArtifactPlugin(StorePlugin):
    """Stores every run: its cells as they finish, the files that steps write, and the result.

    A run is one folder, ``<root_dir>/<experiment>/v<N>``, that can be copied and opened elsewhere (`open_run`). A
    run is never overwritten. What has been shown or streamed is on the disk, and survives the death of the process
    and a loss of power.

    Parameters
    ----------
    root_dir : path, default "data"
        The folder of all experiments, made where it is missing. Relative to the directory in which a run starts.
    versioned : bool, default True
        Whether every run is kept. False keeps a single one, ``v0``, which the next run replaces once that is complete.
    artifact_retention : int, optional
        Of how many of the newest runs the files that steps wrote are kept; those of older runs are removed when a run
        ends, and their metrics stay. By default nothing is ever removed.
    trust_untracked : bool, default False
        Whether a resumed run keeps cells although something that they refer to cannot be compared, such as an open
        connection: a warning names it then. By default such cells run again.

    Raises
    ------
    ArgumentTypeError, ValidationError
        A setting is of the wrong type, `artifact_retention` smaller than 1, or `root_dir` a URL (see `MirrorPlugin`).

    Examples
    --------
    >>> store = ArtifactPlugin(root_dir="results", artifact_retention=5)
    >>> store.root_dir, store.versioned
    (PosixPath('results'), True)
    """

    keeps_journal = True
    gives_outcomes = True

    def __init__(
        self,
        root_dir: str | os.PathLike[str] = "data",
        versioned: bool = True,
        artifact_retention: int | None = None,
        trust_untracked: bool = False,
    ) -> None:
        try:
            self.root_dir = Path(root_dir)
        except TypeError:
            raise ArgumentTypeError(f"root_dir must be a path, not {type(root_dir).__name__}: {root_dir!r}") from None
        if _URL.match(url := os.fspath(root_dir)):
            raise ValidationError(
                f"root_dir must be a folder of this machine, not the URL {mask_text(url)!r}: a run's database needs a "
                "local disk. Store runs in a local folder, and have MirrorPlugin(url) of "
                "crystallize_plugins.artifacts copy them there while they go on"
            )
        self.versioned = check_flag(versioned, what="versioned")
        self.artifact_retention = (
            None if artifact_retention is None else check_count(artifact_retention, what="artifact_retention")
        )
        self.trust_untracked = check_flag(trust_untracked, what="trust_untracked")
        self._active: dict[str, ActiveRun] = {}
        self._resumed: dict[str, Resumption] = {}
        self._found: dict[str, Newest] = {}
        self._newest: dict[str, tuple[Any, StoredRun]] = {}

    def recorded_seed(self, experiment: ExperimentView) -> int | None:
        """Give the base seed of the run that is to be resumed, which seeding adopts where it has none of its own.

        Parameters
        ----------
        experiment : ExperimentView
        """
        found = self._found[experiment.run.id] = self._find(experiment)
        return None if found.run is None else found.run.facts.seed

    def before_run(self, experiment: ExperimentView) -> None:
        """Take the next version's folder, or the run over that is to be resumed."""
        run = experiment.run
        if run.kind in _NOT_STORED:
            return
        from crystallize_plugins.artifacts.active import ActiveRun, take_folder

        if run.strategy == "resume":
            from crystallize_plugins.artifacts.resume.begin import take_over

            found = self._found.pop(run.id, None) or self._find(experiment)
            folder = self._folder(experiment)
            active, self._resumed[run.id] = take_over(
                experiment, folder, found, versioned=self.versioned, trust_untracked=self.trust_untracked
            )
        else:
            version = take_folder(self._folder(experiment), versioned=self.versioned)
            active = ActiveRun.begin(experiment, version, versioned=self.versioned)
        if active is not None:
            self._active[run.id] = active

    def completed_cells(self, experiment: ExperimentView, cells: Sequence[Cell]) -> LazyOutcomes | tuple[()] | None:
        """Give the stored outcomes of the cells that still hold."""
        resumption = self._resumed.get(experiment.run.id)
        if resumption is None:
            return None
        kept = resumption.completed(cells)
        if experiment.run.kind == "trial" and not (resumption.in_place and len(kept) == len(cells)):
            # Before anything runs: of several processes one may go on.
            active = self._writing(experiment)
            if not resumption.in_place:
                active.take_in(kept)
        return kept

    def plan_cells(self, experiment: ExperimentView, cells: Sequence[Cell]) -> dict[Cell, str] | None:
        """Say what resuming would do with each cell, and change nothing."""
        from crystallize_plugins.artifacts.resume.plan import Resumption

        found = self._found.pop(experiment.run.id, None) or self._find(experiment)
        resumption = Resumption(found.run, experiment.cell_identities(), trust_untracked=self.trust_untracked)
        resumption.decide(cells)
        left = resumption.leave_undeclared(experiment)
        return {**resumption.reasons, **dict.fromkeys(left, "no longer declared")}

    def stored_outcomes(self, experiment: ExperimentView) -> LazyOutcomes | None:
        """Give what is stored of a run that goes on."""
        active = self._active.get(experiment.run.id)
        return None if active is None else active.outcomes()

    def collect(self, experiment: ExperimentView, outcome: CellOutcome) -> Ticket | None:
        """Store an outcome; the ticket says when it is safe."""
        active = self._active.get(experiment.run.id)
        return None if active is None else active.writer.collect(outcome)

    def journal(self, experiment: ExperimentView) -> Sequence[JournalEntry]:
        """Return what is recorded of the optimisation that this run continues."""
        run = experiment.run
        if run.id in self._resumed:
            return cast("Continuation", self._resumed[run.id]).recorded
        from crystallize_plugins.artifacts.reading.stored import StoredRun

        found = self._found[run.id] = self._find(experiment)
        return () if found.run is None else StoredRun(found.run.path).journal()

    def append_journal(self, experiment: ExperimentView, entry: JournalEntry) -> None:
        """Write down what an optimiser asks and is told."""
        from crystallize_plugins.artifacts.journal import journal_row

        self._writing(experiment).writer.add_event(*journal_row(entry))

    def collect_provenance(self, experiment: ExperimentView) -> dict[str, Any]:
        """Give what surrounds the run, from its code to its command line, and what a resumed run took over."""
        active = self._active.get(experiment.run.id)
        facts = {} if active is None else dict(active.recorder.facts())
        facts.pop("plugins", None)  # The lock is recorded early as well; in a result it is the engine's to give.
        resumption = self._resumed.get(experiment.run.id)
        return facts if resumption is None else {**facts, "resume": resumption.facts(experiment.replicates)}

    def after_run(self, experiment: ExperimentView, result: Result) -> None:
        """Store the result, and write the files that people read."""
        resumption = self._resumed.get(experiment.run.id)
        if resumption is not None and experiment.run.kind == "trial":
            self._end_what_was_cut(experiment, result)
            resumption.log()
        self._resumed.pop(experiment.run.id, None)
        active = self._active.pop(experiment.run.id, None)
        if active is not None:
            active.finish(experiment, result)
            if self.artifact_retention is not None:
                active.retain(self.artifact_retention)

    def used_seeds(self, experiment: ExperimentView) -> dict[int, str]:
        """Give the seeds of the cells of the experiment's earlier stored runs, with the folder of each."""
        from crystallize_plugins.artifacts.reading.stored import StoredRun

        active = self._active.get(experiment.run.id)
        own = Path(experiment.run.folder or "") if active is None else active.writer.folder.absolute()
        used: dict[int, str] = {}
        for version in layout.versions(self._folder(experiment)):
            if version.path.absolute() == own:
                break
            used.update(dict.fromkeys(StoredRun(version.path).seeds, version.path.name))
        return used

    def newest_run(self, experiment_name: str) -> StoredRun | None:
        """Give the newest stored run of an experiment that is not being written, or None.

        Parameters
        ----------
        experiment_name : str
            The experiment's name, or its identity where it has none.
        """
        from crystallize_plugins.artifacts.reading.stored import newest_run

        stored = layout.versions(layout.experiment_folder(self.root_dir, experiment_name))
        if not stored:
            return None
        highest = stored[-1].path
        state = _state(highest)
        known = self._newest.get(experiment_name)
        if known is not None and known[0] == state:
            return known[1]
        run = newest_run(self.root_dir, experiment_name)
        if run is not None and run.path == highest:
            self._newest[experiment_name] = (state, run)
        return run

    def __getstate__(self) -> dict[str, Any]:
        # What is open here stays here: copies in other processes only read.
        return {**self.__dict__, "_active": {}, "_resumed": {}, "_found": {}, "_newest": {}}

    def _end_what_was_cut(self, experiment: ExperimentView, result: Result) -> None:
        """Take over an optimisation that was cut short after its last trial, so that its end is written."""
        continuation = cast("Continuation", self._resumed[experiment.run.id])
        stopped = result.facts.get("run", {}).get("stopped_by")
        if not stopped and experiment.run.id not in self._active and continuation.lacks_an_end:
            # Where another process does the same, it does it as well.
            with suppress(RunLockedError):
                self._writing(experiment)

    def _writing(self, experiment: ExperimentView) -> ActiveRun:
        """Give the run that is being stored; an optimisation that goes on is taken over once something is new."""
        run = experiment.run
        active = self._active.get(run.id)
        if active is None:
            continuation = cast("Continuation", self._resumed[run.id])
            active = self._active[run.id] = continuation.take_over(experiment)
        return active

    def _folder(self, experiment: ExperimentView) -> Path:
        return layout.experiment_folder(self.root_dir, experiment.name or experiment.id)

    def _find(self, experiment: ExperimentView) -> Newest:
        from crystallize_plugins.artifacts.resume.plan import find_newest

        return find_newest(self._folder(experiment), experiment.run.kind)


def _state(run: Path) -> tuple[Any, ...]:
    """Give what changes when a run is replaced by another, or goes on."""
    try:
        found = (run / layout.RUN).stat()
    except FileNotFoundError:
        return (run, None)
    return (run, found.st_ino, found.st_mtime_ns)
