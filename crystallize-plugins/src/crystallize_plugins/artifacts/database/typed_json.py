"""Values as JSON that says their types: what is loaded equals what was recorded, and every JSON reader can look at it.

What JSON has stands for itself. Anything else is an object whose key ``"$"`` names the type, such as
``{"$": "set", "items": [1, 2]}``. What has no exact encoding is stored as the plain data or the text that stands for it
in JSON, and is marked as such. Nothing is imported or called to read a value, NumPy for its arrays excepted.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import pathlib
import uuid
import zoneinfo
from base64 import b64decode, b64encode
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.errors import DamagedStoreError
from crystallize.hooks.tools import to_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np

__all__ = ["DEEPEST", "Encoded", "StoredText", "decode", "dump_finite", "encode", "encode_plain"]

DEEPEST = 50
"""Containers nested deeper than this are stored as text."""

_DEEPEST_READ = 4 * DEEPEST
"""What is stored in parts, each as deep as that, is less deep."""
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_MOST_EMPTY = 1 << 20
"""Items of an array whose items have no bytes."""

_TYPE = "$"
_MARK = f'"{_TYPE}"'
_MOST_BITS = 4096
"""Integers with more are written in hexadecimal: Python refuses to read that many decimal digits."""

# `json.dumps` makes an encoder for every call that asks for anything beside the defaults.
dump_finite = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


class Encoded(NamedTuple):
    """An encoded value, and whether something of it could not be kept exactly."""

    text: str
    lossy: bool


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


def encode(value: Any) -> Encoded:
    """Encode a value.

    Parameters
    ----------
    value : object
        Exactly kept are None, `bool`, `int`, `float`, `complex`, `str`, `bytes`, `bytearray`, `list`, `tuple`,
        `dict`, `set`, `frozenset`, the types of `datetime` with fixed offsets or named time zones, `Decimal`,
        `Fraction`, `UUID`, paths, NumPy scalars and arrays (no object arrays). Subclasses of built-in types are
        kept as the built-in type, and anything else as what stands for it in JSON; both are marked as lossy.

    Returns
    -------
    Encoded

    Examples
    --------
    >>> encode([1, (2, 3)]).text
    '[1,{"$":"tuple","items":[2,3]}]'
    >>> decode(encode({"loss": [0.5, float("inf")], (1, 2): None}).text)
    {'loss': [0.5, inf], (1, 2): None}
    >>> encode(object()).lossy
    True
    """
    encoder = _Encoder()
    plain = encoder.plain(value)
    return Encoded(dump_finite(plain), encoder.lossy)


def encode_plain(value: Any) -> str:
    """Encode what consists of nothing but None, `bool`, `int`, `float`, `str`, `list` and `dict` with `str` as keys.

    It takes a tenth of the time that `encode` does. Tuples are read as lists.

    Raises
    ------
    TypeError
        There is something else in it.

    Examples
    --------
    >>> encode_plain({"step": "fit", "params": [1, 0.5]})
    '{"step":"fit","params":[1,0.5]}'
    """
    try:
        text = dump_finite(value)
    except ValueError:  # a number that JSON has not
        return encode(value).text
    # A key that names a type, or half a surrogate pair: rare, and worth another look.
    return encode(value).text if _MARK in text or "\\ud" in text else text


def decode(text: str) -> Any:
    r"""Read an encoded value.

    Raises
    ------
    DamagedStoreError
        This is no encoding: it was damaged, or cut off.

    Examples
    --------
    >>> decode('{"$":"tuple","items":[null,true]}')
    (None, True)
    """
    try:
        value = json.loads(text, object_hook=_typed if _MARK in text else None)
        if text.count("[") + text.count("{") > _DEEPEST_READ:
            _check_depth(value)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise DamagedStoreError(f"a stored value is damaged: {error}") from error
    return value


def _check_depth(value: Any) -> None:
    """Refuse what is nested more deeply than anything that is written: who goes through it would not get back."""
    level = [value]
    for _ in range(_DEEPEST_READ):
        level = [
            item
            for each in level
            if type(each) in _CONTAINERS
            for item in (each.values() if type(each) is dict else each)
            if type(item) in _CONTAINERS
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {_DEEPEST_READ} deep")


class _Encoder:
    """Makes plain data of values; knows the containers that it is in, by identity."""

    __slots__ = ("above", "lossy")

    def __init__(self) -> None:
        self.lossy = False
        self.above: list[int] = []

    def plain(self, value: Any) -> Any:
        write = _WRITERS.get(type(value))
        return self.other(value) if write is None else write(self, value)

    def items(self, container: Any, items: Iterable[Any]) -> Any:
        """Encode what is in a container; the text that stands for one which is nested too deep, or in itself."""
        if id(container) in self.above or len(self.above) >= DEEPEST:
            return None
        self.above.append(id(container))
        plain = [*map(self.plain, items)]
        self.above.pop()
        return plain

    def ended(self, container: Any) -> dict[str, Any]:
        return self.marked(container, f"<{type(container).__name__}>")

    def other(self, value: Any) -> Any:
        if type(value).__module__.partition(".")[0] == "numpy":
            found = _from_numpy(self, value)
            if found is not None:
                return found
        base = next((base for base in _RAW if isinstance(value, base)), None)
        if base is None or isinstance(value, Enum):
            return self.substitute(value)
        return self.marked(value, self.plain(_RAW[base](value)))

    def substitute(self, value: Any) -> dict[str, Any]:
        """Encode what stands in JSON for a value that has no exact encoding."""
        return self.marked(value, self.plain(to_plain(value)))

    def marked(self, value: Any, plain: Any) -> dict[str, Any]:
        """Say that something stands for a value of another type."""
        self.lossy = True
        return {_TYPE: "inexact", "type": type(value).__qualname__, "value": plain}


def _typed(parts: dict[str, Any]) -> Any:
    name = parts.get(_TYPE)
    return parts if name is None else _READERS[name](parts)


def _as_itself(_: _Encoder, value: Any) -> Any:
    return value


def _write_int(_: _Encoder, value: int) -> Any:
    return value if value.bit_length() <= _MOST_BITS else {_TYPE: "int", "hex": hex(value)}


def _write_float(_: _Encoder, value: float) -> Any:
    return value if math.isfinite(value) else {_TYPE: "float", "value": repr(value)}


def _write_str(_: _Encoder, value: str) -> Any:
    return value if _is_utf8(value) else {_TYPE: "str", "utf-8": value.encode("utf-8", "surrogatepass").hex()}


def _is_utf8(value: str) -> bool:
    # Half a surrogate pair is text that Python has, and that two of become another text in JSON.
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write_list(encoder: _Encoder, value: list[Any]) -> Any:
    items = encoder.items(value, value)
    return encoder.ended(value) if items is None else items


def _write_items(name: str) -> Callable[[_Encoder, Any], Any]:
    def write(encoder: _Encoder, value: Any) -> Any:
        items = encoder.items(value, value)
        return encoder.ended(value) if items is None else {_TYPE: name, "items": items}

    return write


def _write_set(name: str) -> Callable[[_Encoder, Any], Any]:
    def write(encoder: _Encoder, value: Any) -> Any:
        if not _keys_are_exact(value):
            return encoder.substitute(value)
        # In one order, whatever the hashes of texts are in this process: equal sets are equal texts.
        items = encoder.items(value, sorted(value, key=lambda item: encode(item).text))
        return encoder.ended(value) if items is None else {_TYPE: name, "items": items}

    return write


def _write_dict(encoder: _Encoder, value: dict[Any, Any]) -> Any:
    texts = set(map(type, value)) <= {str} and _TYPE not in value and all(map(_is_utf8, value))
    if not texts and not _keys_are_exact(value):
        return encoder.substitute(value)
    items = encoder.items(value, value.values())
    if items is None:
        return encoder.ended(value)
    if texts:
        return dict(zip(value, items, strict=True))
    return {_TYPE: "dict", "keys": encoder.items(value, value), "values": items}


def _keys_are_exact(keys: Iterable[Any]) -> bool:
    # Two keys whose substitutes are equal would become one.
    return all(type(key) in _EXACT_KEYS or not encode(key).lossy for key in keys)


def _write_moment(name: str) -> Callable[[_Encoder, Any], Any]:
    def write(encoder: _Encoder, value: dt.time | dt.datetime) -> Any:
        zone = value.tzinfo
        exact = zone is None or type(zone) is dt.timezone or (type(zone) is zoneinfo.ZoneInfo and zone.key is not None)
        if not exact:
            return encoder.substitute(value)
        naive = value.replace(tzinfo=None).isoformat()
        return {_TYPE: name, "value": naive, "zone": encoder.plain(zone), "fold": value.fold}

    return write


def _write_timezone(encoder: _Encoder, value: dt.timezone) -> Any:
    offset, name = value.utcoffset(None), value.tzname(None)
    own = None if name == dt.timezone(offset).tzname(None) else encoder.plain(name)
    return {_TYPE: "timezone", "offset": encoder.plain(offset), "name": own}


def _write_text(name: str, spell: Callable[[Any], str] = str) -> Callable[[_Encoder, Any], Any]:
    return lambda encoder, value: {_TYPE: name, "value": encoder.plain(spell(value))}


def _write_bytes(name: str) -> Callable[[_Encoder, Any], Any]:
    return lambda _, value: {_TYPE: name, "base64": b64encode(value).decode()}


def _bytes(parts: Mapping[str, Any]) -> bytes:
    return b64decode(parts["base64"], validate=True)


def _read_zone(parts: Mapping[str, Any]) -> dt.tzinfo:
    key = parts["value"]
    try:
        return zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"this machine does not know the time zone {key!r} (pip install tzdata)") from error


def _read_timezone(parts: Mapping[str, Any]) -> dt.timezone:
    name = parts["name"]
    return dt.timezone(parts["offset"]) if name is None else dt.timezone(parts["offset"], name)


def _read_moment(kind: type[dt.time | dt.datetime]) -> Callable[[Mapping[str, Any]], Any]:
    return lambda parts: kind.fromisoformat(parts["value"]).replace(tzinfo=parts["zone"], fold=parts["fold"])


def _read_path(local: type[pathlib.Path], pure: type[pathlib.PurePath]) -> Callable[[Mapping[str, Any]], Any]:
    # Where such a path cannot exist, it is still a path.
    kind = local if isinstance(pathlib.Path(), local) else pure
    return lambda parts: kind(parts["value"])


def _read_inexact(parts: Mapping[str, Any]) -> Any:
    value = parts["value"]
    return StoredText(value, str(parts["type"])) if type(value) is str else value


# -- NumPy, imported only where there is something of it ------------------------------------------------


def _from_numpy(encoder: _Encoder, value: Any) -> Any:  # noqa: PLR0911 - one for each kind of value
    """Encode a NumPy value; None for what is neither scalar nor array, holds objects, or masks part of its content."""
    import numpy as np

    if isinstance(value, np.str_):
        return {_TYPE: "numpy.str", "value": encoder.plain(str.__str__(value))}
    if isinstance(value, np.bytes_):
        return {_TYPE: "numpy.bytes", "base64": b64encode(value[:]).decode()}
    if isinstance(value, np.ma.MaskedArray) or not isinstance(value, (np.generic, np.ndarray)):
        return None
    described = _described(value.dtype)
    if described is None:
        return None
    if isinstance(value, np.generic):
        if value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:  # noqa: PLR2004 - Python's numbers hold no more
            return {_TYPE: "numpy", "dtype": described, "value": encoder.plain(value.item())}
        content = b64encode(np.asarray(value).tobytes()).decode()
        return {_TYPE: "numpy", "dtype": encoder.plain(described), "base64": content}
    order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
    plain = {
        _TYPE: "array",
        "dtype": encoder.plain(described),
        "shape": list(value.shape),
        "order": order,
        "base64": b64encode(value.tobytes(order)).decode(),  # type: ignore[arg-type]
    }
    return plain if type(value) is np.ndarray else encoder.marked(value, plain)


def _described(dtype: np.dtype[Any]) -> Any:
    """Describe a type by text, or by fields; None where it would not come back as it is."""
    import numpy as np

    if dtype.hasobject or dtype.metadata:
        return None
    try:
        described = np.lib.format.dtype_to_descr(dtype)
        return described if _dtype(described) == dtype else None
    except (TypeError, ValueError):
        return None


def _dtype(described: Any) -> np.dtype[Any]:
    import numpy as np

    dtype: np.dtype[Any] = np.lib.format.descr_to_dtype(described)
    if dtype.hasobject:
        raise ValueError(f"{described!r} holds Python objects")
    return dtype


def _read_scalar(parts: Mapping[str, Any]) -> Any:
    dtype = _dtype(parts["dtype"])
    if "value" in parts:
        if dtype.kind not in "biuf":
            raise ValueError(f"{dtype} is no type of numbers")
        return dtype.type(parts["value"])
    return _rebuilt(dtype, (), "C", _bytes(parts))[()]


def _read_array(parts: Mapping[str, Any]) -> Any:
    return _rebuilt(_dtype(parts["dtype"]), tuple(parts["shape"]), parts["order"], _bytes(parts))


def _rebuilt(dtype: np.dtype[Any], shape: tuple[int, ...], order: Any, content: bytes) -> np.ndarray[Any, Any]:
    import numpy as np

    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{shape} is no shape of an array")
    if math.prod(shape) > (_MOST_EMPTY if not dtype.itemsize else len(content)):
        raise ValueError(f"{len(content)} bytes are no array of shape {shape}")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{len(content)} bytes are no array of shape {shape} and type {dtype}")
    if not content:
        return np.empty(shape, dtype, order)
    rebuilt: np.ndarray[Any, Any] = np.ndarray(shape, dtype, content, order=order).copy(order)
    return rebuilt


def _read_numpy_text(parts: Mapping[str, Any]) -> Any:
    import numpy as np

    return np.str_(parts["value"])


def _read_numpy_bytes(parts: Mapping[str, Any]) -> Any:
    import numpy as np

    return np.bytes_(_bytes(parts))


# How to get at the content of a subclass without calling what it overrides.
_RAW: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    tuple: lambda value: tuple(tuple.__iter__(value)),
    list: lambda value: list(list.__iter__(value)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
}

_WRITERS: dict[type, Callable[[_Encoder, Any], Any]] = {
    type(None): _as_itself,
    bool: _as_itself,
    int: _write_int,
    float: _write_float,
    str: _write_str,
    list: _write_list,
    dict: _write_dict,
    tuple: _write_items("tuple"),
    set: _write_set("set"),
    frozenset: _write_set("frozenset"),
    type(Ellipsis): lambda _, __: {_TYPE: "ellipsis"},
    complex: lambda encoder, value: {_TYPE: "complex", "parts": [*map(encoder.plain, (value.real, value.imag))]},
    bytes: _write_bytes("bytes"),
    bytearray: _write_bytes("bytearray"),
    dt.date: _write_text("date", dt.date.isoformat),
    dt.time: _write_moment("time"),
    dt.datetime: _write_moment("datetime"),
    dt.timedelta: lambda _, value: {_TYPE: "timedelta", "parts": [value.days, value.seconds, value.microseconds]},
    dt.timezone: _write_timezone,
    zoneinfo.ZoneInfo: _write_text("zone", lambda value: value.key),
    Decimal: _write_text("decimal"),
    Fraction: lambda encoder, value: {
        _TYPE: "fraction",
        "parts": [*map(encoder.plain, (value.numerator, value.denominator))],
    },
    uuid.UUID: _write_text("uuid"),
    pathlib.PosixPath: _write_text("path"),
    pathlib.WindowsPath: _write_text("windows path"),
    pathlib.PurePosixPath: _write_text("pure path"),
    pathlib.PureWindowsPath: _write_text("pure windows path"),
}

_READERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "int": lambda parts: int(parts["hex"], 16),
    "float": lambda parts: float(parts["value"]),
    "str": lambda parts: bytes.fromhex(parts["utf-8"]).decode("utf-8", "surrogatepass"),
    "tuple": lambda parts: tuple(parts["items"]),
    "set": lambda parts: set(parts["items"]),
    "frozenset": lambda parts: frozenset(parts["items"]),
    "dict": lambda parts: dict(zip(parts["keys"], parts["values"], strict=True)),
    "ellipsis": lambda _: ...,
    "complex": lambda parts: complex(*parts["parts"]),
    "bytes": _bytes,
    "bytearray": lambda parts: bytearray(_bytes(parts)),
    "date": lambda parts: dt.date.fromisoformat(parts["value"]),
    "time": _read_moment(dt.time),
    "datetime": _read_moment(dt.datetime),
    "timedelta": lambda parts: dt.timedelta(*parts["parts"]),
    "timezone": _read_timezone,
    "zone": _read_zone,
    "decimal": lambda parts: Decimal(parts["value"]),
    "fraction": lambda parts: Fraction(*map(int.__index__, parts["parts"])),
    "uuid": lambda parts: uuid.UUID(parts["value"]),
    "path": _read_path(pathlib.PosixPath, pathlib.PurePosixPath),
    "windows path": _read_path(pathlib.WindowsPath, pathlib.PureWindowsPath),
    "pure path": lambda parts: pathlib.PurePosixPath(parts["value"]),
    "pure windows path": lambda parts: pathlib.PureWindowsPath(parts["value"]),
    "numpy": _read_scalar,
    "numpy.str": _read_numpy_text,
    "numpy.bytes": _read_numpy_bytes,
    "array": _read_array,
    "inexact": _read_inexact,
}
_EXACT_KEYS = frozenset({type(None), bool, int, float, complex, str, bytes})
