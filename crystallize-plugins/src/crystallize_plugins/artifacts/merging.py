"""Fewer and larger groups of cells for a run that is over.

A run whose cells take longer than a commit has a group for each of them, and ten thousand rows take longer to read
than all that is in them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.errors import DamagedStoreError
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.checksum import seal_group, unseal_groups

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

__all__ = ["merge_groups"]

_FEW = 64
"""Groups that are left as they are."""

_LARGE = 1 << 18
"""Bytes of a group to which no other is added."""

_MOST = 1 << 26
"""Bytes that are worth going through once more."""

_Row = tuple[int, int, int, bytes]


def merge_groups(connection: sqlite3.Connection) -> None:
    """Put small groups of cells together, within the transaction that is open; the order of the cells stays.

    Parameters
    ----------
    connection : sqlite3.Connection
    """
    number, size = connection.execute("SELECT count(*), sum(length(body)) FROM cells").fetchone()
    if number <= _FEW or size > _MOST:
        return
    groups: list[_Row] = connection.execute("SELECT id, count, failed, body FROM cells ORDER BY id").fetchall()
    try:
        merged = list(_merged(groups))
    except DamagedStoreError:
        return  # whoever reads it is told
    operations.execute(connection, "DELETE FROM cells")
    operations.execute_many(connection, "INSERT INTO cells VALUES (?, ?, ?, ?)", merged)


def _merged(groups: list[_Row]) -> Iterator[_Row]:
    bodies = unseal_groups(groups)
    records: list[bytes] = []
    cells = failed = size = 0
    for (number, count, wrong, _), body in zip(groups, bodies, strict=True):
        records.append(body)
        cells, failed, size = cells + count, failed + wrong, size + len(body)
        if size >= _LARGE or number == groups[-1][0]:
            # Under the last number, so that whoever goes on with the run counts on from there.
            yield number, cells, failed, seal_group(b"".join(records), number, cells, failed)
            records.clear()
            cells = failed = size = 0
