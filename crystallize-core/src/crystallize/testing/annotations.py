"""Whether the annotations of a hook are true of what it is handed."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
import typing
from typing import Any

import crystallize
from crystallize import hooks
from crystallize.hooks.specs import HookSpecs

if typing.TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.plugins.implementations import Implementation

__all__ = ["wrong_annotations"]

_UNKNOWN = object()


def wrong_annotations(implementation: Implementation) -> Iterator[str]:
    """Yield a sentence for each annotation of a hook that says something else than its specification.

    An argument may be annotated with anything that what is handed is an instance of. What cannot be evaluated, such as
    names that are imported for type checkers alone, is compared by its name with what the core publishes.
    """
    function = inspect.unwrap(implementation.function)
    handed = _specified(implementation.hook)
    for name, written in getattr(function, "__annotations__", {}).items():
        if name == "return":
            if handed.get("return", Any) is None and written not in (None, "None", Any, "Any", "typing.Any"):
                yield (
                    f"{implementation.hook} is annotated as returning {_shown(written)}, and nothing takes what it "
                    "returns: annotate -> None"
                )
            continue
        said = _evaluated(written, getattr(function, "__globals__", {}))
        if name in handed and not _accepts(said, handed[name]):
            yield (
                f"{implementation.hook} annotates {name} as {_shown(written)}, and is handed "
                f"{_shown(handed[name])}: annotate {name}: {_shown(handed[name])}"
            )


@functools.cache
def _specified(hook: str) -> dict[str, Any]:
    function = vars(HookSpecs).get(hook)
    return (
        {}
        if function is None
        else {name: _evaluated(text, vars(typing)) for name, text in function.__annotations__.items()}
    )


def _evaluated(written: Any, namespace: dict[str, Any]) -> Any:
    """Return what an annotation stands for, or `_UNKNOWN`."""
    if not isinstance(written, str):
        return written
    try:
        return eval(written, {**vars(collections.abc), "Any": Any}, _Names(namespace))  # noqa: S307 - its own text
    except Exception:  # noqa: BLE001 - a stranger's annotation may be anything
        return _UNKNOWN


class _Names(dict[str, Any]):
    """The names of a module, and those that the core publishes."""

    def __missing__(self, name: str) -> Any:
        for home in (hooks, crystallize):
            if name in home.__all__:
                return getattr(home, name)
        raise KeyError(name)


def _accepts(said: Any, handed: Any) -> bool:
    """Whether what is handed is an instance of what is said, as far as classes tell."""
    if typing.get_origin(said) in (typing.Union, types.UnionType):
        return any(_accepts(choice, handed) for choice in typing.get_args(said))
    wanted, given = (typing.get_origin(found) or found for found in (said, handed))
    if not isinstance(wanted, type) or not isinstance(given, type) or getattr(wanted, "_is_protocol", False):
        return True
    try:
        if not issubclass(given, wanted):
            return False
    except TypeError:
        return True
    arguments = typing.get_args(said), typing.get_args(handed)
    return not all(len(found) == 1 for found in arguments) or _accepts(arguments[0][0], arguments[1][0])


def _shown(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
