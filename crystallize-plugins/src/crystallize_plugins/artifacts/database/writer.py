"""The one writer of a run: a thread that commits what has arrived, in groups, and says when it is safe."""

from __future__ import annotations

import sqlite3
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import PipelineExecutionError, RunLockedError, RunStateError, StoreError
from crystallize.hooks import CellTrace
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.database.cells import SUMMARY, CellRows, error_row, metric_rows
from crystallize_plugins.artifacts.database.conditions import ConditionRows
from crystallize_plugins.artifacts.database.owner import identity_of, no_thread
from crystallize_plugins.artifacts.database.schema import insert, seal
from crystallize_plugins.artifacts.database.typed_json import decode, encode, encode_plain
from crystallize_plugins.artifacts.files.layout import DATABASE, artifact_location
from crystallize_plugins.artifacts.files.synced import Content, remove_inside, store_error, write_synced

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from crystallize.hooks import ArtifactRecord, Cell, CellIdentities, CellOutcome, ConditionRecord
    from crystallize_plugins.artifacts.database.conditions import StoredCondition
    from crystallize_plugins.artifacts.database.connection import RunDatabase
    from crystallize_plugins.artifacts.database.facts import RunFacts, Session
    from crystallize_plugins.artifacts.database.owner import RunLock

__all__ = ["GROUP_SECONDS", "RunWriter", "StoredBefore", "Ticket", "plugin_rows", "put_session"]

GROUP_SECONDS = 0.005
"""How long an outcome waits for others to be committed with it, unless somebody waits for it."""

_ENCODED_AT_ONCE = 32
"""Outcomes that are made into rows one after the other: in between other work, each takes twice as long."""

_MOST_PENDING = 32 * 1024 * 1024
"""Bytes that may wait to be written; whoever hands in more waits until they are."""

_LARGEST_CELL = 999_000_000
"""Bytes that a cell may take: SQLite takes rows of a thousand million."""

_LOOK_AFTER = 1.0
"""Seconds after which who waits looks whether the writer's thread is still there."""

_LONGEST_REASON = 10_000
"""Characters of what user code says of an error."""

_SAFE = frozenset({float, int, bool, type(None)})


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

    __slots__ = ("_done", "_writer", "error")

    def __init__(self, writer: RunWriter) -> None:
        self._writer = writer
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
            self._writer._hurry()
            while not self._done.wait(_LOOK_AFTER):
                self._writer._check_thread()
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
    last: bool = False
    """Whether nothing follows."""
    ends: bool = False
    """Whether the run is over by it."""
    stopped_by: str | None = None
    replicates: int | None = None
    """How many the run has, where it was asked for another number."""


