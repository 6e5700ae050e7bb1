"""Taking a stored run over: it goes on in its place, its next version begins, or there is nothing to do."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from crystallize.errors import StoreError
from crystallize.hooks import condition_names
from crystallize.hooks.declarations import lock_differences
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.active import ActiveRun, take_folder
from crystallize_plugins.artifacts.resume.optimization import Continuation
from crystallize_plugins.artifacts.resume.plan import Resumption, find_newest

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.hooks import ExperimentView
    from crystallize_plugins.artifacts.resume.plan import Newest
    from crystallize_plugins.artifacts.resume.previous import PreviousRun

__all__ = ["take_over"]

_LOGGER = logging.getLogger("crystallize")


def take_over(
    experiment: ExperimentView, folder: Path, found: Newest, *, versioned: bool, trust_untracked: bool
) -> tuple[ActiveRun | None, Resumption]:
    """Begin a resumed run.

    Parameters
    ----------
    experiment : ExperimentView
        Its ``run`` is told the folder and the version.
    folder : Path
        The experiment's.
    found : Newest
        The run that is to be resumed.
    versioned : bool
        Whether every run is kept.
    trust_untracked : bool
        Whether cells hold although something that they refer to cannot be compared.

    Returns
    -------
    active : ActiveRun or None
        None where every cell is there already, or an optimisation goes on that has nothing new yet: nothing is written
        then.
    resumption : Resumption

    Raises
    ------
    RunLockedError
        Another process is working on the run, or on the version after it.
    StoreError
        Something cannot be read or written.
    """
    if experiment.run.kind == "trial":
        return _continue(experiment, folder, found, versioned=versioned, trust_untracked=trust_untracked)
    conditions = condition_names(experiment.treatments)
    identities = experiment.cell_identities()
    while True:
        previous = found.run
        resumption = Resumption(previous, identities, trust_untracked=trust_untracked)
        todo = resumption.decide_all(conditions, experiment.replicates)
        resumption.leave_undeclared(experiment)
        if previous is not None and not (todo or resumption.undeclared) and previous.is_finished:
            experiment.run.version, experiment.run.folder = int(previous.path.name[1:]), str(previous.path)
            resumption.log()
            _name_other_plugins(experiment, previous)
            return None, resumption
        if (
            previous is not None
            and found.newest
            and identities
            and not resumption.undeclared
            and previous.can_go_on(conditions, identities)
        ):
            resumption.in_place = True
            active = ActiveRun.go_on(experiment, previous)
        else:
            active = _next(experiment, folder, found, resumption, versioned=versioned)
        if active is not None:
            resumption.log()
            _name_other_plugins(experiment, previous)
            return active, resumption
        # Another process did something at the same time: that may be what was to be done here.
        found = find_newest(folder, experiment.run.kind)


def _name_other_plugins(experiment: ExperimentView, previous: PreviousRun | None) -> None:
    """Say in which plugins the run differs from the one that it goes on from: neutral ones are in no identity."""
    if previous is None or not isinstance(previous.plugins, list):
        return  # They were not recorded.
    for difference in lock_differences(previous.plugins, experiment.lock()):
        _LOGGER.info("resume: %s", difference)


def _continue(
    experiment: ExperimentView, folder: Path, found: Newest, *, versioned: bool, trust_untracked: bool
) -> tuple[ActiveRun | None, Continuation]:
    """Begin a resumed optimisation: where the stored one goes on, nothing is written yet."""
    while True:
        continuation = Continuation(experiment, found.run, trust_untracked=trust_untracked)
        active = None
        if found.run is not None and continuation.in_place:
            experiment.run.version, experiment.run.folder = int(found.run.path.name[1:]), str(found.run.path)
        else:
            active = _next(experiment, folder, found, continuation, versioned=versioned)
            if active is None:
                found = find_newest(folder, experiment.run.kind)
                continue
        continuation.log_beginning()
        _name_other_plugins(experiment, found.run)
        return active, continuation


def _next(
    experiment: ExperimentView, folder: Path, found: Newest, resumption: Resumption, *, versioned: bool
) -> ActiveRun | None:
    """Begin the next version with the cells that still hold; None where another process has begun one."""
    before = None
    if found.run is not None:
        kept = resumption.kept(list(resumption.reasons))
        if kept:
            before = found.run.taken_over(kept)
    # Last: until a folder says whose it is, others cannot tell whether anybody is there.
    version = take_folder(folder, versioned=versioned)
    wanted = folder / f"v{max(found.highest, -1 if versioned else 0) + 1}"
    if version.path != wanted:
        operations.remove_folder(version.path)
        if os.path.lexists(wanted) and not wanted.is_dir():
            raise StoreError(
                f"{wanted} has the name of the next run, and is no folder: it is a file, or a link that leads nowhere "
                "(a disk that is not mounted?), so it cannot be said which run is the newest. Mount it, or move it away"
            )
        return None
    return ActiveRun.begin(experiment, version, versioned=versioned, before=before)
