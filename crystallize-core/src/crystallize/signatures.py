"""What a callable takes when it is called: signatures and `async`, told from what is called and not what it wraps."""

from __future__ import annotations

import functools
import inspect
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, MethodType, WrapperDescriptorType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["accepts_positional", "is_async", "signature_of"]

_OPEN = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def signature_of(fn: Callable[..., Any]) -> inspect.Signature:
    """Return the signature with which `fn` can be called.

    ``inspect.signature`` follows ``__wrapped__`` always. This follows it only as far as a wrapper passes on what it is
    given: through ``*args`` the positional arguments that it does not name itself, through ``**kwargs`` those by name.
    A ``__signature__`` of the callable's own is taken at its word.

    Parameters
    ----------
    fn : callable
        A function, a method, a partial, an object with ``__call__``, a class.

    Returns
    -------
    inspect.Signature
        Defaults are those of what is called.

    Raises
    ------
    TypeError, ValueError
        Nothing says what `fn` takes, as ``inspect.signature`` raises it.

    Examples
    --------
    >>> def fit(data, rate): ...
    >>> @functools.wraps(fit)
    ... def slowly(data):
    ...     return fit(data, rate=0.1)
    >>> @functools.wraps(fit)
    ... def logged(*args, **kwargs):
    ...     return fit(*args, **kwargs)
    >>> str(signature_of(slowly)), str(signature_of(logged))
    ('(data)', '(data, rate)')
    """
    return _signature(fn, frozenset())


def accepts_positional(fn: Callable[..., Any], count: int) -> bool:
    """Return whether `fn` can be called with `count` positional arguments; yes where nobody can know."""
    try:
        signature = signature_of(fn)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def is_async(fn: Any) -> bool:
    """Return whether calling `fn` gives something to await: an ``async def``, or an object with such a call.

    A plain function around an ``async def`` is called itself, and may await what it wraps on its own: it is none. Of
    what is written in C, and tells nothing of itself, what it wraps decides.
    """
    met: set[int] = set()
    while id(fn) not in met:
        met.add(id(fn))
        if inspect.iscoroutinefunction(fn):
            return True
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif type(fn) is MethodType:
            fn = fn.__func__
        elif type(fn) is FunctionType or inspect.isclass(fn):
            return False
        else:
            call = _own_call(fn)
            fn = _wrapped(fn) if call is None else call
    return False


def _signature(fn: Any, met: frozenset[int]) -> inspect.Signature:
    if id(fn) in met:
        raise ValueError(f"{fn!r:.80} wraps itself")
    met |= {id(fn)}
    if type(fn) is MethodType:
        return inspect.signature(MethodType(_stand_in(_signature(fn.__func__, met)), fn.__self__))
    wrapped = _wrapped(fn)
    declared = getattr(fn, "__signature__", None)
    # `functools.update_wrapper` copies that of what is wrapped.
    if isinstance(declared, inspect.Signature) and declared is not getattr(wrapped, "__signature__", None):
        return declared
    try:
        own = _own_signature(fn, met)
    except (TypeError, ValueError):
        if wrapped is None:
            raise
        return _signature(wrapped, met)
    kinds = {parameter.kind for parameter in own.parameters.values()}
    if wrapped is None or kinds.isdisjoint((inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)):
        return own
    try:
        inner = _signature(wrapped, met)
    except (TypeError, ValueError):
        return own
    return _passed_on(own, inner)


def _own_signature(fn: Any, met: frozenset[int]) -> inspect.Signature:
    """Return the signature of a callable without that of what it wraps."""
    if isinstance(fn, functools.partial):
        inner = _stand_in(_signature(fn.func, met))
        return inspect.signature(functools.partial(inner, *fn.args, **fn.keywords))
    if type(fn) is FunctionType:
        # A copy has neither a `__signature__` nor a `__wrapped__`.
        bare = FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
        bare.__kwdefaults__, bare.__annotations__ = fn.__kwdefaults__, fn.__annotations__
        return inspect.signature(bare)
    if not inspect.isclass(fn) and (call := _own_call(fn)) is not None:
        return _signature(call, met)
    return inspect.signature(fn, follow_wrapped=False)