class RunWriter:
    """Writes one run.

    Nothing but the folder exists until the first outcome: no thread of its own and no connection, which a process that
    forks its workers is better without.

    Parameters
    ----------
    folder : Path
        The run's folder, empty but for ``run.json``.
    facts : RunFacts
    session : Session
        This process' work on it.
    lock : RunLock
        Its hold on the folder; it is given up here only where writing fails.
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
        lock: RunLock,
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
        self._run_lock = lock
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
        self._writing: _Group | None = None
        self._rows = CellRows(before.arrived, before.traces) if before else CellRows()
        self._conditions = ConditionRows(describe, identities, before.conditions if before else None)
        self._conditions.introduce(conditions)

    def collect(self, outcome: CellOutcome) -> Ticket:
        """Take an outcome in; it is a failed one afterwards if something of it cannot be stored.

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
            given: BaseException | None = outcome.error
            if given is not None and not isinstance(given, PipelineExecutionError):
                outcome.error = _failure(outcome, "a plugin says so", given)
            for artifact in outcome.artifacts:
                group.artifacts.append((cell, artifact))
                group.size += len(artifact.data or b"")
            group.outcomes.append(outcome)
            if len(group.outcomes) >= _ENCODED_AT_ONCE or not _is_safe(outcome):
                self._make_rows(group)
            if outcome.error is not None:
                self.failed.add(cell.key)
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

    def finish(
        self, documents: Mapping[str, Any], *, stopped_by: str | None = None, replicates: int | None = None
    ) -> Ticket:
        """Write what is left and what is known at the end, and close the run.

        Parameters
        ----------
        documents : mapping of str to object
            The rows of the table ``document``; ``conditions`` are the names of all conditions, in order.
        stopped_by : str, optional
            What ended the run early.
        replicates : int, optional
            How many the run came to have, where that is not what it was asked for.

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
            group.last = group.ends = True
            group.stopped_by = stopped_by
            if replicates is not None and replicates != self.facts.replicates:
                self.facts = self.facts._replace(replicates=replicates)
                group.replicates = replicates
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
            try:
                row, metrics = self._rows_of(outcome)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - metrics are objects of users, whose methods may raise anything
                _fail(outcome, error)
                row, metrics = self._rows_of(outcome)
            group.cells.append(row)
            group.size += len(row[11])
            group.metrics += metrics
            error_columns = error_row(outcome)
            if error_columns is not None:
                group.errors.append(error_columns)
        group.outcomes.clear()

    def _rows_of(self, outcome: CellOutcome) -> tuple[tuple[Any, ...], list[tuple[Any, ...]]]:
        """Return the row of a cell and those of its metrics."""
        row = self._rows.row(outcome, self._identity(outcome.cell))
        size = len(row[11]) + len(row[12] or "")
        if size > _LARGEST_CELL:
            raise StoreError(
                f"a cell can have {_LARGEST_CELL} bytes in the database, and this one has {size}: write what is large "
                "with ctx.artifacts.add()"
            )
        return row, [*metric_rows(outcome)]

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
        return _Group(Ticket(self))

    def _wake(self) -> None:
        if self._arrived.is_set():
            return
        self._arrived.set()
        with self._lock:
            if self._thread is not None:
                return
            # A daemon: what it writes is whole at every moment, and nobody shall wait for it at the end of a process.
            self._thread = threading.Thread(target=self._work, name="crystallize-store", daemon=True)
        try:
            self._thread.start()
        except (RuntimeError, MemoryError) as error:
            self._abandon(no_thread(self.folder, error))

    def _hurry(self) -> None:
        self._urgent.set()
        self._wake()

    def _check_thread(self) -> None:
        """Settle all tickets where the writer's thread has ended without doing so, or is not there in a fork."""
        if self._thread is None or not self._thread.is_alive():
            self._abandon(StoreError(f"the run in {self.folder} cannot be stored: its writer's thread has ended"))

    def leave(self) -> None:
        """Write what has arrived, and leave the run without an end; no effect where writing is over, or has failed."""
        with self._lock:
            if self._finished or self._error is not None:
                return
            self._group.last = self._finished = True
            ticket = self._group.ticket
        with suppress(StoreError):
            ticket.wait()

    # -- in the writer's thread -------------------------------------------------------------------

    def _work(self) -> None:
        try:
            known = self._named(self._recorded())
            with self._lock:
                self._group.documents.update(known)
            while not self._write_group():
                pass
        except BaseException as error:  # noqa: BLE001 - whoever waits must learn of it, whatever it is
            self._abandon(_explained(error, self.folder))

    def _write_group(self) -> bool:
        """Write what has arrived, once something has; return whether it was the last."""
        self._arrived.wait()
        self._urgent.wait(GROUP_SECONDS)
        group = self._writing = self._next_group()
        self._store(group)
        if group.last:
            self._close()
        self._writing = None
        group.ticket._settle(None)
        return group.last

    def _next_group(self) -> _Group:
        with self._lock:
            self._make_rows(self._group)
            group, self._group = self._group, self._new_group()
            self._arrived.clear()
            self._urgent.clear()
        return group

    def _store(self, group: _Group) -> None:
        first = self._connection is None
        self._run_lock.check()
        connection = self._connection = self._connection or self._opened()
        with self._transaction(connection):
            former = self._files_of(connection, group.again)
            files = self._store_artifacts(group.artifacts)
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
        """Commit what is done within, if the run is still ours; else nothing is kept: the connection is given up."""
        connection.check_descriptors()
        if identity_of(self.folder / DATABASE) != connection.identity:
            raise self._run_lock.lost("its database was removed or replaced")
        connection.execute("BEGIN IMMEDIATE")
        # Whoever takes it over writes this row first, and waits for the end of this transaction.
        found = connection.execute("SELECT run, host, pid FROM session ORDER BY id DESC LIMIT 1").fetchone()
        if found is not None and found[0] != self._session.run:
            raise self._run_lock.lost(f"process {found[2]} on {found[1]} has taken it over")
        yield
        operations.commit(connection)
        connection.check_descriptors()

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
            if group.replicates is not None:
                values = (group.replicates, seal(*self.facts.row()))
                operations.execute(connection, "UPDATE run SET replicates = ?, seal = ?", values)

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
        if self._connection is not None:
            # What was committed is moved from the log into the database, and the log removed.
            self._connection.close()

    def _abandon(self, error: StoreError) -> None:
        """Settle all tickets with an error; what was committed stays, and can be read."""
        connection, self._connection = self._connection, None
        # The error that is being told of is the one that matters.
        with suppress(Exception):
            if connection is not None:
                try:
                    self._run_lock.check()
                    connection.check_descriptors()
                    if isinstance(error, RunLockedError):
                        raise error
                except StoreError:
                    connection.leave()  # its files have the names, or the numbers, of others
                else:
                    connection.close()
        self._run_lock.release()
        with self._lock:
            self._error = error
            groups = self._writing, self._group
        for group in filter(None, groups):
            group.ticket._settle(error)


def _is_safe(outcome: CellOutcome) -> bool:
    """Return whether nothing of an outcome can fail to be stored, so that it need not be tried before it counts."""
    trace = outcome.provenance
    return not (outcome.error or outcome.tags or outcome.reports or (trace is not None and trace.written)) and all(
        _SAFE.issuperset(map(type, recorded)) for recorded in outcome.metrics.values()
    )


def _fail(outcome: CellOutcome, error: BaseException) -> None:
    """Make an outcome a failed one, of which nothing is left that could not be stored."""
    outcome.error = _failure(outcome, _what_fails(outcome), error)
    outcome.metrics, outcome.tags, outcome.reports = {}, {}, ()
    trace = outcome.provenance
    if trace is not None and trace.written:
        outcome.provenance = CellTrace(trace.shape, trace.durations, None)


def _what_fails(outcome: CellOutcome) -> str:
    for name, recorded in outcome.metrics.items():
        try:
            fits = len(encode([*recorded]).text) <= _LARGEST_CELL
        except BaseException:  # noqa: BLE001 - as it was the first time
            fits = False
        if not fits:
            return f"metric {name!r} cannot be stored"
    return "what it left cannot be stored"


def _failure(outcome: CellOutcome, what: str, error: BaseException) -> PipelineExecutionError:
    """Return the error of a cell that cannot be stored as it is."""
    condition, replicate = outcome.cell
    reason = traceback.format_exception_only(error)[-1].strip()[:_LONGEST_REASON]
    return PipelineExecutionError(
        f"condition {condition!r}, replicate {replicate} failed, because {what}: {reason}",
        step_name="store",
        condition=condition,
        replicate=replicate,
        error_type=type(error).__name__,
        traceback_text="".join(traceback.format_exception(error))[-_LONGEST_REASON:],
    )


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
