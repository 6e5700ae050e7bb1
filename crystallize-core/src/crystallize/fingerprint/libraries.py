"""What objects of libraries consist of, where what they pickle does not say it, or says more.

Arrays and frames are hashed where they lie. No library is imported for it.
"""

from __future__ import annotations

import functools
import gc
import sys
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint.attributes import attributes_of, compiler_of, held_name
from crystallize.fingerprint.hashing import PIECE, digest_of_buffer, digest_of_pieces, new_hash
from crystallize.fingerprint.project import asked_for, module_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crystallize.fingerprint.graph import Walk

    Described = tuple[bytes, Sequence[Any]]
    """What something is, and what it consists of."""
    Describe = Callable[[Any], Described | None]

__all__ = ["describe_known"]


_LIVE: Described = (b"live", ())
"""Says that something cannot be followed, and is known by its type."""


def describe_known(walk: Walk, node: int, value: Any) -> bool:
    """Describe an object of a kind that is known here; return whether it is one."""
    kind: Any = type(value)
    describe = _describer(kind)
    described = None if describe is None else describe(value)
    if described is _LIVE:
        walk.fill_live(node, kind)
    elif described is not None:
        walk.fill(node, described[0], [walk.ref(part) for part in described[1]])
    return described is not None


@functools.lru_cache(maxsize=1024)
def _describer(kind: Any) -> Describe | None:
    for base in kind.__mro__:
        found = _KNOWN.get((module_of(base).partition(".")[0], base.__qualname__))
        if found is not None:
            return found
    return None


# -- PyTorch ------------------------------------------------------------------------------------------


def _tensor(value: Any) -> Described:
    """Describe a tensor. Its gradient is no part of it: a copy that travels does not have it."""
    torch = sys.modules["torch"]
    with torch.no_grad():
        plain = value.detach()
        layout = str(value.layout)
        content: Any
        if plain.is_nested:
            content = list(plain.unbind())
        elif plain.is_quantized:
            content = (plain.int_repr(), str(plain.qscheme()), *_scales(torch, plain))
        elif layout == "torch.sparse_coo":
            content = (plain.is_coalesced(), plain._indices(), plain._values())
        elif layout in ("torch.sparse_csr", "torch.sparse_bsr"):
            content = (plain.crow_indices(), plain.col_indices(), plain.values())
        elif layout in ("torch.sparse_csc", "torch.sparse_bsc"):
            content = (plain.ccol_indices(), plain.row_indices(), plain.values())
        elif plain.is_meta:
            content = None
        elif layout == "torch.strided":
            content = _memory(plain.resolve_conj().resolve_neg().cpu().contiguous())
        else:
            content = (layout, plain.to_dense())
    # Of a nested tensor neither shape nor attributes are the same twice, and its parts say all.
    shape, attributes = ((), {}) if plain.is_nested else (tuple(value.shape), attributes_of(value))
    says = (layout, str(value.dtype), shape, str(value.device), value.requires_grad)
    return b"tensor", [type(value), says, attributes, content]


def _scales(torch: Any, plain: Any) -> tuple[Any, ...]:
    if plain.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return plain.q_scale(), plain.q_zero_point()
    return plain.q_per_channel_scales(), plain.q_per_channel_zero_points(), plain.q_per_channel_axis()


def _memory(tensor: Any) -> bytes:
    """Digest the items of a dense tensor, whose types NumPy does not all know."""
    count = tensor.numel() * tensor.element_size()
    return _digest_at(tensor.data_ptr(), count)


def _digest_at(address: int, count: int) -> bytes:
    import ctypes

    if not count:
        return digest_of_buffer(b"")
    return digest_of_buffer(memoryview((ctypes.c_ubyte * count).from_address(address)).cast("B"))


def _storage(value: Any) -> Described:
    untyped = getattr(value, "_untyped_storage", value).cpu()
    says = (str(getattr(value, "dtype", None)), str(value.device), _digest_at(untyped.data_ptr(), untyped.nbytes()))
    return b"storage", [type(value), says]


# -- functions that were compiled or wrapped ----------------------------------------------------------


def _numba_function(value: Any) -> Described:
    """Describe a function that Numba compiles: what for, and how; signatures only where they were declared."""
    declared = [] if value._can_compile else [str(signature) for signature in value.signatures]
    return b"compiled", [type(value), value.py_func, value.targetoptions, value.locals, declared]


def _torch_compiled(value: Any) -> Described:
    return b"compiled", [type(value), value._orig_mod, compiler_of(value.dynamo_ctx.callback)]


def _jax_compiled(value: Any) -> Described:
    """Describe a function that JAX compiles; what it has compiled so far is left out."""
    info = value._jit_info
    names = [name for name in info._fields if name not in ("fun_sourceinfo", "fun_signature")]
    return b"compiled", [type(value), value.__wrapped__, {name: repr(getattr(info, name)) for name in names}]


