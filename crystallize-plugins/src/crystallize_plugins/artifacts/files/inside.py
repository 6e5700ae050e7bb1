"""What lies in a run's folder, opened, listed and made without a link being followed, or anything being waited for.

A run may come from anybody. What is in it are folders and plain files; a link, a pipe or a device in their place leads
elsewhere, or never ends.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from crystallize.errors import DamagedStoreError
from crystallize_plugins.artifacts import operations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "LONGEST_TEXT",
    "check_file",
    "check_path",
    "files_below",
    "is_folder",
    "make_folder",
    "open_file",
    "read_file",
]

LONGEST_TEXT = 256 * 1024 * 1024
"""Bytes of a file of text that are read: a run of a million cells has fewer."""

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLLOW_NOTHING = getattr(os, "O_NOFOLLOW", 0)
# To open a pipe must not wait for somebody who writes to it.
_WAIT_FOR_NOTHING = getattr(os, "O_NONBLOCK", 0)
_KINDS = {
    stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFREG: "a file",
}  # fmt: skip


def check_file(path: str | os.PathLike[str]) -> os.stat_result | None:
    """Return the status of a plain file; None where there is nothing.

    Raises
    ------
    DamagedStoreError
        It is something else.
    """
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        raise _other(path, found.st_mode, "a plain file")
    return found


def check_path(folder: Path, path: Path) -> os.stat_result:
    """Return the status of a plain file at any depth below a folder.

    Raises
    ------
    FileNotFoundError
        There is none.
    DamagedStoreError
        It is something else, or a link, or anything but a folder, stands on the way to it.
    """
    for above in reversed(path.parents[: len(path.parts) - len(folder.parts) - 1]):
        if not is_folder(above):
            raise _other(above, os.lstat(above).st_mode, "a folder")
    found = check_file(path)
    if found is None:
        raise FileNotFoundError(f"there is no file {path}")
    return found


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder, and no link to one."""
    return stat.S_ISDIR(os.lstat(path).st_mode)


def open_file(path: str | os.PathLike[str]) -> int:
    """Open a plain file for reading; return its descriptor.

    Raises
    ------
    FileNotFoundError
        There is none.
    DamagedStoreError
        It is something else.
    """
    if not _FOLLOW_NOTHING:
        check_file(path)
    try:
        descriptor = os.open(path, _READ | _FOLLOW_NOTHING | _WAIT_FOR_NOTHING)
    except OSError:
        check_file(path)
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _other(path, mode, "a plain file")
    return descriptor


def read_file(path: str | os.PathLike[str], most: int | None = LONGEST_TEXT) -> bytes:
    """Return the content of a plain file.

    Parameters
    ----------
    path : path
    most : int or None
        Bytes that it may have.

    Raises
    ------
    FileNotFoundError
        There is none.
    DamagedStoreError
        It is something else, or larger.
    """
    with open(open_file(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            raise _damage(path, f"it has {size} bytes, and none that a run writes has more than {most}")
        return file.read()


def files_below(folder: Path) -> Iterator[Path]:
    """Yield what lies below a folder and is no folder, in the order of the names; links are not followed."""
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(folder / entry.name)
        else:
            yield folder / entry.name


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, unless there is one.

    Raises
    ------
    DamagedStoreError
        A link, or a file, has its name: what is written there would lie elsewhere.
    """
    try:
        operations.make_folder(path)
    except FileExistsError:
        if not is_folder(path):
            raise _other(path, os.lstat(path).st_mode, "a folder") from None


def _other(path: str | os.PathLike[str], mode: int, expected: str) -> DamagedStoreError:
    found = _KINDS.get(stat.S_IFMT(mode), "something else")
    return _damage(path, f"it is {found}, and a run has {expected} there, which is not looked for elsewhere")


def _damage(path: str | os.PathLike[str], what: str) -> DamagedStoreError:
    error = DamagedStoreError(f"{os.fspath(path)} is not what a run holds: {what}")
    error.path = os.fspath(path)
    return error
