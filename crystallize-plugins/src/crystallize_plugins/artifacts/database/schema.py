"""The tables of ``run.db``, their version, and the seals of their rows.

They are a public format, which ``docs/reference/run-database.md`` describes. Every row is sealed by a checksum of all
its columns, so that neither content nor what says whose content it is can change unnoticed; but for the tables
`metric`, `error` and `plugin`, which repeat for SQL what sealed rows hold, and are written with them.
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zlib import crc32

from crystallize.errors import DamagedStoreError, StoreError
from crystallize_plugins.artifacts import operations

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crystallize_plugins.artifacts.database.connection import RunDatabase

__all__ = [
    "APPLICATION",
    "COLUMNS",
    "EVENTS",
    "REPEATED",
    "TABLES",
    "VERSION",
    "cell_seal",
    "check_cell_seals",
    "check_version",
    "insert",
    "seal",
    "unsealed",
    "upgrade",
]

APPLICATION = 0x43525953
"""What makes a database one of ours, for ``file`` and the like: ``CRYS``."""

EVENTS = STARTED, ASKED, TOLD = "optimization_started", "trials_asked", "trials_told"
"""The events of an optimisation that are written down."""

VERSION = 4
"""Version of the tables and of what is in them."""

_OLDEST = 3
"""The oldest version that is read; `upgrade` makes it the newest before anything is added."""

COLUMNS = {
    # What was known before the first cell; one row. The seed as text, since it may have more than 64 bits.
    "run": (
        "id TEXT NOT NULL", "experiment TEXT NOT NULL", "description TEXT", "kind TEXT NOT NULL",
        "strategy TEXT NOT NULL", "replicates INTEGER NOT NULL", "seed TEXT", "started DOUBLE NOT NULL",
        "versioned INTEGER NOT NULL",
    ),
    # Who wrote to the run: one row for each process, the newest last. `ended` is empty until it was done. `run` is the
    # identifier of that call of `run`, `process` the kernel whose lock shows whether it is alive.
    "session": (
        "id INTEGER PRIMARY KEY", "run TEXT NOT NULL", "host TEXT NOT NULL", "pid INTEGER NOT NULL",
        "process TEXT NOT NULL", "started DOUBLE NOT NULL", "ended DOUBLE", "stopped_by TEXT",
    ),
    # `identity` is that of each of its cells, `common` the part of it that all conditions share, `parts` what is its
    # own: digests by name.
    "condition": (
        "id INTEGER PRIMARY KEY", "name TEXT NOT NULL UNIQUE", "steps TEXT NOT NULL", "identity TEXT", "common TEXT",
        "parts TEXT",
    ),
    # What cells of a condition begin with: initial context and treatment. Of a large context what was read of it.
    "parameter": ("condition TEXT NOT NULL", "name TEXT NOT NULL", "value TEXT NOT NULL"),
    # What the conditions' common part is made of.
    "identity": ("digest TEXT NOT NULL PRIMARY KEY", "parts TEXT NOT NULL"),
    # What cells have in common: the names that steps touched, and those of the metrics.
    "trace": ("id INTEGER PRIMARY KEY", "steps TEXT", "metrics TEXT NOT NULL"),
    # `number` is the order of arrival; `record` what all cells have and has no column of its own, `more` what few have.
    "cell": (
        "condition TEXT NOT NULL", "replicate INTEGER NOT NULL", "number INTEGER NOT NULL", "state TEXT NOT NULL",
        "seed INTEGER", "started DOUBLE NOT NULL", "duration DOUBLE NOT NULL", "worker TEXT NOT NULL",
        "attempts INTEGER NOT NULL", "identity TEXT", "trace INTEGER NOT NULL", "record TEXT NOT NULL", "more TEXT",
    ),
    "artifact": (
        "condition TEXT NOT NULL", "replicate INTEGER NOT NULL", "step TEXT NOT NULL",
        "name TEXT NOT NULL", "path TEXT NOT NULL", "size INTEGER NOT NULL", "sha256 TEXT NOT NULL",
    ),
    # What an optimiser asked and was told, in order.
    "event": ("name TEXT NOT NULL", "body TEXT NOT NULL"),
    # Provenance, hypotheses, errors beside those of cells, errors of plugins.
    "document": ("name TEXT NOT NULL PRIMARY KEY", "body TEXT NOT NULL"),
}  # fmt: skip
"""The tables whose rows are sealed; each has the column `seal` behind these."""

REPEATED = {
    "metric": (
        "condition TEXT NOT NULL", "replicate INTEGER NOT NULL", "name TEXT NOT NULL", '"index" INTEGER NOT NULL',
        "value DOUBLE", "text TEXT", 'PRIMARY KEY (replicate, condition, name, "index")',
    ),
    "error": (
        "condition TEXT NOT NULL", "replicate INTEGER NOT NULL", "step TEXT", "type TEXT", "message TEXT",
        "traceback TEXT", "PRIMARY KEY (replicate, condition)",
    ),
    "plugin": (
        "position INTEGER PRIMARY KEY", "name TEXT", "distribution TEXT", "version TEXT", "settings TEXT",
    ),
}  # fmt: skip
"""The tables that repeat what sealed rows hold, for SQL."""

_NUMBERS = struct.Struct("<qq?qdd").pack
# In this order, since cells arrive replicate by replicate: then rows are added to the last page.
_CELL_KEY = "PRIMARY KEY (replicate, condition)"

_SEALED = {
    table: f"CREATE TABLE {table} ({', '.join((*columns, 'seal INTEGER NOT NULL'))}"
    + (f", {_CELL_KEY}) WITHOUT ROWID" if table == "cell" else ")")
    for table, columns in COLUMNS.items()
}
_SESSION_3 = _SEALED["session"].replace("run TEXT NOT NULL", "run TEXT NOT NULL, place TEXT NOT NULL")
# `unlikely` changes nothing, and is SQLite's alone: other programs ask it, instead of trying to do the same.
_STEP_3 = """CREATE VIEW step AS
        SELECT cell.condition, cell.replicate, step.key + 1 AS position,
            json_extract(step.value, '$[0]') AS name,
            unlikely(json_extract(cell.record, '$[1][' || step.key || ']')) AS seconds,
            json_extract(step.value, '$[1]') AS reads, json_extract(step.value, '$[2]') AS writes,
            json_extract(step.value, '$[3]') AS metrics, json_extract(step.value, '$[4]') AS cache_hit
        FROM cell JOIN trace ON trace.id = cell.trace, json_each(trace.steps, '$[1]') AS step"""
# Nanoseconds are integers; cells that a run of version 3 had have seconds.
_STEP = _STEP_3.replace(
    ") AS seconds",
    " / iif(json_type(cell.record, '$[1][' || step.key || ']') = 'integer', 1e9, 1)) AS seconds",
)

_VERSION = f"PRAGMA user_version = {VERSION}"

TABLES = (
    f"PRAGMA application_id = {APPLICATION}",
    _VERSION,
    *_SEALED.values(),
    *(
        f"CREATE TABLE {table} ({', '.join(columns)})" + (" WITHOUT ROWID" if "KEY (" in columns[-1] else "")
        for table, columns in REPEATED.items()
    ),
    _STEP,
)

_SCHEMA = """
    SELECT type, name, tbl_name, sql FROM sqlite_master WHERE NOT (type = 'index' AND sql IS NULL) ORDER BY name
