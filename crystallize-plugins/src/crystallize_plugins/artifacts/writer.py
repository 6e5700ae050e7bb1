"""The one writer of a run: a thread that commits what has arrived, in groups, and says when it is safe."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from crystallize.errors import RunStateError, StoreError
from crystallize_plugins.artifacts import database, operations
from crystallize_plugins.artifacts.cells import pack_cell
from crystallize_plugins.artifacts.checksum import seal, seal_group, sealed_row
from crystallize_plugins.artifacts.conditions import ConditionRow, ConditionTable
from crystallize_plugins.artifacts.encoding import encode
from crystallize_plugins.artifacts.files import Content, remove_inside, store_error, write_synced
from crystallize_plugins.artifacts.layout import DATABASE, RUN, artifact_location
from crystallize_plugins.artifacts.merging import merge_groups
from crystallize_plugins.artifacts.owner import HEARTBEAT, written_here
from crystallize_plugins.artifacts.schema import INSERT_ARTIFACT, INSERT_RUN, PUT_SESSION
from crystallize_plugins.artifacts.shapes import ShapeRow, ShapeTable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from crystallize.hooks import ArtifactRecord, Cell, CellIdentities, CellOutcome, ConditionRecord
    from crystallize_plugins.artifacts.basis import Basis
    from crystallize_plugins.artifacts.database import RunDatabase
    from crystallize_plugins.artifacts.facts import RunFacts, Session

__all__ = ["GROUP_SECONDS", "RunWriter", "Ticket"]

GROUP_SECONDS = 0.005
"""How long an outcome waits for others to be committed with it, unless somebody waits for it."""

_PACKED_AT_ONCE = 32
"""Outcomes that are made into records one after the other: in between other work, each takes twice as long."""

_MOST_PENDING = 32 * 1024 * 1024
"""Bytes that may wait to be written; whoever hands in more waits until they are."""

_PUT_DOCUMENT = "INSERT OR REPLACE INTO document VALUES (?, ?)"


class Ticket:
    """A promise that what was handed in will be on the disk, shared by all that is committed at once.

    Examples
    --------
    >>> ticket = store.collect(experiment, outcome)  # doctest: +SKIP
    >>> ticket.wait()  # doctest: +SKIP
    """

    __slots__ = ("_done", "_hurry", "error")

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry
        self._done = threading.Event()
        self.error: StoreError | None = None

    @property
    def done(self) -> bool:
        """Whether it is on the disk, or was found impossible to get there."""
        return self._done.is_set()

    def wait(self) -> None:
        """Return once it is on the disk; without waiting for others.

        Raises
        ------
        StoreError
            It cannot be written.
        """
        if not self._done.is_set():
            self._hurry()
            self._done.wait()
        if self.error is not None:
            raise self.error

    def _settle(self, error: StoreError | None) -> None:
        self.error = error
        self._done.set()


@dataclass(slots=True)
class _Group:
    """What is committed at once."""

    ticket: Ticket
    outcomes: list[CellOutcome] = field(default_factory=list)
    """Those that are still to be made into records."""
    cells: list[bytes] = field(default_factory=list)
    failed: int = 0
    again: list[Cell] = field(default_factory=list)
    """Those of them that were stored before."""
    shapes: list[ShapeRow] = field(default_factory=list)
    conditions: list[ConditionRow] = field(default_factory=list)
    artifacts: list[tuple[Cell, ArtifactRecord]] = field(default_factory=list)
    inputs: list[tuple[Any, ...]] = field(default_factory=list)
    journal: list[tuple[str, bytes]] = field(default_factory=list)
    documents: list[tuple[str, bytes]] = field(default_factory=list)
    size: int = 0
    ending: _Ending | None = None


@dataclass(slots=True)
class _Ending:
    """What is written at the end."""

    documents: Mapping[str, bytes]
    stopped_by: str | None


class RunWriter:
    """Writes one run.

    Nothing but the folder exists until the first outcome: neither thread nor connection, both of which a process that
    forks its workers is better without.

    Parameters
    ----------
    folder : Path
        The run's folder, empty but for ``run.json``.
    facts : RunFacts
    session : Session
        This process' work on it.
    describe : callable of a sequence of str
        Gives the records of conditions that are met for the first time.
    conditions : sequence of str
        Those that are known beforehand, in order.
    identities : CellIdentities, optional
        What the cells' identities are made of.
    basis : Basis, optional
        The stored run that goes on, or that this one carries cells over from.
    recorded : callable, optional
        Called in the writer's thread before its first commit; gives the documents that are written with it, encoded.

    Attributes
    ----------
    failed : set of str
        The keys of the cells that failed.
    stored : list of ArtifactRecord
        The files that were written, where the run may move to another folder.
    """

    def __init__(
        self,
        folder: Path,
        facts: RunFacts,
        session: Session,
        *,
        describe: Callable[[Sequence[str]], Sequence[ConditionRecord]],
        conditions: Sequence[str],
        identities: CellIdentities | None = None,
        basis: Basis | None = None,
        recorded: Callable[[], Mapping[str, bytes]] = dict,
    ) -> None:
        self.folder = folder
        self.facts = facts
        self.failed: set[str] = set()
        self.stored: list[ArtifactRecord] = []
        self._session = session
        self._basis = basis
        self._reads_files = identities.stored_files if identities is not None and identities.reads_files else None
        self._recorded = recorded
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._urgent = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._groups = basis.groups if basis else 0
        self._error: StoreError | None = None
        self._finished = False
        self._group = self._new_group()
        self._shapes = ShapeTable(self._announce, basis.shapes if basis else 0)
        self._conditions = ConditionTable(describe, self._shapes, identities, basis.conditions if basis else None)
        self._group.conditions += self._conditions.introduce(conditions)
        written_here.add(session.run)

    def collect(self, outcome: CellOutcome) -> Ticket:
        """Take an outcome in.

        Parameters
        ----------
        outcome : CellOutcome
            The content of its artifacts is handed over: once stored, they have a path and a hash instead.

        Returns
        -------
        Ticket

        Raises
        ------
        StoreError
            Something that was taken in before could not be written.
        RunStateError
            The run is finished.
        """
        with self._lock:
            group = self._open_group()
            condition = outcome.cell.condition
            if condition not in self._conditions.numbers:
                group.conditions += self._conditions.introduce([condition])
            if self._basis is not None and outcome.cell in self._basis.cells:
                group.again.append(outcome.cell)
            if self._reads_files is not None:
                group.inputs.append(sealed_row(outcome.cell.replicate, condition, self._reads_files(outcome.cell)))
            if outcome.error is not None:
                group.failed += 1
                self.failed.add(outcome.cell.key)
            for artifact in outcome.artifacts:
                group.artifacts.append((outcome.cell, artifact))
                group.size += len(artifact.data or b"")
            group.outcomes.append(outcome)
            if len(group.outcomes) >= _PACKED_AT_ONCE:
                self._pack(group)
        if not self._arrived.is_set():
            self._wake()
        if group.size > _MOST_PENDING:
            group.ticket.wait()
        return group.ticket

    def note(self, name: str, body: bytes) -> Ticket:
        """Add an entry to the journal, behind all that was taken in before.

        Parameters
        ----------
        name : str
        body : bytes
            Sealed.

        Returns
        -------
        Ticket

        Raises
        ------
        StoreError, RunStateError
            As `collect`.
        """
        with self._lock:
            group = self._open_group()
            group.journal.append((name, body))
            group.size += len(body)
        if not self._arrived.is_set():
            self._wake()
        return group.ticket

    def begin_documents(self, documents: Mapping[str, bytes]) -> Ticket:
        """Add documents that are known before the end, so that a run that is cut short has them too.

        Parameters
        ----------
        documents : mapping of str to bytes
            Encoded; rows of the table ``document``. A process that goes on with a run leaves those of the ones before
            it: the number of its session is added to the names.

        Returns
        -------
        Ticket

        Raises
        ------
        StoreError, RunStateError
            As `collect`.
        """
        with self._lock:
            group = self._open_group()
            group.documents += self._sealed(documents)
        if not self._arrived.is_set():
            self._wake()
        return group.ticket

    def _sealed(self, documents: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
        suffix = "" if self._basis is None or self._basis.session == 1 else f"@{self._basis.session}"
        return [(name + suffix, seal(body, name + suffix)) for name, body in documents.items()]

    def finish(self, documents: Mapping[str, Any], *, stopped_by: str | None = None) -> Ticket:
        """Write what is left and what is known at the end, and close the run.

        Parameters
        ----------
        documents : mapping of str to object
            The rows of the table ``document``; ``conditions`` are the names of all conditions, in order.
        stopped_by : str, optional
            What ended the run early.

        Returns
        -------
        Ticket
            It is due once the run is closed.

        Raises
        ------
        StoreError, RunStateError
            As `collect`.
        """
        ending = _Ending({name: seal(encode(body).data, name) for name, body in documents.items()}, stopped_by)
        with self._lock:
            group = self._open_group()
            # Those of which no cell came are conditions of the run all the same.
            new = [name for name in documents.get("conditions", ()) if not self._conditions.has(name)]
            group.conditions += self._conditions.introduce(new)
            group.ending = ending
            self._finished = True
        self._hurry()
        return group.ticket

    def _pack(self, group: _Group) -> None:
        """Make records of the outcomes that have none yet; the lock is held."""
        conditions, shapes = self._conditions, self._shapes
        for outcome in group.outcomes:
            if conditions.large:
                conditions.note(outcome)
            record = pack_cell(outcome, conditions.numbers[outcome.cell.condition], shapes)
            group.cells.append(record)
            group.size += len(record)
        group.outcomes.clear()

    def _open_group(self) -> _Group:
        """Give what is being gathered; the lock is held."""
        if self._error is not None:
            raise self._error
        if self._finished:
            raise RunStateError(f"the run in {self.folder} is finished: nothing can be added to it")
        return self._group

    def _announce(self, row: ShapeRow) -> None:
        self._group.shapes.append(row)

    def _new_group(self) -> _Group:
        return _Group(Ticket(self._hurry))

    def _wake(self) -> None:
        self._arrived.set()
        if self._thread is None:
            # A daemon: what it writes is whole at every moment, and nobody shall wait for it at the end of a process.
            self._thread = threading.Thread(target=self._work, name="crystallize-store", daemon=True)
            self._thread.start()

    def _hurry(self) -> None:
        self._urgent.set()
        self._wake()

    # -- in the writer's thread -------------------------------------------------------------------

    def _work(self) -> None:
        try:
            known = self._sealed(self._recorded())
            with self._lock:
                self._group.documents += known
        except BaseException as error:  # noqa: BLE001 - as below
            self._abandon(self._next_group(), _explained(error, self.folder))
        while self._error is None:
            if not self._arrived.wait(HEARTBEAT):
                # Where the folder is gone, the next commit will say so.
                with suppress(OSError):
                    operations.touch(self.folder / RUN)
                continue
            self._urgent.wait(GROUP_SECONDS)
            group = self._next_group()
            try:
                self._store(group)
                if group.ending is not None:
                    self._close()
            except BaseException as error:  # noqa: BLE001 - whoever waits must learn of it, whatever it is
                self._abandon(group, _explained(error, self.folder))
            else:
                group.ticket._settle(None)
                if group.ending is not None:
                    return

    def _next_group(self) -> _Group:
        with self._lock:
            self._pack(self._group)
            group, self._group = self._group, self._new_group()
            self._arrived.clear()
            self._urgent.clear()
        return group

    def _store(self, group: _Group) -> None:
        first = self._connection is None
        connection = self._connection = self._connection or self._opened()
        rows = self._store_artifacts(group.artifacts)
        before = self._files_of(connection, group.again)
        others = (group.inputs, group.shapes, group.conditions, group.journal, group.documents)
        if not (first or rows or group.again or any(others) or group.ending):
            # One statement is one commit, and one wait for the interpreter's lock instead of three.
            self._insert_cells(connection, group)
        else:
            connection.execute("BEGIN IMMEDIATE")
            if first:
                self._begin(connection)
            for statement, several in (
                ("INSERT OR REPLACE INTO condition VALUES (?, ?, ?, ?, ?, ?)", group.conditions),
                ("INSERT INTO shape VALUES (?, ?, ?)", group.shapes),
                # What they wrote counts no more.
                ("DELETE FROM artifact WHERE condition = ? AND replicate = ?", group.again),
                ("INSERT OR REPLACE INTO input VALUES (?, ?, ?, ?)", group.inputs),
                (INSERT_ARTIFACT, [sealed_row(*row) for row in rows]),
            ):
                if several:
                    operations.execute_many(connection, statement, several)
            self._insert_cells(connection, group)
            if group.journal:
                operations.execute_many(connection, "INSERT INTO journal (name, body) VALUES (?, ?)", group.journal)
            if group.documents:
                operations.execute_many(connection, _PUT_DOCUMENT, group.documents)
            if group.ending is not None:
                merge_groups(connection)
                self._insert_ending(connection, group.ending)
            operations.commit(connection)
        remove_inside(self.folder, before.difference(row[4] for row in rows))
        for (_, artifact), (*_, location, size, digest) in zip(group.artifacts, rows, strict=True):
            artifact.path = str(self.folder / location)
            artifact.sha256, artifact.size, artifact.data = digest, size, None
            if not self.facts.versioned:
                self.stored.append(artifact)

    @staticmethod
    def _files_of(connection: sqlite3.Connection, cells: Sequence[Cell]) -> set[str]:
        """Give where the files lie that these cells wrote when they ran before."""
        query = "SELECT step, name FROM artifact WHERE condition = ? AND replicate = ?"
        return {artifact_location(cell, *row) for cell in cells for row in connection.execute(query, cell)}

    def _store_artifacts(self, artifacts: list[tuple[Cell, ArtifactRecord]]) -> list[tuple[Any, ...]]:
        """Write files, and give their rows."""
        rows = []
        contents = []
        for cell, artifact in artifacts:
            data = artifact.data or b""
            location = artifact_location(cell, artifact.step, artifact.name)
            contents.append(Content(self.folder / location, data))
            digest = sha256(data).hexdigest()
            rows.append((cell.replicate, cell.condition, artifact.step, artifact.name, location, len(data), digest))
        if contents:
            write_synced(contents, inside=self.folder)
        return rows

    def _insert_cells(self, connection: sqlite3.Connection, group: _Group) -> None:
        if group.cells:
            self._groups += 1
            row = (self._groups, len(group.cells), group.failed)
            body = seal_group(b"".join(group.cells), *row)
            operations.execute(connection, "INSERT INTO cells VALUES (?, ?, ?, ?)", (*row, body))

    def _opened(self) -> RunDatabase:
        if self._basis is not None and self._basis.carried is None:
            return database.reopen(self.folder)
        return database.create(self.folder)

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Write what is known before the first cell."""
        basis = self._basis
        if basis is None or basis.carried is not None:
            operations.execute(connection, INSERT_RUN, sealed_row(*self.facts.row()))
            self._put_session(connection, self._session)
        common = self._conditions.common()
        if common is not None:
            operations.execute(connection, "INSERT OR REPLACE INTO identity VALUES (?, ?)", common)
        if basis is not None and basis.carried is not None:
            basis.carried.store(connection, self.folder)

    def _insert_ending(self, connection: sqlite3.Connection, ending: _Ending) -> None:
        operations.execute_many(connection, _PUT_DOCUMENT, ending.documents.items())
        self._put_session(connection, self._session._replace(ended=time.time(), stopped_by=ending.stopped_by))

    def _put_session(self, connection: sqlite3.Connection, session: Session) -> None:
        number = self._basis.session if self._basis else 1
        operations.execute(connection, PUT_SESSION, sealed_row(number, *session.row()))

    def _close(self) -> None:
        written_here.discard(self._session.run)
        if self._connection is not None:
            # What was committed is moved from the log into the database, and the log removed.
            self._connection.close()

    def _abandon(self, group: _Group, error: StoreError) -> None:
        # What was committed stays, and can be read; the error that is being told of is the one that matters.
        with suppress(Exception):
            self._close()
        with self._lock:
            self._error = error
            last = self._group
        group.ticket._settle(error)
        last.ticket._settle(error)


def _explained(error: BaseException, folder: Path) -> StoreError:
    if isinstance(error, StoreError):
        return error
    path = getattr(error, "filename", None) or folder / DATABASE
    return store_error("cannot store results: writing failed at", path, error)
