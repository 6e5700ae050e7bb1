"""Public names that are looked up where they are defined at their first use, so that importing a facade is cheap."""

from __future__ import annotations

from importlib import import_module

# Importing `typing` would be most of what `import crystallize` costs.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["look_up"]


def look_up(namespace: dict[str, Any], homes: Mapping[str, str], name: str) -> Any:
    """Return a public name of a facade, and keep it there.

    Parameters
    ----------
    namespace : dict
        The facade's ``globals()``.
    homes : mapping of str to str
        The module below ``crystallize`` that defines each public name.
    name : str

    Raises
    ------
    AttributeError
        The facade has no such name.
    """
    if name not in homes:
        raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
    value = namespace[name] = getattr(import_module(f"crystallize.{homes[name]}"), name)
    return value
