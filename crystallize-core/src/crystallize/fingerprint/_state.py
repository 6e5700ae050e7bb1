"""The attributes of objects: what an object holds, read without asking it, and what of that says nothing of it."""

from __future__ import annotations

import functools
import sys
from types import FunctionType, MemberDescriptorType
from typing import Any

from crystallize.fingerprint._project import asked_for, is_library_module, module_of

__all__ = ["attributes_of", "compiler_of", "held_name", "lasting", "stands_for"]

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
            # Some types written in C list where their fields lie in memory among their members.
            if type(member) is MemberDescriptorType and (name == "__wrapped__" or not name.startswith("__")):
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
    for module in dict.fromkeys([module_of(value), module_of(type(value))]):
        if module and _holds(sys.modules.get(module), name, value):
            return f"{module}.{name}" if is_library_module(module) else None
    # It does not say where it is from, as the functions of scipy.special do not.
    holders = [key for key, module in list(sys.modules.items()) if _holds(module, name, value, deep=False)]
    libraries = sorted(filter(is_library_module, holders), key=lambda key: (key.count("."), key))
    return f"{libraries[0]}.{name}" if libraries else None


def _holds(module: Any, name: str, value: Any, *, deep: bool = True) -> bool:
    first, *more = name.split(".") if deep else [name]
    found = getattr(module, "__dict__", {}).get(first)
    for part in more:
        found = asked_for(found, part)
    return found is value


def stands_for(function: FunctionType) -> dict[str, Any] | None:
    """Give what decides what a function does that a library made, where its closure holds more; else None."""
    attributes = vars(function)
    made_in = function.__globals__.get("__name__")
    if made_in == "functools" and "registry" in attributes:
        # Of functools.singledispatch: what is registered, not what it has looked up so far.
        return {k: v for k, v in attributes.items() if k not in ("dispatch", "register", "_clear_cache")}
    if made_in == "torch._dynamo.eval_frame" and "_torchdynamo_orig_callable" in attributes:
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
        compiler = compiler_of(cells["callback"].cell_contents) if "callback" in cells else None
        return {"function": attributes["_torchdynamo_orig_callable"], "compiler": compiler}
    return None


def compiler_of(callback: Any) -> dict[str, Any]:
    """Give the settings of what compiles for PyTorch, which stands in several wrappers."""
    while "_torchdynamo_orig_backend" in attributes_of(callback):
        callback = callback._torchdynamo_orig_backend
    return {"kind": type(callback), **attributes_of(callback)}
