"""`@data_source`: a data source made of a function."""

from __future__ import annotations

import functools
import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, overload

from crystallize.checks import check_flag
from crystallize.context.frozen import FrozenContext, keys_of
from crystallize.context.isolation import isolate
from crystallize.datasources.base import FACTORY_MARK, ContextReader, DataSource, Declaration
from crystallize.datasources.registry import check_source_name, register_datasource
from crystallize.errors import ArgumentTypeError, MissingParameterError
from crystallize.names import did_you_mean
from crystallize.signatures import is_async, signature_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Concatenate

    from crystallize.datasources.base import Identify
    from crystallize.fingerprint import Identity

__all__ = ["FunctionSource", "data_source"]

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class _Declaration:
    """What a decorated function asks for; read once, when it is decorated."""

    function: Callable[..., Any]
    name: str
    parameters: tuple[str, ...]
    defaults: Mapping[str, Any]
    open_ended: bool
    is_async: bool
    depends_on: tuple[Path, ...]
    is_declared: bool

    def checked(self, explicit: Mapping[str, Any]) -> None:
        """Refuse parameters that the function does not have."""
        known = ", ".join(self.parameters) or "none"
        for name in explicit:
            if name not in self.parameters and not self.open_ended:
                raise ArgumentTypeError(
                    f"data source {self.name} has no parameter {name!r}; its parameters: {known}."
                    f"{did_you_mean(name, self.parameters)}"
                )


class FunctionSource(DataSource):
    """A data source made of a function; what a factory gives when it is called.

    It pickles by the name of its factory where that can be imported; cloudpickle carries the others.
    """

    def __init__(
        self, factory: Callable[..., DataSource], declaration: _Declaration, explicit: Mapping[str, Any]
    ) -> None:
        declaration.checked(explicit)
        self._factory = factory
        self._declaration = declaration
        self._explicit = isolate(dict(explicit))
        self._params = isolate({**declaration.defaults, **self._explicit})
        self._open = tuple(name for name in declaration.parameters if name not in self._explicit)
        self.depends_on = declaration.depends_on

    def fetch(self, ctx: FrozenContext) -> Any:
        """Call the function with `ctx` and its parameters; a coroutine where it is ``async def``.

        Of a parameter that was not given, the value that `ctx` has under its name counts, else the default.
        """
        return self._fetch_as(ctx, (self._declaration.name,))

    def _fetch_as(self, ctx: object, addresses: tuple[str, ...]) -> Any:
        if not self._open and not self._params:
            return self._declaration.function(ctx)
        values = isolate(self._params, getattr(ctx, "_copies", None))
        # A source that is tried alone may be given no context at all.
        asked = ctx if isinstance(ctx, FrozenContext) else FrozenContext()
        for name in self._open:
            key = asked._first_held(keys_of(name, addresses))
            if key is not None:
                values[name] = asked[key]
            elif name not in values:
                raise self.missing(name)
        return self._declaration.function(ctx, **values)

    @property
    def name(self) -> str:
        """The name it was declared with, else the function's."""
        return self._declaration.name

    @property
    def fn(self) -> Callable[..., Any]:
        """The function behind it, as it was written."""
        return self._declaration.function

    def declared_as(self) -> Declaration:
        """Return the function, its factory, and the parameters that this source was made with."""
        return Declaration(self.fn, self._factory, MappingProxyType(self._explicit))

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters in effect where the context gives none, defaults included."""
        return MappingProxyType(isolate(self._params))

    @property
    def required_parameters(self) -> tuple[str, ...]:
        """The open parameters that have no default."""
        return tuple(name for name in self._open if name not in self._declaration.defaults)

    def missing(self, name: str) -> MissingParameterError:
        """Return what says that nobody gives a required parameter."""
        return MissingParameterError(
            f"data source {self.name} needs the parameter {name!r}: make it with {self.name}({name}=...), or put "
            f"{name!r} into initial_ctx or into every condition's treatment"
        )

    @property
    def is_async(self) -> bool:
        """Whether the function is ``async def``."""
        return self._declaration.is_async

    @property
    def is_declared(self) -> bool:
        """Whether `depends_on` was given, an empty list too: it then says all that the data depends on."""
        return self._declaration.is_declared

    def addressed(self) -> tuple[tuple[FunctionSource, tuple[str, ...]], ...]:
        """Return this source with its name."""
        return ((self, (self.name,)),)

    def _written_name(self) -> str:
        return self.name

    def _context_readers(self) -> tuple[ContextReader, ...]:
        return (self._context_reader((self.name,)),)

    def _context_reader(self, addresses: tuple[str, ...]) -> ContextReader:
        return ContextReader(
            f"data source {addresses[0]}",
            addresses,
            frozenset(self._open),
            frozenset(self._explicit),
            functions=((self.fn, 0),),
        )

    def _own_identity(self, label: str, look: Identify | None) -> dict[str, Identity]:
        from crystallize.fingerprint import identify

        if type(self).__fingerprint__ is FunctionSource.__fingerprint__:
            return {label: identify(self.fn), f"{label} params": (look or identify)(self._params)}
        return super()._own_identity(label, look)

    def __fingerprint__(self) -> object:
        """Return what the data's identity is: the function, its parameters and the content of `depends_on`."""
        from crystallize.fingerprint import content_of

        return self.fn, self._params, [content_of(path) for path in self.depends_on]

    def __reduce__(self) -> tuple[Any, ...]:
        own = ("_factory", "_declaration", "_explicit", "_open", "_params", "depends_on")
        return (
            _remade,
            (self._factory, self._explicit),
            {k: v for k, v in self.__dict__.items() if k not in own} or None,
        )

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{name}={value!r}' for name, value in self._explicit.items())})"


