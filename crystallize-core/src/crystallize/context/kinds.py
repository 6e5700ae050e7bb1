"""What isolation does with objects that are no built-in containers, told by their class.

Classes of libraries are recognised by the names of their modules: no library is imported for it.
"""

from __future__ import annotations

import copy
import functools
import inspect
import io
import sys
import types
import weakref
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Inner = Callable[[Any], Any]
    """Isolates what a container of a library holds."""

__all__ = ["Kind", "copies_on_write", "ends_with_use", "is_ndarray", "kind_of"]


class Kind(NamedTuple):
    """How objects of a class are kept apart.

    Attributes
    ----------
    nature : str
        ``"fixed"``: cannot be changed, or is meant to be one for all; ``"array"``: of NumPy; ``"data"``: copied each
        time; ``"stateful"``: one copy for each cell; ``"iterator"``: can be used once; ``"file"``: the same, and may be
        meant to be shared; ``"other"``: goes by reference.
    copied : callable of object and callable
        Gives the copy of an object, for ``"data"`` and ``"stateful"``.
    """

    nature: str
    copied: Callable[[Any, Inner], Any] = lambda value, _: value


def is_ndarray(value: object) -> bool:
    """Return whether a value is an array of NumPy."""
    # While another thread imports NumPy the module is there and the class may not be.
    ndarray = getattr(sys.modules.get("numpy"), "ndarray", None)
    return ndarray is not None and isinstance(value, ndarray)


def ends_with_use(value: object, what: str) -> str:
    """Return why something that can be used once is not handed out."""
    return (
        f"a {type(value).__name__} is part of {what}, and each use of it goes on where the one before stopped, so that "
        "every cell would get something else: make it anew where it is used, or hand out a list"
    )


def copies_on_write() -> bool:
    """Return whether pandas, as it is loaded and set up, copies what a shallow copy shares before it is written to."""
    pandas = sys.modules["pandas"]
    if int(pandas.__version__.partition(".")[0]) >= 3:  # noqa: PLR2004 - the first version that always does
        return True
    return getattr(pandas.options.mode, "copy_on_write", False) is True


def _kind_of(kind: Any) -> Kind:
    """Return how objects of a class are kept apart."""
    known = _EXACT.get(kind)
    if known is not None:
        return known
    for base in inspect.getmro(kind):
        module = getattr(base, "__module__", None)
        if isinstance(module, str):
            top = module.partition(".")[0]
            known = _CLASSES.get((top, base.__name__)) or _MODULES.get(top)
            if known is not None:
                return known
    if issubclass(kind, _FIXED_TYPES):
        return _FIXED
    if issubclass(kind, io.IOBase):
        return Kind("file")
    if hasattr(kind, "__next__") or hasattr(kind, "__anext__"):
        return Kind("iterator")
    return Kind("other")


kind_of: Callable[[type], Kind] = functools.lru_cache(maxsize=4096)(_kind_of)
"""Say how objects of a class are kept apart."""


def _by_copy(value: Any, _: Inner) -> Any:
    return copy.copy(value)


def _by_deep_copy(value: Any, _: Inner) -> Any:
    return copy.deepcopy(value)


def _by_method(value: Any, _: Inner) -> Any:
    return value.copy()


def _random(value: Any, _: Inner) -> Any:
    try:
        return copy.deepcopy(value)
    except (NotImplementedError, TypeError):
        return value  # that of the operating system: it has no state


def _frame(value: Any, inner: Inner) -> Any:
    copied = value.copy(deep=not copies_on_write())
    if type(copied) is not type(value):
        # A subclass that does not say how it is made; pickling, which copying goes by then, needs no more.
        kind: Any = type(value)
        state, copied = copied.__getstate__(), kind.__new__(kind)
        copied.__setstate__(state)
    for name, item in vars(value).items():
        if name not in vars(copied) and not name.startswith("_"):  # those of pandas lead to other frames
            object.__setattr__(copied, name, inner(item))
    return _with_isolated_cells(copied, inner)


def _with_isolated_cells(frame: Any, inner: Inner) -> Any:
    if frame.ndim == 1:
        cells = _isolated_cells(frame, inner)
        if cells is None:
            return frame
        made = frame._constructor(cells, index=frame.index, name=frame.name, dtype=object)
        return made.__finalize__(frame)
    for position, dtype in enumerate(frame.dtypes):
        if dtype.kind == "O":  # cells that are any objects; a type of an extension may call itself so
            cells = _isolated_cells(frame.iloc[:, position], inner)
            if cells is not None:
                frame.isetitem(position, cells)
    return frame


