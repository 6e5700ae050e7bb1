"""The one writer of a run: a thread that commits what has arrived, in groups, and says when it is safe."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import RunStateError, StoreError
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.cells import SUMMARY, CellRows, error_row, metric_rows
from crystallize_plugins.artifacts.database.conditions import ConditionRows
from crystallize_plugins.artifacts.database.owner import HEARTBEAT, written_here
from crystallize_plugins.artifacts.database.schema import insert, seal
from crystallize_plugins.artifacts.database.typed_json import decode, encode, encode_plain
from crystallize_plugins.artifacts.files.layout import DATABASE, RUN, artifact_location
from crystallize_plugins.artifacts.files.synced import Content, remove_inside, store_error, write_synced

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from crystallize.hooks import ArtifactRecord, Cell, CellIdentities, CellOutcome, ConditionRecord
    from crystallize_plugins.artifacts.database.conditions import StoredCondition
    from crystallize_plugins.artifacts.database.connection import RunDatabase
    from crystallize_plugins.artifacts.database.facts import RunFacts, Session

__all__ = ["GROUP_SECONDS", "RunWriter", "StoredBefore", "Ticket", "plugin_rows", "put_session"]

GROUP_SECONDS = 0.005
"""How long an outcome waits for others to be committed with it, unless somebody waits for it."""

_ENCODED_AT_ONCE = 32
"""Outcomes that are made into rows one after the other: in between other work, each takes twice as long."""

_MOST_PENDING = 32 * 1024 * 1024
"""Bytes that may wait to be written; whoever hands in more waits until they are."""


class StoredBefore(NamedTuple):
    """What is in a run's database before its writer opens it, or will be by its first commit."""

    session: int
    """The number of the writer's session."""
    conditions: Mapping[str, StoredCondition]
    cells: Collection[Cell]
    arrived: int
    """The number of the cell that arrived last."""
    traces: int
    """How many rows the table `trace` has."""
    files: Mapping[Cell, Sequence[ArtifactRecord]]
    """What cells wrote, those included that are not taken over."""
    source: Path | None = None
    """The run that cells are taken over from; None where the run goes on in its own folder."""
    copy: Callable[[RunDatabase, Path], None] | None = None
    """Copies what is taken over, within the transaction that is open, to the database of the run in a folder."""


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
    """Those that are still to be made into rows."""
    cells: list[tuple[Any, ...]] = field(default_factory=list)
    metrics: list[tuple[Any, ...]] = field(default_factory=list)
    errors: list[tuple[Any, ...]] = field(default_factory=list)
    again: list[Cell] = field(default_factory=list)
    """Those of them that were stored before."""
    artifacts: list[tuple[Cell, ArtifactRecord]] = field(default_factory=list)
    events: list[tuple[Any, ...]] = field(default_factory=list)
    documents: dict[str, str] = field(default_factory=dict)
    size: int = 0
    ends: bool = False
    """Whether nothing follows."""
    stopped_by: str | None = None


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
    before : StoredBefore, optional
        The stored run that goes on, or that this one takes cells over from.
    recorded : callable, optional
        Gives the documents of the first commit; called in the writer's thread.

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
        before: StoredBefore | None = None,
        recorded: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.folder = folder
        self.facts = facts
        self.failed: set[str] = set()
        self.stored: list[ArtifactRecord] = []
        self._session = session
        self._before = before
        self._stored_files = identities.stored_files if identities is not None and identities.reads_files else None
        self._recorded = recorded
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._urgent = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: RunDatabase | None = None
        self._error: StoreError | None = None
        self._finished = False
        self._group = self._new_group()
        self._rows = CellRows(before.arrived, before.traces) if before else CellRows()
        self._conditions = ConditionRows(describe, identities, before.conditions if before else None)
        self._conditions.introduce(conditions)
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
            cell = outcome.cell
            if self._conditions.is_new(cell.condition):
                self._conditions.introduce([cell.condition])
            if self._before is not None and cell in self._before.cells:
                group.again.append(cell)
            if outcome.error is not None:
                self.failed.add(cell.key)
            for artifact in outcome.artifacts:
                group.artifacts.append((cell, artifact))
                group.size += len(artifact.data or b"")
            group.outcomes.append(outcome)
            if len(group.outcomes) >= _ENCODED_AT_ONCE:
                self._make_rows(group)
        self._wake()
        if group.size > _MOST_PENDING:
            group.ticket.wait()
        return group.ticket

    def add_event(self, name: str, body: str) -> Ticket:
        """Add an event of an optimisation, behind all that was taken in before.

        Parameters
        ----------
        name : str
        body : str
            Encoded.

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
            group.events.append((name, body, seal(name, body)))
            group.size += len(body)
        self._wake()
        return group.ticket

    def add_documents(self, documents: Mapping[str, str]) -> Ticket:
        """Add documents that are known before the end, so that a run that is cut short has them too.

        Parameters
        ----------
        documents : mapping of str to str
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
            group.documents.update(self._named(documents))
        self._wake()
        return group.ticket

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
        encoded = {name: encode(body).text for name, body in documents.items()}
        with self._lock:
            group = self._open_group()
            # Those of which no cell came are conditions of the run all the same.
            new = [name for name in documents.get("conditions", ()) if not self._conditions.is_stored(name)]
            self._conditions.introduce(new)
            group.documents.update(encoded)
            group.ends, group.stopped_by = True, stopped_by
            self._finished = True
        self._hurry()
        return group.ticket

    def _named(self, documents: Mapping[str, str]) -> dict[str, str]:
        suffix = "" if self._before is None or self._before.session == 1 else f"@{self._before.session}"
        return {name + suffix: body for name, body in documents.items()}

    def _make_rows(self, group: _Group) -> None:
        """Make rows of the outcomes that have none yet; the lock is held."""
        conditions = self._conditions
        for outcome in group.outcomes:
            if conditions.large:
                conditions.note(outcome)
            row = self._rows.row(outcome, self._identity(outcome.cell))
            group.cells.append(row)
            group.size += len(row[11])
            group.metrics += metric_rows(outcome)
            error = error_row(outcome)
            if error is not None:
                group.errors.append(error)
        group.outcomes.clear()

    def _identity(self, cell: Cell) -> str | None:
        identity = self._conditions.identity(cell.condition)
        if self._stored_files is None or identity is None:
            return identity
        return f"{identity}:{self._stored_files(cell)}"

    def _open_group(self) -> _Group:
        """Return what is being gathered; the lock is held."""
        if self._error is not None:
            raise self._error
        if self._finished:
            raise RunStateError(f"the run in {self.folder} is finished: nothing can be added to it")
        return self._group

    def _new_group(self) -> _Group:
        return _Group(Ticket(self._hurry))

    def _wake(self) -> None:
        if self._arrived.is_set():
            return
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
            known = self._named(self._recorded())
            with self._lock:
                self._group.documents.update(known)
        except BaseException as error:  # noqa: BLE001 - as below
            self._abandon(self._next_group(), _explained(error, self.folder))
        while self._error is None:
            if not self._arrived.wait(HEARTBEAT):
                # Where the folder is gone, the next commit will say so.
                with suppress(OSError):
                    operations.touch(self.folder / RUN)
                continue
            self._urgent.wait(GROUP_SECONDS)
            group = self._group
            try:
                group = self._next_group()
                self._store(group)
                if group.ends:
                    self._close()
            except BaseException as error:  # noqa: BLE001 - whoever waits must learn of it, whatever it is
                self._abandon(group, _explained(error, self.folder))
            else:
                group.ticket._settle(None)
                if group.ends:
                    return

    def _next_group(self) -> _Group:
        with self._lock:
            self._make_rows(self._group)
            group, self._group = self._group, self._new_group()
            self._arrived.clear()
            self._urgent.clear()
        return group

    def _store(self, group: _Group) -> None:
        first = self._connection is None
        connection = self._connection = self._connection or self._opened()
        files = self._store_artifacts(group.artifacts)
        former = self._files_of(connection, group.again)
        with self._transaction(connection):
            if first:
                self._begin(connection)
            self._insert(connection, group, files)
        remove_inside(self.folder, former.difference(row[4] for row in files))
        for (_, artifact), (*_, location, size, digest, _) in zip(group.artifacts, files, strict=True):
            artifact.path = str(self.folder / location)
            artifact.sha256, artifact.size, artifact.data = digest, size, None
            if not self.facts.versioned:
                self.stored.append(artifact)

    @contextmanager
    def _transaction(self, connection: RunDatabase) -> Iterator[None]:
        """Commit what is done within; where that fails nothing of it is kept, since the connection is given up."""
        connection.execute("BEGIN IMMEDIATE")
        yield
        operations.commit(connection)

    def _insert(self, connection: RunDatabase, group: _Group, files: Sequence[tuple[Any, ...]]) -> None:
        with self._lock:
            conditions, traces = self._conditions.take_new(), self._rows.take_new_traces()
        if conditions.replaced:
            statement = "DELETE FROM parameter WHERE condition = ?"
            operations.execute_many(connection, statement, conditions.replaced)
        self._insert_cells(connection, group)
        for table, rows in (
            ("condition", conditions.conditions),
            ("parameter", conditions.parameters),
            ("trace", traces),
            ("metric", group.metrics),
            ("error", group.errors),
            ("artifact", files),
            ("event", group.events),
            ("document", [(name, body, seal(name, body)) for name, body in group.documents.items()]),
        ):
            if rows:
                insert(connection, table, rows)
        plugins = next((body for name, body in group.documents.items() if name.partition("@")[0] == "plugins"), None)
        if plugins is not None:
            operations.execute(connection, "DELETE FROM plugin")
            insert(connection, "plugin", plugin_rows(plugins))
        if group.ends:
            cells = encode_plain([[*row] for row in connection.execute(SUMMARY)])
            insert(connection, "document", [("cells", cells, seal("cells", cells))])
            self._put_session(connection, self._session._replace(ended=time.time(), stopped_by=group.stopped_by))

    @staticmethod
    def _insert_cells(connection: RunDatabase, group: _Group) -> None:
        """Insert cells; of one that came before the later row counts, and what the other one had is gone with it."""
        _forget_cells(connection, group.again)
        try:
            insert(connection, "cell", group.cells)
        except sqlite3.IntegrityError:
            latest = {row[:2]: row for row in group.cells}
            _forget_cells(connection, [*latest])
            insert(connection, "cell", [*latest.values()])

    @staticmethod
    def _files_of(connection: RunDatabase, cells: Sequence[Cell]) -> set[str]:
        """Return where the files lie that these cells wrote when they ran before."""
        query = "SELECT step, name FROM artifact WHERE condition = ? AND replicate = ?"
        return {artifact_location(cell, *row) for cell in cells for row in connection.execute(query, cell)}

    def _store_artifacts(self, artifacts: list[tuple[Cell, ArtifactRecord]]) -> list[tuple[Any, ...]]:
        """Write files, and return their rows."""
        rows = []
        contents = []
        for cell, artifact in artifacts:
            data = artifact.data or b""
            location = artifact_location(cell, artifact.step, artifact.name)
            contents.append(Content(self.folder / location, data))
            row = (*cell, artifact.step, artifact.name, location, len(data), sha256(data).hexdigest())
            rows.append((*row, seal(*row)))
        if contents:
            write_synced(contents, inside=self.folder)
        return rows

    def _opened(self) -> RunDatabase:
        if self._before is not None and self._before.source is None:
            return database.reopen(self.folder)
        return database.create(self.folder)

    def _begin(self, connection: RunDatabase) -> None:
        """Write what is known before the first cell."""
        before = self._before
        if before is None or before.source is not None:
            row = self.facts.row()
            insert(connection, "run", [(*row, seal(*row))])
            self._put_session(connection, self._session)
        common = self._conditions.common()
        if common is not None:
            insert(connection, "identity", [common])
        if before is not None and before.copy is not None:
            before.copy(connection, self.folder)

    def _put_session(self, connection: RunDatabase, session: Session) -> None:
        put_session(connection, self._before.session if self._before else 1, session)

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


def _forget_cells(connection: RunDatabase, cells: Sequence[tuple[str, int]]) -> None:
    """Delete all rows of some cells."""
    for table in ("cell", "metric", "error", "artifact") if cells else ():
        statement = f"DELETE FROM {table} WHERE condition = ? AND replicate = ?"  # noqa: S608 - our own names
        operations.execute_many(connection, statement, cells)


def put_session(connection: RunDatabase, number: int, session: Session) -> None:
    """Write a process' work on a run, in place of what was known of it before."""
    row = (number, *session.row())
    insert(connection, "session", [(*row, seal(*row))])


def plugin_rows(document: str | None) -> list[tuple[Any, ...]]:
    """Return the rows of the table `plugin` that repeat a document."""
    entries = [] if document is None else decode(document)
    return [
        (place, each["name"], each["distribution"], each["version"], encode_plain(each["settings"]))
        for place, each in enumerate(entries if isinstance(entries, list) else ())
    ]


def _explained(error: BaseException, folder: Path) -> StoreError:
    if isinstance(error, StoreError):
        return error
    path = getattr(error, "filename", None) or folder / DATABASE
    return store_error("cannot store results: writing failed at", path, error)
