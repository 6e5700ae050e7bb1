"""Short descriptions of values, for records that people read and stores write; secrets are masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from itertools import pairwise
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType
from typing import Any

__all__ = ["MASK", "describe", "looks_secret", "mask_secrets"]

MASK = "***"
"""What stands for the value of a secret."""

_LONGEST_TEXT = 200
_MOST_ITEMS = 20
_DEEPEST = 4
_CONTAINERS = (list, tuple, set, frozenset, dict, MappingProxyType)
_HARMLESS = frozenset({type(None), bool, int, float})
_NAMED = (type, FunctionType, BuiltinFunctionType, MethodType)

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_WORDS = frozenset(
    {"apikey", "credential", "credentials", "passphrase", "passwd", "password", "pwd", "secret", "secrets", "token"}
)
_SECRET_PAIRS = frozenset({("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("auth", "key")})
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+(?=@)")


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
    if _is_secret(key, value):
        return MASK
    return _describe(value, _DEEPEST)


def looks_secret(key: object) -> bool:
    """Return whether a key's name says that its value is a secret.

    Parameters
    ----------
    key : object
        Only text can be the name of a secret.

    Examples
    --------
    >>> looks_secret("openai_api_key"), looks_secret("authToken"), looks_secret("max_tokens")
    (True, True, False)
    """
    return isinstance(key, str) and _sounds_secret(str.__str__(key))


@lru_cache(maxsize=16384)
def _sounds_secret(key: str) -> bool:
    words = [word.lower() for word in _WORD.findall(key)]
    return not _SECRET_WORDS.isdisjoint(words) or any(pair in _SECRET_PAIRS for pair in pairwise(words))


def mask_secrets(value: Any) -> Any:
    """Return a copy of nested mappings and lists in which the values under secret keys are masked.

    Parameters
    ----------
    value : object
        What is no mapping, list or tuple is given back as it is.

    Examples
    --------
    >>> mask_secrets({"client": {"api_key": "sk-1", "retries": 3}})
    {'client': {'api_key': '***', 'retries': 3}}
    """
    kind = type(value)
    # What most values are comes first: to ask whether something is a mapping of any kind takes longer than all else.
    if kind is str:
        return _without_password(value)
    if kind in _HARMLESS:
        return value
    if kind is list or kind is tuple:
        return [mask_secrets(item) for item in value]
    if kind is dict or isinstance(value, Mapping):
        return {key: MASK if _is_secret(key, item) else mask_secrets(item) for key, item in value.items()}
    return _without_password(value) if isinstance(value, str) else value


def _is_secret(key: object, value: object) -> bool:
    """Whether a value is to be masked: of a key that says so, unless nothing is there, or no more than yes or no."""
    nothing = value is None or isinstance(value, bool) or (isinstance(value, str) and not value)
    return not nothing and looks_secret(key)


def _without_password(text: str) -> str:
    return _PASSWORD_IN_URL.sub(rf"\1:{MASK}", text) if "://" in text else text


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
    if "://" in text:
        text = _PASSWORD_IN_URL.sub(rf"\1:{MASK}", text)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(text)} characters)"


def _describe_container(value: Any, depth: int) -> Any:
    if len(value) > _MOST_ITEMS or depth <= 0:
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else str(_describe(key, 0)): MASK
            if _is_secret(key, item)
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
