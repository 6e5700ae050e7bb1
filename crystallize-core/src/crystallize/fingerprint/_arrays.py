"""Arrays and frames by content, hashed where they lie; no array library is imported for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint._project import module_of
from crystallize.fingerprint._tree import PIECE, digest_of_buffer, digest_of_pieces

if TYPE_CHECKING:
    from crystallize.fingerprint._walk import Walk

__all__ = ["describe_array"]


def describe_array(walk: Walk, node: int, value: Any) -> bool:
    """Describe an array, an array's scalar or a frame; say whether `value` is one."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return _numpy(walk, node, value, numpy)
    kind = type(value)
    library = module_of(kind).partition(".")[0]
    if library in ("pandas", "polars") and hasattr(value, "columns") and hasattr(value, "to_numpy"):
        index = getattr(value, "index", None)
        walk.fill(
            node,
            b"frame",
            [walk.ref(kind), walk.ref(list(value.columns)), walk.ref(index), walk.ref(_columns(value, library))],
        )
        return True
    if library in ("pandas", "polars") and hasattr(value, "to_numpy") and hasattr(value, "dtype"):
        # Of an index or a series: its own index and name go with the values.
        index = getattr(value, "index", None) if kind.__name__ == "Series" else None
        parts = [str(value.dtype), getattr(value, "name", None), index, value.to_numpy()]
        walk.fill(node, b"series", [walk.ref(kind), *map(walk.ref, parts)])
        return True
    if hasattr(kind, "__array__") and hasattr(value, "dtype") and hasattr(value, "shape"):
        return _foreign(walk, node, value)
    return False


def _columns(frame: Any, library: str) -> Any:
    """Give what a frame holds, without its index, which all columns share."""
    if library == "polars":
        return frame.get_columns()
    types = list(frame.dtypes)
    if len(types) > 1 and all(kind == types[0] for kind in types) and getattr(types[0], "kind", "O") in "biufc":
        values = frame.to_numpy()
        if values.dtype == types[0]:
            return [str(types[0]), values]
    # By position: two columns may have one name.
    return [(str(column.dtype), column.to_numpy()) for _, column in frame.items()]


def _numpy(walk: Walk, node: int, value: Any, numpy: Any) -> bool:
    plain = type(value) in (numpy.ndarray, numpy.memmap) or isinstance(value, numpy.generic)
    if not plain:
        return False  # matrices, masked arrays and the like: by what they pickle
    described = [walk.ref(repr(value.dtype.descr)), walk.ref(value.shape)]
    # Items that are references, of objects or of text of variable length, mean nothing as bytes.
    if value.dtype.hasobject:
        walk.fill(node, b"items", [*described, walk.ref(value.tolist())])
    else:
        head = b"scalar" if isinstance(value, numpy.generic) else b"array"
        walk.fill(node, head, [*described, _content(numpy.asarray(value), numpy)])
    return True


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


def _foreign(walk: Walk, node: int, value: Any) -> bool:
    try:
        array = value.__array__()
    except Exception:  # noqa: BLE001 - whatever a library raises for what it cannot convert
        return False
    walk.fill(node, b"converted", [walk.ref(type(value)), walk.ref(str(value.dtype)), walk.ref(array)])
    return True
