"""Bringing the tables of an earlier version to this one, when a run of that version goes on."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from crystallize_plugins.artifacts import contents, operations
from crystallize_plugins.artifacts.checksum import seal, seal_group, sealed_row
from crystallize_plugins.artifacts.facts import RunFacts
from crystallize_plugins.artifacts.schema import TABLES, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from crystallize_plugins.artifacts.database import RunDatabase

__all__ = ["migrate"]

_BLOBS = {
    "condition": ("id", "name", "record"),
    "shape": ("id", "kind", "body"),
    "cells": ("id", "count", "failed", "body"),
    "journal": ("id", "name", "body"),
    "document": ("name", "body"),
}
"""Tables whose last column seals the row."""

_PLAIN = {"run": RunFacts._fields, "session": contents.FIRST_SESSION, "artifact": contents.ARTIFACT}
"""Tables with a column `seal`."""


def migrate(source: RunDatabase) -> None:
    """Bring the first version's tables to this version, in one transaction: all of it happens, or nothing.

    Every row is checked on its way. Columns that the first version did not have are empty.

    Parameters
    ----------
    source : RunDatabase
        Open for writing, in autocommit mode.

    Raises
    ------
    StoreError
        A row is damaged.
    sqlite3.Error
        The database cannot be written to.
    """
    source.execute("BEGIN IMMEDIATE")
    try:
        for table in (*_BLOBS, *_PLAIN):
            operations.execute(source, f"ALTER TABLE {table} RENAME TO former_{table}")
        for statement in TABLES:
            operations.execute(source, statement)
        for table, columns in _BLOBS.items():
            _insert(source, table, columns, _resealed(source, table, columns))
        for table, columns in _PLAIN.items():
            # The rows are still those of the first version.
            rows = source.rows(f"former_{table}", columns)
            if table == "session":
                # All of the first version's work on a run was done by the call that began it.
                (run,) = source.execute("SELECT id FROM former_run").fetchone()
                rows = ((number, run, "", *row) for number, *row in rows)
            kept = contents.SESSION if table == "session" else columns
            _insert(source, table, (*kept, "seal"), (sealed_row(*row) for row in rows))
        for table in (*_BLOBS, *_PLAIN):
            operations.execute(source, f"DROP TABLE former_{table}")
        operations.commit(source)
    except BaseException:
        with suppress(Exception):
            source.execute("ROLLBACK")
        raise
    source.version = VERSION


def _resealed(source: RunDatabase, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    order = columns[0]
    for row in source.execute(f"SELECT {', '.join(columns)} FROM former_{table} ORDER BY {order}"):  # noqa: S608 - ours
        *plain, body = row
        content = bytes(source.unseal(body, what=f"a row of the table {table}"))
        if table == "cells":
            number, count, failed = plain
            yield (*plain, seal_group(content, number, count, failed))
        elif table == "journal":
            yield (*plain, seal(content, plain[1]))
        else:
            yield (*plain, seal(content, *plain))


def _insert(source: RunDatabase, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    places = ", ".join("?" * len(columns))
    operations.execute_many(source, f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)  # noqa: S608 - ours
