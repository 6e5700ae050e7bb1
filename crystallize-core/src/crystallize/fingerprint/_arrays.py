"""Arrays of NumPy by content, hashed where they lie; NumPy is not imported for it."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint._project import asked_for, module_of
from crystallize.fingerprint._state import attributes_of, held_name
from crystallize.fingerprint._tree import PIECE, digest_of_buffer, digest_of_pieces

if TYPE_CHECKING:
    from crystallize.fingerprint._walk import Walk

__all__ = ["describe_array", "describe_dtype", "describe_ufunc"]

# What a masked array keeps for itself; its mask and what it is filled with are asked for.
_OF_MASKED = frozenset({"_mask", "_fill_value", "_hardmask", "_sharedmask", "_basedict", "_isfield", "_baseclass"})
# Of extended precision: 80 bits in 16 bytes, of which the rest means nothing.
_EXTENDED = "gG"
_EXTENDED_DIGITS = 63
_EXTENDED_BYTES = 10


def describe_array(walk: Walk, node: int, value: Any) -> bool:
    """Describe an array or an array's scalar: type, shape, items, and what a subclass adds to them."""
    numpy = sys.modules["numpy"]
    kind = type(value)
    scalar = issubclass(kind, numpy.generic)
    array = numpy.asarray(value) if scalar else numpy.ndarray.view(value, numpy.ndarray)
    described = [walk.ref(_dtype(array.dtype)), walk.ref(array.shape)]
    # Items that are references, of objects or of text of variable length, mean nothing as bytes.
    if array.dtype.hasobject:
        head = b"items"
        described.append(walk.ref(array.tolist()))
    else:
        head = b"scalar" if scalar else b"array"
        described += _contents(array, numpy)
    if not (kind in (numpy.ndarray, numpy.memmap) or (scalar and module_of(kind) == "numpy")):
        head = b"kind of " + head
        described += [walk.ref(kind), walk.ref(_added(value, numpy))]
    walk.fill(node, head, described)
    return True


def _added(value: Any, numpy: Any) -> dict[str, Any]:
    attributes = attributes_of(value)
    if not isinstance(value, numpy.ma.MaskedArray):
        return attributes
    kept = {name: item for name, item in attributes.items() if name not in _OF_MASKED}
    said = {name: asked_for(value, name) for name in ("fill_value", "hardmask")}
    return {**kept, **said, "mask": numpy.ma.getmaskarray(value)}


def describe_dtype(walk: Walk, node: int, value: Any) -> bool:
    """Describe a type of items."""
    walk.fill(node, b"dtype", [walk.ref(_dtype(value))])
    return True


def _dtype(dtype: Any) -> Any:
    """Say what a type of items is: byte order, unit, fields with their places, metadata."""
    # An empty one, as unpickled dates of NumPy 1 have, means nothing.
    metadata = dict(dtype.metadata) if dtype.metadata else None
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return "sub", _dtype(base), shape, metadata
    name = f"{module_of(dtype.type)}.{dtype.type.__qualname__}"
    if dtype.names is not None:
        fields = [(name, *dtype.fields[name][1:], _dtype(dtype.fields[name][0])) for name in dtype.names]
        return "fields", name, dtype.itemsize, fields, metadata
    if dtype.kind == "T":
        return dtype.str, name, metadata, dtype.coerce, getattr(dtype, "na_object", "none")
    return dtype.str, name, metadata


def _contents(array: Any, numpy: Any) -> list[bytes]:
    """Digest the items; of records with gaps or overlaps field by field, since what lies between them is no content."""
    dtype = array.dtype
    if _is_packed(dtype, numpy):
        return [_content(array, numpy)]
    if dtype.names is not None:
        return [part for name in dtype.names for part in _contents(array[name], numpy)]
    bytes_of_items = numpy.ascontiguousarray(array).reshape(-1).view("u1").reshape(-1, 16)
    return [_content(bytes_of_items[:, :_EXTENDED_BYTES], numpy)]


def _is_packed(dtype: Any, numpy: Any) -> bool:
    """Whether all bytes of an item mean something, each once."""
    if dtype.subdtype is not None:
        return _is_packed(dtype.subdtype[0], numpy)
    if dtype.names is None:
        return dtype.char not in _EXTENDED or numpy.finfo(dtype).nmant != _EXTENDED_DIGITS
    end = 0
    for field, offset, *_ in sorted(dtype.fields.values(), key=lambda found: found[1]):
        if offset != end or not _is_packed(field, numpy):
            return False
        end += field.itemsize
    return bool(end == dtype.itemsize)


def _content(array: Any, numpy: Any) -> bytes:
    """Digest the items in their order, however they lie in memory."""
    shape, size = array.shape, array.dtype.itemsize
    if not array.nbytes:
        return digest_of_buffer(b"")
    # Pieces are whole rows along the first axis whose rows are no larger than a piece.
    axis, row = 0, array.nbytes // (shape[0] if shape else 1)
    while row > PIECE and axis + 1 < len(shape):
        axis += 1
        row //= shape[axis]
    length = shape[axis] if shape else 1
    rows = max(1, PIECE // max(row, size))
    groups = -(-length // rows)
    count = groups * (array.nbytes // (length * row))
    if array.flags.c_contiguous:
        # As bytes, since dates and records do not show their buffer as what they are.
        view = array.reshape(-1).view("u1").data

        def piece(at: int) -> memoryview:
            block, group = divmod(at, groups)
            start = block * length + group * rows
            return view[start * row : min(start + rows, (block + 1) * length) * row]  # type: ignore[no-any-return]
    else:

        def piece(at: int) -> memoryview:
            block, group = divmod(at, groups)
            part = array[numpy.unravel_index(block, shape[:axis])] if axis else array
            copied = numpy.ascontiguousarray(part[group * rows : (group + 1) * rows])
            return copied.reshape(-1).view("u1").data  # type: ignore[no-any-return]

    return digest_of_pieces(count, piece)


def describe_ufunc(walk: Walk, node: int, value: Any) -> bool:
    """Describe a universal function: by name where a library has it, else by the function that it was made from."""
    name = held_name(value, value.__name__)
    # It shows its function to nobody but the garbage collector.
    made_from = [item for item in gc.get_referents(value) if callable(item)] if name is None else []
    if name is not None:
        walk.fill(node, b"named", [walk.ref(name)])
    elif made_from:
        says = (value.nin, value.nout, value.types, value.signature, value.identity)
        walk.fill(node, b"ufunc", [walk.ref(says), *map(walk.ref, made_from)])
    else:
        walk.fill_live(node, type(value))
    return True
