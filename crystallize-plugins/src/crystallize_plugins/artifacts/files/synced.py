"""Files that are there whole or not at all, and that survive a loss of power."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from crystallize.errors import DamagedStoreError, StoreError
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.files.inside import check_path, make_folder, open_file, read_file
from crystallize_plugins.artifacts.files.layout import temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

__all__ = [
    "Content",
    "Prepared",
    "discard",
    "file_digest",
    "link_or_copy",
    "prepare_text",
    "publish",
    "remove_inside",
    "replace_text",
    "store_error",
    "sync_folder",
    "write_synced",
]

_BLOCK = 1 << 17
_AT_ONCE = 1 << 20


class Content(NamedTuple):
    """What is to become a file."""

    path: Path
    data: bytes


class Prepared(NamedTuple):
    """A file that was written, and the name that it is to have."""

    temporary: str
    path: str


def store_error(what: str, path: str | os.PathLike[str], cause: BaseException) -> StoreError:
    """Say what could not be done, where and why.

    Parameters
    ----------
    what : str
        What was tried, as the beginning of a sentence.
    path : path
        The file or folder concerned; kept as ``error.path``.
    cause : BaseException
        What was raised; its number is kept as ``error.errno``.
    """
    reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    kind = DamagedStoreError if _is_damage(cause) else StoreError
    error = kind(f"{what} {os.fspath(path)}: {reason}")
    error.errno = getattr(cause, "errno", None)
    error.path = os.fspath(path)
    error.__cause__ = cause
    return error


def _is_damage(cause: BaseException) -> bool:
    # SQLite says of a malformed database no more than this; what cannot be opened or written is of other classes.
    return isinstance(cause, DamagedStoreError) or (
        type(cause).__module__ == "sqlite3" and type(cause).__name__ in ("DatabaseError", "DataError")
    )


def replace_text(folder: str | os.PathLike[str], name: str, text: Iterable[str]) -> None:
    """Write a file that can be made again at any time: whole or not at all, but not synced."""
    publish([prepare_text(folder, name, text)])


def prepare_text(folder: str | os.PathLike[str], name: str, text: Iterable[str]) -> Prepared:
    """Write such a file, whose text may come in parts, under another name; `publish` gives it its own."""
    temporary = os.path.join(folder, temporary_name())  # noqa: PTH118 - a run writes a few of these, and they add up
    _write_one(temporary, _gathered([text] if isinstance(text, str) else text), synced=False)
    return Prepared(temporary, os.path.join(folder, name))  # noqa: PTH118 - the same


def publish(several: Iterable[Prepared]) -> None:
    """Give files their names, each in place of the file that had it."""
    for temporary, path in several:
        operations.replace(temporary, path)


def discard(several: Iterable[Prepared]) -> None:
    """Remove files that are to have no name after all, as far as they are still there."""
    for temporary, _ in several:
        with suppress(OSError):
            operations.unlink(temporary)


def write_synced(contents: Sequence[Content], *, inside: Path) -> None:
    """Write files so that all of them are on the disk when this returns.

    Each is written under a temporary name, synced and renamed; then the folders are synced, each once.

    Parameters
    ----------
    contents : sequence of Content
        The later one of two with the same path wins.
    inside : Path
        An existing folder, above all the paths. Folders below it are made.

    Raises
    ------
    OSError
        Something cannot be written. Files may be missing then, and none is there in part.
    """
    made: set[Path] = set()
    written = []
    for path, data in contents:
        made.update(_make_folders(path.parent, inside, made))
        temporary = path.with_name(temporary_name())
        try:
            _write_one(temporary, [data])
        except OSError as error:
            raise store_error("cannot write", path, error) from error
        written.append((temporary, path))
    for temporary, path in written:
        operations.replace(temporary, path)
    for folder in made:
        sync_folder(folder)


def link_or_copy(files: Iterable[tuple[Path, Path, Path]], *, inside: Path) -> None:
    """Give files second names, which are on the disk when this returns; copy them where the file system cannot.

    Parameters
    ----------
    files : iterable of (Path, Path, Path)
        The folder of a run, a file in it, and the name that is wanted beside it.
    inside : Path
        As for `write_synced`.
    """
    made: set[Path] = set()
    for folder, source, target in files:
        check_path(folder, source)
        made.update(_make_folders(target.parent, inside, made))
        try:
            operations.link(source, target)
        except OSError:
            write_synced([Content(target, read_file(source, None))], inside=inside)
    for folder in made:
        sync_folder(folder)


def remove_inside(folder: Path, locations: Iterable[str]) -> None:
    """Remove files, as far as there are any; one that a link takes out of the folder is left alone.

    Parameters
    ----------
    folder : Path
    locations : iterable of str
        Paths below it.
    """
    for path in [folder / location for location in locations]:
        with suppress(FileNotFoundError, DamagedStoreError):
            check_path(folder, path)
            path.unlink()


def file_digest(path: Path) -> str:
    """Give the SHA-256 of a file's content, in hexadecimal digits."""
    digest = sha256(usedforsecurity=False)
    with open(open_file(path), "rb", buffering=0) as file:  # noqa: PTH123 - of a descriptor
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder are on the disk."""
    if os.name == "nt":
        return  # folders cannot be opened there, and their names are journalled
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        operations.sync(descriptor)
    finally:
        os.close(descriptor)


def _make_folders(folder: Path, inside: Path, known: set[Path]) -> Iterable[Path]:
    """Make a folder and those above it; give all whose names may not be on the disk yet."""
    if folder in known:
        return ()
    chain = [folder]
    while chain[-1] != inside and chain[-1].parent not in known:
        chain.append(chain[-1].parent)
    # A run's folder that is gone is not made again: somebody removed it.
    for missing in reversed(chain if chain[-1] != inside else chain[:-1]):
        make_folder(missing)
    return chain


def _gathered(text: Iterable[str]) -> Iterator[bytes]:
    """Yield text in parts of which each is worth a call of the system."""
    parts: list[str] = []
    size = 0
    for part in text:
        parts.append(part)
        size += len(part)
        if size > _AT_ONCE:
            yield "".join(parts).encode()
            parts, size = [], 0
    yield "".join(parts).encode()


def _write_one(path: str | os.PathLike[str], contents: Iterable[bytes], *, synced: bool = True) -> None:
    descriptor = operations.open_new(path)
    try:
        try:
            for data in contents:
                rest = memoryview(data)
                while rest:
                    rest = rest[operations.write(descriptor, rest) :]
            if synced:
                operations.sync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        # What is there in part would take up room that the disk has not got.
        with suppress(OSError):
            operations.unlink(path)
        raise
