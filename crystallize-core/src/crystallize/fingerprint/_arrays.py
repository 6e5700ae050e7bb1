"""Arrays and frames by content, hashed where they lie; no array library is imported for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint._graph import new_hash
from crystallize.fingerprint._project import module_of

if TYPE_CHECKING:
    from crystallize.fingerprint._walk import Walk

__all__ = ["describe_array"]

_CHUNK = 1 << 20


def describe_array(walk: Walk, node: int, value: Any) -> bool:
    """Describe an array, an array's scalar or a frame; say whether `value` is one."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return _numpy(walk, node, value, numpy)
    kind = type(value)
    library = module_of(kind).partition(".")[0]
    if library in ("pandas", "polars") and hasattr(value, "columns") and hasattr(value, "to_numpy"):
        # By position: two columns may have one name.
        columns = value.get_columns() if library == "polars" else [column for _, column in value.items()]
        index = getattr(value, "index", None)
        walk.fill(node, b"frame", [walk.ref(kind), walk.ref(list(value.columns)), walk.ref(index), walk.ref(columns)])
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
        walk.fill(node, head, [*described, _content(numpy.asarray(value))])
    return True


def _content(array: Any) -> bytes:
    digest = new_hash()
    if array.flags.c_contiguous:
        if array.nbytes:
            # As bytes, since dates and records do not show their buffer as what they are.
            digest.update(array.reshape(-1).view("u1").data)
        return digest.digest()
    rows = max(1, _CHUNK // max(1, array.nbytes // max(1, len(array))))
    for start in range(0, len(array), rows):
        digest.update(array[start : start + rows].tobytes())
    return digest.digest()


def _foreign(walk: Walk, node: int, value: Any) -> bool:
    try:
        array = value.__array__()
    except Exception:  # noqa: BLE001 - whatever a library raises for what it cannot convert
        return False
    walk.fill(node, b"converted", [walk.ref(type(value)), walk.ref(str(value.dtype)), walk.ref(array)])
    return True
