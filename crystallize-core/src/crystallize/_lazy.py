"""Public names that are looked up where they are defined at their first use, so that importing a facade is cheap."""

from __future__ import annotations

from importlib import import_module

# Importing `typing` would be most of what `import crystallize` costs.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["facade"]


def facade(
    namespace: dict[str, Any], names_by_home: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of a module whose names are looked up at their first use.

    Parameters
    ----------
    namespace : dict
        The module's ``globals()``.
    names_by_home : mapping of str to str
        The modules below ``crystallize`` that define public names, and these names, with spaces between them.
    """
    homes = {name: home for home, names in names_by_home.items() for name in names.split()}

    def look_up(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
        value = namespace[name] = getattr(import_module(f"crystallize.{homes[name]}"), name)
        return value

    return look_up, lambda: sorted({*namespace, *homes})
