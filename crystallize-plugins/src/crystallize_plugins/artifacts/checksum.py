"""Checksums of what the database holds, so that damage is noticed and never taken for a number.

Every row ends in one. It covers all columns of the row, so that neither content nor what says whose content it is can
change unnoticed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

from crystallize.errors import DamagedStoreError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["INTACT", "group_start", "seal", "seal_group", "sealed_row", "unseal", "unseal_groups", "unsealed_row"]

_SIZE = 4
_COUNT, _FAILED, _ALL = 0x10001, 0x1000003, 0xFFFFFFFF
INTACT = 0x2144DF1C
"""The checksum of anything that is followed by its own checksum."""


def seal(data: bytes, *columns: object) -> bytes:
    """Give the content of a row followed by its checksum.

    Parameters
    ----------
    data : bytes
        The content.
    *columns : None, int, float or str
        What else is in the row, as it will be read.
    """
    return data + crc32(data, _start(columns)).to_bytes(_SIZE, "little")


def unseal(sealed: bytes, *columns: object, what: str) -> memoryview:
    """Give the content of a row.

    Parameters
    ----------
    sealed : bytes
        What `seal` gave.
    *columns : None, int, float or str
        What else is in the row.
    what : str
        What it holds, for the message.

    Raises
    ------
    StoreError
        The row is not what was stored.
    """
    if len(sealed) < _SIZE or crc32(sealed, _start(columns)) != INTACT:
        raise DamagedStoreError(f"{what} is damaged: its checksum does not fit")
    return memoryview(sealed)[:-_SIZE]


def sealed_row(*columns: Any) -> tuple[Any, ...]:
    """Give the columns of a row that has no content of its own, and their checksum behind them."""
    return (*columns, seal(b"", *columns))


def unsealed_row(row: Sequence[Any], *, what: str) -> tuple[Any, ...]:
    """Give the columns of a row that `sealed_row` made.

    Raises
    ------
    StoreError
        The row is not what was stored.
    """
    *columns, sealed = row
    unseal(sealed if isinstance(sealed, bytes) else b"", *columns, what=what)
    return tuple(columns)


def seal_group(data: bytes, number: int, count: int, failed: int) -> bytes:
    """Give the records of a group of cells followed by their checksum; see `seal`."""
    return data + crc32(data, group_start(number, count, failed)).to_bytes(_SIZE, "little")


def unseal_groups(rows: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """Give the records of groups of cells; see `unseal`.

    Parameters
    ----------
    rows : sequence
        Of each group its number, how many cells it has, how many of them failed, and what `seal_group` gave.
    """
    try:
        # What `group_start` gives: there may be a group for every cell.
        starts = [(number + count * _COUNT + failed * _FAILED) & _ALL for number, count, failed, _ in rows]
        bodies = [row[3] for row in rows]
        if {INTACT}.issuperset(map(crc32, bodies, starts)):
            return [body[:-_SIZE] for body in bodies]
        wrong = next(row for row, start in zip(rows, starts, strict=True) if crc32(row[3], start) != INTACT)
        what = f"group {wrong[0]} of the cells"
    except TypeError:
        what = "a group of the cells"  # a damaged row may hold anything
    raise DamagedStoreError(f"{what} is damaged: its checksum does not fit")


def group_start(number: int, count: int, failed: int) -> int:
    """Give what the checksum of a group of cells begins with: its columns, at the cost of a few additions."""
    return (number + count * _COUNT + failed * _FAILED) & _ALL


def _start(columns: tuple[object, ...]) -> int:
    return crc32(repr(columns).encode("utf-8", "surrogatepass")) if columns else 0
