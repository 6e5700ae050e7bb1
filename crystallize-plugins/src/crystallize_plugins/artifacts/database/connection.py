"""Opening ``run.db``: made at once for a new run, for writing by its one writer, for reading by anyone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from crystallize.errors import CrystallizeError, DamagedStoreError, StoreError
from crystallize_plugins.artifacts.database.facts import facts_from_file
from crystallize_plugins.artifacts.database.log import check_log
from crystallize_plugins.artifacts.database.owner import identity_of, is_alive
from crystallize_plugins.artifacts.database.schema import TABLES, check_version, unsealed
from crystallize_plugins.artifacts.files.inside import check_file, open_file
from crystallize_plugins.artifacts.files.layout import DATABASE
from crystallize_plugins.artifacts.files.synced import Content, store_error, sync_folder, write_synced

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

__all__ = ["RunDatabase", "check_files", "check_structure", "create", "making_sense", "reading", "reopen", "state_of"]

_NETWORK = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs",
    "nfs", "nfs4", "smb3", "smbfs", "vboxsf", "virtiofs",
})  # fmt: skip
_MOUNTS = Path("/proc/self/mounts")

_opening = threading.RLock()
_connections: WeakSet[RunDatabase] = WeakSet()
"""Those that this process has open: SQLite's locks depend on nobody closing their files behind its back."""
_checked: dict[Path, tuple[int, ...] | None] = {}
"""Logs that were found whole, and what they looked like then."""
_sound: dict[Path, tuple[Any, ...]] = {}
"""Databases whose structure was found to be whole, and what they looked like then."""
_MOST_CHECKED = 1024
_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")
"""How a journal of SQLite ends that belongs to a commit of several databases."""
_NO_SENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What is raised where something is not of the type, or the shape, that is written."""
_SMALL = 16 * 1024 * 1024
"""Bytes of a database that are checked in no time."""


def _begin_anew() -> None:
    """Forget, in a forked child, what belongs to its parent."""
    global _opening  # noqa: PLW0603 - the lock may have been held by a thread that is not here
    _opening = threading.RLock()
    _connections.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


class RunDatabase(sqlite3.Connection):
    """A connection that checks what it reads.

    Parameters
    ----------
    path : Path, optional
        The database; by default one in memory.
    options : str, default ""
        As in the query of SQLite's URIs; without any, it is opened for writing.
    **settings
        As for `sqlite3.connect`.

    Attributes
    ----------
    identity : tuple of int or None
        Of the file that it opened, whatever has its name now.
    """

    def __init__(self, path: Path | None, options: str = "", **settings: Any) -> None:
        place = f"{path.absolute().as_uri()}?{options}" if path and options else path or ":memory:"
        with _opening:
            super().__init__(place, uri=bool(options), timeout=60, **settings)
            # It may come from anybody: nothing that is written in it is called, and sizes are not believed.
            self.execute("PRAGMA trusted_schema = OFF")
            self.execute("PRAGMA cell_size_check = ON")
            self._path = path
            self.identity = identity_of(path) if path else None
            self._descriptors: dict[int, tuple[int, int]] = {}
            _connections.add(self)

    def close(self) -> None:
        """Close it; closing again has no effect."""
        with _opening:
            super().close()
            _connections.discard(self)

    def leave(self) -> None:
        """Leave it as it is until the process ends: to close it would change files that are not its own."""
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))  # or it would be closed when nothing refers to it

    def check_descriptors(self) -> None:
        """Refuse to write where a step has closed files of the database: the numbers may be those of other files now.

        Raises
        ------
        StoreError
            One of them is closed, or another file.
        """
        for number, identity in self._descriptors.items():
            try:
                status = os.fstat(number)
            except OSError:
                status = None
            if status is None or (status.st_dev, status.st_ino) != identity:
                raise StoreError(
                    f"files of {self._path} were closed while they were written to: a step has closed descriptors that "
                    "are not its own, as os.closerange() does. What was stored before is safe"
                )

    def note_descriptors(self, before: Collection[int]) -> None:
        """Remember which descriptors, of those that were not there before, are of the database."""
        parts = [self._path, *(_beside(self._path, ending) for ending in ("-wal", "-shm"))] if self._path else []
        ours = {identity_of(part) for part in parts}
        for number in _open_descriptors().difference(before):
            with suppress(OSError):
                status = os.fstat(number)
                if (status.st_dev, status.st_ino) in ours:
                    self._descriptors[number] = (status.st_dev, status.st_ino)

    def has_open(self, path: Path) -> bool:
        """Whether it has a file open, by whatever name."""
        found = identity_of(path)
        return self._path == path if found is None else self.identity == found

    def rows(self, table: str, clause: str = "ORDER BY rowid", values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a table, each having been checked, without their seals.

        Raises
        ------
        DamagedStoreError
            One of them is damaged.
        """
        for row in self.execute(f"SELECT * FROM {table} {clause}", values):  # noqa: S608 - our own names
            yield unsealed(row, what=f"a row of the table {table}")


