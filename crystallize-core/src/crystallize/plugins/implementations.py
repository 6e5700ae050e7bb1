"""Finding the methods of a plugin that implement hooks, and calling them as the engine does."""

from __future__ import annotations

import inspect
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from operator import is_
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.hooks.base import BasePlugin, is_no_op
from crystallize.hooks.specs import HOOKS, PROJECT
from crystallize.signatures import signature_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from crystallize.hooks.specs import HookSpec

__all__ = [
    "Implementation",
    "Shape",
    "adapt",
    "arguments_of_function",
    "find_implementations",
    "implementation",
    "in_one_call",
    "named_arguments",
    "recall",
    "remember",
    "static_function",
]

_OPTIONS = f"{PROJECT}_impl"


@dataclass(frozen=True, slots=True)
class Implementation:
    """A method that implements a hook.

    Attributes
    ----------
    hook : str
        The hook's name; not necessarily one that exists.
    attribute : str
        The method's name.
    function : callable
        The method, bound.
    options : mapping
        What `hookimpl` was given; empty where the method is one by its name alone.
    arguments : tuple of str or None
        The names of its arguments, where they have been looked at.
    """

    hook: str
    attribute: str
    function: Callable[..., Any]
    options: Mapping[str, Any]
    arguments: tuple[str, ...] | None = None

    @property
    def shape(self) -> Shape:
        """Everything but the method itself."""
        return Shape(self.hook, self.attribute, self.options, self.arguments)


class Shape(NamedTuple):
    """What is known of an implementation without the plugin; see `Implementation`."""

    hook: str
    attribute: str
    options: Mapping[str, Any]
    arguments: tuple[str, ...] | None


def implementation(plugin: object, shape: Shape) -> Implementation:
    """Give the method of a plugin of which the rest is known.

    Raises
    ------
    AttributeError
        The plugin has it no more.
    """
    function, _ = static_function(plugin, shape.attribute)
    if function is None:
        raise AttributeError(f"{type(plugin).__name__} has no method {shape.attribute} any more")
    return Implementation(shape.hook, shape.attribute, function, shape.options, shape.arguments)


def find_implementations(plugin: object) -> list[Implementation]:
    """Give the methods of a plugin that implement hooks, by name; nothing of the plugin is run.

    Every method that `hookimpl` marks counts and, in a `BasePlugin`, every override.
    """
    found = []
    by_name = isinstance(plugin, BasePlugin)
    for attribute in dir(plugin):
        if by_name and attribute.startswith("__"):
            continue
        function, holder = static_function(plugin, attribute)
        if function is None:
            continue
        options = getattr(holder, _OPTIONS, None) or getattr(function, _OPTIONS, None)
        if isinstance(options, dict):
            found.append(Implementation(options.get("specname") or attribute, attribute, function, options))
        elif by_name and attribute in HOOKS and not is_no_op(holder):
            found.append(Implementation(attribute, attribute, function, {}))
    return found


def static_function(plugin: object, attribute: str) -> tuple[Callable[..., Any] | None, object]:
    """Give a method of an object as it would be called, and what holds it; properties are not evaluated."""
    holder = inspect.getattr_static(plugin, attribute, None)
    if isinstance(holder, FunctionType):
        own = attribute in getattr(plugin, "__dict__", {})
        return (holder if own else MethodType(holder, plugin)), holder
    if isinstance(holder, staticmethod):
        return holder.__func__, holder
    if isinstance(holder, classmethod):
        return MethodType(holder.__func__, type(plugin)), holder
    return (holder, holder.__func__) if isinstance(holder, MethodType) else (None, holder)


