"""What the data is that a source gave, where the source says all that it depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.datasources.base import DataSource
from crystallize.datasources.function import FunctionSource
from crystallize.datasources.inputs import ExperimentInput
from crystallize.fingerprint import combine, content_of, identify
from crystallize.pipelines.cache.values import is_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize.fingerprint import Identity
    from crystallize.pipelines.cache.values import Looks

__all__ = ["SourceIdentities"]


class SourceIdentities:
    """The identities of data sources during a run.

    Parameters
    ----------
    looks : Looks
    """

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._arrays: dict[int, tuple[Any, Identity]] = {}

    def of(self, source: DataSource) -> str | None:
        """Give the identity of what a source gives, or None where it does not say all that this depends on.

        What it reads from its context comes on top.
        """
        if not source.is_declared:
            return None
        found = list(self._parts(source))
        if any(part.untracked for part in found):
            return None
        return combine(*(part.digest for part in found), *map(content_of, source.depends_on))

    def _parts(self, source: DataSource) -> Iterator[Identity]:
        if isinstance(source, ExperimentInput):
            for name, part in source.sources.items():
                yield identify(name)
                yield from self._parts(part)
        elif isinstance(source, FunctionSource) and type(source).__fingerprint__ is FunctionSource.__fingerprint__:
            yield identify(source.fn)
            for name, value in sorted(source._params.items()):
                yield identify(name)
                yield self._array(value) if is_array(value) else self._looks.identity(value)
        elif type(source).__fingerprint__ is DataSource.__fingerprint__:
            yield identify(type(source))
            yield identify(source._state())
        else:
            yield identify(source)

    def _array(self, value: Any) -> Identity:
        # Handed out as views that cannot be written to: nobody changes it during a run.
        known = self._arrays.get(id(value))
        if known is None:
            known = self._arrays[id(value)] = (value, self._looks.identity(value))
        return known[1]
