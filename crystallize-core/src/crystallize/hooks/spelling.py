"""Names that are nearly a hook's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["misspelt", "nearest"]


def misspelt(name: str, known: Iterable[str]) -> str | None:
    """Give the known name from which `name` is one edit away, or None.

    An edit is a letter more, less, other, two neighbours swapped, or any difference in underscores and case.

    Examples
    --------
    >>> misspelt("before_rum", ["before_run", "collect"]), misspelt("afterRun", ["after_run"])
    ('before_run', 'after_run')
    """
    squeezed = name.replace("_", "").lower()
    for candidate in known:
        if candidate != name and (squeezed == candidate.replace("_", "") or _one_edit(name, candidate)):
            return candidate
    return None


def nearest(name: str, known: Iterable[str]) -> str:
    """Give the known name that is most like `name`."""
    import difflib  # for an error, which most programs never see

    return max(known, key=lambda candidate: difflib.SequenceMatcher(None, name, candidate).ratio())


def _one_edit(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    left, right = one[start:], other[start:]
    return (
        left[1:] == right[1:]  # another letter
        or left[1:] == right  # a letter more
        or left == right[1:]  # a letter less
        or (left[:2] == right[1::-1] and left[2:] == right[2:])  # two neighbours swapped
    )
