"""Whether a function can be called the way it will be, asked before anything runs."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["accepts_positional", "is_async", "name_of"]


def accepts_positional(fn: Callable[..., Any], count: int) -> bool:
    """Say whether `fn` can be called with `count` positional arguments; yes where nobody can know."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def is_async(fn: Any) -> bool:
    """Say whether calling `fn` gives something to await: an ``async def``, or an object with such a call."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def name_of(fn: Any) -> str:
    """Give the name that a callable was defined with, ``""`` for a lambda or where there is none."""
    name = getattr(fn, "__name__", "")
    return name if isinstance(name, str) and name.isidentifier() else ""