def _own_call(fn: Any) -> Any:
    """Return the ``__call__`` that Python code gave the class of an object, bound to it; None where there is none."""
    call = inspect.getattr_static(type(fn), "__call__", None)
    if call is None or isinstance(call, (WrapperDescriptorType, MethodDescriptorType, BuiltinFunctionType)):
        return None
    return call.__get__(fn, type(fn)) if hasattr(type(call), "__get__") else call


def _wrapped(fn: Any) -> Any:
    """Return what a callable says that it wraps, or None."""
    wrapped = getattr(fn, "__wrapped__", None)
    return wrapped if callable(wrapped) else None


def _stand_in(signature: inspect.Signature) -> Callable[..., Any]:
    """Return something with this signature, from which `inspect` tells that of a method or a partial."""

    def stand_in(*args: Any, **kwargs: Any) -> None:
        del args, kwargs

    stand_in.__signature__ = signature  # type: ignore[attr-defined]
    return stand_in


def _passed_on(outer: inspect.Signature, inner: inspect.Signature) -> inspect.Signature:
    """Return what can be given to a wrapper: its own parameters, and through the open ones those of what it wraps."""
    own = list(outer.parameters.values())
    kinds = {parameter.kind for parameter in own}
    by_position = inspect.Parameter.VAR_POSITIONAL in kinds
    by_name = inspect.Parameter.VAR_KEYWORD in kinds
    named = [parameter for parameter in own if parameter.kind in _POSITIONAL]
    # What a wrapper calls its own ``*args`` and ``**kwargs`` takes no name from what it wraps.
    taken = {parameter.name for parameter in own if parameter.kind not in _OPEN} | _stood_for(named, inner)
    merged = [*named]
    later: list[inspect.Parameter] = []
    for parameter in inner.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            keep = by_position
        elif parameter.kind is parameter.VAR_KEYWORD:
            keep = by_name
        elif parameter.name in taken:
            keep = False
        elif parameter.kind is parameter.KEYWORD_ONLY:
            keep = by_name
        else:
            keep = by_position or (by_name and parameter.kind is not parameter.POSITIONAL_ONLY)
            follows_default = any(each.default is not each.empty for each in merged)
            if not by_position or (follows_default and parameter.default is parameter.empty):
                parameter = parameter.replace(kind=parameter.KEYWORD_ONLY)  # noqa: PLW2901 - the same one, by name
                keep = keep and by_name
            elif not by_name:
                parameter = parameter.replace(kind=parameter.POSITIONAL_ONLY)  # noqa: PLW2901 - by position alone
        if keep:
            (merged if parameter.kind in _POSITIONAL else later).append(parameter)
    later += [parameter for parameter in own if parameter.kind is parameter.KEYWORD_ONLY]
    # Positional-only ones come first, and a name once.
    merged = [
        parameter.replace(kind=parameter.POSITIONAL_ONLY)
        if any(each.kind is each.POSITIONAL_ONLY for each in merged[at + 1 :])
        else parameter
        for at, parameter in enumerate(merged)
    ]
    unique = {parameter.name: parameter for parameter in sorted([*merged, *later], key=lambda each: each.kind)}
    return outer.replace(parameters=list(unique.values()))


def _stood_for(named: list[inspect.Parameter], inner: inspect.Signature) -> set[str]:
    """Return the parameters of `inner` for which the first ones of its wrapper stand under other names."""
    positional = [parameter for parameter in inner.parameters.values() if parameter.kind in _POSITIONAL]
    names = {parameter.name for parameter in named}
    found = set()
    for parameter, theirs in zip(named, positional, strict=False):
        if parameter.name in inner.parameters:
            break
        if theirs.name not in names:
            found.add(theirs.name)
    return found
