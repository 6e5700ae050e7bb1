"""Numbers as text: bars of progress, and means with their intervals on one scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from textual.content import Content

from crystallize.hooks.tools import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["bar", "clock", "intervals", "short"]


def bar(done: int, total: int, width: int, *, failed: int = 0) -> Content:
    """Return a bar of progress: ``━━━━───``, what failed at its end in red.

    Parameters
    ----------
    done, total : int
        Cells that are over, and all.
    width : int
        Columns.
    failed : int
        How many of `done` failed.
    """
    total = max(total, done, 1)
    filled = done * width // total
    red = min(filled, math.ceil(failed * width / total)) if failed else 0
    return Content.assemble(
        ("━" * (filled - red), "$success"), ("━" * red, "$error"), ("─" * (width - filled), "$text-disabled")
    )


def clock(seconds: float) -> str:
    """Return a duration: ``0:41``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def short(seconds: float) -> str:
    """Return a short duration: ``2 ms``, ``1.2 s``.

    Examples
    --------
    >>> short(0.0021), short(1.23), short(75)
    ('2 ms', '1.2 s', '1:15')
    """
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)  # noqa: PLR2004 - a minute


def intervals(metric: str, values: Mapping[str, Sequence[float]], width: int) -> list[Content]:
    """Return the mean of each condition with its 95 % interval (Student's), all on one scale.

    Parameters
    ----------
    metric : str
    values : mapping of str to sequence of float
        By condition, one value a replicate; those that are not finite are left out.
    width : int
        Columns that there are.

    Returns
    -------
    list of Content
        The scale, and a line for each condition; the numbers stand beside the whiskers.
    """
    # The first picture of the application does not wait for it.
    from crystallize.hooks.tools import confidence_interval, mean

    rows: dict[str, tuple[float, float, float]] = {}
    for name, told in values.items():
        finite = [value for value in told if math.isfinite(value)]
        if finite:
            centre = mean(finite)
            low, high = confidence_interval(finite)
            rows[name] = (centre, centre if math.isnan(low) else low, centre if math.isnan(high) else high)
    if not rows:
        return []
    least, most = min(row[1] for row in rows.values()), max(row[2] for row in rows.values())
    names = [printable(name) for name in rows]
    widest = min(max(map(len, [*names, metric])), 16)
    decimals = _decimals(most - least, max(abs(least), abs(most)))
    numbers = [f"{row[0]:.{decimals}f}" for row in rows.values()]
    room = max(width - widest - max(map(len, numbers)) - 4, 10)

    def column(value: float) -> int:
        return round((value - least) / (most - least) * (room - 1)) if most > least else room // 2

    left, right = f"{least:.{decimals}f}", f"{most:.{decimals}f}"
    scale = left if most <= least else left + right.rjust(room - len(left))
    head = f"{printable(metric)[:widest]:<{widest}}{'':{max(map(len, numbers)) + 4}}"
    lines = [Content.assemble((head, "bold"), (scale, "$text-muted"))]
    for name, number, (centre, low, high) in zip(names, numbers, rows.values(), strict=True):
        picture = [" "] * room
        first, last, at = column(low), column(high), column(centre)
        picture[first : last + 1] = "─" * (last - first + 1)
        picture[first], picture[last] = "├", "┤"
        picture[at] = "●"
        lines.append(
            Content.assemble(
                f"{name[:widest]:<{widest}}  ",
                (number.rjust(max(map(len, numbers))), "bold"),
                "  ",
                ("".join(picture).rstrip(), "$accent"),
            )
        )
    return lines


def _decimals(spread: float, size: float) -> int:
    reach = spread if spread > 0 else size
    return min(max(2 - math.floor(math.log10(reach)), 0), 12) if reach > 0 and math.isfinite(reach) else 2
