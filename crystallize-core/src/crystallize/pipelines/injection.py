"""Parameters by name: what a function asks for, and where each value comes from.

Signatures are looked at once, when a function is decorated; what a condition's context holds already
is bound once per condition; only keys that an earlier step may add are looked up at the call.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from types import FunctionType, UnionType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, Union, get_args, get_origin

from crystallize.context.frozen import keys_of
from crystallize.context.isolation import goes_by_reference, is_constant, isolate
from crystallize.context.resources import ResourceFactory
from crystallize.datasources.artifact import Artifact
from crystallize.errors import ArgumentTypeError, MissingParameterError
from crystallize.names import did_you_mean
from crystallize.signatures import is_async, signature_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crystallize.context import FrozenContext

__all__ = [
    "MISSING",
    "Binding",
    "CallSpec",
    "Parameter",
    "bind",
    "call_injected",
    "find_output",
    "inject_from_ctx",
    "read_signature",
]

F = TypeVar("F", bound="Callable[..., Any]")


class _Missing:
    """What stands where a parameter has no default; one object, also after a pickle."""

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = _Missing()
_INJECTED = "__crystallize_injected__"


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
        """Return explicit parameters isolated, refusing those that the function does not have."""
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
    # What `inject_from_ctx` does at the call is done once here; other wrappers have copies of its mark.
    if getattr(fn, "__wrapped__", fn) is getattr(fn, _INJECTED, None):
        fn = getattr(fn, _INJECTED)
    name = getattr(fn, "__name__", None) or type(fn).__name__
    awaited = is_async(fn)
    try:
        signature = signature_of(fn)
    except (ValueError, TypeError):
        # A builtin that does not tell its signature: it gets the data, and nothing else.
        return CallSpec(fn, name, "none", (), open_ended=False, is_async=awaited)
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
            parameters.append(Parameter(parameter.name, default, _names_artifact(parameter.annotation, fn)))
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in others)
    return CallSpec(fn, name, ctx, tuple(parameters), open_ended, awaited)


_UNIONS = (Union, UnionType)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _names_artifact(annotation: object, fn: object) -> bool:
    if isinstance(annotation, str):
        text = annotation.strip().strip("'\"")
        if text.rpartition("[")[0].rpartition(".")[2] == "Optional":
            text = text.rpartition("[")[2].rstrip("]")
        known = getattr(fn, "__globals__", {})
        return any(
            known.get(part) is Artifact or (part not in known and part.rpartition(".")[2] == "Artifact")
            for part in map(str.strip, text.split("|"))
        )
    return annotation is Artifact or (get_origin(annotation) in _UNIONS and Artifact in get_args(annotation))


class Binding(NamedTuple):
    """A function with its parameters bound to a condition.

    Attributes
    ----------
    call : callable
        Called with data, or with data and context.
    wants_ctx : bool
        Which of the two.
    late : callable of data and context, or None
        To be called instead, once the cell's context holds a key of `late_names`.
    late_names : tuple of str
        Keys that nobody set yet, and that an earlier step, or a treatment that is a function, may.
    reads : tuple of str
        Context keys that were bound, and are read by every call.
    keys : tuple of (str, tuple of str)
        Each parameter that the context supplies where it can, with the keys that may, the one that counts most first.
    shared : tuple of object
        Objects that every call is given by reference.
    """

    call: Callable[..., Any]
    wants_ctx: bool
    late: Callable[..., Any] | None
    late_names: tuple[str, ...]
    reads: tuple[str, ...]
    keys: tuple[tuple[str, tuple[str, ...]], ...] = ()
    shared: tuple[Any, ...] = ()


def bind(
    spec: CallSpec,
    explicit: Mapping[str, Any],
    context: Mapping[str, Any],
    outputs: Mapping[str, Artifact],
    addresses: tuple[str, ...] = (),
    *,
    cell_may_address: bool = False,
) -> Binding:
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
    addresses : tuple of str
        The names by which a key means a parameter of this step alone; see `keys_of`.
    cell_may_address : bool, default False
        Whether each cell may write such a key, as a treatment that is a function does.
    """
    constant: dict[str, Any] = {}
    made: dict[str, Callable[[FrozenContext], Any]] = {}
    late: list[_Late] = []
    reads: list[str] = []
    looked_up: list[tuple[str, tuple[str, ...]]] = []
    shared: list[Any] = []

    def give(name: str, value: Any) -> None:
        make = _maker(value)
        shared.append(value)
        if make is None:
            constant[name] = value
        else:
            made[name] = make

    for name, value in explicit.items():
        give(name, value)
    for parameter in spec.parameters:
        name = parameter.name
        if name in explicit:
            continue
        if parameter.is_artifact and (declared := find_output(name, outputs)) is not None:
            give(name, declared)
            continue
        keys = keys_of(name, addresses)
        known = next((key for key in keys if key in context), None)
        if known is None and name == "step_name":
            made[name] = _step_name
            continue
        if not cell_may_address:
            keys = (known or name,)
        looked_up.append((name, keys))
        if known is not None and keys[0] == known:
            reads.append(known)
            give(name, context[known])
        else:
            late.append(_Late(parameter, keys, is_there=known is not None))
            shared.append(parameter.default)
    by_reference = tuple(filter(goes_by_reference, shared))
    return _assembled(spec, constant, made, late, tuple(reads))._replace(keys=tuple(looked_up), shared=by_reference)


class _Late(NamedTuple):
    """A parameter that is looked up at the call."""

    parameter: Parameter
    keys: tuple[str, ...]
    is_there: bool
    """Whether the condition's context has one of the keys, though not the one that counts most."""


def _step_name(ctx: FrozenContext) -> Any:
    return ctx["step_name"]


