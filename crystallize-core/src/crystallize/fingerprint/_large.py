"""The identity of large plain values, found out once for each content.

A context of ten thousand entries is walked over in fifty milliseconds, and every run asks. To write it down takes one:
so its identity is remembered by what was written.
"""

from __future__ import annotations

import marshal
from itertools import chain
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint._graph import new_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["remembered"]

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
_SEQUENCES = frozenset({list, tuple})
_PLAIN = _ATOMS | _SEQUENCES | {dict}
_DEEPEST = 32
_MOST = 64
_MOST_SHARED = 1000
_SHARED = 4

_known: dict[bytes, str] = {}


def remembered(value: Any, find_out: Callable[[], str]) -> str | None:
    """Give the identity of a value that consists of plain built-in ones only; None for any other.

    Parameters
    ----------
    value : object
    find_out : callable
        Gives the identity, where this content was not met before.
    """
    key = _written(value)
    if key is None:
        return None
    known = _known.get(key)
    if known is None:
        known = find_out()
        if len(_known) >= _MOST:
            _known.clear()
        _known[key] = known
    return known


def _written(value: Any) -> bytes | None:
    """Give the digest of a value's content; None where it is not plain, or too deep."""
    if type(value) not in _SEQUENCES and type(value) is not dict:
        return None
    level: Iterable[Any] = (value,)
    for _ in range(_DEEPEST):
        level = list(level)
        kinds = set(map(type, level))
        if not kinds <= _PLAIN:
            # What else there is may be written down in the same way as something different.
            return None
        if kinds <= _ATOMS:
            digest = new_hash()
            # Without references: they depend on which objects are shared.
            digest.update(marshal.dumps(value, 0))
            return digest.digest()
        containers = [each for each in level if type(each) not in _ATOMS]
        if len(containers) > _MOST_SHARED + _SHARED * len(set(map(id, containers))):
            return None  # some hold each other in many ways: written down, each way would take its room
        mappings = [each for each in containers if type(each) is dict]
        sequences = [each for each in containers if type(each) in _SEQUENCES]
        level = chain(chain.from_iterable(sequences), *mappings, *(each.values() for each in mappings))
    return None