def arguments_of_function(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """Give the parameters of a bound method, in order."""
    return tuple(signature_of(function).parameters.values())


def named_arguments(implementation: Implementation) -> tuple[str, ...]:
    """Give the names of the arguments that an implementation takes."""
    if implementation.arguments is not None:
        return implementation.arguments
    return tuple(parameter.name for parameter in arguments_of_function(implementation.function))


def adapt(implementation: Implementation, spec: HookSpec) -> Callable[..., Any]:
    """Give a callable that takes all arguments of the specification by position.

    It is the bound method itself where that takes just these.
    """
    function, named = implementation.function, named_arguments(implementation)
    if named == spec.arguments:
        return function
    adapter: Callable[..., Any] = _adapter(len(spec.arguments), tuple(map(spec.arguments.index, named)))(function)
    return adapter


@cache
def _adapter(count: int, wanted: tuple[int, ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    # Written out and compiled, since picking arguments from a tuple would cost each call in the step loop three times
    # as much. The text consists of numbers.
    taken = ", ".join(f"a{position}" for position in range(count))
    passed = ", ".join(f"a{position}" for position in wanted)
    maker: Callable[[Callable[..., Any]], Callable[..., Any]] = eval(  # noqa: S307
        f"lambda function: lambda {taken}: function({passed})"
    )
    return maker


def in_one_call(
    arguments: Sequence[str],
    implementations: Sequence[tuple[Callable[..., Any], Sequence[str], bool]],
    *,
    failed: Callable[..., None],
    gave: Callable[[int], None],
) -> Callable[..., None]:
    """Give a function that calls the implementations of a hook in a cell one after the other.

    Parameters
    ----------
    arguments : sequence of str
        Those of the specification.
    implementations : sequence of tuple
        Of each the method, the arguments that it names, and whether it gets a context that cannot be written to.
    failed : callable of (int, BaseException, Cell, list)
        Is told which one raised what; the others are called unless it raises.
    gave : callable of int
        Is told which one returned something.

    Returns
    -------
    callable
        Takes the cell, a list, and the arguments of the specification, by position.
    """
    shapes = tuple((tuple(named), neutral) for _, named, neutral in implementations)
    made: Callable[..., None] = _maker(tuple(arguments), shapes)(failed, gave, *(fn for fn, _, _ in implementations))
    return made


@cache
def _maker(arguments: tuple[str, ...], shapes: tuple[tuple[tuple[str, ...], bool], ...]) -> Callable[..., Any]:
    # Written out and compiled: a loop over adapters costs twice what the calls themselves do, for each step of each
    # cell. The text consists of numbers and of the names in the specification.
    numbers = range(len(shapes))
    lines = [
        f"def make(failed, gave, {', '.join(f'f{number}' for number in numbers)}):",
        f"    def call(cell, failures, {', '.join(arguments)}):",
    ]
    if any(neutral and "ctx" in named for named, neutral in shapes):
        lines.append("        seen = ctx._read_only()")
    for number, (named, neutral) in zip(numbers, shapes, strict=True):
        passed = ", ".join("seen" if neutral and name == "ctx" else name for name in named)
        lines += [
            "        try:",
            f"            if f{number}({passed}) is not None:",
            f"                gave({number})",
            "        except BaseException as exc:",
            f"            failed({number}, exc, cell, failures)",
        ]
    namespace: dict[str, Any] = {}
    exec("\n".join([*lines, "    return call"]), namespace)  # noqa: S102
    maker: Callable[..., Any] = namespace["make"]
    return maker


# On the class itself: a table elsewhere would keep classes alive, since their members refer to them. Fingerprints do
# not look at a name of this form.
_KEY = "__crystallize_checked__"


class _Checked:
    """What a class was like when it passed; a copy of the class in another process starts without it."""

    __slots__ = ("members", "methods")

    def __init__(self, members: list[Any] | None = None, methods: Sequence[Shape] = ()) -> None:
        self.members = members
        self.methods = methods

    def __reduce__(self) -> tuple[Any, ...]:
        return _Checked, ()


def remember(plugin: object, found: Iterable[Implementation]) -> None:
    """Note that a plugin's class has passed the checks, and which methods of it implement hooks."""
    if not _has_methods_of_its_own(plugin):
        # Without the bound methods, which would keep the instance alive.
        with suppress(TypeError):  # A class that cannot be written to is checked each time.
            setattr(type(plugin), _KEY, _Checked(_members(type(plugin)), [method.shape for method in found]))


def recall(plugin: object) -> list[Implementation] | None:
    """Give the methods that implement hooks, if the plugin's class has passed the checks and has not changed since."""
    known: _Checked | None = vars(type(plugin)).get(_KEY)
    if known is None or known.members is None or _has_methods_of_its_own(plugin):
        return None
    then, now = known.members, _members(type(plugin))
    if len(then) != len(now) or not all(map(is_, then, now)):
        return None
    try:
        return [implementation(plugin, shape) for shape in known.methods]
    except AttributeError:
        return None


def _members(cls: type) -> list[Any]:
    return [member for base in cls.__mro__[:-1] for name, member in vars(base).items() if name != _KEY]


def _has_methods_of_its_own(plugin: object) -> bool:
    attributes = getattr(plugin, "__dict__", {})
    return any(name in HOOKS or isinstance(value, (FunctionType, MethodType)) for name, value in attributes.items())
