"""`Treatment`: what one condition changes about the baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

from crystallize.context import RESERVED_KEYS, isolate
from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.names import check_name
from crystallize.signatures import accepts_positional, is_async

if TYPE_CHECKING:
    from crystallize.context import FrozenContext

__all__ = ["Treatment", "treatment"]


class Treatment:
    """A named change to the context of a cell.

    Parameters
    ----------
    name : str
        Names the condition in results and its folder on disk: non-empty text without path separators.
    apply : mapping of str to object, or callable of ctx
        The values that the condition adds to the context, or a function that adds them. A mapping is
        copied, its containers too: what the caller does to it afterwards changes nothing.

    Raises
    ------
    TypeError
        `name` is no text, `apply` is neither a mapping nor a function of one argument, or a key is no text.
    ValueError
        `name` is unsafe, or a key is empty or one of the reserved ``replicate``, ``condition``, ``seed_used`` and
        ``step_name``.

    Examples
    --------
    >>> fast = Treatment("fast", {"learning_rate": 0.5})
    >>> dict(fast.apply_map)
    {'learning_rate': 0.5}
    """

    __slots__ = ("_name", "applied")

    applied: dict[str, Any] | Callable[[FrozenContext], Any]

    def __init__(self, name: str, apply: Mapping[str, Any] | Callable[[FrozenContext], Any]) -> None:
        self._name = check_name(name, what="treatment")
        if isinstance(apply, Mapping):
            self.applied = _copy_values(name, apply)
        else:
            self.applied = _checked_function(name, apply)

    @property
    def name(self) -> str:
        """The treatment's name, which is the condition's."""
        return self._name

    @property
    def _apply_value(self) -> dict[str, Any] | Callable[[FrozenContext], Any]:
        # The name by which published examples print what the best treatment of an optimisation sets.
        return self.applied

    @property
    def is_callable(self) -> bool:
        """Whether a function adds the values, rather than a mapping listing them."""
        return not isinstance(self.applied, dict)

    @property
    def apply_map(self) -> Mapping[str, Any]:
        """The values that the treatment adds, read-only; empty where a function adds them."""
        if isinstance(self.applied, dict):
            return MappingProxyType({key: isolate(value) for key, value in self.applied.items()})
        return MappingProxyType({})

    def apply(self, ctx: FrozenContext) -> None:
        """Add the treatment's values to a context; a run does so at the start of each cell.

        Parameters
        ----------
        ctx : FrozenContext
            Such as one made by `standalone_context`, to try a treatment or a step alone.

        Raises
        ------
        ContextMutationError
            The context has one of the keys already.
        Exception
            Whatever the treatment's function raises.

        Examples
        --------
        >>> from crystallize import standalone_context
        >>> ctx = standalone_context({"depth": 2})
        >>> Treatment("fast", {"learning_rate": 0.5}).apply(ctx)
        >>> dict(ctx)
        {'depth': 2, 'learning_rate': 0.5}
        """
        if isinstance(self.applied, dict):
            for key, value in self.applied.items():
                ctx.add(key, value)
        else:
            self.applied(ctx)

    def __call__(self) -> Treatment:
        """Return the treatment itself, so that a factory and a treatment can be used alike."""
        return self

    def __getstate__(self) -> tuple[str, Any]:
        return self._name, self.applied

    def __setstate__(self, state: tuple[str, Any]) -> None:
        self._name, self.applied = state

    def __repr__(self) -> str:
        if isinstance(self.applied, dict):
            return f"Treatment({self._name!r}, keys={sorted(self.applied)})"
        return f"Treatment({self._name!r}, {getattr(self.applied, '__qualname__', repr(self.applied))})"


class _Missing:
    """What stands for an argument that was not given; None is a mistake worth a message."""


_MISSING = _Missing()


@overload
def treatment(name: str, apply: Mapping[str, Any] | Callable[[FrozenContext], Any]) -> Treatment: ...
@overload
def treatment(name: str) -> Callable[[Callable[[FrozenContext], Any]], Treatment]: ...
def treatment(name: str, apply: Any = _MISSING) -> Treatment | Callable[[Callable[[FrozenContext], Any]], Treatment]:
    """Make a treatment from a mapping, or, as a decorator, from a function of the context.

    Parameters
    ----------
    name : str
        The condition's name.
    apply : mapping or callable, optional
        As in `Treatment`. Left out, the result decorates a function.

    Returns
    -------
    Treatment or decorator
        What comes out in the end is a `Treatment`, which may be called without arguments and then gives itself.

    Examples
    --------
    >>> slow = treatment("slow", {"learning_rate": 0.001})
    >>> @treatment("growing")
    ... def growing(ctx):
    ...     ctx.add("width", 8 * (1 + ctx["replicate"]))
    >>> slow.name, growing().name
    ('slow', 'growing')
    """
    if not isinstance(apply, _Missing):
        return Treatment(name, apply)
    check_name(name, what="treatment")

    def decorate(fn: Callable[[FrozenContext], Any]) -> Treatment:
        return Treatment(name, fn)

    return decorate


def _copy_values(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(key, str):
            raise ArgumentTypeError(
                f"treatment {name!r}: the keys of its mapping are names in the context and must be text, "
                f"not {type(key).__name__} ({key!r})"
            )
        if not key:
            raise ValidationError(f"treatment {name!r}: a key of its mapping is an empty text; name what it changes")
        if key in RESERVED_KEYS:
            raise ValidationError(
                f"treatment {name!r}: the context key {key!r} is reserved (the engine sets "
                f"{', '.join(sorted(RESERVED_KEYS))}); use another name"
            )
        copied[key] = isolate(value)
    return copied


def _checked_function(name: str, apply: Any) -> Callable[[FrozenContext], Any]:
    if isinstance(apply, Treatment) or not callable(apply):
        raise ArgumentTypeError(
            f"treatment {name!r}: apply must be a mapping of context keys to values, or a function of ctx, "
            f"not {type(apply).__name__}"
        )
    function: Callable[[FrozenContext], Any] = apply
    if is_async(function):
        raise ArgumentTypeError(
            f"treatment {name!r}: apply must be a plain function, not an async one; "
            "do what has to be awaited in an async step or data source"
        )
    if not accepts_positional(function, 1):
        raise ArgumentTypeError(f"treatment {name!r}: its function is called with one argument, the context (ctx)")
    return function