def _read(ctx: FrozenContext, name: str) -> Any:
    value = ctx[name]
    return value.bind(ctx) if isinstance(value, Artifact) else value


def _maker(value: Any) -> Callable[[FrozenContext], Any] | None:
    """Return what makes a parameter of `value` in each cell; None where it can be handed out as it is."""
    if isinstance(value, Artifact):
        return value.bind
    if value.__class__ is ResourceFactory:
        return lambda ctx: ctx._handed_out(value, None)
    # A step that is tried alone may be given anything in place of a context.
    return None if is_constant(value) else lambda ctx: isolate(value, getattr(ctx, "_copies", None))


def _made(value: Any, ctx: FrozenContext) -> Any:
    make = _maker(value)
    return value if make is None else make(ctx)


def _assembled(
    spec: CallSpec,
    constant: dict[str, Any],
    made: dict[str, Callable[[FrozenContext], Any]],
    late: list[_Late],
    reads: tuple[str, ...],
) -> Binding:
    """Build the shortest call that serves: it runs once for every step of every cell."""
    fn, second, keyword = spec.fn, spec.ctx == "second", spec.ctx == "keyword"

    def filled(data: Any, ctx: FrozenContext) -> Any:
        values = dict(constant)
        for name, make in made.items():
            values[name] = make(ctx)
        own, base = ctx._own, ctx._base
        for parameter, keys, _ in late:
            for key in keys:
                if key in own or key in base:
                    values[parameter.name] = _read(ctx, key)
                    break
            else:
                if parameter.required:
                    raise MissingParameterError(_missing(spec, parameter, ctx))
                values[parameter.name] = _made(parameter.default, ctx)
        if second:
            return fn(data, ctx, **values)
        return fn(data, ctx=ctx, **values) if keyword else fn(data, **values)

    # Every call needs what is made anew for it, and so do defaults that somebody could change.
    if made or any(
        each.is_there or each.parameter.required or _maker(each.parameter.default) is not None for each in late
    ):
        return Binding(filled, wants_ctx=True, late=None, late_names=(), reads=reads)
    plain = _with_constants(fn, constant)
    if keyword:
        plain = _with_keyword_ctx(plain)
    names = tuple(key for each in late for key in each.keys)
    return Binding(plain, second or keyword, filled if late else None, names, reads)


def _with_keyword_ctx(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda data, ctx: fn(data, ctx=ctx)


def _with_constants(fn: Callable[..., Any], constant: Mapping[str, Any]) -> Callable[..., Any]:
    """Return `fn` with keyword values filled in.

    A plain function is copied with the values as its defaults, where they are keyword-only: calling it
    costs what calling the original costs, a fifth of what `functools.partial` takes.
    """
    if not constant:
        return fn
    defaults = getattr(fn, "__kwdefaults__", None) or {}
    if isinstance(fn, FunctionType):
        code = fn.__code__
        keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
        if all(name in keyword_only for name in constant):
            copied = FunctionType(code, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
            copied.__kwdefaults__ = {**defaults, **constant}
            return copied
    return functools.partial(fn, **constant)


def find_output(name: str, outputs: Mapping[str, Artifact]) -> Artifact | None:
    """Return the declared output that a parameter of this name means: the name, or the name without its ending."""
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


def call_injected(
    spec: CallSpec, explicit: Mapping[str, Any], data: Any, ctx: FrozenContext, addresses: tuple[str, ...] = ()
) -> Any:
    """Call a step alone, outside an engine: every parameter is looked up now."""
    values: dict[str, Any] = {}
    for name, value in explicit.items():
        values[name] = _made(value, ctx)
    for parameter in spec.parameters:
        if parameter.name in values:
            continue
        key = next((key for key in keys_of(parameter.name, addresses) if key in ctx), None)
        if key is not None:
            values[parameter.name] = _read(ctx, key)
        elif parameter.default is MISSING:
            raise MissingParameterError(_missing(spec, parameter, ctx))
        else:
            values[parameter.name] = _made(parameter.default, ctx)
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
        Called as the function itself, its context by the name ``ctx`` or as the second argument, also
        where the function takes none: an explicit value wins, then the context's value of that name,
        then the default.

    Raises
    ------
    MissingParameterError
        At the call, naming a parameter that nobody supplies.
    ArgumentTypeError
        At the call, if the context is missing, or an argument is unknown or given twice.

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
    order = _positional_order(spec)

    @functools.wraps(fn)
    def injected(*args: Any, **explicit: Any) -> Any:
        for name, value in zip(order, args, strict=False):
            if name in explicit:
                raise ArgumentTypeError(f"{spec.name} got {name!r} twice, by position and by name")
            explicit[name] = value
        if len(args) > len(order) or order[0] not in explicit or "ctx" not in explicit:
            raise ArgumentTypeError(
                f"{spec.name} is called as {spec.name}({order[0]}, ctx, ...), with at most {len(order)} arguments "
                "by position"
            )
        data, ctx = explicit.pop(order[0]), explicit.pop("ctx")
        return call_injected(spec, spec.checked(explicit), data, ctx)

    setattr(injected, _INJECTED, fn)
    return injected  # type: ignore[return-value]


def _positional_order(spec: CallSpec) -> list[str]:
    """Return what the arguments by position are: the data, the context, then the function's own."""
    try:
        parameters = signature_of(spec.fn).parameters
    except (ValueError, TypeError):
        return ["data", "ctx"]
    names = [name for name, parameter in parameters.items() if parameter.kind in _POSITIONAL]
    if not names:
        return ["data", "ctx"]
    return names if "ctx" in names else [names[0], "ctx", *names[1:]]