def create(folder: Path, *, rollback: bool | None = None) -> RunDatabase:
    """Make the database of a new run and open it for writing.

    The file, and its name in the folder, are on the disk when this returns; what is committed afterwards is, too.

    Parameters
    ----------
    folder : Path
        The run's folder.
    rollback : bool, optional
        Whether to keep a rollback journal instead of a write-ahead log. By default that is so on network file systems:
        a log needs memory that several machines cannot share.

    Returns
    -------
    RunDatabase
        In autocommit mode; for the use of one thread.

    Raises
    ------
    OSError, sqlite3.Error
        It cannot be made there.
    """
    path = folder / DATABASE
    rollback = _is_on_network(folder.parent) if rollback is None else rollback
    write_synced([Content(path, _empty(rollback))], inside=folder)
    for parent in (folder.parent, folder.parent.parent):
        sync_folder(parent)
    # No other descriptor of this file may be closed from now on: that would give up SQLite's locks.
    return _for_writing(path)


def reopen(folder: Path) -> RunDatabase:
    """Open the database of a run for writing again.

    Parameters
    ----------
    folder : Path
        The run's folder.

    Returns
    -------
    RunDatabase
        In autocommit mode; for the use of one thread.

    Raises
    ------
    StoreError
        There is none, it is damaged, cannot be written to, is no database of a run, or of a later version.
    """
    path = folder / DATABASE
    if not check_files(path):
        raise StoreError(f"there is no database to go on with: {path}")
    try:
        _check_log(path)
        connection = _for_writing(path)
        try:
            check_version(connection)
            check_structure(connection)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, StoreError) as error:
        raise store_error("cannot go on with", path, error) from error
    return connection


def check_structure(connection: sqlite3.Connection) -> None:
    """Refuse a database of which rows may have been lost: it takes as long as to read it.

    Raises
    ------
    StoreError
        Something in it does not fit together.
    """
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found is None or found[0] != "ok":
        raise DamagedStoreError(f"its structure is damaged: {found and str(found[0]).strip()}")


def _check_once(path: Path, connection: RunDatabase) -> None:
    """Check the structure of a database, unless it looks as it did when that was done."""
    state = state_of(path)
    if _sound.get(path) == state:
        return
    check_structure(connection)
    if len(_sound) >= _MOST_CHECKED:
        _sound.clear()
    _sound[path] = state


def state_of(path: Path) -> tuple[Any, ...]:
    """Return what changes when a database does."""
    found: list[Any] = []
    for part in (path, _log(path)):
        try:
            status = part.lstat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(found)


