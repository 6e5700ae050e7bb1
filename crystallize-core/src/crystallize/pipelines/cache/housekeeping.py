"""What the cache folder holds, making room in it, and emptying it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from crystallize.pipelines.cache import files
from crystallize.pipelines.cache.settings import CacheSettings, current_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CacheInfo", "clear", "entries_folder", "info", "make_room", "make_root", "taken"]

# The folder is looked through whenever so many parts of the limit were written, counted with this precision.
_PARTS = 16
_COUNTED = 256
# Down to here, so that the next entries find room.
_LOW = 0.9
# Older than this, an unfinished file has nobody who finishes it.
_ABANDONED = 3600.0
_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# The step cache of Crystallize: whatever lies here can be computed again.\n"
)


class CacheInfo(NamedTuple):
    """What a cache folder holds.

    Attributes
    ----------
    folder : Path
        Absolute; it need not exist.
    entries : int
        How many outputs are kept.
    size : int
        Bytes that they take.
    limit : int
        Bytes that they may take.
    """

    folder: Path
    entries: int
    size: int
    limit: int


class _Entry(NamedTuple):
    used: float
    size: int
    path: Path


def info() -> CacheInfo:
    """Say what the step cache holds.

    Returns
    -------
    CacheInfo

    Raises
    ------
    ConfigurationError
        An environment variable of the cache makes no sense.

    Examples
    --------
    >>> from crystallize.pipelines import cache
    >>> cache.info().limit
    10000000000
    """
    settings = current_settings()
    found = list(_entries(entries_folder(settings)))
    return CacheInfo(Path(settings.folder), len(found), sum(entry.size for entry in found), settings.limit)


def clear() -> int:
    """Remove everything from the step cache.

    Nothing else in the folder is touched, and a run under way computes again what it does not find.

    Returns
    -------
    int
        How many outputs were removed.

    Raises
    ------
    ConfigurationError
        An environment variable of the cache makes no sense.
    OSError
        Something cannot be removed.

    Examples
    --------
    >>> from crystallize.pipelines import cache
    >>> removed = cache.clear()
    >>> cache.info().entries
    0
    """
    root = entries_folder(current_settings())
    removed = 0
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            if name.endswith((".entry", ".reads")) or name.startswith(files.TEMPORARY):
                files.remove(Path(folder, name))
                removed += name.endswith(".entry")
        files.remove_folder(Path(folder))
    return removed


def entries_folder(settings: CacheSettings) -> Path:
    """Give the folder below which entries of this format lie."""
    return Path(settings.folder, "steps", "1")


def make_root(settings: CacheSettings) -> None:
    """Make the cache folder, marked as one for backups and for version control."""
    root = entries_folder(settings).parent
    tag, ignored = root / "CACHEDIR.TAG", root / ".gitignore"
    if not ignored.exists():
        files.make_folder(root)
        files.put(tag, [_TAG])
        files.put(ignored, [b"*\n"])


def taken(settings: CacheSettings, size: int) -> None:
    """Note that an entry was written, and make room once a sixteenth of the limit was.

    Looking through a large folder takes its time. So what all processes have written since is counted by the size of a
    file, to which each adds a byte for every so much; less than that adds one now and then.
    """
    root = entries_folder(settings)
    unit = max(1, settings.limit // (_PARTS * _COUNTED))
    count = size // unit + (int.from_bytes(os.urandom(4), "little") % unit < size % unit)
    written = root.parent / "written"
    if count and files.append(written, bytes(min(count, _COUNTED))) >= _COUNTED:
        make_room(root, settings.limit)
        files.put(written, [b""])


def make_room(root: Path, limit: int) -> None:
    """Remove what was not used for longest, where a folder holds more than it may.

    Parameters
    ----------
    root : Path
        As `entries_folder` gives it.
    limit : int
        Bytes.
    """
    found = sorted(_entries(root, abandoned_before=time.time() - _ABANDONED))
    size = sum(entry.size for entry in found)
    if size <= limit:
        return
    for entry in found:
        if size <= limit * _LOW:
            break
        files.remove(entry.path)
        size -= entry.size
        _remove_if_empty(entry.path.parent)


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder in which no entry is left, with the names of what entries read."""
    try:
        left = list(folder.iterdir())
    except OSError:
        return
    if all(path.suffix == ".reads" for path in left):
        for path in left:
            files.remove(path)
        files.remove_folder(folder)


def _entries(root: Path, abandoned_before: float = 0.0) -> Iterator[_Entry]:
    """Go through the entries; unfinished files that are older are removed on the way."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            try:
                if name.endswith(".entry"):
                    found = path.stat()
                    yield _Entry(found.st_mtime, found.st_size, path)
                elif name.startswith(files.TEMPORARY) and path.stat().st_mtime < abandoned_before:
                    files.remove(path)
            except OSError:
                continue  # another process has removed it
