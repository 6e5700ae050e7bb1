"""What the cache folder holds, making room in it, and emptying it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from crystallize.pipelines.cache import files
from crystallize.pipelines.cache.settings import CacheSettings, current_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CacheInfo", "Room", "clear", "entries_folder", "info", "make_root"]

# Whoever looks after the folder again writes this many parts of the limit meanwhile, and waits no longer than so long.
_PARTS = 16
_SECONDS = 600.0
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


class Room:
    """Keeps the folder within its limit, about: each process looks after what it writes.

    Looking at a large folder takes its time. So it is done at the first entry, unless somebody did it within ten
    minutes, and then whenever a sixteenth of the limit was written.
    """

    def __init__(self, settings: CacheSettings) -> None:
        self._limit = settings.limit
        self._root = entries_folder(settings)
        self._written = -1
        self._lock = threading.Lock()

    def taken(self, size: int) -> None:
        """Note that an entry was written, and make room where that is due."""
        with self._lock:
            first = self._written < 0
            self._written = max(self._written, 0) + size
            if not (first and self._unattended()) and self._written < self._limit // _PARTS:
                return
            self._written = 0
        make_room(self._root, self._limit)
        files.put(self._root.parent / "attended", [b""])

    def _unattended(self) -> bool:
        try:
            return time.time() - (self._root.parent / "attended").stat().st_mtime > _SECONDS
        except OSError:
            return True


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
