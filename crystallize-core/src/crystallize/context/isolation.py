"""Isolation: what a caller or a step does to its own copy changes nothing elsewhere.

Built-in containers are copied, arrays are handed out as views that cannot be written to, frames and other data of
libraries as copies, and every other object goes by reference. Classes of libraries are recognised by the names of their
modules: none is imported here; where NumPy is not loaded, no array exists.
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
from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from crystallize.errors import ContextMutationError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Inner = Callable[[Any], Any]
    """Isolates what a container of a library holds."""

__all__ = [
    "ATOMS",
    "CellCopies",
    "Kind",
    "copies_on_write",
    "ends_with_use",
    "goes_by_reference",
    "is_constant",
    "is_ndarray",
    "is_record",
    "isolate",
    "kind_of",
    "read_only",
    "referenced",
    "snapshot",
]

ATOMS: frozenset[type] = frozenset(
    {type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis), type},
)
"""Types whose values can be shared because nobody can change them."""

T = TypeVar("T")
Memo = dict[int, Any]
"""Copies made so far, by the identity of what they are copies of."""
_shareable = ATOMS.issuperset


class CellCopies:
    """What one cell was given of objects that isolation does not copy each time.

    Parameters
    ----------
    noted : callable of sequence of object, optional
        Gets the objects that the cell is given by reference; gives those that are to be checked after each step.

    Attributes
    ----------
    objects : dict of int to tuple
        Objects with a state, each with the cell's copy of it, by its identity.
    checked : list of object
    """

    __slots__ = ("_noted", "checked", "objects")

    @property
    def is_checked(self) -> bool:
        """Whether other cells are given the same, so that what changes in place matters."""
        return self._noted is not None

    def __init__(self, noted: Callable[[Sequence[Any]], list[Any]] | None = None) -> None:
        self._noted = noted
        self.objects: dict[int, tuple[Any, Any]] = {}
        self.checked: list[Any] = []

    def note(self, objects: Sequence[Any]) -> None:
        """Take down what the cell is given by reference."""
        if self._noted is not None:
            self.checked += self._noted(objects)


def isolate(value: T, copies: CellCopies | None = None) -> T:
    """Return a copy of `value` that shares no built-in container with it.

    Parameters
    ----------
    value : object
        Lists, dicts, sets, tuples, bytearrays and those of `collections` are copied, cycles and aliases
        kept; a NumPy array becomes a read-only view of the same memory; frames, series and indexes of pandas are
        copied on write, sparse matrices, tensors and data of xarray and polars copied; anything else, subclasses of
        the containers included, is given back as it is.
    copies : CellCopies, optional
        What one cell was given. With it, generators of random numbers and estimators are copied too, one copy of each
        for the whole cell, and an iterator is refused.

    Returns
    -------
    object
        Equal to `value`.

    Raises
    ------
    ContextMutationError
        If an iterator is to be handed out to a cell: the next one would find it used up.
    ValidationError
        If containers are nested several hundred levels deep.

    Examples
    --------
    >>> mine = {"grid": [1, 2]}
    >>> other = isolate(mine)
    >>> other["grid"].append(3)
    >>> mine
    {'grid': [1, 2]}
    """
    kind = type(value)
    if kind in ATOMS:
        return value
    copier = _COPIERS.get(kind, _isolate_other)
    try:
        return copier(value, {} if copies is None else _ForCell(copies))  # type: ignore[no-any-return]
    except RecursionError:
        raise _too_deep(kind) from None


def snapshot(value: T) -> T:
    """Return `value` as it is now: like `isolate`, but arrays are copied, since a record must not change."""
    try:
        return _copy(value, _Snapshot())  # type: ignore[no-any-return]
    except RecursionError:
        raise _too_deep(type(value)) from None


class _Snapshot(Memo):
    """The memo of a copy that copies arrays too."""


class _ForCell(Memo):
    """The memo of a copy for one cell, which has one copy of each object with a state."""

    def __init__(self, copies: CellCopies) -> None:
        self.copies = copies


def _too_deep(kind: type) -> ValidationError:
    return ValidationError(
        f"a {kind.__name__} whose containers are nested hundreds of levels deep cannot be copied: keep it in an object "
        "of a class of your own, which goes by reference"
    )


def is_constant(value: object) -> bool:
    """Return whether `value` may be handed out again and again as it is."""
    kind = type(value)
    if kind in ATOMS:
        return True
    return kind not in _COPIERS and kind_of(kind).nature in ("fixed", "other", "file") and not is_record(value)


def goes_by_reference(value: object) -> bool:
    """Return whether isolation hands an object out as it is although it has a content that could be changed."""
    kind = type(value)
    return kind not in ATOMS and kind not in _COPIERS and not is_record(value) and kind_of(kind).nature == "other"


def referenced(value: object) -> list[Any]:
    """Return the objects in `value`, which may be one itself, that go by reference."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    todo: list[Any] = [value]
    while todo:
        item = todo.pop()
        kind = type(item)
        if kind in ATOMS or kind in _FLAT or id(item) in seen:
            continue
        if kind in _COPIERS or is_record(item):
            items = item.values() if kind in _MAPPINGS else item
            if not _shareable(map(type, items)):
                seen.add(id(item))
                todo.extend(items)
        elif is_ndarray(item):
            todo.extend(item.flat if item.dtype.hasobject and item.dtype.names is None else ())
        elif goes_by_reference(item):
            found[id(item)] = item
    return list(found.values())


def is_record(value: object) -> bool:
    """Return whether a value is a named tuple."""
    return isinstance(value, tuple) and hasattr(type(value), "_make")


