"""`DataSource`: where the data of a cell comes from."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.context.isolation import isolate
from crystallize.errors import ArgumentTypeError
from crystallize.signatures import is_async

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from crystallize.context import FrozenContext
    from crystallize.datasources.function import FunctionSource
    from crystallize.fingerprint import Identity

    Identify = Callable[[Mapping[str, Any]], Identity]

__all__ = ["FACTORY_MARK", "ContextReader", "DataSource", "Declaration", "as_data_source"]

FACTORY_MARK = "__crystallize_data_source__"
"""The attribute that tells a factory made by ``@data_source`` from any other function."""


class Declaration(NamedTuple):
    """What a step or a data source was made from, where a decorated function made it.

    Attributes
    ----------
    function : callable
        As it was written.
    factory : callable or None
        What the decorator made of it; None for a plain function that was put into a pipeline.
    params : mapping of str to object
        The parameters that were given.
    """

    function: Callable[..., Any]
    factory: Callable[..., Any] | None
    params: Mapping[str, Any]


class ContextReader(NamedTuple):
    """What a step or a data source reads from the context, as far as its code says.

    Attributes
    ----------
    what : str
        For messages.
    addresses : tuple of str
        The names by which ``name.parameter`` means a parameter of it.
    open : frozenset of str
        The parameters for which the context is asked.
    explicit : frozenset of str
        Those that were given, which the context does not reach.
    declares : bool
        Whether these are all its parameters; a step of a user's class reads what it likes.
    functions : tuple of (callable, int)
        The functions that are given the context itself, and where it stands among their parameters.
    """

    what: str
    addresses: tuple[str, ...]
    open: frozenset[str] = frozenset()
    explicit: frozenset[str] = frozenset()
    declares: bool = True
    functions: tuple[tuple[Any, int], ...] = ()


class DataSource(ABC):
    """Something that fetches the data of one cell.

    Subclass it and write `fetch`, or decorate a function with ``@data_source``. `fetch` runs once for every
    cell, in whatever worker runs the cell; what it creates belongs to that cell. What is also held elsewhere, such as a
    table of a module, is isolated as values of the context are, or a step that changes it fails.

    Attributes
    ----------
    replicates : int or None, default None
        How many replicates the data offers. An experiment that was given no number of its own runs that many.
    depends_on : tuple of Path, default ()
        Files and folders whose content belongs to the identity of the data. A class or an object that sets it, to an
        empty tuple too, says that its data depends on nothing else but its code, its attributes and what it reads from
        the context: see `is_declared`.

    Examples
    --------
    >>> class Lines(DataSource):
    ...     def __init__(self, text):
    ...         self.text = text
    ...     def fetch(self, ctx):
    ...         return self.text.splitlines()
    >>> Lines("one").params
    mappingproxy({'text': 'one'})
    """

    replicates: int | None = None
    depends_on: tuple[Path, ...] = ()

    @abstractmethod
    def fetch(self, ctx: FrozenContext) -> Any:
        """Return the data of one cell; may be ``async def``.

        Parameters
        ----------
        ctx : FrozenContext
            The cell's context: initial values, ``replicate``, ``condition``, the treatment's values, ``seed_used``.
            ``ctx.rng`` is the data source's own generator.

        Returns
        -------
        object
            Whatever the first step takes.
        """

    @property
    def params(self) -> Mapping[str, Any]:
        """What the source was made with, for the provenance: its public attributes, unless it says otherwise."""
        hidden = ("replicates", "depends_on")
        public = {k: v for k, v in getattr(self, "__dict__", {}).items() if not k.startswith("_") and k not in hidden}
        return MappingProxyType(isolate(public))

    @property
    def is_async(self) -> bool:
        """Whether `fetch` gives a coroutine, which the engine awaits."""
        return is_async(self.fetch)

    @property
    def is_declared(self) -> bool:
        """Whether the source says all that its data depends on, beside code, attributes and what it reads from `ctx`.

        It does where it sets `depends_on` or has a ``__fingerprint__`` of its own. A cacheable first step then goes by
        the identity of the source; otherwise the data itself is hashed for each cell.
        """
        own = type(self).__mro__[: type(self).__mro__.index(DataSource)]
        return "depends_on" in getattr(self, "__dict__", {}) or any(
            name in vars(kind) for kind in own for name in ("depends_on", "__fingerprint__")
        )

    def declared_as(self) -> Declaration | None:
        """Return what ``@data_source`` made this source from; None for one of a class."""
        return None

    def single_sources(self) -> tuple[DataSource, ...]:
        """Return the sources that this one consists of: itself, or those of an `ExperimentInput`, however deep."""
        return (self,)

    def addressed(self) -> tuple[tuple[FunctionSource, tuple[str, ...]], ...]:
        """Return the sources whose parameters the context fills, each with the names that address it."""
        return ()

    def _written_name(self) -> str | None:
        """Return the name under which the source was declared; None for one of a class."""
        return None

    def _declared_replicates(self) -> int | None:
        """Return the number of replicates as far as it is known without looking at what is stored."""
        return self.replicates

    def _fetch_as(self, ctx: FrozenContext, addresses: tuple[str, ...]) -> Any:  # noqa: ARG002 - for parameters
        """Fetch as a part of an `ExperimentInput`, where `addresses` mean this source."""
        return self.fetch(ctx)

    def _context_readers(self) -> tuple[ContextReader, ...]:
        """Return what of this source reads from the context."""
        return (ContextReader(f"data source {type(self).__name__}", (), functions=((type(self).fetch, 1),)),)

    def _identity_parts(self, label: str, look: Identify | None = None) -> Iterator[tuple[str, Identity]]:
        """Yield the parts of this source's identity by name, so that what changed can be named.

        Parameters
        ----------
        label : str
            What the names begin with.
        look : callable of mapping, optional
            Identifies parameters by all that a step can see of them. Without it by equality, and a source that declares
            what its data depends on vouches for what cannot be compared.
        """
        from crystallize.fingerprint import Identity, content_of

        vouched = look is None and self.is_declared
        for name, found in self._own_identity(label, look).items():
            yield name, found._replace(untracked=()) if vouched else found
        for path in self.depends_on:
            # By content alone: a file that was moved is the same data.
            yield f"{label} file {str(path)!r}", Identity(content_of(path))

    def _own_identity(self, label: str, look: Identify | None) -> dict[str, Identity]:
        """Return the identity of what this source is, without the files that it reads."""
        from crystallize.fingerprint import identify

        if type(self).__fingerprint__ is DataSource.__fingerprint__:
            return {label: identify(type(self)), f"{label} params": (look or identify)(self._state())}
        return {label: identify(self)}

    def __fingerprint__(self) -> object:
        """Return what the data's identity is, beside the class: the attributes, and the content of `depends_on`.

        The number of replicates is left out: asking for more of them changes none of those that are there.
        """
        from crystallize.fingerprint import content_of

        return self._state(), [content_of(path) for path in self.depends_on]

    def _state(self) -> dict[str, Any]:
        """Return the attributes that say what the data is."""
        slots = (slot for kind in type(self).__mro__ for slot in _slots(kind) if hasattr(self, slot))
        state = {**{slot: getattr(self, slot) for slot in slots}, **getattr(self, "__dict__", {})}
        return {name: value for name, value in state.items() if name not in ("replicates", "depends_on")}


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def as_data_source(value: object, *, what: str = "datasource") -> DataSource:
    """Return `value` as a data source: one as it is, a factory that was not called by calling it.

    Parameters
    ----------
    value : object
        A `DataSource`, or what ``@data_source`` made of a function.
    what : str, default "datasource"
        What it is meant to be, for the message.

    Raises
    ------
    ArgumentTypeError
        `value` is neither, or the factory has parameters that must be given.
    """
    if isinstance(value, DataSource):
        return value
    if getattr(value, FACTORY_MARK, False) and callable(value):
        made = value()
        if isinstance(made, DataSource):
            return made
    if inspect.isclass(value) and issubclass(value, DataSource):
        raise ArgumentTypeError(f"{what} is the class {value.__name__} itself: give an instance, {value.__name__}(...)")
    hint = " Decorate the function with @data_source." if callable(value) else ""
    raise ArgumentTypeError(
        f"{what} must be a data source, that is what @data_source makes or an instance of a DataSource subclass, "
        f"not {'None' if value is None else f'{type(value).__name__} ({value!r:.60})'}.{hint}"
    )
