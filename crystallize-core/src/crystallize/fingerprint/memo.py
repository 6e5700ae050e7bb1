"""What was found out about a value, for as long as nothing of it has changed.

A walk over code takes a tenth of a millisecond, and every run asks. So a walk notes each place where it looked that
could hold something else the next time: globals, closures, defaults, attributes of modules and classes. To look there
again takes microseconds. What is met on the way and can change without such a place telling (an object of the
project, an array, a file that is imported) makes the walk one that is not remembered.

A context of ten thousand plain entries is walked over in fifty milliseconds. To write it down takes one: so its
identity is remembered by what was written.
"""

from __future__ import annotations

import marshal
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.fingerprint.hashing import content_of_path, new_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from types import CellType, FunctionType

__all__ = ["ABSENT", "Guards", "Known", "recall", "remember", "remembered"]

ABSENT: Any = object()
"""Stands for a name that is not there."""

_MOST = 512


class Guards:
    """The places where a walk looked.

    Attributes
    ----------
    hold : bool
        Whether they tell of everything that could change.
    """

    __slots__ = ("_checks", "_write", "hold")

    def __init__(self, write: Callable[[Any], bytes | None]) -> None:
        self.hold = True
        self._write = write
        self._checks: list[Callable[[], bool]] = []

    def name(self, names: Mapping[str, Any], name: str, value: Any) -> None:
        """Note what a name stood for."""
        self._checks.append(lambda: names.get(name, ABSENT) is value)

    def function(self, function: FunctionType) -> None:
        """Note what a function was made of."""
        code, defaults, keywords = function.__code__, function.__defaults__, function.__kwdefaults__
        attributes = dict(vars(function))
        self._checks.append(
            lambda: (
                function.__code__ is code
                and function.__defaults__ is defaults
                and function.__kwdefaults__ is keywords
                and _same(function.__dict__, attributes)
            )
        )

    def cell(self, cell: CellType, value: Any) -> None:
        """Note what a closure variable held."""
        self._checks.append(lambda: _content(cell) is value)

    def kind(self, kind: type) -> None:
        """Note what a class was made of."""
        bases, attributes = kind.__bases__, dict(vars(kind))
        self._checks.append(lambda: kind.__bases__ == bases and _same(vars(kind), attributes))

    def plain(self, value: Any, written: bytes) -> None:
        """Note the content of a small container."""
        self._checks.append(lambda: self._write(value) == written)

    def path(self, path: Path, content: str) -> None:
        """Note what a file or a folder contained."""
        self._checks.append(lambda: _lies_below(path) == content)

    def unchanged(self) -> bool:
        """Return whether all of them are as they were."""
        return all(check() for check in self._checks)


class Known(NamedTuple):
    """What a walk found out."""

    subject: Any
    """Kept, so that nothing else takes its identifier."""
    guards: Guards
    digest: str
    untracked: tuple[str, ...]


_known: dict[int, Known] = {}


def recall(subject: Any) -> Known | None:
    """Return what is known of an object, if that still holds."""
    known = _known.get(id(subject))
    if known is not None and known.guards.unchanged():
        return known
    return None


def remember(known: Known) -> None:
    """Keep what was found out, if its guards hold it."""
    if known.guards.hold:
        if len(_known) >= _MOST:
            _known.clear()
        _known[id(known.subject)] = known


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return ABSENT


def _lies_below(path: Path) -> str | None:
    try:
        return content_of_path(path)
    except OSError:
        return None


def _same(now: Mapping[str, Any], was: dict[str, Any]) -> bool:
    return len(now) == len(was) and all(now.get(name, ABSENT) is value for name, value in was.items())


_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
_SEQUENCES = frozenset({list, tuple})
_PLAIN = _ATOMS | _SEQUENCES | {dict}
_DEEPEST = 32
_MOST_CONTENTS = 64
_MOST_SHARED = 1000
_SHARED = 4

_known_contents: dict[bytes, str] = {}


def remembered(value: Any, find_out: Callable[[], str]) -> str | None:
    """Return the identity of a value that consists of plain built-in ones only; None for any other.

    Parameters
    ----------
    value : object
    find_out : callable
        Gives the identity, where this content was not met before.
    """
    key = _written(value)
    if key is None:
        return None
    known = _known_contents.get(key)
    if known is None:
        known = find_out()
        if len(_known_contents) >= _MOST_CONTENTS:
            _known_contents.clear()
        _known_contents[key] = known
    return known


def _written(value: Any) -> bytes | None:
    """Return the digest of a value's content; None where it is not plain, or too deep."""
    if type(value) not in _SEQUENCES and type(value) is not dict:
        return None
    level: Iterable[Any] = (value,)
    for _ in range(_DEEPEST):
        level = list(level)
        kinds = set(map(type, level))
        if not kinds <= _PLAIN:
            # What else there is may be written down in the same way as something different.
            return None
        if kinds <= _ATOMS:
            digest = new_hash()
            # Without references: they depend on which objects are shared.
            digest.update(marshal.dumps(value, 0))
            return digest.digest()
        containers = [each for each in level if type(each) not in _ATOMS]
        if len(containers) > _MOST_SHARED + _SHARED * len(set(map(id, containers))):
            return None  # some hold each other in many ways: written down, each way would take its room
        mappings = [each for each in containers if type(each) is dict]
        sequences = [each for each in containers if type(each) in _SEQUENCES]
        level = chain(chain.from_iterable(sequences), *mappings, *(each.values() for each in mappings))
    return None
