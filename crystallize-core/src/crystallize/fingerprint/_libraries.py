"""What objects of libraries consist of, where what they pickle does not say it, or says more."""

from __future__ import annotations

import functools
import gc
import sys
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint._arrays import describe_array, describe_dtype, describe_ufunc
from crystallize.fingerprint._frames import (
    describe_arrow,
    describe_extension,
    describe_extension_dtype,
    describe_frame,
    describe_index,
    describe_polars_frame,
    describe_polars_series,
    describe_series,
)
from crystallize.fingerprint._project import module_of
from crystallize.fingerprint._state import attributes_of, compiler_of
from crystallize.fingerprint._tree import digest_of_buffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystallize.fingerprint._walk import Walk

    Describe = Callable[[Walk, int, Any], bool]

__all__ = ["describe_known"]


def describe_known(walk: Walk, node: int, value: Any) -> bool:
    """Describe an object of a kind that is known here; say whether it is one."""
    kind: Any = type(value)
    describe = _describer(kind)
    return describe is not None and describe(walk, node, value)


@functools.lru_cache(maxsize=1024)
def _describer(kind: Any) -> Describe | None:
    for base in kind.__mro__:
        found = _KNOWN.get((module_of(base).partition(".")[0], base.__qualname__))
        if found is not None:
            return found
    return None


# -- PyTorch ------------------------------------------------------------------------------------------


def _tensor(walk: Walk, node: int, value: Any) -> bool:
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
    walk.fill(node, b"tensor", [walk.ref(part) for part in (type(value), says, attributes, content)])
    return True


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


def _storage(walk: Walk, node: int, value: Any) -> bool:
    untyped = getattr(value, "_untyped_storage", value).cpu()
    says = (str(getattr(value, "dtype", None)), str(value.device), _digest_at(untyped.data_ptr(), untyped.nbytes()))
    walk.fill(node, b"storage", [walk.ref(type(value)), walk.ref(says)])
    return True


# -- functions that were compiled or wrapped ----------------------------------------------------------


def _numba_function(walk: Walk, node: int, value: Any) -> bool:
    """Describe a function that Numba compiles: what for, and how; signatures only where they were declared."""
    declared = [] if value._can_compile else [str(signature) for signature in value.signatures]
    parts = [type(value), value.py_func, value.targetoptions, value.locals, declared]
    walk.fill(node, b"compiled", [walk.ref(part) for part in parts])
    return True


def _torch_compiled(walk: Walk, node: int, value: Any) -> bool:
    parts = [type(value), value._orig_mod, compiler_of(value.dynamo_ctx.callback)]
    walk.fill(node, b"compiled", [walk.ref(part) for part in parts])
    return True


def _jax_compiled(walk: Walk, node: int, value: Any) -> bool:
    """Describe a function that JAX compiles; what it has compiled so far is left out."""
    info = value._jit_info
    names = [name for name in info._fields if name not in ("fun_sourceinfo", "fun_signature")]
    parts = [type(value), value.__wrapped__, {name: repr(getattr(info, name)) for name in names}]
    walk.fill(node, b"compiled", [walk.ref(part) for part in parts])
    return True


def _numba_callback(walk: Walk, node: int, value: Any) -> bool:
    walk.fill(node, b"compiled", [walk.ref(part) for part in (type(value), value._pyfunc, str(value._sig))])
    return True


def _proxy(walk: Walk, node: int, value: Any) -> bool:
    """Describe a proxy of wrapt, which shows the attributes of what it wraps; its own begin with ``_self_``."""
    kind, wrapped = type(value), value.__wrapped__
    own = {name: getattr(value, name, None) for name in dir(kind) if name.startswith("_self_")}
    for held in gc.get_referents(value):
        if type(held) is dict and held is not wrapped:
            own.update((name, item) for name, item in held.items() if str(name).startswith("_self_"))
    walk.fill(node, b"wrapper", [walk.ref(kind), walk.ref(wrapped), walk.ref(own)])
    return True


# -- others -------------------------------------------------------------------------------------------


def _of_registry(walk: Walk, node: int, value: Any) -> bool:
    """Describe a quantity or a unit of Pint, whose class is made anew for each registry of units."""
    _, (kind, *arguments) = value.__reduce__()
    walk.fill(node, b"quantity", [walk.ref(kind), walk.ref(arguments)])
    return True


def _search_tree(walk: Walk, node: int, value: Any) -> bool:
    """Describe a tree of SciPy for nearest neighbours, which pickles with addresses in it."""
    parts = [type(value), value.data, value.indices, value.leafsize, value.boxsize]
    walk.fill(node, b"search tree", [walk.ref(part) for part in parts])
    return True


def _layout(walk: Walk, node: int, value: Any) -> bool:
    """Describe the compiled layout of a record of bytes."""
    walk.fill(node, b"layout", [walk.ref(type(value)), walk.ref(value.format)])
    return True


def _single_dispatch(walk: Walk, node: int, value: Any) -> bool:
    """Describe a method that goes by the type of its argument, not what it has looked up so far."""
    walk.fill(node, b"dispatch", [walk.ref(part) for part in (type(value), value.func, value.dispatcher)])
    return True


def _live(walk: Walk, node: int, value: Any) -> bool:
    walk.fill_live(node, type(value))
    return True


_KNOWN: dict[tuple[str, str], Describe] = {
    ("numpy", "ndarray"): describe_array,
    ("numpy", "generic"): describe_array,
    ("numpy", "dtype"): describe_dtype,
    ("numpy", "ufunc"): describe_ufunc,
    ("pandas", "DataFrame"): describe_frame,
    ("pandas", "Series"): describe_series,
    ("pandas", "Index"): describe_index,
    ("pandas", "ExtensionArray"): describe_extension,
    ("pandas", "ExtensionDtype"): describe_extension_dtype,
    ("polars", "DataFrame"): describe_polars_frame,
    ("polars", "Series"): describe_polars_series,
    ("pyarrow", "Table"): describe_arrow,
    ("pyarrow", "RecordBatch"): describe_arrow,
    ("pyarrow", "Array"): describe_arrow,
    ("pyarrow", "ChunkedArray"): describe_arrow,
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
