"""Checksums of what the database holds, so that damage is noticed and never taken for a number."""

from __future__ import annotations

from zlib import crc32

from crystallize.errors import StoreError

__all__ = ["seal", "unseal"]

_SIZE = 4


def seal(data: bytes) -> bytes:
    """Give the content of a row followed by its checksum."""
    return data + crc32(data).to_bytes(_SIZE, "little")


def unseal(sealed: bytes, *, what: str) -> memoryview:
    """Give the content of a row.

    Parameters
    ----------
    sealed : bytes
        What `seal` gave.
    what : str
        What it holds, for the message.

    Raises
    ------
    StoreError
        The content is not what was stored.
    """
    content = memoryview(sealed)[:-_SIZE]
    if len(sealed) < _SIZE or crc32(content).to_bytes(_SIZE, "little") != sealed[-_SIZE:]:
        raise StoreError(f"{what} is damaged: its checksum does not fit")
    return content
