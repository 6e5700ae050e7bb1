"""What objects and classes hold, read without asking them, and what of that says nothing of them."""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint.project import asked_for, is_library_module, module_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "attributes_of",
    "class_data",
    "compiler_of",
    "held_name",
    "is_salted",
    "lasting",
    "readable_members",
    "stands_for",
]

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
    """Return what an object holds in its dictionary and in its slots, as far as they are set."""
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
    """Return the name of a library's module and of what is there, where that is this very object; else None.

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
    """Return what decides what a function does that a library made, where its closure holds more; else None."""
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
    """Return the settings of what compiles for PyTorch, which stands in several wrappers."""
    while "_torchdynamo_orig_backend" in attributes_of(callback):
        callback = callback._torchdynamo_orig_backend
    return {"kind": type(callback), **attributes_of(callback)}


# Of a class as such: told of elsewhere, about where it was written, or remembered by the interpreter.
_OF_CLASSES = {
    "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__", "__annotations_cache__",
    "__callable_proto_members_only__", "__conditional_annotations__", "__dict__", "__doc__", "__firstlineno__",
    "__module__", "__non_callable_proto_members__", "__parameters__", "__protocol_attrs__", "__qualname__",
    "__signature__", "__slotnames__", "__static_attributes__", "__type_params__", "__weakref__",
}  # fmt: skip
# What a library makes of the fields that it keeps beside, with addresses in it or only once it is asked for.
_GENERATED = {
    "__attrs_base_of_slotted__", "__attrs_props__", "__dataclass_fields__", "__dataclass_params__",
    "__mapper__", "__pydantic_complete__", "__pydantic_core_schema__", "__pydantic_decorators__",
    "__pydantic_fields_complete__", "__pydantic_parent_namespace__", "__pydantic_serializer__",
    "__pydantic_setattr_handlers__", "__pydantic_validator__", "__schema_cache__", "__sqlmodel_relationships__",
    "__table__",
}  # fmt: skip
# By its type: a class that travelled by value has another such object.
_MISSING = type(dataclasses.MISSING)
# What the hooks note in a class that has passed their checks.
_OURS = "__crystallize_"
_FIELD = ("name", "default", "default_factory", "init", "repr", "hash", "compare", "metadata", "kw_only")


def class_data(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield what of a class is data and has a name with two underscores on each side, or is kept in C."""
    body = vars(kind)
    for name in sorted(body):
        is_data = name.startswith("__") and name.endswith("__") and name not in _OF_CLASSES | _GENERATED
        if is_data and not name.startswith(_OURS):
            yield name, body[name]
    if "__dataclass_fields__" in body:
        # Not all of a field by what pickles: later versions of Python add to it.
        yield (
            "fields",
            [
                [getattr(each, name, None) for name in _FIELD]
                for each in body["__dataclass_fields__"].values()
                if type(each.default_factory) is not _MISSING or each.metadata or not (each.init and each.compare)
            ],
        )
    decorators = body.get("__pydantic_decorators__")
    if decorators is not None:
        yield (
            "decorators",
            [
                (group, name, decorator.info)
                for group, found in sorted(vars(type(decorators)).get("__dataclass_fields__", {}).items())
                for name, decorator in sorted(getattr(decorators, group, {}).items())
                if hasattr(decorator, "info") and found is not None
            ],
        )
    yield from _kept_by_the_metaclass(kind)


def _kept_by_the_metaclass(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield what a metaclass that is written in C keeps of a class, such as the defaults of msgspec's structs."""
    metaclass: type = type(kind)
    for base in metaclass.__mro__:
        if base is type:
            return
        for name, descriptor in sorted(vars(base).items()):
            told = name in _OF_CLASSES | _GENERATED or name in vars(kind)
            if told or not isinstance(descriptor, (types.GetSetDescriptorType, types.MemberDescriptorType)):
                continue
            try:
                value = getattr(kind, name)
            except AttributeError:  # a class that has none of it
                continue
            yield name, value


def readable_members(value: Any) -> dict[str, Any] | None:
    """Return what settings and factories of msgspec hold, which are written in C and do not pickle; else None."""
    if module_of(type(value)).partition(".")[0] != "msgspec":
        return None
    return {
        name: getattr(value, name)
        for name, descriptor in sorted(vars(type(value)).items())
        if isinstance(descriptor, (types.MemberDescriptorType, types.GetSetDescriptorType))
    }


def is_salted(value: object) -> bool:
    """Return whether a method has a random number in its code: attrs writes one into ``__hash__``."""
    code = getattr(value, "__code__", None)
    return code is not None and code.co_name == "__hash__" and code.co_filename.startswith("<attrs generated")
