"""Resuming: which stored run goes on, who may write to it, and what becomes of each cell."""

from __future__ import annotations

import datetime as dt
import logging
import os
import socket
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from crystallize.errors import RunLockedError, StoreError
from crystallize.hooks import condition_names, plan_cells
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.facts import facts_from_file, facts_from_row
from crystallize_plugins.artifacts.database.owner import is_alive
from crystallize_plugins.artifacts.database.schema import seal, upgrade
from crystallize_plugins.artifacts.database.writer import put_session
from crystallize_plugins.artifacts.files.layout import DATABASE, is_version, versions
from crystallize_plugins.artifacts.files.synced import store_error
from crystallize_plugins.artifacts.reading import rows
from crystallize_plugins.artifacts.reading.documents import ENDING
from crystallize_plugins.artifacts.resume.previous import COMPLETE, UNTRACKED, PreviousRun

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from crystallize.hooks import Cell, CellIdentities, ExperimentView, LazyOutcomes
    from crystallize_plugins.artifacts.database.facts import RunFacts, Session

__all__ = ["Newest", "Resumption", "claim", "find_newest", "locked"]

_LOGGER = logging.getLogger("crystallize")

_FIRST_MOMENT = 1.0
"""Seconds after which a folder that says nothing of its run was left behind by a process that was killed."""

_OTHER = object()
"""Stands for a run that is not of the kind that is asked for."""

_warned: set[str] = set()


class Newest:
    """The newest run of an experiment that something was committed to.

    Attributes
    ----------
    run : PreviousRun or None
        None where there is none.
    newest : bool
        Whether no folder comes after it that a process was killed in before its first commit.
    highest : int
        The highest number that was taken, -1 where none was.
    """

    __slots__ = ("highest", "newest", "run")

    def __init__(self, run: PreviousRun | None, *, newest: bool, highest: int) -> None:
        self.run = run
        self.newest = newest
        self.highest = highest


def find_newest(folder: Path, kind: str) -> Newest:
    """Find the run that is to be resumed.

    Parameters
    ----------
    folder : Path
        The experiment's folder.
    kind : str
        Runs and optimisations are resumed each on their own: ``"run"`` or ``"trial"``.

    Raises
    ------
    RunLockedError
        Another process is writing to it.
    StoreError
        It cannot be read.
    """
    found = versions(folder)
    highest = found[-1].number if found else -1
    newest = True
    for version in reversed(found):
        looked = _looked_at(version.path, kind)
        if isinstance(looked, PreviousRun):
            # What a link leads to lies elsewhere: it is read, and never gone on with.
            return Newest(looked, newest=newest and not version.path.is_symlink(), highest=highest)
        if looked is not _OTHER:
            newest = False
    return Newest(None, newest=newest, highest=highest)


def _looked_at(path: Path, kind: str) -> PreviousRun | object | None:
    """Give the run in a folder; None where nothing was committed, `_OTHER` where it is of another kind."""
    while True:
        before = database.state_of(path / DATABASE)
        try:
            return _look_at(path, kind)
        except StoreError as error:
            # Who reads a run that nobody writes does not lock it: another process may have begun to, this moment.
            if isinstance(error, RunLockedError) or database.state_of(path / DATABASE) == before:
                raise


def _look_at(path: Path, kind: str) -> PreviousRun | object | None:
    facts: RunFacts | None
    session: Session | None
    began = time.monotonic()
    while True:
        try:
            with database.reading(path, whole=False) as source:
                facts = facts_from_row(source)
                session = None if facts is None else rows.last_session(source)[1]
                if facts is not None and facts.kind == kind and (session is None or _is_free(path, session)):
                    database.check_structure(source)
                    return PreviousRun(path, source)
            committed = facts is not None
            if facts is None:
                facts, session = facts_from_file(path) or (None, None)
            if facts is not None and facts.kind != kind:
                return _OTHER
            if session is not None:
                if not _is_free(path, session):
                    raise locked(path, session)
                if not committed:
                    return None
                continue  # it ended this very moment
            age = abs(time.time() - path.stat().st_mtime)
        except FileNotFoundError:
            return None
        if age >= _FIRST_MOMENT or time.monotonic() - began >= _FIRST_MOMENT:
            return None
        # Another process has taken the number this very moment, and is about to say who it is.
        time.sleep(0.01)


def _is_free(path: Path, session: Session, *, locked: bool = False) -> bool:
    return session.ended is not None or not is_alive(session.owner, path, locked=locked)


