"""Frames and columns of pandas, Polars and Arrow: names, types and values, hashed where they lie."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint._graph import new_hash
from crystallize.fingerprint._project import module_of

if TYPE_CHECKING:
    from crystallize.fingerprint._walk import Walk

__all__ = [
    "describe_arrow",
    "describe_extension",
    "describe_extension_dtype",
    "describe_frame",
    "describe_index",
    "describe_polars_frame",
    "describe_polars_series",
    "describe_series",
]

_INTERNAL = frozenset({"_mgr", "_item_cache", "_attrs", "_flags", "_cache", "_is_copy"})


# -- pandas -------------------------------------------------------------------------------------------


def describe_frame(walk: Walk, node: int, value: Any) -> bool:
    """Describe a frame of pandas."""
    parts = [type(value), value.columns, value.index, _columns(value), _beside(value)]
    walk.fill(node, b"frame", [walk.ref(part) for part in parts])
    return True


def describe_series(walk: Walk, node: int, value: Any) -> bool:
    """Describe a column of pandas."""
    parts = [type(value), value.name, value.index, _values(value), _beside(value)]
    walk.fill(node, b"series", [walk.ref(part) for part in parts])
    return True


def describe_index(walk: Walk, node: int, value: Any) -> bool:
    """Describe an index of pandas: its kind and names count, too, and with what frequency it goes on."""
    pandas = sys.modules["pandas"]
    if isinstance(value, pandas.RangeIndex):
        content: Any = (value.start, value.stop, value.step)
    elif isinstance(value, pandas.MultiIndex):
        content = (list(value.levels), list(value.codes))
    else:
        content = (_values(value), getattr(value, "freq", None))
    walk.fill(node, b"index", [walk.ref(type(value)), walk.ref(list(value.names)), walk.ref(content)])
    return True


def _columns(frame: Any) -> Any:
    """Give what a frame holds, without its index, which all columns share."""
    types = list(frame.dtypes)
    if len(types) > 1 and all(kind == types[0] for kind in types) and getattr(types[0], "kind", "O") in "biufc":
        values = frame.to_numpy()
        if values.dtype == types[0]:
            return [str(types[0]), values]
    # By position: two columns may have one name.
    return [_values(frame.iloc[:, at]) for at in range(len(types))]


def _values(column: Any) -> Any:
    """Give the values as an array of NumPy where that is what they are, else as the array that extends pandas."""
    return column.to_numpy() if isinstance(column.dtype, sys.modules["numpy"].dtype) else column.array


def _beside(value: Any) -> dict[str, Any]:
    """Give what was written down beside the values."""
    kind = type(value)
    # What subclasses and people set; what a class has of this name was cached by an accessor.
    own = {name: item for name, item in vars(value).items() if not name.startswith("_") and not hasattr(kind, name)}
    declared = {name: getattr(value, name, None) for name in value._metadata if name not in ("_name", "name")}
    said = {"attrs": dict(value.attrs), "allows_duplicate_labels": value.flags.allows_duplicate_labels}
    return {**own, **declared, **said}


def describe_extension(walk: Walk, node: int, value: Any) -> bool:
    """Describe an array that extends pandas, one of pandas itself; say whether it is one."""
    kind = type(value)
    name = kind.__name__
    content: Any
    if name == "Categorical":
        content = value.codes
    elif name == "IntervalArray":
        content = (value.left, value.right)
    elif name == "SparseArray":
        content = (len(value), value.sp_values, value.sp_index.to_int_index().indices, value.fill_value)
    elif hasattr(value, "_pa_array"):
        content = value._pa_array
    elif hasattr(value, "_mask") and hasattr(value, "_data"):
        content = (_without_missing(value._data, value._mask), value._mask)
    elif hasattr(value, "_ndarray"):
        content = (value._ndarray, getattr(value, "freq", None))
    else:
        return False
    walk.fill(node, b"extension", [walk.ref(kind), walk.ref(value.dtype), walk.ref(content)])
    return True


def _without_missing(data: Any, mask: Any) -> Any:
    """Give the values with zero where they are missing: what lies there is left over from a computation."""
    if not mask.any():
        return data
    filled = data.copy()
    filled[mask] = 0
    return filled


def describe_extension_dtype(walk: Walk, node: int, value: Any) -> bool:
    """Describe a type of pandas' own extensions; say whether it is one."""
    kind = type(value)
    if module_of(kind).partition(".")[0] != "pandas":
        return False
    # A text does not name all categories, and time zones can share a name.
    names = ("categories", "ordered", "tz", "storage", "pyarrow_dtype", "closed")
    said = repr(value) if kind.__name__ != "CategoricalDtype" else ""
    parts = [kind, said, {name: getattr(value, name, None) for name in names}]
    walk.fill(node, b"extension dtype", [walk.ref(part) for part in parts])
    return True


# -- Polars -------------------------------------------------------------------------------------------


def describe_polars_frame(walk: Walk, node: int, value: Any) -> bool:
    """Describe a frame of Polars."""
    walk.fill(node, b"frame", [walk.ref(type(value)), walk.ref(value.get_columns())])
    return True


def describe_polars_series(walk: Walk, node: int, value: Any) -> bool:
    """Describe a column of Polars; say whether it could be done without what it pickles."""
    whole = value.rechunk()
    content: Any
    if value.dtype.is_numeric() and not value.dtype.is_decimal() and not value.null_count():
        content = whole.to_numpy()
    elif value.dtype == sys.modules["polars"].Object:
        content = whole.to_list()
    elif "pyarrow" in sys.modules:
        content = whole.to_arrow()
    else:
        return False
    walk.fill(node, b"series", [walk.ref(part) for part in (type(value), value.name, _polars_type(value), content)])
    return True


def _polars_type(value: Any) -> Any:
    """Say what type the values have; a text does not name all categories."""
    categories: Any = getattr(value.dtype, "categories", None)
    return str(value.dtype), categories.to_list() if hasattr(categories, "to_list") else repr(categories)


# -- Arrow --------------------------------------------------------------------------------------------


def describe_arrow(walk: Walk, node: int, value: Any) -> bool:
    """Describe a table, a batch or an array of Arrow, however it is cut into pieces."""
    arrow = sys.modules["pyarrow"]
    if isinstance(value, arrow.RecordBatch):
        table = arrow.Table.from_batches([value])
    elif isinstance(value, arrow.Table):
        table = value
    else:
        chunked = value if isinstance(value, arrow.ChunkedArray) else arrow.chunked_array([value])
        table = arrow.Table.from_arrays([chunked], names=["values"])
    if any(column.num_chunks > 1 for column in table.columns):
        table = table.combine_chunks()
    sink = _Sink()
    # Written as a stream, a part of a longer array comes without the rest.
    with arrow.ipc.new_stream(arrow.PythonFile(sink, mode="w"), table.schema) as writer:
        writer.write_table(table)
    # A piece of an array and an array of one piece do not differ in what they hold.
    kind = "array" if isinstance(value, (arrow.Array, arrow.ChunkedArray)) else type(value)
    walk.fill(node, b"arrow", [walk.ref(kind), sink.digest.digest()])
    return True


class _Sink:
    """A file that keeps nothing but the digest of what was written to it."""

    closed = False

    def __init__(self) -> None:
        self.digest = new_hash()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        """Do nothing: there is nothing left to write."""

    def close(self) -> None:
        """Do nothing: the digest is read afterwards."""
