"""Every change that the cache makes to the disk, one function each.

Tests replace them to fail, or to end the process, at each of them in turn.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from crystallize.names import fresh_id

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    Chunk = bytes | bytearray | memoryview

__all__ = [
    "TEMPORARY",
    "append",
    "fill",
    "make_folder",
    "put",
    "remove",
    "remove_folder",
    "rename",
    "sync",
    "touch",
    "write",
]

TEMPORARY = ".tmp-"
"""What the names of unfinished files begin with."""

_MOST = 1 << 30


def write(descriptor: int, data: Chunk) -> int:
    """Write some of the data; give how many bytes."""
    return os.write(descriptor, data)


def sync(descriptor: int) -> None:
    """Have what was written to a file on the disk."""
    os.fsync(descriptor)


def rename(source: Path, target: Path) -> None:
    """Give a file its final name, in place of what has it."""
    source.replace(target)


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, that nobody else can write to."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def remove(path: Path) -> None:
    """Remove a file; another process may have done it already."""
    path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder if it is empty."""
    with suppress(OSError):
        folder.rmdir()


def touch(path: str) -> None:
    """Note that a file was used now."""
    with suppress(OSError):
        os.utime(path)


def append(path: Path, data: bytes) -> int:
    """Add to a file that many processes add to; give its size."""
    with path.open("ab", buffering=0) as file:
        file.write(data)
        return os.fstat(file.fileno()).st_size


def put(path: Path, chunks: Iterable[Chunk]) -> None:
    """Make a file that is there whole or not at all.

    Raises
    ------
    OSError
        It cannot be written; nothing of it is left then.
    """
    for last in (False, True):
        temporary = path.with_name(f"{TEMPORARY}{fresh_id()}")
        try:
            fill(temporary, chunks)
            rename(temporary, path)
        except FileNotFoundError:
            # Whoever made room may have removed the folder, which was empty just now.
            if last:
                raise
            make_folder(path.parent)
        except PermissionError:
            # Windows replaces no file that somebody reads: it has the same content, and stays.
            with suppress(OSError):
                remove(temporary)
            if os.name != "nt" or not path.exists():
                raise
            return
        except BaseException:
            with suppress(OSError):
                remove(temporary)
            raise
        else:
            return


def fill(path: Path, chunks: Iterable[Chunk]) -> None:
    """Make a file that only this user can read, and have it on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                rest = rest[write(descriptor, rest[:_MOST]) :]
        sync(descriptor)
    finally:
        os.close(descriptor)