def locked(path: Path, session: Session) -> RunLockedError:
    """Return the error that says whose a run is."""
    owner = session.owner
    since = dt.datetime.fromtimestamp(session.started).astimezone().isoformat(timespec="seconds")
    if owner[:2] == (socket.gethostname(), os.getpid()):
        who, end = "this very process", "close the stream that it comes from"
    else:
        who, end = f"process {owner.pid} on {owner.host}", "end that process"
    return RunLockedError(
        f"the run in {path} cannot be resumed: {who} has been working on it since {since}. Wait until that is over, or "
        f'{end}; strategy="rerun" starts a run beside it',
        host=owner.host,
        pid=owner.pid,
        started=session.started,
        path=str(path),
    )


def claim(previous: PreviousRun, session: Session, replicates: int) -> bool:
    """Take a run over whose folder this process has locked, if it is as it was when it was looked at.

    It is one transaction: of processes on several kernels, too, one finds the run without an owner, and becomes it. A
    process that is killed leaves nothing behind that would have to be unlocked.

    Parameters
    ----------
    previous : PreviousRun
    session : Session
        This process' work on it.
    replicates : int
        How many the run is asked for now.

    Returns
    -------
    bool
        False where something was added in between, so that it has to be looked at again.

    Raises
    ------
    RunLockedError
        Another process was quicker.
    StoreError
        The database cannot be written to.
    """
    connection = database.reopen(previous.path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        now = PreviousRun(previous.path, connection)
        if not _is_free(previous.path, now.session, locked=True):
            raise locked(previous.path, now.session)
        if now.state != previous.state:
            return False
        upgrade(connection)
        put_session(connection, now.state[0] + 1, session)
        if replicates > now.facts.replicates:
            values = (replicates, seal(*now.facts._replace(replicates=replicates).row()))
            operations.execute(connection, "UPDATE run SET replicates = ?, seal = ?", values)
        # What was known at the end is not the end any more.
        operations.execute_many(connection, "DELETE FROM document WHERE name = ?", [(name,) for name in ENDING])
        operations.commit(connection)
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, StoreError):
            raise
        raise store_error("cannot go on with the run: writing failed at", previous.path / DATABASE, error) from error
    finally:
        # What was not committed is undone by that.
        connection.close()
    return True


