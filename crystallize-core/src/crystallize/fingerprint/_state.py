"""The attributes of objects: what an object holds, read without asking it, and what of that says nothing of it."""

from __future__ import annotations

import functools
import sys
from types import MemberDescriptorType
from typing import Any

from crystallize.fingerprint._project import is_library_module, module_of

__all__ = ["attributes_of", "held_name", "lasting"]

# What `functools.update_wrapper` copies to a wrapper; it says no more of the wrapper than of what that wraps.
_COPIED = frozenset({"__module__", "__name__", "__qualname__"})
_SAYS_NOTHING = frozenset({"__doc__", "__annotations__", "__annotate__", "__type_params__"})

# Attributes that libraries fill when an object is used: whether it was makes no difference. By the class that has them.
_ON_DEMAND: dict[tuple[str, str], frozenset[str]] = {
    ("numpy", "vectorize"): frozenset({"_ufunc", "_doc", "__doc__", "__name__", "_in_and_out_core_dims"}),
    ("pandas", "ExtensionArray"): frozenset({"_cache", "_readonly"}),
    ("pandas", "ExtensionDtype"): frozenset({"_cache"}),
    ("scipy", "_spbase"): frozenset({"_has_sorted_indices", "_has_canonical_format", "maxprint"}),
    ("joblib", "MemorizedFunc"): frozenset({"timestamp", "func_id", "_func_code_id", "_func_code_info"}),
    ("xarray", "DataArray"): frozenset({"_cache", "_close"}),
    ("xarray", "Dataset"): frozenset({"_cache", "_close"}),
}
# Attributes that are None until somebody looks, and empty from then on.
_EMPTY_ON_DEMAND = frozenset({"_attrs", "_encoding"})


def attributes_of(value: Any) -> dict[str, Any]:
    """Give what an object holds in its dictionary and in its slots, as far as they are set."""
    found: dict[str, Any] = {}
    for kind in reversed(type(value).__mro__):
        for name, member in vars(kind).items():
            if type(member) is MemberDescriptorType:
                try:
                    found[name] = member.__get__(value)
                except (AttributeError, TypeError):  # a slot that is not set
                    continue
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        own = None
    return {**found, **own} if type(own) is dict else found


def lasting(kind: type, state: dict[Any, Any]) -> dict[Any, Any]:
    """Leave out of an object's attributes what it computes on demand, and what its wrapped function says as well."""
    on_demand = _on_demand(kind)
    wrapped = state.get("__wrapped__")
    return {
        name: item
        for name, item in state.items()
        if not (
            name in on_demand
            or _is_cached_property(kind, name)
            or (name in _EMPTY_ON_DEMAND and not item and (item is None or type(item) is dict))
            or (wrapped is not None and _is_copied(name, item, wrapped))
        )
    }


def _is_copied(name: Any, item: Any, wrapped: Any) -> bool:
    if name in _SAYS_NOTHING:
        return True
    return name in _COPIED and isinstance(item, str) and getattr(wrapped, name, None) == item


def _is_cached_property(kind: type, name: Any) -> bool:
    if not isinstance(name, str):
        return False
    return any(isinstance(vars(base).get(name), functools.cached_property) for base in kind.__mro__)


@functools.lru_cache(maxsize=1024)
def _on_demand(kind: type) -> frozenset[str]:
    named = ((module_of(base).partition(".")[0], base.__qualname__) for base in kind.__mro__)
    return frozenset().union(*(_ON_DEMAND.get(name, ()) for name in named))


def held_name(value: Any, name: str) -> str | None:
    """Give the name of a library's module and of what is there, where that is this very object; else None.

    Parameters
    ----------
    value : object
    name : str
        What the object says that it is called, as its reducer does: pickle would look it up in the same way.
    """
    try:
        own = getattr(value, "__module__", None)
    except Exception:  # noqa: BLE001 - an object may refuse in any way it likes
        own = None
    for module in dict.fromkeys([own, module_of(type(value))]):
        if isinstance(module, str) and module and _holds(sys.modules.get(module), name, value):
            return f"{module}.{name}" if is_library_module(module) else None
    # It does not say where it is from, as the functions of scipy.special do not.
    holders = [key for key, module in list(sys.modules.items()) if _holds(module, name, value, deep=False)]
    libraries = sorted(filter(is_library_module, holders), key=lambda key: (key.count("."), key))
    return f"{libraries[0]}.{name}" if libraries else None


def _holds(module: Any, name: str, value: Any, *, deep: bool = True) -> bool:
    found = getattr(module, "__dict__", {}).get(name if not deep else name.partition(".")[0])
    for part in name.split(".")[1:] if deep else ():
        try:
            found = getattr(found, part, None)
        except Exception:  # noqa: BLE001 - whatever a class raises when it is asked for an attribute
            return False
    return found is value
