"""The tables of ``run.db`` and their version.

Cells are written in groups, one row for each commit: a row for each cell costs several times as much, most of it while
the interpreter is locked. Of two entries for one cell the later one counts. Rows are only added to ``cells`` until the
run is over, when small groups are put together (`merging`).

Every row is sealed (`checksum`): what has no blob of its own has the column `seal`, and a blob ends in a checksum that
covers the other columns too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.errors import DamagedStoreError, StoreError

if TYPE_CHECKING:
    import sqlite3

__all__ = [
    "APPLICATION",
    "EVENTS",
    "FIRST_VERSION",
    "INSERT_ARTIFACT",
    "INSERT_RUN",
    "PUT_SESSION",
    "TABLES",
    "VERSION",
    "check_version",
]

APPLICATION = 0x43525953
"""What makes a database one of ours, for ``file`` and the like: ``CRYS``."""

EVENTS = STARTED, ASKED, TOLD = "optimization_started", "trials_asked", "trials_told"
"""The events of an optimisation that are written to the journal."""

VERSION = 2
"""Version of the tables and of the encodings in them."""

FIRST_VERSION = 1
"""In it rows had no column `seal`, and blobs covered nothing but themselves."""

TABLES = (
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
    # What was known before the first cell; one row.
    """CREATE TABLE run (
        id TEXT NOT NULL,
        experiment TEXT NOT NULL,
        description TEXT,
        kind TEXT NOT NULL,
        strategy TEXT NOT NULL,
        replicates INTEGER NOT NULL,
        seed TEXT,
        started REAL NOT NULL,
        versioned INTEGER NOT NULL,
        seal BLOB NOT NULL
    )""",
    # Who wrote to the run: one row for each process, the newest last. `ended` is empty until it was done. `run` is the
    # identifier of that call of `run`, `place` tells the folder from a copy of it.
    """CREATE TABLE session (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL,
        place TEXT NOT NULL,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        process TEXT NOT NULL,
        started REAL NOT NULL,
        ended REAL,
        stopped_by TEXT,
        seal BLOB NOT NULL
    )""",
    # `identity` is that of each of its cells, `common` the part of it that all conditions share (see table `identity`),
    # `parts` what is its own. A run that was begun by the first version has none.
    """CREATE TABLE condition (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        record BLOB NOT NULL,
        identity TEXT,
        common TEXT,
        parts BLOB
    )""",
    # What the conditions' common part is made of: digests by name.
    "CREATE TABLE identity (digest TEXT PRIMARY KEY, parts BLOB NOT NULL) WITHOUT ROWID",
    # Of a run that reads another's files: the digest of what each cell was given.
    """CREATE TABLE input (
        replicate INTEGER NOT NULL,
        condition TEXT NOT NULL,
        digest TEXT NOT NULL,
        seal BLOB NOT NULL,
        PRIMARY KEY (condition, replicate)
    )""",
    # What many cells share, once: the names that steps touched, the types of metrics, the names of workers.
    "CREATE TABLE shape (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE cells (id INTEGER PRIMARY KEY, count INTEGER NOT NULL, failed INTEGER NOT NULL, body BLOB NOT NULL)",
    """CREATE TABLE artifact (
        id INTEGER PRIMARY KEY,
        replicate INTEGER NOT NULL,
        condition TEXT NOT NULL,
        step TEXT NOT NULL,
        name TEXT NOT NULL,
        path TEXT NOT NULL,
        size INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        seal BLOB NOT NULL
    )""",
    # What an optimiser asked and was told, in order.
    "CREATE TABLE journal (id INTEGER PRIMARY KEY, name TEXT NOT NULL, body BLOB NOT NULL)",
    # What is known at the end: facts, hypotheses, errors beside those of cells, errors of plugins.
    "CREATE TABLE document (name TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID",
)


INSERT_ARTIFACT = (
    "INSERT INTO artifact (replicate, condition, step, name, path, size, sha256, seal) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_RUN = "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
PUT_SESSION = "INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def check_version(connection: sqlite3.Connection) -> None:
    """Refuse a database that is not of this version.

    Raises
    ------
    StoreError
        It is no run's database, or a later version of Crystallize wrote it.
    """
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        raise StoreError("this is no database of a run")
    if version > VERSION:
        raise StoreError(
            f"its version is {version}, and this version of Crystallize reads up to {VERSION}: "
            "pip install --upgrade crystallize-plugins"
        )
    # A damaged number must not pass for a version that checks less.
    sealed = any(column[1] == "seal" for column in connection.execute("PRAGMA table_info(run)"))
    if version < FIRST_VERSION or sealed is (version == FIRST_VERSION):
        raise DamagedStoreError(f"it is damaged: it says that its version is {version}, and its tables are not")
