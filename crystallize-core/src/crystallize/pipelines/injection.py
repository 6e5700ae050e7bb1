"""Parameters by name: what a function asks for, and where each value comes from.

Signatures are looked at once, when a function is decorated; what a condition's context holds already
is bound once per condition; only keys that an earlier step may add are looked up at the call.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from crystallize.context.isolation import is_constant, isolate
from crystallize.context.resources import ResourceFactory
from crystallize.datasources.artifact import Artifact
from crystallize.errors import ArgumentTypeError, MissingParameterError
from crystallize.names import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crystallize.context import FrozenContext

__all__ = ["MISSING", "CallSpec", "Parameter", "bind", "inject_from_ctx", "read_signature"]

F = TypeVar("F", bound="Callable[..., Any]")


class _Missing:
    """What stands where a parameter has no default; one object, also after a pickle."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a step besides its data and its context."""

    name: str
    default: Any = MISSING
    is_artifact: bool = False

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING


@dataclass(frozen=True, slots=True)
class CallSpec:
    """How a function wants to be called.

    Attributes
    ----------
    fn : callable
    name : str
        For messages.
    ctx : str
        ``"none"``, ``"second"`` (second positional argument) or ``"keyword"``.
    parameters : tuple of Parameter
    open_ended : bool
        Whether the function takes further keywords (``**kwargs``).
    is_async : bool
    """

    fn: Callable[..., Any]
    name: str
    ctx: str
    parameters: tuple[Parameter, ...]
    open_ended: bool
    is_async: bool

    def checked(self, explicit: Mapping[str, Any]) -> dict[str, Any]:
        """Give explicit parameters isolated, refusing those that the function does not have."""
        known = [parameter.name for parameter in self.parameters]
        for name in explicit:
            if name not in known and not self.open_ended:
                raise ArgumentTypeError(
                    f"{self.name} has no parameter {name!r}; its parameters: "
                    f"{', '.join(known) or 'none'}.{did_you_mean(name, known)}"
                )
        return isolate(dict(explicit))


def read_signature(fn: Callable[..., Any], *, what: str = "step") -> CallSpec:
    """Look at a function of ``(data)`` or ``(data, ctx, ...)``.

    Parameters
    ----------
    fn : callable
        Its first parameter takes the data, one named ``ctx`` the context, all others are parameters.
    what : str
        What the function is meant to be, for messages.

    Raises
    ------
    ArgumentTypeError
        If `fn` is not callable or has no parameter for the data.
    """
    if not callable(fn):
        raise ArgumentTypeError(f"a {what} must be a function, not {type(fn).__name__}: {fn!r}")
    name = getattr(fn, "__name__", None) or type(fn).__name__
    is_async = inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004
    try:
        signature = inspect.signature(fn)
    except (ValueError, TypeError):
        # A builtin that does not tell its signature: it gets the data, and nothing else.
        return CallSpec(fn, name, "none", (), open_ended=False, is_async=is_async)
    positional = [p for p in signature.parameters.values() if p.kind in _POSITIONAL]
    variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in signature.parameters.values())
    if not variadic and (not positional or positional[0].name == "ctx"):
        raise ArgumentTypeError(f"{what} {name!r} has no parameter for the data: its first one must take it")
    others = [p for p in signature.parameters.values() if not positional or p is not positional[0]]
    ctx = "none"
    parameters: list[Parameter] = []
    for parameter in others:
        if parameter.name == "ctx" and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            ctx = "second" if len(positional) > 1 and positional[1] is parameter else "keyword"
        elif parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            if parameter.default is parameter.empty:
                raise ArgumentTypeError(
                    f"{what} {name!r}: parameter {parameter.name!r} is positional-only and cannot be given by name; "
                    "remove the '/' from its signature"
                )
        elif parameter.kind in _NAMED:
            default = MISSING if parameter.default is parameter.empty else parameter.default
            parameters.append(Parameter(parameter.name, default, _names_artifact(parameter.annotation)))
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in others)
    return CallSpec(fn, name, ctx, tuple(parameters), open_ended, is_async)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _names_artifact(annotation: object) -> bool:
    if isinstance(annotation, str):
        parts = annotation.replace("Optional[", "").replace("]", "").split("|")
        return any(part.strip().rpartition(".")[2] == "Artifact" for part in parts)
    return annotation is Artifact or Artifact in getattr(annotation, "__args__", ())