def _numba_callback(value: Any) -> Described:
    return b"compiled", [type(value), value._pyfunc, str(value._sig)]


def _proxy(value: Any) -> Described:
    """Describe a proxy of wrapt, which shows the attributes of what it wraps; its own begin with ``_self_``."""
    kind, wrapped = type(value), value.__wrapped__
    own = {name: getattr(value, name, None) for name in dir(kind) if name.startswith("_self_")}
    for held in gc.get_referents(value):
        if type(held) is dict and held is not wrapped:
            own.update((name, item) for name, item in held.items() if str(name).startswith("_self_"))
    return b"wrapper", [kind, wrapped, own]


# -- others -------------------------------------------------------------------------------------------


def _of_registry(value: Any) -> Described:
    """Describe a quantity or a unit of Pint, whose class is made anew for each registry of units."""
    _, (kind, *arguments) = value.__reduce__()
    return b"quantity", [kind, arguments]


def _search_tree(value: Any) -> Described:
    """Describe a tree of SciPy for nearest neighbours, which pickles with addresses in it."""
    return b"search tree", [type(value), value.data, value.indices, value.leafsize, value.boxsize]


def _layout(value: Any) -> Described:
    """Describe the compiled layout of a record of bytes."""
    return b"layout", [type(value), value.format]


def _single_dispatch(value: Any) -> Described:
    """Describe a method that goes by the type of its argument, not what it has looked up so far."""
    return b"dispatch", [type(value), value.func, value.dispatcher]


def _live(value: Any) -> Described:
    del value
    return _LIVE


# What a masked array keeps for itself; its mask and what it is filled with are asked for.
_OF_MASKED = frozenset({"_mask", "_fill_value", "_hardmask", "_sharedmask", "_basedict", "_isfield", "_baseclass"})
# Of extended precision: 80 bits in 16 bytes, of which the rest means nothing.
_EXTENDED = "gG"
_EXTENDED_DIGITS = 63
_EXTENDED_BYTES = 10


def _describe_array(value: Any) -> Described:
    """Describe an array or an array's scalar: type, shape, items, and what a subclass adds to them."""
    numpy = sys.modules["numpy"]
    kind = type(value)
    scalar = issubclass(kind, numpy.generic)
    array = numpy.asarray(value) if scalar else numpy.ndarray.view(value, numpy.ndarray)
    described = [_dtype(array.dtype), array.shape]
    # Items that are references, of objects or of text of variable length, mean nothing as bytes.
    if array.dtype.hasobject:
        head = b"items"
        described.append(array.tolist())
    else:
        head = b"scalar" if scalar else b"array"
        described += _contents(array, numpy)
    if not (kind in (numpy.ndarray, numpy.memmap) or (scalar and module_of(kind) == "numpy")):
        head = b"kind of " + head
        described += [kind, _added(value, numpy)]
    return head, described


def _added(value: Any, numpy: Any) -> dict[str, Any]:
    attributes = attributes_of(value)
    if not isinstance(value, numpy.ma.MaskedArray):
        return attributes
    kept = {name: item for name, item in attributes.items() if name not in _OF_MASKED}
    said = {name: asked_for(value, name) for name in ("fill_value", "hardmask")}
    return {**kept, **said, "mask": numpy.ma.getmaskarray(value)}


def _describe_dtype(value: Any) -> Described:
    """Describe a type of items."""
    return b"dtype", [_dtype(value)]


def _dtype(dtype: Any) -> Any:
    """Return what a type of items is: byte order, unit, fields with their places, metadata."""
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
    """Return whether all bytes of an item mean something, each once."""
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


def _describe_ufunc(value: Any) -> Described:
    """Describe a universal function: by name where a library has it, else by the function that it was made from."""
    name = held_name(value, value.__name__)
    # It shows its function to nobody but the garbage collector.
    made_from = [item for item in gc.get_referents(value) if callable(item)] if name is None else []
    if name is not None:
        return b"named", [name]
    says = (value.nin, value.nout, value.types, value.signature, value.identity)
    return (b"ufunc", [says, *made_from]) if made_from else _LIVE


# -- pandas -------------------------------------------------------------------------------------------


def _describe_frame(value: Any) -> Described:
    """Describe a frame of pandas."""
    return b"frame", [type(value), value.columns, value.index, _columns(value), _beside(value)]


def _describe_series(value: Any) -> Described:
    """Describe a column of pandas."""
    return b"series", [type(value), value.name, value.index, _values(value), _beside(value)]


def _describe_index(value: Any) -> Described:
    """Describe an index of pandas: its kind and names count, too, and with what frequency it goes on."""
    pandas = sys.modules["pandas"]
    if isinstance(value, pandas.RangeIndex):
        content: Any = (value.start, value.stop, value.step)
    elif isinstance(value, pandas.MultiIndex):
        content = (list(value.levels), list(value.codes))
    else:
        content = (_values(value), getattr(value, "freq", None))
    return b"index", [type(value), list(value.names), content]