def _for_writing(path: Path) -> RunDatabase:
    with _opening:
        before = _open_descriptors()
        connection = RunDatabase(path, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA application_id").fetchone()  # opens the log as well
        connection.note_descriptors(before)
    return connection


def _open_descriptors() -> set[int]:
    """Return the descriptors that this process has, where the system says: others have no such numbers to mix up."""
    try:
        return {int(name) for name in os.listdir("/dev/fd")}  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return set()


@contextmanager
def reading(folder: Path, *, whole: bool | None = True) -> Iterator[RunDatabase]:
    """Open the database of a run for reading, whether it is being written, was cut short, or lies on a read-only disk.

    Nothing is written to the folder of a run that is closed, nor to that of one that was cut short, except that on a
    network file system SQLite undoes the half of a commit.

    Parameters
    ----------
    folder : Path
        The run's folder. Before the first commit it may have no database, which reads like one without rows.
    whole : bool or None, default True
        Whether it matters that no row is missing; False for a look at single rows, which are checked by themselves.
        None where the rows of the cells are not read yet: only what is small is checked then.

    Raises
    ------
    StoreError
        It cannot be read: it is damaged, no database of a run, or of a later version.
    """
    path = folder / DATABASE
    with making_sense(path), _connected(path) as connection:
        check_version(connection)
        if whole or (whole is None and path.exists() and path.stat().st_size <= _SMALL):
            _check_once(path, connection)
        yield connection


@contextmanager
def making_sense(path: str | Path) -> Iterator[None]:
    """Say of a database that it is damaged where what it holds makes no sense.

    Raises
    ------
    StoreError
    """
    try:
        yield
    except (sqlite3.Error, StoreError) as error:
        if getattr(error, "path", None) == str(path):
            raise  # it says so already
        raise store_error("cannot read", path, error) from error
    except CrystallizeError:
        raise
    except _NO_SENSE as error:
        damage = DamagedStoreError(f"what it holds makes no sense: {type(error).__name__}: {error}")
        damage.__cause__ = error
        raise store_error("cannot read", path, damage) from error


def check_files(path: Path) -> bool:
    """Look at a database before SQLite opens it; return whether there is one.

    Raises
    ------
    DamagedStoreError
        It, or one of the files that SQLite keeps beside it, is something else than a file; or a commit that was cut
        short names another file, which SQLite would look for, and remove.
    """
    found = check_file(path)
    for ending in ("-wal", "-shm"):
        check_file(f"{path}{ending}")
    journal = check_file(f"{path}-journal")
    if journal is not None and journal.st_size >= len(_NAMES_ANOTHER):
        with open(open_file(f"{path}-journal"), "rb") as file:  # noqa: PTH123 - of a descriptor
            file.seek(-len(_NAMES_ANOTHER), os.SEEK_END)
            if file.read() == _NAMES_ANOTHER:
                raise DamagedStoreError(f"the journal of {path} names another file, and none of ours does")
    return found is not None


@contextmanager
def _connected(path: Path) -> Iterator[RunDatabase]:
    if not check_files(path):
        with closing(RunDatabase(None)) as connection:
            _make_tables(connection)
            yield connection
        return
    _check_log(path)
    found = None if _is_stuck(path) else _opened(path)
    with tempfile.TemporaryDirectory(prefix="crystallize-") if found is None else nullcontext() as copies:
        if copies is not None:
            for part in (path, _log(path)):
                with suppress(FileNotFoundError):
                    shutil.copy(part, copies)
            found = _opened(Path(copies) / path.name)
        if found is None:
            raise StoreError("its log cannot be read, neither in its place nor as a copy")
        with closing(found):
            yield found


def _opened(path: Path) -> RunDatabase | None:
    """Open a database for reading; None where that takes a file that cannot be made beside it: the disk is full."""
    if path.with_name(f"{path.name}-journal").exists():
        options = "mode=rw"  # what a killed writer left half done has to be undone before anything can be read
    elif _log(path).exists():
        options = "mode=ro"
    else:
        options = "mode=ro&immutable=1"  # nobody writes, and SQLite would leave files behind by looking
    connection = RunDatabase(path, options)
    try:
        if options == "mode=ro":
            connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def _check_log(path: Path) -> None:
    """Refuse a log that is damaged, where its process is gone."""
    try:
        found = _log(path).stat()
    except FileNotFoundError:
        found = None
        if not path.with_name(f"{path.name}-shm").exists():
            return
    begun = facts_from_file(path.parent)
    if begun is None or is_alive(begun[1].owner, path.parent):
        return
    state = found and (found.st_ino, found.st_size, found.st_mtime_ns)
    if path not in _checked or _checked[path] != state:
        with _opening:
            check_log(path, index=not any(connection.has_open(path) for connection in _connections))
        if len(_checked) >= _MOST_CHECKED:
            _checked.clear()
        _checked[path] = state


def _log(path: Path) -> Path:
    return _beside(path, "-wal")


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _is_stuck(path: Path) -> bool:
    """Whether a log was left behind where SQLite cannot make the file with which it reads one."""
    return _log(path).exists() and not os.access(path.parent, os.W_OK)


@lru_cache(maxsize=2)
def _empty(rollback: bool) -> bytes:
    """Give the bytes of a database without rows: tables take far longer to make than a file to write."""
    with tempfile.TemporaryDirectory(prefix="crystallize-") as folder:
        path = Path(folder) / DATABASE
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            # Nobody needs this file after a loss of power, and each table would cost several syncs of the disk.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = MEMORY")
            _make_tables(connection)
            if not rollback:
                connection.execute("PRAGMA journal_mode = WAL")
        return path.read_bytes()


def _make_tables(connection: sqlite3.Connection) -> None:
    for statement in TABLES:
        connection.execute(statement)


@lru_cache(maxsize=64)
def _is_on_network(folder: Path) -> bool:
    """Whether a folder lies on another machine, as far as this system tells (Linux does)."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    resolved = folder.resolve()
    kinds = {}
    for line in mounts:
        _, place, kind, *_ = line.split(" ")
        kinds[place.encode("utf-8", "surrogateescape").decode("unicode_escape")] = kind
    nearest = next((str(above) for above in (resolved, *resolved.parents) if str(above) in kinds), "")
    return kinds.get(nearest, "") in _NETWORK
