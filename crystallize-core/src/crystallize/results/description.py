"""Short descriptions of values, for records that people read and stores write; secrets are masked."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType
from typing import Any

from crystallize.results.secrets import MASK, is_secret, mask_text

__all__ = ["describe"]

_LONGEST_TEXT = 200
_MOST_ITEMS = 20
_DEEPEST = 4
_CONTAINERS = (list, tuple, set, frozenset, dict, MappingProxyType)
_NAMED = (type, FunctionType, BuiltinFunctionType, MethodType)


def describe(value: Any, *, key: object = "") -> Any:
    """Describe any value by something small that can be written down.

    Parameters
    ----------
    value : object
        Anything. Nothing of it is called, and large objects are not copied.
    key : object, default ""
        The name that the value goes by; where that sounds like a secret, the description is ``"***"``.

    Returns
    -------
    object
        Numbers, short text, None and small containers as they are; an array by its shape and type; anything else by
        its type, and its name where it has one.

    Examples
    --------
    >>> describe(0.5), describe([1, 2]), describe(len), describe("hunter2", key="db_password")
    (0.5, [1, 2], 'function len', '***')
    """
    if is_secret(key, value):
        return MASK
    return _describe(value, _DEEPEST)


def _describe(value: Any, depth: int) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float):
        return value
    if isinstance(value, str):
        return _short(str.__str__(value))
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, _CONTAINERS):
        return _describe_container(value, depth)
    return _describe_object(value)


def _short(text: str) -> str:
    length = len(text)
    # A secret that is cut would not be known any more.
    text = mask_text(text[: 20 * _LONGEST_TEXT])
    return text if length <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({length} characters)"


def _describe_container(value: Any, depth: int) -> Any:
    if len(value) > _MOST_ITEMS or depth <= 0:
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else str(_describe(key, 0)): MASK
            if is_secret(key, item)
            else _describe(item, depth - 1)
            for key, item in value.items()
        }
    items = [_describe(item, depth - 1) for item in value]
    return sorted(items, key=repr) if isinstance(value, AbstractSet) else items


def _describe_object(value: Any) -> Any:
    kind = type(value)
    name = kind.__name__
    if isinstance(value, PurePath):
        return _short(str(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{name} of {len(value)}"
    if isinstance(value, _NAMED):
        return f"{'class' if isinstance(value, type) else 'function'} {value.__qualname__}"
    if kind.__module__ in ("datetime", "decimal", "fractions", "uuid"):
        return str(value)
    # Asked of the class: an attribute of a remote object may be a call over the network.
    return _describe_array(value, name) if hasattr(kind, "shape") else name


def _describe_array(value: Any, name: str) -> Any:
    """Describe what has a shape: a NumPy number by its value, an array or a frame by its size."""
    try:
        shape = value.shape
        dtype = getattr(value, "dtype", None)
        if shape == () and dtype is not None and name != "ndarray":
            number = value.item()
            return number if type(number) in (bool, int, float) else str(value)
        sizes = ", ".join(str(int(size)) for size in shape)
    except Exception:  # noqa: BLE001 - a stranger's attribute may do anything, and a description must not fail
        return name
    shown = f"({sizes},)" if len(shape) == 1 else f"({sizes})"
    return f"{name}(shape={shown})" if dtype is None else f"{name}(shape={shown}, dtype={dtype})"
