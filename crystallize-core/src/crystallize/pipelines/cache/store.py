"""The folder of entries: found by what is known before a step runs, then by what it read while it ran.

For each step with its parameters and its input there is a folder. In it lie the sets of names that executions of the
step have read (``*.reads``), and for each set and the values then read an entry (``*.entry``).
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.fingerprint import combine
from crystallize.pipelines.cache import files
from crystallize.pipelines.cache.entry import DamagedEntryError, read_entry, sealed
from crystallize.pipelines.cache.settings import CacheSettings, current_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Address", "CacheInfo", "EntryStore", "clear", "entries_folder", "info", "make_room"]

_LOGGER = logging.getLogger("crystallize")
_MINUTE = 60.0
_SHORT = 16
_LONG = 40
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


class Address(NamedTuple):
    """What an entry is the answer to.

    Attributes
    ----------
    known : str
        The digest of what was known before the step ran.
    names : tuple of str
        What it read while it ran, sorted.
    values : str
        The digest of the values of these.
    """

    known: str
    names: tuple[str, ...]
    values: str

    @property
    def text(self) -> str:
        """The whole address in one line."""
        return f"{self.known}/{_of_names(self.names)}/{self.values}"


class EntryStore:
    """The entries in one folder.

    Parameters
    ----------
    settings : CacheSettings
    key : bytes
        The user's, see `load_key`.
    """

    def __init__(self, settings: CacheSettings, key: bytes) -> None:
        self._settings = settings
        self._key = key
        self._root = str(entries_folder(settings))

    def find(self, known: str, value_of: Callable[[str], str], step: str) -> tuple[Address, Any] | None:
        """Return the entry that fits, or None.

        Parameters
        ----------
        known : str
            The digest of what is known before the step runs.
        value_of : callable of str
            Gives the digest of what the step would read now, by name.
        step : str
            For warnings.
        """
        folder = self._folder(known)
        for names in itertools.chain([()], self._read_sets(folder, step)):
            address = Address(known, names, combine(*map(value_of, names)))
            path = os.path.join(folder, _entry_name(address))  # noqa: PTH118 - the same as in `read_entry`
            try:
                record, used = read_entry(path, address.text, self._key)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (DamagedEntryError, OSError) as problem:
                _LOGGER.warning("the cached output of %s is computed again: %s (%s)", step, problem, path)
                return None
            if time.time() - used > _MINUTE:
                files.touch(path)
            return address, record
        return None

    def put(self, address: Address, record: Any) -> None:
        """Keep an entry, in place of what is there.

        Raises
        ------
        OSError
            It cannot be written.
        Exception
            Whatever pickling raises.
        """
        parts = sealed(record, address.text, self._key)
        size = sum(map(len, parts))
        if size > self._settings.limit:
            return
        folder = Path(self._folder(address.known))
        _make_root(self._settings)
        files.make_folder(folder)
        if address.names:
            # First: an entry that nobody can find would only take room.
            self._put_names(folder, address.names)
        files.put(folder / _entry_name(address), parts)
        _taken(self._settings, size)

    def _folder(self, known: str) -> str:
        return os.path.join(self._root, known[:2], known[2:_LONG])  # noqa: PTH118 - the same as in `read_entry`

    def _read_sets(self, folder: str, step: str) -> Iterator[tuple[str, ...]]:
        """Yield the sets of names that were read, if the entry for a step that reads nothing is not there."""
        try:
            with os.scandir(folder) as listed:
                paths = sorted(entry.path for entry in listed if entry.name.endswith(".reads"))
        except OSError:
            return
        for path in map(Path, paths):
            try:
                names = _names_in(path)
            except FileNotFoundError:
                continue
            except (OSError, ValueError, TypeError, AttributeError) as problem:
                _LOGGER.warning("the cached outputs of %s cannot all be found: %s (%s)", step, problem, path)
                files.remove(path)
            else:
                yield names

    @staticmethod
    def _put_names(folder: Path, names: tuple[str, ...]) -> None:
        path = folder / _names_name(names)
        if not path.exists():
            files.put(path, [json.dumps(names).encode()])


def _names_in(path: Path) -> tuple[str, ...]:
    names = tuple(json.loads(path.read_bytes()))
    if path.name != _names_name(names):
        raise ValueError("its content does not fit its name")
    return names


@functools.lru_cache(maxsize=1024)
def _of_names(names: tuple[str, ...]) -> str:
    return combine(*names)


def _names_name(names: tuple[str, ...]) -> str:
    return f"{_of_names(names)[:_SHORT]}.reads"


def _entry_name(address: Address) -> str:
    return f"{_of_names(address.names)[:_SHORT]}-{address.values[:_LONG]}.entry"


# -- what the folder holds, making room in it, and emptying it ----------------------------------------


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
    """Return what the step cache holds.

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
    """Return the folder below which entries of this format lie."""
    return Path(settings.folder, "steps", "1")


def _make_root(settings: CacheSettings) -> None:
    """Make the cache folder, marked as one for backups and for version control."""
    root = entries_folder(settings).parent
    tag, ignored = root / "CACHEDIR.TAG", root / ".gitignore"
    if not ignored.exists():
        files.make_folder(root)
        files.put(tag, [_TAG])
        files.put(ignored, [b"*\n"])


def _taken(settings: CacheSettings, size: int) -> None:
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