"""
_LARGEST_STATEMENT = 256
"""Rows of a statement; of 12 columns each they have a tenth of the values that SQLite allows."""


def seal(*columns: object) -> int:
    """Return the checksum of the columns of a row: None, numbers and texts, as they will be read."""
    return crc32(repr(columns).encode("utf-8", "surrogatepass"))


def unsealed(row: Sequence[Any], *, what: str) -> tuple[Any, ...]:
    """Return the columns of a row whose last column is their seal.

    Raises
    ------
    DamagedStoreError
        The row is not what was stored.
    """
    *columns, sealed = row
    if seal(*columns) != sealed:
        raise DamagedStoreError(f"{what} is damaged: its checksum does not fit")
    return tuple(columns)


def cell_seal(row: Sequence[Any]) -> int:
    """Return the seal of a row of the table `cell`, of which there may be a million, from its columns."""
    condition, replicate, number, state, seed, started, duration, worker, attempts, identity, trace, record, more = row
    texts = f"{condition}\n{state}\n{worker}\n{attempts}\n{identity}\n{trace}\n{record}\n{more}"
    return crc32(texts.encode(), crc32(_NUMBERS(replicate, number, seed is not None, seed or 0, started, duration)))


def check_cell_seals(rows: Iterable[Sequence[Any]]) -> None:
    """Refuse rows of the table `cell`, all columns of it, if one of them is not what was stored; see `cell_seal`.

    Raises
    ------
    DamagedStoreError
        One of them is damaged.
    """
    # Spelt out: to call `cell_seal` for each of a million rows takes twice as long.
    try:
        fit = all(
            crc32(
                f"{condition}\n{state}\n{worker}\n{attempts}\n{identity}\n{trace}\n{record}\n{more}".encode(),
                crc32(_NUMBERS(replicate, number, seed is not None, seed or 0, started, duration)),
            )
            == sealed
            for (
                condition, replicate, number, state, seed, started, duration, worker, attempts, identity, trace,
                record, more, sealed,
            ) in rows
        )  # fmt: skip
    except struct.error:
        fit = False
    if not fit:
        raise DamagedStoreError("a row of the table cell is damaged: its checksum does not fit")


def insert(connection: sqlite3.Connection, table: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert rows; of those that are no cells, in place of what has the same key.

    By few statements: the interpreter's lock is given away at each, and a busy interpreter gives it back milliseconds
    later.

    Raises
    ------
    sqlite3.IntegrityError
        There is a row for one of the cells.
    """
    start, count = 0, len(rows)
    while start < count:
        size = min(_LARGEST_STATEMENT, 1 << (count - start).bit_length() - 1)
        part = rows[start : start + size]
        operations.execute(
            connection, _insertion(table, len(part[0]), size), [value for row in part for value in row]
        )  # fmt: skip
        start += size


