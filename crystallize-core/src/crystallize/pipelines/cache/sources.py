"""What the data is that a source gave, where the source says all that it depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.fingerprint import Identity, combine
from crystallize.pipelines.cache.values import is_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize.datasources.base import DataSource
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
        found = [part for _, part in source._identity_parts("", self._parameters)]
        return None if any(part.untracked for part in found) else combine(*(part.digest for part in found))

    def _parameters(self, values: Mapping[str, Any]) -> Identity:
        """Return the identity of parameters by all that can be seen of them."""
        found = {
            name: self._array(value) if is_array(value) else self._looks.identity(value)
            for name, value in values.items()
        }
        digests = [text for name in sorted(found) for text in (name, found[name].digest)]
        return Identity(combine(*digests), tuple(text for each in found.values() for text in each.untracked))

    def _array(self, value: Any) -> Identity:
        # Handed out as views that cannot be written to: nobody changes it during a run.
        known = self._arrays.get(id(value))
        if known is None:
            known = self._arrays[id(value)] = (value, self._looks.identity(value))
        return known[1]