def _copy(value: Any, memo: Memo) -> Any:
    kind = type(value)
    if kind in ATOMS:
        return value
    done = memo.get(id(value))
    if done is not None:
        return done
    copier = _COPIERS.get(kind)
    return copier(value, memo) if copier is not None else _isolate_other(value, memo)


def _copy_list(value: list[Any], memo: Memo) -> list[Any]:
    if _shareable(map(type, value)):
        copied = memo[id(value)] = value[:]
        return copied
    copied = memo[id(value)] = []
    copied.extend(_copy(item, memo) for item in value)
    return copied


def _copy_dict(value: dict[Any, Any], memo: Memo) -> dict[Any, Any]:
    if _shareable(map(type, value.values())):
        plain = memo[id(value)] = value.copy()
        return plain
    copied: dict[Any, Any] = {}
    memo[id(value)] = copied
    for key, item in value.items():
        copied[key] = _copy(item, memo)
    return copied


def _copy_tuple(value: tuple[Any, ...], memo: Memo) -> tuple[Any, ...]:
    if _shareable(map(type, value)):
        return value
    copied = tuple(_copy(item, memo) for item in value)
    # A cycle through this tuple has met, and copied, it on the way.
    return memo.setdefault(id(value), copied)  # type: ignore[no-any-return]


def _copy_flat(value: Any, memo: Memo) -> Any:
    # Members of sets are hashable, and so are not containers that can be changed.
    copied = memo[id(value)] = value.copy()
    return copied


def _copy_filled(empty: Callable[[Any], Any]) -> Callable[[Any, Memo], Any]:
    def copy(value: Any, memo: Memo) -> Any:
        copied = memo[id(value)] = empty(value)
        for key, item in value.items():
            copied[key] = _copy(item, memo)
        return copied

    return copy


def _copy_deque(value: deque[Any], memo: Memo) -> deque[Any]:
    copied: deque[Any] = deque(maxlen=value.maxlen)
    memo[id(value)] = copied
    copied.extend(_copy(item, memo) for item in value)
    return copied


def _isolate_other(value: Any, memo: Memo) -> Any:
    if is_ndarray(value):
        copied = value.copy() if type(memo) is _Snapshot else read_only(value)
        memo[id(value)] = copied
        return _with_isolated_items(value, copied, memo) if value.dtype.hasobject else copied
    if is_record(value):
        # As with tuples: a cycle through this record has copied it on the way.
        return memo.setdefault(id(value), type(value)._make([_copy(item, memo) for item in value]))
    kind = kind_of(type(value))
    if kind.nature == "data":
        copied = memo[id(value)] = kind.copied(value, lambda item: _copy(item, memo))
        return copied
    return _for_cell(value, kind, memo.copies) if isinstance(memo, _ForCell) else value


def _for_cell(value: Any, kind: Kind, copies: CellCopies) -> Any:
    if kind.nature == "stateful":
        known = copies.objects.get(id(value))
        if known is None:
            known = copies.objects[id(value)] = (value, kind.copied(value, lambda item: item))
            copies.objects[id(known[1])] = (known[1], known[1])  # the cell's own already
        return known[1]
    if kind.nature == "other":
        copies.note((value,))
    if kind.nature == "iterator" and copies.is_checked:
        raise ContextMutationError(ends_with_use(value, "what several cells are given"))
    return value


def _with_isolated_items(array: Any, view: Any, memo: Memo) -> Any:
    """Return a read-only array whose items are isolated too, where any of them could be changed."""
    if array.dtype.names is not None or _shareable(map(type, array.flat)):
        return view
    copied = memo[id(array)] = array.copy()
    for position, item in enumerate(array.flat):
        copied.flat[position] = _copy(item, memo)
    if type(memo) is not _Snapshot:
        copied.flags.writeable = False
    return copied


def read_only(array: Any) -> Any:
    """Return a view that cannot be written to, nor (where the layout allows it) be made writable again."""
    numpy = sys.modules["numpy"]
    if type(array) is numpy.ndarray:
        if not array.flags.writeable and isinstance(array.base, memoryview):
            return array[...] if array.ndim else array.view()
        view = _locked(numpy, array)
        if view is not None and view.dtype == array.dtype and view.shape == array.shape:
            # The buffer does not tell all of a type: its metadata, and whether it is aligned.
            return view if view.dtype is array.dtype else view.view(array.dtype)
    view = array.view()
    view.flags.writeable = False
    mask = getattr(view, "_mask", None)
    if is_ndarray(mask):
        # The mask of a masked array is an array of its own, shared between views.
        view._mask = read_only(mask)
    return view


def _locked(numpy: Any, array: Any) -> Any:
    try:
        return numpy.asarray(memoryview(array).toreadonly())
    except (BufferError, TypeError, ValueError):
        pass
    try:
        # Dates cannot be exported as a buffer, and their bytes can.
        plain = array.view([("bytes", "u1", (array.dtype.itemsize,))])
        return numpy.asarray(memoryview(plain).toreadonly()).view(array.dtype)
    except (BufferError, TypeError, ValueError):
        return None


_COPIERS: dict[type, Callable[[Any, Memo], Any]] = {
    list: _copy_list,
    dict: _copy_dict,
    tuple: _copy_tuple,
    set: _copy_flat,
    bytearray: _copy_flat,
    OrderedDict: _copy_filled(lambda _: OrderedDict()),
    defaultdict: _copy_filled(lambda value: defaultdict(value.default_factory)),
    Counter: _copy_flat,
    deque: _copy_deque,
}
_FLAT = frozenset({set, bytearray, Counter})
_MAPPINGS = frozenset({dict, OrderedDict, defaultdict})


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
