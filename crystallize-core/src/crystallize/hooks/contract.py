"""Whether this core offers the contract that a plugin asks for."""

from __future__ import annotations

import re
from itertools import zip_longest

from crystallize.errors import ValidationError

__all__ = ["satisfies"]

_CLAUSE = re.compile(r"\s*(>=|<=|==|!=|~=|>|<)\s*(\d+(?:\.\d+)*)(\.\*)?\s*")
Version = tuple[int, ...]


def satisfies(version: str, specifier: str) -> bool:
    """Whether `version` fulfils every clause of `specifier`.

    The clauses are those of Python packaging's version specifiers, for versions made of numbers.

    Parameters
    ----------
    version : str
        Numbers with dots, ``"1.0"``.
    specifier : str
        Clauses with commas between them, ``">=1,<2"``.

    Raises
    ------
    ValidationError
        `specifier` is not of that form.

    Examples
    --------
    >>> satisfies("1.2", ">=1,<2"), satisfies("2.0", "~=1.4"), satisfies("1.2", "==1.*")
    (True, False, True)
    """
    offered = _numbers(version)
    clauses = _clauses(specifier)
    return all(_fulfils(offered, *clause) for clause in clauses)


def _clauses(specifier: str) -> list[tuple[str, Version, bool]]:
    found = []
    for text in specifier.split(","):
        match = _CLAUSE.fullmatch(text)
        if match is None or (match[3] and match[1] not in {"==", "!="}) or (match[1] == "~=" and "." not in match[2]):
            raise ValidationError(f"{specifier!r} is no range of versions: write something like '>=1,<2'")
        found.append((match[1], _numbers(match[2]), bool(match[3])))
    return found


def _fulfils(offered: Version, operator: str, wanted: Version, prefix: bool) -> bool:
    if operator == "~=":
        return _compare(offered, wanted) >= 0 and offered[: len(wanted) - 1] == wanted[:-1]
    order = _compare(offered[: len(wanted)] if prefix else offered, wanted)
    return {
        ">=": order >= 0,
        "<=": order <= 0,
        ">": order > 0,
        "<": order < 0,
        "==": order == 0,
        "!=": order != 0,
    }[operator]


def _numbers(version: str) -> Version:
    return tuple(int(part) for part in version.split("."))


def _compare(one: Version, other: Version) -> int:
    for left, right in zip_longest(one, other, fillvalue=0):
        if left != right:
            return 1 if left > right else -1
    return 0
