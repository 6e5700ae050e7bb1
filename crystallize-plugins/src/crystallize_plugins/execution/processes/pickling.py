"""What travels by value to worker processes: cloudpickle's way, and a word on what it would carry wrongly."""

from __future__ import annotations

import functools
import io
import sys
from typing import TYPE_CHECKING, Any

import cloudpickle

if TYPE_CHECKING:
    import pickle
    from collections.abc import Callable

__all__ = ["dumps"]

# What seeding seeds: the generators behind `random.random` and `numpy.random.rand`, by module and name.
_GLOBAL_GENERATORS = (("random", "_inst"), ("numpy.random.mtrand", "_rand"))
_CACHED_FUNCTION = type(functools.cache(len))


def dumps(value: object, buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None) -> bytes:
    """Pickle what is to travel.

    Parameters
    ----------
    value : object
    buffer_callback : callable, optional
        As for `pickle.dumps`.

    Raises
    ------
    Exception
        Whatever the parts of `value` raise.
    """
    stream = io.BytesIO()
    _Pickler(stream, protocol=5, buffer_callback=buffer_callback).dump(value)
    return stream.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """Carries definitions of scripts and notebooks with all that they refer to.

    ``from random import random`` refers to the one generator behind the module, of which a copy would be drawn from and
    never seeded: it goes by name. Cached functions would go by a name that workers cannot find, and
    a cached property of Python 3.11 and earlier holds a lock: both are made again.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._generators = {
            id(getattr(sys.modules[module], name, None)): (sys.modules[module], name)
            for module, name in _GLOBAL_GENERATORS
            if module in sys.modules
        }

    def reducer_override(self, obj: Any) -> Any:
        place = self._generators.get(id(obj))
        if place is not None:
            return getattr, place
        kind = type(obj)
        if kind is _CACHED_FUNCTION and not _is_found_by_name(obj):
            return _cached, (obj.__wrapped__, obj.cache_parameters())
        if kind is functools.cached_property:
            return _cached_property, (obj.func, obj.attrname)
        return super().reducer_override(obj)


def _is_found_by_name(function: Any) -> bool:
    """Whether a worker, too, finds a function in the module that it names."""
    if function.__module__ == "__main__" or function.__module__ not in sys.modules:
        return False
    if any(f"{function.__module__}.".startswith(f"{name}.") for name in cloudpickle.list_registry_pickle_by_value()):
        return False
    found: Any = sys.modules[function.__module__]
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is function


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


def _cached_property(function: Callable[[Any], Any], name: str | None) -> functools.cached_property[Any]:
    made = functools.cached_property(function)
    made.attrname = name
    return made