def bind(
    spec: CallSpec,
    explicit: Mapping[str, Any],
    context: Mapping[str, Any],
    outputs: Mapping[str, Artifact],
) -> tuple[Callable[..., Any], bool, tuple[str, ...]]:
    """Bind a function's parameters to what a condition's context holds.

    Parameters
    ----------
    spec : CallSpec
    explicit : mapping
        Values given when the step was made; they win over the context.
    context : mapping
        What every cell of the condition starts with.
    outputs : mapping
        Declared artifacts by name, for parameters annotated `Artifact`.

    Returns
    -------
    call : callable
        To be called with data, or with data and context.
    wants_ctx : bool
        Which of the two.
    reads : tuple of str
        The context keys that were bound, and are read by every call.
    """
    constant: dict[str, Any] = {}
    renewed: dict[str, Any] = {}
    from_ctx: list[str] = []
    artifacts: dict[str, Artifact] = {}
    late: list[Parameter] = []
    reads: list[str] = []
    for name, value in explicit.items():
        if isinstance(value, Artifact):
            artifacts[name] = value
        else:
            (constant if is_constant(value) else renewed)[name] = value
    for parameter in spec.parameters:
        name = parameter.name
        if name in explicit:
            continue
        if parameter.is_artifact and (declared := find_output(name, outputs)) is not None:
            artifacts[name] = declared
        elif name in context:
            value = context[name]
            if value.__class__ is ResourceFactory:
                from_ctx.append(name)
            else:
                reads.append(name)
                (constant if is_constant(value) else renewed)[name] = value
        else:
            late.append(parameter)
    return _assemble(spec, constant, renewed, from_ctx, artifacts, late), *_needs(
        spec, renewed, from_ctx, artifacts, late, reads
    )


def _needs(
    spec: CallSpec,
    renewed: dict[str, Any],
    from_ctx: list[str],
    artifacts: dict[str, Artifact],
    late: list[Parameter],
    reads: list[str],
) -> tuple[bool, tuple[str, ...]]:
    wants_ctx = spec.ctx != "none" or bool(renewed or from_ctx or artifacts or late)
    return wants_ctx, tuple(reads)


def _assemble(  # noqa: PLR0913 - one list for each way in which a value comes about
    spec: CallSpec,
    constant: dict[str, Any],
    renewed: dict[str, Any],
    from_ctx: list[str],
    artifacts: dict[str, Artifact],
    late: list[Parameter],
) -> Callable[..., Any]:
    """Build the shortest call that serves: it runs once for every step of every cell."""
    fn = spec.fn
    plain = functools.partial(fn, **constant) if constant else fn
    if not (renewed or from_ctx or artifacts or late):
        return plain if spec.ctx != "keyword" else lambda data, ctx: plain(data, ctx=ctx)

    defaults = [p for p in late if not p.required and not is_constant(p.default)]
    fixed = not (renewed or from_ctx or artifacts or defaults) and all(not p.required for p in late)
    late_names = frozenset(p.name for p in late)
    wants, by_keyword = spec.ctx == "second", spec.ctx == "keyword"

    def filled(data: Any, ctx: FrozenContext) -> Any:
        values = dict(constant)
        for name, value in renewed.items():
            values[name] = isolate(value)
        for name in from_ctx:
            values[name] = ctx[name]
        for name, artifact in artifacts.items():
            values[name] = artifact.bind(ctx)
        for parameter in late:
            name = parameter.name
            if name in ctx._own:  # noqa: SLF001 - past the journal, which notes only what is used
                values[name] = ctx[name]
            elif parameter.default is MISSING:
                raise MissingParameterError(_missing(spec, parameter, ctx))
            elif parameter in defaults:
                values[name] = isolate(parameter.default)
        if wants:
            return fn(data, ctx, **values)
        return fn(data, ctx=ctx, **values) if by_keyword else fn(data, **values)

    if not fixed:
        return filled

    def called(data: Any, ctx: FrozenContext) -> Any:
        if not late_names.isdisjoint(ctx._own):  # noqa: SLF001
            return filled(data, ctx)
        if wants:
            return plain(data, ctx)
        return plain(data, ctx=ctx) if by_keyword else plain(data)

    if len(late) == 1 and wants:
        # The commonest step of all: one optional parameter that this condition does not set.
        (only,) = late_names

        def called_with_one(data: Any, ctx: FrozenContext) -> Any:
            return filled(data, ctx) if only in ctx._own else plain(data, ctx)  # noqa: SLF001

        return called_with_one
    return called