def _remade(factory: Callable[..., DataSource], explicit: dict[str, Any]) -> DataSource:
    return factory(**explicit)


@overload
def data_source(
    function: Callable[Concatenate[Any, P], Any], /, *, depends_on: Iterable[str | os.PathLike[str]] | None = ...
) -> Callable[P, FunctionSource]: ...
@overload
def data_source(
    name: str | None = ..., /, *, register: bool = ..., depends_on: Iterable[str | os.PathLike[str]] | None = ...
) -> Callable[[Callable[Concatenate[Any, P], Any]], Callable[P, FunctionSource]]: ...
def data_source(
    target: Any = None, /, *, register: bool = False, depends_on: Iterable[str | os.PathLike[str]] | None = None
) -> Any:
    """Make a factory of data sources from a function of ``(ctx, ...)``.

    Use it bare, with parentheses, or with a name. The function takes the context first; further parameters are given
    by keyword when the factory is called, and each fetch gets a copy of its own of those that are containers. A
    parameter that is not given is filled as a step's is: by the context's value of that name, which a treatment may
    set, else by its default. The function may be ``async def``.

    Parameters
    ----------
    target : callable or str, optional
        The function, or a name for what is made of it; by default the function's name.
    register : bool, default False
        Whether `get_datasource` finds it under that name.
    depends_on : iterable of path, optional
        Files and folders that the function reads: their content belongs to the identity of the data. A relative path
        means what it means to the function: relative to the working directory. A list, an empty one too, says that the
        data depends on nothing else but the function, its parameters and what it reads from the context; a cacheable
        first step then goes by that, and large data need not be hashed.

    Returns
    -------
    callable
        ``factory(**parameters) -> DataSource``.

    Raises
    ------
    ArgumentTypeError
        The function does not take the context first. The factory raises it for a parameter that the function
        does not have.
    DuplicateNameError
        Another data source is registered under the name.

    Examples
    --------
    >>> from crystallize import data_source, standalone_context
    >>> @data_source
    ... def numbers(ctx, *, upto=3):
    ...     return list(range(upto))
    >>> numbers(upto=2).fetch(standalone_context())
    [0, 1]
    """
    check_flag(register, what="register")
    paths = _as_paths(depends_on)
    if target is None or isinstance(target, str):
        if target is not None:
            check_source_name(target)
        return lambda function: _factory(function, target, register=register, paths=paths)
    return _factory(target, None, register=register, paths=paths)


def _factory(
    function: Callable[..., Any], name: str | None, *, register: bool, paths: tuple[Path, ...] | None
) -> Callable[..., FunctionSource]:
    declaration = _declaration(function, name, paths)

    @functools.wraps(function)
    def factory(*args: Any, **explicit: Any) -> FunctionSource:
        if args:
            raise ArgumentTypeError(
                f"{declaration.name}(...) makes the data source, and takes parameters by keyword only "
                f"({', '.join(declaration.parameters) or 'it has none'}); {declaration.name}().fetch(ctx) runs it"
            )
        return FunctionSource(factory, declaration, explicit)

    setattr(factory, FACTORY_MARK, True)
    if register:
        register_datasource(declaration.name, factory)
    return factory


def _declaration(function: Callable[..., Any], name: str | None, paths: tuple[Path, ...] | None) -> _Declaration:
    if inspect.isclass(function) or not callable(function):
        raise ArgumentTypeError(
            f"@data_source takes a function of (ctx, ...), not {function!r:.80}; a class subclasses DataSource instead"
        )
    shown = name or getattr(function, "__name__", None) or type(function).__name__
    try:
        parameters = list(signature_of(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(f"data source {shown}: its parameters cannot be read; wrap it in a function") from error
    kind = inspect.Parameter
    takes_ctx = parameters and parameters[0].kind not in (kind.KEYWORD_ONLY, kind.VAR_KEYWORD)
    if not takes_ctx:
        raise ArgumentTypeError(f"data source {shown} must take the context first: def {shown}(ctx, ...)")
    named = [p for p in parameters[1:] if p.kind in (kind.POSITIONAL_OR_KEYWORD, kind.KEYWORD_ONLY)]
    if any(p.kind is kind.POSITIONAL_ONLY and p.default is kind.empty for p in parameters[1:]):
        raise ArgumentTypeError(f"data source {shown}: only the context may be positional-only, remove the '/'")
    return _Declaration(
        function=function,
        name=shown,
        parameters=tuple(p.name for p in named),
        defaults={p.name: p.default for p in named if p.default is not kind.empty},
        open_ended=any(p.kind is kind.VAR_KEYWORD for p in parameters),
        is_async=is_async(function),
        depends_on=paths or (),
        is_declared=paths is not None,
    )


def _as_paths(depends_on: object) -> tuple[Path, ...] | None:
    if depends_on is None:
        return None
    if isinstance(depends_on, (str, os.PathLike)):
        return (Path(depends_on),)
    try:
        return tuple(Path(path) for path in depends_on)  # type: ignore[attr-defined]
    except TypeError:
        raise ArgumentTypeError(f"depends_on must be a list of paths, not {depends_on!r:.80}") from None
