"""What a step can see of a value beside what makes it equal to another one.

Resuming compares values. A step may go by more: the order of a dict's keys, how an array lies in memory (sums differ in
their last bits), what the file contains that a path leads to.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.context.isolation import ATOMS
from crystallize.fingerprint import Identity, combine, content_of, identify

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FileContents", "Looks", "is_array"]

# A file may change again within the time that its stamp counts in.
_SETTLED = 2.0
_all_atoms = ATOMS.issuperset


class FileContents:
    """The digests of files during a run; each is read once, as long as its size and time stay what they are."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[int, ...], str]] = {}

    def of(self, path: Path) -> str:
        """Give the digest of what a file or a folder contains."""
        try:
            found = path.stat()
        except OSError:
            return content_of(path)
        if not path.is_file():
            return content_of(path)
        stamp = (found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev)
        known = self._known.get(str(path))
        if known is not None and known[0] == stamp:
            return known[1]
        content = content_of(path)
        if time.time() - found.st_mtime > _SETTLED:
            self._known[str(path)] = (stamp, content)
        return content


def is_array(value: Any) -> bool:
    """Whether a value is an array of NumPy, which is not imported for it."""
    ndarray = getattr(sys.modules.get("numpy"), "ndarray", None)
    return ndarray is not None and isinstance(value, ndarray)


class Looks:
    """Identities of values by all that a step can see of them.

    Parameters
    ----------
    files : FileContents
    """

    def __init__(self, files: FileContents) -> None:
        self._files = files

    def identity(self, value: Any) -> Identity:
        """Give the identity of a value."""
        found = identify(value)
        unsaid = self.unsaid(value)
        return found if unsaid is None else found._replace(digest=combine(found.digest, identify(unsaid).digest))

    def unsaid(self, value: Any) -> Any:
        """Give what equality of values does not tell of one; None where there is nothing."""
        return None if type(value) in ATOMS else self._unsaid(value, {})

    def _unsaid(self, value: Any, seen: dict[int, Any]) -> Any:
        kind = type(value)
        if kind in ATOMS:
            return None
        if kind is dict:
            parts = self._parts(value, list(value.values()), seen)
            return (list(value), parts) if len(value) > 1 or parts else None
        if kind is list or kind is tuple:
            return self._parts(value, value, seen)
        if isinstance(value, Path):
            return self._files.of(value) if value.is_file() else None
        return value.strides if is_array(value) and not value.flags.c_contiguous else None

    def _parts(self, value: Any, items: Sequence[Any], seen: dict[int, Any]) -> Any:
        if _all_atoms(map(type, items)) or id(value) in seen:
            return None
        seen[id(value)] = value
        parts = [(at, part) for at, item in enumerate(items) if (part := self._unsaid(item, seen)) is not None]
        return parts or None