def _columns(frame: Any) -> Any:
    """Return what a frame holds, without its index, which all columns share."""
    types = list(frame.dtypes)
    if len(types) > 1 and all(kind == types[0] for kind in types) and getattr(types[0], "kind", "O") in "biufc":
        values = frame.to_numpy()
        if values.dtype == types[0]:
            return [str(types[0]), values]
    # By position: two columns may have one name.
    return [_values(frame.iloc[:, at]) for at in range(len(types))]


def _values(column: Any) -> Any:
    """Return the values as an array of NumPy where that is what they are, else as the array that extends pandas."""
    return column.to_numpy() if isinstance(column.dtype, sys.modules["numpy"].dtype) else column.array


def _beside(value: Any) -> dict[str, Any]:
    """Return what was written down beside the values."""
    kind = type(value)
    # What subclasses and people set; what a class has of this name was cached by an accessor.
    own = {name: item for name, item in vars(value).items() if not name.startswith("_") and not hasattr(kind, name)}
    declared = {name: getattr(value, name, None) for name in value._metadata if name not in ("_name", "name")}
    said = {"attrs": dict(value.attrs), "allows_duplicate_labels": value.flags.allows_duplicate_labels}
    return {**own, **declared, **said}


def _describe_extension(value: Any) -> Described | None:
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
        return None
    return b"extension", [kind, value.dtype, content]


def _without_missing(data: Any, mask: Any) -> Any:
    """Return the values with zero where they are missing: what lies there is left over from a computation."""
    if not mask.any():
        return data
    filled = data.copy()
    filled[mask] = 0
    return filled


def _describe_extension_dtype(value: Any) -> Described | None:
    """Describe a type of pandas' own extensions; say whether it is one."""
    kind = type(value)
    if module_of(kind).partition(".")[0] != "pandas":
        return None
    # A text does not name all categories, and time zones can share a name.
    names = ("categories", "ordered", "tz", "storage", "pyarrow_dtype", "closed")
    said = repr(value) if kind.__name__ != "CategoricalDtype" else ""
    return b"extension dtype", [kind, said, {name: getattr(value, name, None) for name in names}]


# -- Polars -------------------------------------------------------------------------------------------


def _describe_polars_frame(value: Any) -> Described:
    """Describe a frame of Polars."""
    return b"frame", [type(value), value.get_columns()]


def _describe_polars_series(value: Any) -> Described | None:
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
        return None
    return b"series", [type(value), value.name, _polars_type(value), content]


def _polars_type(value: Any) -> Any:
    """Return what type the values have; a text does not name all categories."""
    categories: Any = getattr(value.dtype, "categories", None)
    return str(value.dtype), categories.to_list() if hasattr(categories, "to_list") else repr(categories)


# -- Arrow --------------------------------------------------------------------------------------------


def _describe_arrow(value: Any) -> Described:
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
    return b"arrow", [kind, sink.digest.digest()]


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


_KNOWN: dict[tuple[str, str], Describe] = {
    ("numpy", "ndarray"): _describe_array,
    ("numpy", "generic"): _describe_array,
    ("numpy", "dtype"): _describe_dtype,
    ("numpy", "ufunc"): _describe_ufunc,
    ("pandas", "DataFrame"): _describe_frame,
    ("pandas", "Series"): _describe_series,
    ("pandas", "Index"): _describe_index,
    ("pandas", "ExtensionArray"): _describe_extension,
    ("pandas", "ExtensionDtype"): _describe_extension_dtype,
    ("polars", "DataFrame"): _describe_polars_frame,
    ("polars", "Series"): _describe_polars_series,
    ("pyarrow", "Table"): _describe_arrow,
    ("pyarrow", "RecordBatch"): _describe_arrow,
    ("pyarrow", "Array"): _describe_arrow,
    ("pyarrow", "ChunkedArray"): _describe_arrow,
    ("torch", "Tensor"): _tensor,
    ("torch", "OptimizedModule"): _torch_compiled,
    ("torch", "UntypedStorage"): _storage,
    ("torch", "TypedStorage"): _storage,
    ("jaxlib", "PjitFunction"): _jax_compiled,
    ("numba", "Dispatcher"): _numba_function,
    ("numba", "CFunc"): _numba_callback,
    ("wrapt", "ObjectProxy"): _proxy,
    ("_wrappers", "ObjectProxy"): _proxy,
    ("pint", "PlainQuantity"): _of_registry,
    ("pint", "PlainUnit"): _of_registry,
    ("scipy", "cKDTree"): _search_tree,
    ("_struct", "Struct"): _layout,
    ("functools", "singledispatchmethod"): _single_dispatch,
    # It reads when it is asked to: a file that may be another one by then.
    ("xarray", "FileManager"): _live,
}
