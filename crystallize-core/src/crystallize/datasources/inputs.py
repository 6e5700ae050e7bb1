"""`ExperimentInput`: several data sources under one roof."""

from __future__ import annotations

import inspect
from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from crystallize.datasources.base import DataSource, as_data_source
from crystallize.datasources.stored import StoredFileSource
from crystallize.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from crystallize.context import FrozenContext
    from crystallize.datasources.base import ContextReader, Identify
    from crystallize.datasources.function import FunctionSource
    from crystallize.fingerprint import Identity

__all__ = ["ExperimentInput", "producers"]


class ExperimentInput(DataSource):
    """A data source that gives a dict of what several others fetched.

    Parameters
    ----------
    **sources : DataSource
        The sources by name: those of functions, classes of one's own, artifacts of other experiments.

    Attributes
    ----------
    replicates : int or None
        The number that the sources agree on; None where none of them has one.

    Raises
    ------
    ArgumentTypeError
        One of them is no data source.
    ValidationError
        None is given, or two of them offer different numbers of replicates.

    Examples
    --------
    >>> from crystallize import ExperimentInput, data_source, standalone_context
    >>> @data_source
    ... def one(ctx):
    ...     return 1
    >>> ExperimentInput(left=one(), right=one()).fetch(standalone_context())
    {'left': 1, 'right': 1}
    """

    def __init__(self, **sources: DataSource) -> None:
        if not sources:
            raise ValidationError("ExperimentInput needs at least one data source: ExperimentInput(name=source)")
        self._sources = {name: as_data_source(source, what=f"input {name!r}") for name, source in sources.items()}
        # A key `name.parameter` means a parameter of one source: by its input's name, and by its own where it has that
        # alone.
        written = {name: source._written_name() for name, source in self._sources.items()}
        own = {name: each for name, each in written.items() if each is not None}
        counts = Counter([*self._sources, *own.values()])
        self._addresses = tuple(
            (name, own[name]) if name in own and counts[own[name]] == 1 else (name,) for name in self._sources
        )
        # What a stored run will offer is known when it is read, and may be stale or absent now.
        _agreed({name: source._declared_replicates() for name, source in self._sources.items()}, "Let them agree")

    @property
    def sources(self) -> Mapping[str, DataSource]:
        """The sources by name."""
        return MappingProxyType(self._sources)

    @property
    def replicates(self) -> int | None:  # type: ignore[override]
        """The number of replicates that the sources agree on."""
        return _agreed({name: source.replicates for name, source in self._sources.items()})

    @property
    def depends_on(self) -> tuple[Path, ...]:  # type: ignore[override]
        """The files that any of the sources depends on."""
        return tuple(path for source in self._sources.values() for path in source.depends_on)

    @property
    def params(self) -> Mapping[str, Any]:
        """The parameters of each source, by its name."""
        return MappingProxyType({name: dict(source.params) for name, source in self._sources.items()})

    @property
    def is_async(self) -> bool:
        """Whether any of the sources is."""
        return any(source.is_async for source in self._sources.values())

    @property
    def is_declared(self) -> bool:
        """Whether each of the sources says all that its data depends on."""
        return all(source.is_declared for source in self._sources.values())

    def fetch(self, ctx: FrozenContext) -> Any:
        """Fetch from each source in turn; a coroutine of the dict where one of them gives a coroutine."""
        fetched: dict[str, Any] = {}
        try:
            for (name, source), named in zip(self._sources.items(), self._addresses, strict=True):
                fetched[name] = source._fetch_as(ctx, named)
        except BaseException:
            _close(fetched)
            raise
        return _awaited(fetched) if any(map(inspect.iscoroutine, fetched.values())) else fetched

    def single_sources(self) -> tuple[DataSource, ...]:
        """Return the sources, and those of an `ExperimentInput` among them."""
        return tuple(part for source in self._sources.values() for part in source.single_sources())

    def addressed(self) -> tuple[tuple[FunctionSource, tuple[str, ...]], ...]:
        """Return the sources of functions, addressed by their inputs' names, and by their own where these differ."""
        return tuple(
            (part, names if part is source else inner)
            for source, names in zip(self._sources.values(), self._addresses, strict=True)
            for part, inner in source.addressed()
        )

    def _declared_replicates(self) -> int | None:
        return None

    def _context_readers(self) -> tuple[ContextReader, ...]:
        readers = [part._context_reader(names) for part, names in self.addressed()]
        others = [part for part in self.single_sources() if not part.addressed()]
        return (*readers, *(reader for part in others for reader in part._context_readers()))

    def _identity_parts(self, label: str, look: Identify | None = None) -> Iterator[tuple[str, Identity]]:
        from crystallize.fingerprint import identify

        for name, part in self._sources.items():
            yield f"{label} name {name!r}", identify(name)
            yield from part._identity_parts(f"{label} {name!r}", look)

    def __fingerprint__(self) -> object:
        """Return what the data's identity is: that of each source, by its name."""
        return self._sources

    def __repr__(self) -> str:
        return f"ExperimentInput({', '.join(f'{name}={source!r}' for name, source in self._sources.items())})"


def producers(source: DataSource) -> tuple[Any, ...]:
    """Return the experiments whose stored files a data source reads.

    Parameters
    ----------
    source : DataSource
        Any source; an `ExperimentInput` is looked into.

    Returns
    -------
    tuple
        Experiments, each once, in the order of the sources; None for an artifact that no experiment produces.
    """
    found = [part.producer for part in source.single_sources() if isinstance(part, StoredFileSource)]
    return tuple({id(producer): producer for producer in found}.values())


async def _awaited(fetched: dict[str, Any]) -> dict[str, Any]:
    # One after the other, so that nothing here needs an event loop of its own.
    waiting = dict(fetched)
    try:
        for name in fetched:
            value = waiting.pop(name)
            fetched[name] = await value if inspect.iscoroutine(value) else value
    finally:
        _close(waiting)
    return fetched


def _close(fetched: dict[str, Any]) -> None:
    """Close coroutines that nobody will await."""
    for value in fetched.values():
        if inspect.iscoroutine(value):
            value.close()


def _agreed(
    offered: dict[str, int | None], advice: str = "Let them agree, or give the experiment replicates=... of its own"
) -> int | None:
    counts = {name: count for name, count in offered.items() if count is not None}
    if len(set(counts.values())) > 1:
        raise ValidationError(
            "the inputs offer different numbers of replicates: "
            f"{', '.join(f'{name} {count}' for name, count in counts.items())}. {advice}"
        )
    return next(iter(counts.values()), None)