@lru_cache(maxsize=256)
def _insertion(table: str, columns: int, count: int) -> str:
    rows = ", ".join([f"({', '.join('?' * columns)})"] * count)
    return f"INSERT {'' if table == 'cell' else 'OR REPLACE '}INTO {table} VALUES {rows}"  # noqa: S608 - our own names


def check_version(connection: sqlite3.Connection) -> None:
    """Refuse a database that is not of this version.

    Raises
    ------
    StoreError
        It is no run's database, or another version of Crystallize wrote it.
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
    if version < _OLDEST:
        raise DamagedStoreError(f"it says that its version is {version}, and there was none before {_OLDEST}")
    # What a view, a trigger, or an index by an expression would do is nobody's guess.
    if connection.execute(_SCHEMA).fetchall() != _schema(version):
        raise DamagedStoreError("its tables and views are not those of a run")


@lru_cache(maxsize=2)
def _schema(version: int) -> list[Any]:
    """Return what a database of a run has for a schema."""
    older = {} if version == VERSION else {_SEALED["session"]: _SESSION_3, _STEP: _STEP_3}
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in TABLES:
            connection.execute(older.get(statement, statement))
        return connection.execute(_SCHEMA).fetchall()


def upgrade(connection: RunDatabase) -> None:
    """Make a database of an older version one of this version, within the transaction that is open."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == VERSION:
        return
    sessions = [(*row[:2], *row[3:]) for row in connection.rows("session")]  # without `place`, an inode
    for statement in ("DROP TABLE session", _SEALED["session"], "DROP VIEW step", _STEP, _VERSION):
        operations.execute(connection, statement)
    insert(connection, "session", [(*row, seal(*row)) for row in sessions])
