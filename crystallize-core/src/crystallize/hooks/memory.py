"""Remembering which plugin classes were checked already, as long as they stay as they were."""

from __future__ import annotations

from contextlib import suppress
from operator import is_
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from crystallize.hooks.implementations import implementation
from crystallize.hooks.specs import HOOKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from crystallize.hooks.implementations import Implementation, Shape

__all__ = ["recall", "remember"]

# On the class itself: a table elsewhere would keep classes alive, since their members refer to them. Fingerprints do
# not look at a name of this form.
_KEY = "__crystallize_checked__"


class _Checked:
    """What a class was like when it passed; a copy of the class in another process starts without it."""

    __slots__ = ("members", "methods")

    def __init__(self, members: list[Any] | None = None, methods: Sequence[Shape] = ()) -> None:
        self.members = members
        self.methods = methods

    def __reduce__(self) -> tuple[Any, ...]:
        return _Checked, ()


def remember(plugin: object, found: Iterable[Implementation]) -> None:
    """Note that a plugin's class has passed the checks, and which methods of it implement hooks."""
    if not _has_methods_of_its_own(plugin):
        # Without the bound methods, which would keep the instance alive.
        with suppress(TypeError):  # A class that cannot be written to is checked each time.
            setattr(type(plugin), _KEY, _Checked(_members(type(plugin)), [method.shape for method in found]))


def recall(plugin: object) -> list[Implementation] | None:
    """Give the methods that implement hooks, if the plugin's class has passed the checks and has not changed since."""
    known: _Checked | None = vars(type(plugin)).get(_KEY)
    if known is None or known.members is None or _has_methods_of_its_own(plugin):
        return None
    then, now = known.members, _members(type(plugin))
    if len(then) != len(now) or not all(map(is_, then, now)):
        return None
    try:
        return [implementation(plugin, shape) for shape in known.methods]
    except AttributeError:
        return None


def _members(cls: type) -> list[Any]:
    return [member for base in cls.__mro__[:-1] for name, member in vars(base).items() if name != _KEY]


def _has_methods_of_its_own(plugin: object) -> bool:
    attributes = getattr(plugin, "__dict__", {})
    return any(name in HOOKS or isinstance(value, (FunctionType, MethodType)) for name, value in attributes.items())
