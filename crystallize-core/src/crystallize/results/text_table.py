"""Plain text in columns."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING

from crystallize.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["aligned", "decimals_for", "filled_columns", "fixed", "one_line"]

_MOST_DECIMALS = 7
_LARGE = 1e9


def aligned(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Return rows of cells as lines in columns, two spaces apart; empty columns are left out.

    What could steer a terminal is escaped.

    Parameters
    ----------
    rows : sequence of sequence of str
        The first row is the heading; it does not make a column worth showing.
    right : iterable of int
        Columns that are aligned to the right.

    Examples
    --------
    >>> for line in aligned([["name", "n"], ["a", "10"], ["bc", "9"]], right=[1]):
    ...     print(line)
    name   n
    a     10
    bc     9
    """
    right = set(right)
    rows = [[*map(printable, row)] for row in rows]
    shown = filled_columns(rows)
    widths = {column: max(_width(row[column]) for row in rows) for column in shown}
    lines = []
    for row in rows:
        cells = []
        for column in shown:
            padding = " " * (widths[column] - _width(row[column]))
            cells.append(padding + row[column] if column in right else row[column] + padding)
        lines.append("  ".join(cells).rstrip())
    return lines


def filled_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return which columns have something below the heading."""
    return [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]


def decimals_for(spreads: Iterable[float]) -> int | None:
    """Return how many decimals show the smallest of some spreads with three digits; None where there are none.

    Examples
    --------
    >>> decimals_for([0.0123, 4.5]), decimals_for([250.0]), decimals_for([0.0])
    (4, 0, None)
    """
    known = [spread for spread in spreads if math.isfinite(spread) and spread > 0]
    if not known:
        return None
    return min(_MOST_DECIMALS, max(0, 2 - math.floor(math.log10(min(known)))))


def fixed(number: float, decimals: int | None, *, sign: bool = False) -> str:
    """Return a number with so many decimals, NaN as nothing."""
    if math.isnan(number):
        return ""
    if decimals is None or abs(number) >= _LARGE:
        return f"{number:{'+' if sign else ''}.6g}"
    return f"{number:{'+' if sign else ''}.{decimals}f}"


def one_line(text: str, longest: int) -> str:
    """Return text on one line, cut where it is too long."""
    text = printable(" ".join(text.split()))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)