def _isolated_cells(column: Any, inner: Inner) -> Any:
    cells = column.to_numpy() if column.dtype.kind == "O" else None
    if cells is None or not cells.dtype.hasobject:
        return None
    isolated = inner(cells)
    # A view of the same memory, unless some item had to be copied.
    return None if sys.modules["numpy"].may_share_memory(isolated, cells) else isolated.copy()


def _index(value: Any, _: Inner) -> Any:
    return value.copy(deep=not copies_on_write())


def _tensor(value: Any, _: Inner) -> Any:
    made = value.detach().clone()
    if type(made) is not type(value):
        made = copy.deepcopy(value) if value.is_leaf else made
    return made.requires_grad_(value.requires_grad)


def _memoryview(value: memoryview, _: Inner) -> memoryview:
    return value.toreadonly()


_FIXED = Kind("fixed")
_FIXED_TYPES = (
    type, frozenset, slice, property, types.FunctionType, types.BuiltinFunctionType, types.MethodType,
    types.ModuleType, types.CodeType, types.MethodWrapperType, types.WrapperDescriptorType,
    types.MethodDescriptorType, types.GetSetDescriptorType, types.MemberDescriptorType, types.GenericAlias,
    types.FrameType, types.TracebackType, weakref.ref,
)  # fmt: skip
_MODULES: dict[str, Kind] = {"pyarrow": _FIXED, "jaxlib": _FIXED, "crystallize": _FIXED}
_CLASSES: dict[tuple[str, str], Kind] = {
    **dict.fromkeys(
        (
            ("enum", "Enum"), ("datetime", "date"), ("datetime", "time"), ("datetime", "timedelta"),
            ("datetime", "tzinfo"), ("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID"),
            ("pathlib", "PurePath"), ("re", "Pattern"), ("logging", "Logger"), ("logging", "LoggerAdapter"),
            ("numpy", "generic"), ("numpy", "dtype"), ("numpy", "ufunc"), ("pandas", "ExtensionDtype"),
            ("ipaddress", "_IPAddressBase"), ("functools", "partial"), ("pandas", "NAType"), ("pandas", "BaseOffset"),
            ("pandas", "Period"), ("pandas", "Interval"), ("torch", "dtype"), ("torch", "device"), ("torch", "Size"),
        ),
        _FIXED,
    ),
    ("numpy", "ndarray"): Kind("array"),
    ("pandas", "DataFrame"): Kind("data", _frame),
    ("pandas", "Series"): Kind("data", _frame),
    ("pandas", "Index"): Kind("data", _index),
    ("pandas", "ExtensionArray"): Kind("data", _by_method),
    ("scipy", "_spbase"): Kind("data", _by_method),
    ("scipy", "spmatrix"): Kind("data", _by_method),
    ("polars", "DataFrame"): Kind("data", lambda value, _: value.clone()),
    ("polars", "Series"): Kind("data", lambda value, _: value.clone()),
    ("polars", "LazyFrame"): _FIXED,
    ("polars", "Expr"): _FIXED,
    ("torch", "Tensor"): Kind("data", _tensor),
    ("xarray", "DataArray"): Kind("data", lambda value, _: value.copy(deep=True)),
    ("xarray", "Dataset"): Kind("data", lambda value, _: value.copy(deep=True)),
    ("xarray", "Variable"): Kind("data", lambda value, _: value.copy(deep=True)),
    ("array", "array"): Kind("data", _by_copy),
    ("_io", "BytesIO"): Kind("data", _by_copy),
    ("_io", "StringIO"): Kind("data", _by_copy),
    ("random", "Random"): Kind("stateful", _random),
    ("torch", "Generator"): Kind("stateful", lambda value, _: value.clone_state()),
    ("numpy", "Generator"): Kind("stateful", _random),
    ("numpy", "RandomState"): Kind("stateful", _random),
    ("numpy", "BitGenerator"): Kind("stateful", _random),
    ("sklearn", "BaseEstimator"): Kind("stateful", _by_deep_copy),
}  # fmt: skip
_ITERABLES: tuple[Iterable[Any], ...] = ([], (), range(0), range(1 << 70), "", "é", b"", bytearray())
_EXACT: dict[type, Kind] = {array: Kind("data", _by_copy), memoryview: Kind("data", _memoryview)}
# The iterators of built-in sequences can be copied where they are.
_EXACT.update({type(iter(one)): Kind("stateful", _by_copy) for one in _ITERABLES})
_EXACT[type(reversed([]))] = Kind("stateful", _by_copy)
