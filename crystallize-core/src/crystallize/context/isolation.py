"""Isolation: what a caller or a step does to its own copy changes nothing elsewhere.

Built-in containers are copied, arrays are handed out as views that cannot be written to, and every
other object goes by reference. NumPy is never imported here: where it is not loaded, no array exists.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any, TypeVar

from crystallize.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ATOMS", "is_constant", "isolate", "snapshot"]

ATOMS: frozenset[type] = frozenset(
    {type(None), bool, int, float, complex, str, bytes, range, type(Ellipsis), type},
)
"""Types whose values can be shared because nobody can change them."""

T = TypeVar("T")
Memo = dict[int, Any]
"""Copies made so far, by the identity of what they are copies of."""
_shareable = ATOMS.issuperset


def isolate(value: T) -> T:
    """Give a copy of `value` that shares no built-in container with it.

    Parameters
    ----------
    value : object
        Lists, dicts, sets, tuples, bytearrays and those of `collections` are copied, cycles and aliases
        kept; a NumPy array becomes a read-only view of the same memory; anything else, subclasses of
        the containers included, is given back as it is.

    Returns
    -------
    object
        Equal to `value`.

    Raises
    ------
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
        return copier(value, {})  # type: ignore[no-any-return]
    except RecursionError:
        raise _too_deep(kind) from None


def snapshot(value: T) -> T:
    """Give `value` as it is now: like `isolate`, but arrays are copied, since a record must not change."""
    try:
        return _copy(value, _Snapshot())  # type: ignore[no-any-return]
    except RecursionError:
        raise _too_deep(type(value)) from None


class _Snapshot(Memo):
    """The memo of a copy that copies arrays too."""


def _too_deep(kind: type) -> ValidationError:
    return ValidationError(
        f"a {kind.__name__} whose containers are nested hundreds of levels deep cannot be copied: keep it in an object "
        "of a class of your own, which goes by reference"
    )


def is_constant(value: object) -> bool:
    """Whether `value` may be handed out again and again as it is."""
    kind = type(value)
    return kind in ATOMS or (kind not in _COPIERS and not _is_array(value) and not _is_record(value))


def _ndarray() -> Any:
    numpy = sys.modules.get("numpy")
    # While another thread imports NumPy the module is there and the class may not be.
    return getattr(numpy, "ndarray", None)


def _is_array(value: object) -> bool:
    ndarray = _ndarray()
    return ndarray is not None and isinstance(value, ndarray)


def _is_record(value: object) -> bool:
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
    if _is_array(value):
        copied = memo[id(value)] = value.copy() if type(memo) is _Snapshot else _read_only(value)
        return copied
    if _is_record(value):
        # As with tuples: a cycle through this record has copied it on the way.
        return memo.setdefault(id(value), type(value)._make([_copy(item, memo) for item in value]))
    return value


def _read_only(array: Any) -> Any:
    """A view that cannot be written to, nor (where the layout allows it) be made writable again."""
    numpy = sys.modules["numpy"]
    if type(array) is numpy.ndarray:
        if not array.flags.writeable and isinstance(array.base, memoryview):
            return array[...] if array.ndim else array.view()
        view = _locked(numpy, array)
        if view is not None and view.dtype == array.dtype and view.shape == array.shape:
            return view
    view = array.view()
    view.flags.writeable = False
    mask = getattr(view, "_mask", None)
    if _is_array(mask):
        # The mask of a masked array is an array of its own, shared between views.
        view._mask = _read_only(mask)
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
