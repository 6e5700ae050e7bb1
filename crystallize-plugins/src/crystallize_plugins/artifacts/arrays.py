"""NumPy scalars and arrays as type, shape and bytes; NumPy is imported only where there is one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Described", "describe", "rebuild_array", "rebuild_scalar"]

ARRAY = b"A"
SCALAR = b"n"


class Described(NamedTuple):
    """A NumPy value taken apart."""

    tag: bytes
    form: Any
    """Type, shape and order, or the type alone: plain values."""
    content: bytes
    exact: bool = True


def describe(value: Any) -> Described | None:
    """Take a NumPy value apart.

    Parameters
    ----------
    value : object
        Something from NumPy.

    Returns
    -------
    Described or None
        None for what is neither scalar nor array, or holds Python objects, or masks part of its content.
    """
    import numpy as np

    if isinstance(value, np.str_):
        return Described(SCALAR, "str", str.__str__(value).encode("utf-8", "surrogatepass"))
    if isinstance(value, np.bytes_):
        return Described(SCALAR, "bytes", value[:])
    if isinstance(value, np.ma.MaskedArray) or not isinstance(value, (np.generic, np.ndarray)):
        return None
    dtype = _plain_dtype(value.dtype)
    if dtype is None:
        return None
    if isinstance(value, np.generic):
        return Described(SCALAR, dtype, np.asarray(value).tobytes())
    in_columns = value.flags.f_contiguous and not value.flags.c_contiguous
    form = (dtype, value.shape, "F" if in_columns else "C")
    return Described(ARRAY, form, value.tobytes("F" if in_columns else "C"), exact=type(value) is np.ndarray)


def rebuild_scalar(form: Any, content: bytes) -> Any:
    """Put a scalar together again; `ValueError` or `TypeError` where the parts don't fit."""
    import numpy as np

    if form == "str":
        return np.str_(content.decode("utf-8", "surrogatepass"))
    if form == "bytes":
        return np.bytes_(content)
    return _rebuilt(_dtype(form), (), "C", content)[()]


def rebuild_array(form: Any, content: bytes) -> Any:
    """Put an array together again, writable; `ValueError` or `TypeError` where the parts don't fit."""
    described, shape, order = form
    return _rebuilt(_dtype(described), shape, order, content)


def _rebuilt(dtype: np.dtype[Any], shape: tuple[int, ...], order: Any, content: bytes) -> np.ndarray[Any, Any]:
    import numpy as np

    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{len(content)} bytes are no array of shape {shape} and type {dtype}")
    if not content:
        return np.empty(shape, dtype, order)
    rebuilt: np.ndarray[Any, Any] = np.ndarray(shape, dtype, content, order=order).copy(order)
    return rebuilt


def _plain_dtype(dtype: np.dtype[Any]) -> Any:
    """Describe a type by text, or by fields; None where it would not come back as it is."""
    import numpy as np

    if dtype.hasobject or dtype.metadata:
        return None
    try:
        described = np.lib.format.dtype_to_descr(dtype)
        same = _dtype(described)
    except (TypeError, ValueError):
        return None
    return described if same == dtype else None


def _dtype(described: Any) -> np.dtype[Any]:
    import numpy as np

    dtype: np.dtype[Any] = np.lib.format.descr_to_dtype(described)
    if dtype.hasobject:
        raise ValueError(f"{described!r} holds Python objects")
    return dtype