def find_output(name: str, outputs: Mapping[str, Artifact]) -> Artifact | None:
    """Give the declared output that a parameter of this name means: the name, or the name without its ending."""
    if name in outputs:
        return outputs[name]
    stems = [artifact for key, artifact in outputs.items() if key.partition(".")[0] == name]
    return stems[0] if len(stems) == 1 else None


def _missing(spec: CallSpec, parameter: Parameter, ctx: FrozenContext) -> str:
    if parameter.is_artifact:
        return (
            f"{spec.name} needs the artifact {parameter.name!r}, which is no declared output: give it as "
            f"{spec.name}({parameter.name}=Artifact(...)) and in the experiment's outputs=[...]"
        )
    return (
        f"{spec.name} needs the parameter {parameter.name!r}, which was neither given nor is in the context"
        f": write {spec.name}({parameter.name}=...), or put {parameter.name!r} into initial_ctx or a treatment."
        f"{did_you_mean(parameter.name, list(ctx))}"
    )


def call_injected(spec: CallSpec, explicit: Mapping[str, Any], data: Any, ctx: FrozenContext) -> Any:
    """Call a step alone, outside an engine: every parameter is looked up now."""
    values: dict[str, Any] = {}
    for name, value in explicit.items():
        values[name] = value.bind(ctx) if isinstance(value, Artifact) else isolate(value)
    for parameter in spec.parameters:
        if parameter.name in values:
            continue
        if parameter.name in ctx:
            values[parameter.name] = ctx[parameter.name]
        elif parameter.default is MISSING:
            raise MissingParameterError(_missing(spec, parameter, ctx))
        else:
            values[parameter.name] = isolate(parameter.default)
    if spec.ctx == "second":
        return spec.fn(data, ctx, **values)
    return spec.fn(data, ctx=ctx, **values) if spec.ctx == "keyword" else spec.fn(data, **values)


def inject_from_ctx(fn: F) -> F:
    """Let a plain function take its parameters from the context by name.

    Parameters
    ----------
    fn : callable
        A function of ``(data, ctx, ...)``.

    Returns
    -------
    callable
        Called as ``fn(data, ctx, **explicit)``: an explicit value wins, then the context's value of
        that name, then the default.

    Raises
    ------
    MissingParameterError
        At the call, naming a parameter that nobody supplies.

    Examples
    --------
    >>> from crystallize import standalone_context
    >>> @inject_from_ctx
    ... def act(data, ctx, gain=1, bias=0):
    ...     return data * gain + bias
    >>> act(2, standalone_context({"gain": 10}))
    20
    >>> act(2, standalone_context({"gain": 10}), gain=3)
    6
    """
    spec = read_signature(fn, what="function")

    @functools.wraps(fn)
    def injected(data: Any, ctx: FrozenContext, **explicit: Any) -> Any:
        return call_injected(spec, spec.checked(explicit), data, ctx)

    return injected  # type: ignore[return-value]
