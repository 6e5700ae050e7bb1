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
from crystallize.pipelines.cache import files, housekeeping
from crystallize.pipelines.cache.entry import DamagedEntryError, read_entry, sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crystallize.pipelines.cache.settings import CacheSettings

__all__ = ["Address", "EntryStore"]

_LOGGER = logging.getLogger("crystallize")
_MINUTE = 60.0
_SHORT = 16
_LONG = 40


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
        self._root = str(housekeeping.entries_folder(settings))

    def find(self, known: str, value_of: Callable[[str], str], step: str) -> tuple[Address, Any] | None:
        """Give the entry that fits, or None.

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
        housekeeping.make_root(self._settings)
        files.make_folder(folder)
        if address.names:
            # First: an entry that nobody can find would only take room.
            self._put_names(folder, address.names)
        files.put(folder / _entry_name(address), parts)
        housekeeping.taken(self._settings, size)

    def _folder(self, known: str) -> str:
        return os.path.join(self._root, known[:2], known[2:_LONG])  # noqa: PTH118 - the same as in `read_entry`

    def _read_sets(self, folder: str, step: str) -> Iterator[tuple[str, ...]]:
        """Give the sets of names that were read, if the entry for a step that reads nothing is not there."""
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
