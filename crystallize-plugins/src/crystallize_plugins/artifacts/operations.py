"""Every operation by which the store changes a disk: the one place where it can fail or be cut short.

Whatever the store writes, syncs, renames, makes, links, removes or commits goes through these functions, and callers
look them up in this module at each call. So a test can put others in their place that end the process, or report a
full disk, at any one of them.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

__all__ = [
    "commit",
    "execute",
    "execute_many",
    "link",
    "make_folder",
    "open_new",
    "remove_folder",
    "remove_tree",
    "rename",
    "replace",
    "sync",
    "touch",
    "unlink",
    "write",
]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def open_new(path: str | os.PathLike[str]) -> int:
    """Open a file for writing that is nobody else's, in place of what has its name; give its descriptor."""
    try:
        return os.open(path, _NEW, 0o666)
    except FileExistsError:
        # A process of the same number left it behind, or it is a link that somebody put there.
        os.unlink(path)  # noqa: PTH108 - beside its siblings
        return os.open(path, _NEW, 0o666)


def write(descriptor: int, data: bytes | memoryview) -> int:
    """Write some of the data; give how much."""
    return os.write(descriptor, data)


def sync(descriptor: int) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    os.fsync(descriptor)


def replace(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Give a file its name, in place of what had it."""
    os.replace(source, target)  # noqa: PTH105 - it is called for every file of a run


def rename(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Give a folder a name that nothing has."""
    os.rename(source, target)  # noqa: PTH104 - beside its sibling


def link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Give a file a second name."""
    os.link(source, target)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder that is not there."""
    os.mkdir(path)  # noqa: PTH102 - there may be hundreds of conditions


def unlink(path: str | os.PathLike[str]) -> None:
    """Remove a file."""
    os.unlink(path)  # noqa: PTH108 - beside its siblings


def remove_folder(path: str | os.PathLike[str]) -> None:
    """Remove an empty folder."""
    os.rmdir(path)  # noqa: PTH106 - beside its siblings


def remove_tree(path: str | os.PathLike[str], *, ignore_errors: bool = False) -> None:
    """Remove a folder with all that is in it; of a link, the link."""
    if os.path.islink(path):  # noqa: PTH114 - beside its siblings
        os.unlink(path)  # noqa: PTH108 - beside its siblings
    else:
        shutil.rmtree(path, ignore_errors=ignore_errors)


def touch(path: str | os.PathLike[str]) -> None:
    """Make a file look as if it had just been written."""
    os.utime(path)


def execute(connection: sqlite3.Connection, statement: str, values: Sequence[Any] = ()) -> None:
    """Make one statement that changes a database; outside of a transaction it is committed."""
    connection.execute(statement, values)


def execute_many(connection: sqlite3.Connection, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    """Make a statement that changes a database for each of many rows."""
    connection.executemany(statement, rows)


def commit(connection: sqlite3.Connection) -> None:
    """Commit a transaction: what it changed is on the disk when this returns."""
    connection.execute("COMMIT")