class Resumption:
    """What a resumed run takes over, and why it runs what it runs.

    Parameters
    ----------
    previous : PreviousRun or None
        The stored run; None where there is none.
    identities : CellIdentities or None
        Of what is wanted now.
    trust_untracked : bool, default False
        Whether cells hold although something that they refer to cannot be compared.

    Attributes
    ----------
    reasons : dict of Cell to str
        Of each cell that was asked about.
    in_place : bool
        Whether the stored run itself goes on.
    undeclared : dict of str to list of Cell
        The stored cells of conditions that the experiment does not have any more, by condition: see
        `leave_undeclared`.
    """

    def __init__(
        self, previous: PreviousRun | None, identities: CellIdentities | None, *, trust_untracked: bool = False
    ) -> None:
        self.previous = previous
        if previous is not None:
            previous.trust_untracked = trust_untracked
        self._trust_untracked = trust_untracked
        self.identities = identities
        self.in_place = False
        self.reasons: dict[Cell, str] = {}
        self.undeclared: dict[str, list[Cell]] = {}
        self._whole = False

    def leave_undeclared(self, experiment: ExperimentView) -> list[Cell]:
        """Find stored conditions that are no longer declared: these are not taken over, and the next version begins.

        Declared is what this run is asked for, and what is among the experiment's own treatments: a run that is asked
        for some of them leaves the others where they are.

        Parameters
        ----------
        experiment : ExperimentView

        Returns
        -------
        list of Cell
            Their stored cells.
        """
        if self.previous is not None and experiment.run.kind == "run" and not self._whole:
            declared = {*condition_names(experiment.treatments), *experiment.declared}
            self.undeclared = self.previous.cells_beside(declared)
        return [cell for cells in self.undeclared.values() for cell in cells]

    def decide_all(self, conditions: Sequence[str], replicates: int) -> list[Cell]:
        """Decide about a whole run; see `decide`."""
        if self.previous is not None and self.identities is not None:
            self._whole = self.previous.holds_all(conditions, replicates, self.identities)
        return [] if self._whole else self.decide(plan_cells(conditions, replicates))

    def decide(self, cells: Sequence[Cell]) -> list[Cell]:
        """Decide about cells, and give those that have to run."""
        if self.previous is None or self.identities is None:
            decided = dict.fromkeys(cells, "missing")
        else:
            decided = self.previous.decide(cells, self.identities)
        self.reasons.update(decided)
        return [] if _all_complete(decided) else [cell for cell, reason in decided.items() if reason != COMPLETE]

    def kept(self, cells: Sequence[Cell]) -> Sequence[Cell]:
        """Give those of some cells, all decided about, that are complete."""
        if _all_complete(self.reasons):
            return cells
        return [cell for cell in cells if self.reasons[cell] == COMPLETE]

    def completed(self, cells: Sequence[Cell]) -> LazyOutcomes | tuple[()]:
        """Give the stored outcomes of the cells that hold; about those that are new it is decided now."""
        if self._whole and self.previous is not None:
            return self.previous.outcomes.restricted(cells)
        if not all(map(self.reasons.__contains__, cells)):
            self.decide([cell for cell in cells if cell not in self.reasons])
        return () if self.previous is None else self.previous.outcomes.restricted(self.kept(cells))

    @property
    def untracked(self) -> tuple[str, ...]:
        """What could not be compared, as ``"where: what"``."""
        return () if self.identities is None or self.previous is None else tuple(self.identities.untracked)

    def facts(self, replicates: int) -> dict[str, Any]:
        """Give what is kept of all this with the run's provenance.

        Parameters
        ----------
        replicates : int
            How many the run came to have: it may have stopped before those that it was asked for.
        """
        self.reasons = {cell: reason for cell, reason in self.reasons.items() if cell.replicate < replicates}
        groups = self._grouped()
        return {
            "from": None
            if self.previous is None
            else {"version": _version(self.previous.path), "run": self.previous.session.run},
            "in_place": self.in_place,
            "kept": self._total() - sum(map(len, groups.values())),
            "ran": {reason: _by_condition(cells) for reason, cells in groups.items()},
            "undeclared": {name: [cell.replicate for cell in cells] for name, cells in self.undeclared.items()},
            "untracked": list(self.untracked),
        }

    def log(self) -> None:
        """Say in one line what is taken over and what runs, and why."""
        groups = self._grouped()
        todo = sum(map(len, groups.values()))
        total = self._total()
        if self.previous is None:
            _LOGGER.info("resume: no run is stored, so all %d cells run", total)
            return
        what = "; ".join(f"{len(cells)} {reason} ({_shown(cells)})" for reason, cells in groups.items())
        where = "which goes on" if self.in_place else "whose next version begins"
        if self.undeclared:
            gone = ", ".join(f"{name!r} ({len(cells)} cells)" for name, cells in self.undeclared.items())
            _LOGGER.info(
                "resume: %s holds conditions that are no longer declared, so the next version begins without them: %s",
                self.previous.path, gone,
            )  # fmt: skip
        if not todo:
            done = "nothing to run" if self.undeclared else "nothing to do"
            _LOGGER.info("resume: all %d cells are kept from %s; %s", total, self.previous.path, done)
        else:
            _LOGGER.info(
                "resume: %d of %d cells are kept from %s, %s; %d to run: %s",
                total - todo, total, self.previous.path, where, todo, what,
            )  # fmt: skip
        self._warn(kept=total > todo)

    def _total(self) -> int:
        return len(self.previous.outcomes) if self._whole and self.previous is not None else len(self.reasons)

    def _warn(self, *, kept: bool) -> None:
        """Name, once in a process, what could have changed unnoticed, and the way out."""
        again = any(reason.startswith(UNTRACKED) for reason in set(self.reasons.values()))
        new = [text for text in self.untracked if text not in _warned]
        if not new or not (again or (kept and self._trust_untracked)):
            return
        _warned.update(new)
        if again:
            _LOGGER.warning(
                "resume: cells run again because some of what they refer to cannot be compared, so that a change of it "
                "would go unnoticed: %s. Give a step whose code holds it a version=, a data source depends_on=, the "
                "object a method __fingerprint__, or let resource_factory make it; "
                "ArtifactPlugin(trust_untracked=True) keeps such cells",
                ", ".join(new),
            )
        else:
            _LOGGER.warning(
                "resume: cells are kept although some of what they refer to cannot be compared, so that a change of it "
                "goes unnoticed: %s. Give such an object a method __fingerprint__, or the step a version=",
                ", ".join(new),
            )

    def _grouped(self) -> dict[str, list[Cell]]:
        groups: dict[str, list[Cell]] = {}
        if _all_complete(self.reasons):
            return groups
        for cell, reason in self.reasons.items():
            if reason != COMPLETE:
                groups.setdefault(reason, []).append(cell)
        return groups


def _all_complete(reasons: Mapping[Cell, str]) -> bool:
    return set(reasons.values()) <= {COMPLETE}


def _by_condition(cells: Sequence[Cell]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = {}
    for condition, replicate in cells:
        found.setdefault(condition, []).append(replicate)
    return found


def _shown(cells: Sequence[Cell], most: int = 3) -> str:
    shown = ", ".join(cell.key for cell in cells[:most])
    return shown + (", …" if len(cells) > most else "")


def _version(path: Path) -> int:
    return int(path.name[1:]) if is_version(path) else -1
