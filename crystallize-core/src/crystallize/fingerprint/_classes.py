"""What classes hold beside their functions: fields, settings and defaults, wherever a library keeps them."""

from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint._project import module_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["class_data", "is_salted", "readable_members"]

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
    """Give what of a class is data and has a name with two underscores on each side, or is kept in C."""
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
    """Give what a metaclass that is written in C keeps of a class, such as the defaults of msgspec's structs."""
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
    """Give what settings and factories of msgspec hold, which are written in C and do not pickle; else None."""
    if module_of(type(value)).partition(".")[0] != "msgspec":
        return None
    return {
        name: getattr(value, name)
        for name, descriptor in sorted(vars(type(value)).items())
        if isinstance(descriptor, (types.MemberDescriptorType, types.GetSetDescriptorType))
    }


def is_salted(value: object) -> bool:
    """Whether a method has a random number in its code: attrs writes one into ``__hash__``, and tells the rest."""
    code = getattr(value, "__code__", None)
    return code is not None and code.co_name == "__hash__" and code.co_filename.startswith("<attrs generated")
