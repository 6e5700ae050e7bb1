"""What is known about a hook beside its signature, noted where it is specified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable

    FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

__all__ = ["PROJECT", "HookSpec", "facts_of", "hookspec"]

PROJECT = "crystallize"

Place = Literal["coordinator", "worker"]
Policy = Literal["propagate", "fail_cell", "keep"]

_mark = pluggy.HookspecMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class HookSpec:
    """The facts about one hook, for the engine, the checks and the reference page.

    Attributes
    ----------
    name : str
    arguments : tuple of str
        In the order in which the engine hands them over.
    place : {"coordinator", "worker"}
        Where it runs.
    first_result : bool
        Whether one plugin's answer is enough; otherwise every plugin is called.
    undeclared : {"propagate", "fail_cell", "keep"}
        What becomes of an error in a plugin that declares no ``on_error``.
    since : str
        The version of the contract that brought it.
    doc : str
        The specification's text.
    """

    name: str
    arguments: tuple[str, ...]
    place: Place
    first_result: bool
    undeclared: Policy
    since: str
    doc: str


def hookspec(
    place: Place,
    undeclared: Policy,
    *,
    first_result: bool = False,
    since: str = "1.0",
) -> Callable[[FunctionT], FunctionT]:
    """Mark a function as the specification of the hook of its name; the arguments are those of `HookSpec`."""

    def mark(function: FunctionT) -> FunctionT:
        facts = {"place": place, "undeclared": undeclared, "first_result": first_result, "since": since}
        function.crystallize_facts = facts  # type: ignore[attr-defined]
        return _mark(function, firstresult=first_result)

    return mark


def facts_of(specs: type) -> dict[str, HookSpec]:
    """Give what is known about the hooks that a class specifies, by name, in its order."""
    found: dict[str, HookSpec] = {}
    for name, function in vars(specs).items():
        facts = getattr(function, "crystallize_facts", None)
        if facts is not None:
            code = function.__code__
            arguments = code.co_varnames[1 : code.co_argcount]
            found[name] = HookSpec(name=name, arguments=arguments, doc=function.__doc__ or "", **facts)
    return found
