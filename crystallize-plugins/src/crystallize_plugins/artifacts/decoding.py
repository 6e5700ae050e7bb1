"""Reading what `encoding` wrote: nothing is imported or called but constructors of built-in types."""

from __future__ import annotations

import datetime as dt
import json
import pathlib
import struct
import sys
import uuid
import zoneinfo
from array import array
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from crystallize.errors import DamagedStoreError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StoredText", "decode", "packed_numbers"]

_LENGTH = struct.Struct("<I")
_INT = struct.Struct("<q")
_FLOAT = struct.Struct("<d")
_COMPLEX = struct.Struct("<dd")
_DATE = struct.Struct("<I")
_TIME = struct.Struct("<BBBIB")
_DATETIME = struct.Struct("<HBBBBBIB")
_TIMEDELTA = struct.Struct("<iII")
# More than any encoding has: damage must not overflow the stack.
_DEEPEST = 150


class StoredText(str):
    """The text of a value that could not be stored as it was.

    Attributes
    ----------
    type_name : str
        Name of the type that the value had.

    Examples
    --------
    >>> text = StoredText("<Model>", "Model")
    >>> text, text.type_name
    ('<Model>', 'Model')
    """

    __slots__ = ("type_name",)

    type_name: str

    def __new__(cls, text: str, type_name: str) -> StoredText:  # noqa: PYI034 - Python 3.10 has no `Self`
        """Make text that remembers what it stands for."""
        made = super().__new__(cls, text)
        made.type_name = type_name
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.type_name)


def decode(data: bytes | memoryview) -> Any:
    r"""Read an encoded value.

    Parameters
    ----------
    data : bytes-like
        What `encode` gave, and no more.

    Raises
    ------
    StoreError
        These bytes are no encoding: they were damaged, or cut off.

    Examples
    --------
    >>> decode(b"t\x02\x00\x00\x00NT")
    (None, True)
    """
    source = _Input(data)
    try:
        return source.only_value()
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, struct.error) as error:
        raise DamagedStoreError(f"a stored value is damaged at byte {source.place} of {len(data)}: {error}") from error


def packed_numbers(typecode: str, data: bytes | memoryview) -> array[Any]:
    """Read packed numbers, the same on every machine."""
    packed: array[Any] = array(typecode)
    packed.frombytes(data)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed


class _Input:
    """The bytes of one encoding, and how far they have been read."""

    __slots__ = ("data", "depth", "place")

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = memoryview(data)
        self.place = 0
        self.depth = 0

    def only_value(self) -> Any:
        value = self.value()
        if self.place != len(self.data):
            raise ValueError("something follows it")
        return value

    def value(self) -> Any:
        tag = self.data[self.place]
        self.place += 1
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        value = _READERS[tag](self)
        self.depth -= 1
        return value

    def take(self, size: int) -> memoryview:
        end = self.place + size
        if end > len(self.data):
            raise ValueError("it is cut off")
        taken = self.data[self.place : end]
        self.place = end
        return taken

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size))

    def length(self) -> int:
        count: int = self.unpack(_LENGTH)[0]
        return count

    def block(self) -> bytes:
        return bytes(self.take(self.length()))

    def text(self) -> str:
        return self.block().decode("utf-8", "surrogatepass")

    def items(self, per_item: int = 1) -> list[Any]:
        count = self.length() * per_item
        # Every item takes a byte at least: a damaged length must not take all memory.
        if count > len(self.data) - self.place:
            raise ValueError("it is cut off")
        return [self.value() for _ in range(count)]


def _mapping(source: _Input) -> dict[Any, Any]:
    parts = source.items(2)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def _time(source: _Input) -> dt.time:
    hour, minute, second, microsecond, fold = source.unpack(_TIME)
    return dt.time(hour, minute, second, microsecond, source.value(), fold=fold)


def _datetime(source: _Input) -> dt.datetime:
    year, month, day, hour, minute, second, microsecond, fold = source.unpack(_DATETIME)
    return dt.datetime(year, month, day, hour, minute, second, microsecond, source.value(), fold=fold)


def _timezone(source: _Input) -> dt.timezone:
    offset, name = source.value(), source.value()
    return dt.timezone(offset) if name is None else dt.timezone(offset, name)


def _zone(source: _Input) -> dt.tzinfo:
    key = source.text()
    try:
        return zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"this machine does not know the time zone {key!r} (pip install tzdata)") from error


def _path(local: type[pathlib.Path], pure: type[pathlib.PurePath]) -> Callable[[_Input], pathlib.PurePath]:
    # Where such a path cannot exist, it is still a path.
    kind = local if isinstance(pathlib.Path(), local) else pure
    return lambda source: kind(source.text())


def _packed(typecode: str) -> Callable[[_Input], list[Any]]:
    return lambda source: packed_numbers(typecode, source.take(8 * source.length())).tolist()


def _substitute(source: _Input) -> Any:
    type_name = source.text()
    value = source.value()
    return StoredText(value, type_name) if type(value) is str else value


def _array(source: _Input) -> Any:
    from crystallize_plugins.artifacts import arrays

    return arrays.rebuild_array(source.value(), source.block())


def _scalar(source: _Input) -> Any:
    from crystallize_plugins.artifacts import arrays

    return arrays.rebuild_scalar(source.value(), source.block())


_READERS: dict[int, Callable[[_Input], Any]] = {
    ord(tag): reader
    for tag, reader in {
        "N": lambda _: None,
        ".": lambda _: ...,
        "T": lambda _: True,
        "F": lambda _: False,
        "i": lambda source: source.unpack(_INT)[0],
        "I": lambda source: int.from_bytes(source.block(), "little", signed=True),
        "d": lambda source: source.unpack(_FLOAT)[0],
        "c": lambda source: complex(*source.unpack(_COMPLEX)),
        "s": _Input.text,
        "b": _Input.block,
        "B": lambda source: bytearray(source.block()),
        "j": lambda source: json.loads(source.block()),
        "l": _Input.items,
        "t": lambda source: tuple(source.items()),
        "m": _mapping,
        "e": lambda source: set(source.items()),
        "f": lambda source: frozenset(source.items()),
        "D": _packed("d"),
        "Q": _packed("q"),
        "a": lambda source: dt.date.fromordinal(source.unpack(_DATE)[0]),
        "h": _time,
        "z": _datetime,
        "o": lambda source: dt.timedelta(*source.unpack(_TIMEDELTA)),
        "u": _timezone,
        "Z": _zone,
        "C": lambda source: Decimal(source.text()),
        "r": lambda source: Fraction(source.value(), source.value()),
        "g": lambda source: uuid.UUID(bytes=bytes(source.take(16))),
        "P": _path(pathlib.PosixPath, pathlib.PurePosixPath),
        "W": _path(pathlib.WindowsPath, pathlib.PureWindowsPath),
        "p": lambda source: pathlib.PurePosixPath(source.text()),
        "w": lambda source: pathlib.PureWindowsPath(source.text()),
        "A": _array,
        "n": _scalar,
        "x": _substitute,
    }.items()
}
