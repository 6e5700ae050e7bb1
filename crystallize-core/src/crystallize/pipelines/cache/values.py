"""What a step can see of a value beside what makes it equal to another one.

Resuming compares values. A step may go by more: the order of a dict's keys, how an array lies in memory (sums differ in
their last bits).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from crystallize.context.isolation import ATOMS
from crystallize.fingerprint import Identity, combine, identify

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Looks", "is_array"]

_all_atoms = ATOMS.issuperset


def is_array(value: Any) -> bool:
    """Whether a value is an array of NumPy, which is not imported for it."""
    ndarray = getattr(sys.modules.get("numpy"), "ndarray", None)
    return ndarray is not None and isinstance(value, ndarray)


class Looks:
    """Identities of values by all that a step can see of them."""

    def identity(self, value: Any) -> Identity:
        """Give the identity of a value."""
        found = identify(value)
        unsaid = self.unsaid(value)
        return found if unsaid is None else found._replace(digest=combine(found.digest, identify(unsaid).digest))

    def unsaid(self, value: Any) -> Any:
        """Give what equality of values does not tell of one; None where there is nothing."""
        return None if type(value) in ATOMS else self._unsaid(value, {})

    def _unsaid(self, value: Any, seen: dict[int, Any]) -> Any:
        kind = type(value)
        if kind in ATOMS:
            return None
        if kind is dict:
            parts = self._parts(value, list(value.values()), seen)
            return (list(value), parts) if len(value) > 1 or parts else None
        if kind is list or kind is tuple:
            return self._parts(value, value, seen)
        return value.strides if is_array(value) and not value.flags.c_contiguous else None

    def _parts(self, value: Any, items: Sequence[Any], seen: dict[int, Any]) -> Any:
        if _all_atoms(map(type, items)) or id(value) in seen:
            return None
        seen[id(value)] = value
        parts = [(at, part) for at, item in enumerate(items) if (part := self._unsaid(item, seen)) is not None]
        return parts or None
