"""Public names of a package that are imported when somebody asks for one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["lazily"]


def lazily(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Give a package's ``__getattr__``.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    places : mapping of str to str
        Each public name, and the module of the package that it is in.

    Examples
    --------
    >>> look_up = lazily("collections", {"Mapping": "abc"})
    >>> look_up("Mapping").__name__
    'Mapping'
    """

    def look_up(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{places[name]}"), name)

    return look_up
