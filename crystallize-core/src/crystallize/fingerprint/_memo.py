"""What was found out about a callable, for as long as nothing of it has changed.

A walk over code takes a tenth of a millisecond, and every run asks. So a walk notes each place where it looked that
could hold something else the next time: globals, closures, defaults, attributes of modules and classes. To look there
again takes microseconds. What is met on the way and can change without such a place telling (an object of the
project, an array, a file that is imported) makes the walk one that is not remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.fingerprint._files import content_of_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import CellType, FunctionType

__all__ = ["ABSENT", "Guards", "Known", "recall", "remember"]

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

    __slots__ = ("_cells", "_classes", "_functions", "_names", "_paths", "_plain", "_write", "hold")

    def __init__(self, write: Callable[[Any], bytes | None]) -> None:
        self.hold = True
        self._write = write
        self._names: list[tuple[Mapping[str, Any], str, Any]] = []
        self._functions: list[tuple[FunctionType, Any, Any, Any, dict[str, Any]]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._classes: list[tuple[type, tuple[type, ...], dict[str, Any]]] = []
        self._plain: list[tuple[Any, bytes]] = []
        self._paths: list[tuple[Path, str]] = []

    def name(self, names: Mapping[str, Any], name: str, value: Any) -> None:
        """Note what a name stood for."""
        self._names.append((names, name, value))

    def function(self, function: FunctionType) -> None:
        """Note what a function was made of."""
        made_of = function.__code__, function.__defaults__, function.__kwdefaults__, dict(vars(function))
        self._functions.append((function, *made_of))

    def cell(self, cell: CellType, value: Any) -> None:
        """Note what a closure variable held."""
        self._cells.append((cell, value))

    def kind(self, kind: type) -> None:
        """Note what a class was made of."""
        self._classes.append((kind, kind.__bases__, dict(vars(kind))))

    def plain(self, value: Any, written: bytes) -> None:
        """Note the content of a small container."""
        self._plain.append((value, written))

    def path(self, path: Path, content: str) -> None:
        """Note what a file or a folder contained."""
        self._paths.append((path, content))

    def unchanged(self) -> bool:
        """Whether all of them are as they were."""
        return (
            all(names.get(name, ABSENT) is value for names, name, value in self._names)
            and all(
                function.__code__ is code
                and function.__defaults__ is defaults
                and function.__kwdefaults__ is keywords
                and (_same(function.__dict__, attributes) if attributes else not function.__dict__)
                for function, code, defaults, keywords, attributes in self._functions
            )
            and all(_content(cell) is value for cell, value in self._cells)
            and all(self._write(value) == written for value, written in self._plain)
            and all(kind.__bases__ == bases and _same(vars(kind), was) for kind, bases, was in self._classes)
            and all(_lies_below(path) == content for path, content in self._paths)
        )


class Known(NamedTuple):
    """What a walk found out."""

    subject: Any
    """Kept, so that nothing else takes its identifier."""
    guards: Guards
    digest: str
    untracked: tuple[str, ...]


_known: dict[int, Known] = {}


def recall(subject: Any) -> Known | None:
    """Give what is known of an object, if that still holds."""
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
