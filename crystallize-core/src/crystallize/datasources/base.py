"""`DataSource`: where the data of a cell comes from."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from crystallize.context.isolation import isolate
from crystallize.errors import ArgumentTypeError
from crystallize.signatures import is_async

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crystallize.context import FrozenContext

__all__ = ["FACTORY_MARK", "DataSource", "as_data_source"]

FACTORY_MARK = "__crystallize_data_source__"
"""The attribute that tells a factory made by ``@data_source`` from any other function."""


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
        """Give the data of one cell; may be ``async def``.

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

    def __fingerprint__(self) -> object:
        """Say what the data's identity is, beside the class: the attributes, and the content of `depends_on`.

        The number of replicates is left out: asking for more of them changes none of those that are there.
        """
        from crystallize.fingerprint import content_of

        return self._state(), [content_of(path) for path in self.depends_on]

    def _state(self) -> dict[str, Any]:
        """Give the attributes that say what the data is."""
        slots = (slot for kind in type(self).__mro__ for slot in _slots(kind) if hasattr(self, slot))
        state = {**{slot: getattr(self, slot) for slot in slots}, **getattr(self, "__dict__", {})}
        return {name: value for name, value in state.items() if name not in ("replicates", "depends_on")}


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def as_data_source(value: object, *, what: str = "datasource") -> DataSource:
    """Give `value` as a data source: one as it is, a factory that was not called by calling it.

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
