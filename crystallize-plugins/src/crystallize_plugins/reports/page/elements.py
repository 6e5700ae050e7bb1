"""HTML and SVG as text: elements whose content is escaped, and numbers as the page writes them."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING, Any

from crystallize.hooks.tools import counted, mask_text, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["MOST_ROWS", "Markup", "element", "escaped", "joined", "number", "section", "table"]

MOST_ROWS = 200
"""Of a table: the rest is told in a line below it."""
_EMPTY = frozenset({"meta", "line", "circle", "path", "use", "br"})


class Markup(str):
    """Text that is HTML already; all other text is escaped where it becomes part of an element."""

    __slots__ = ()


def escaped(text: object) -> Markup:
    """Return any text as HTML that shows it, secrets masked, and what would reorder or hide text in words.

    Examples
    --------
    >>> escaped('<b>&"x"')
    '&lt;b&gt;&amp;&quot;x&quot;'
    """
    return Markup(html.escape(printable(mask_text(str(text)), lines=True)))


def joined(*parts: object) -> Markup:
    """Return parts one after the other: markup as it is, None left out, lists unpacked, all else escaped."""
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Markup):
            texts.append(part)
        elif isinstance(part, (list, tuple)):
            texts.append(joined(*part))
        elif part is not None:
            texts.append(escaped(part))
    return Markup("".join(texts))


def element(tag: str, /, *children: object, **attributes: Any) -> Markup:
    """Return an element.

    Parameters
    ----------
    tag : str
    *children : object
        As for `joined`.
    **attributes : object
        Underscores in their names stand for hyphens, one at the end for nothing. None leaves an attribute out, True
        gives it no value.

    Examples
    --------
    >>> element("p", "a < b", class_="note", data_n=3)
    '<p class="note" data-n="3">a &lt; b</p>'
    """
    told = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escaped(value)}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _EMPTY and not children:
        return Markup(f"<{tag}{told}/>")
    return Markup(f"<{tag}{told}>{joined(*children)}</{tag}>")


def section(title: str, *parts: object) -> Markup:
    """Return a section of the page under its heading."""
    name = f"{title.lower().replace(' ', '-')}-heading"
    return element("section", element("h2", title, id=name), *parts, aria_labelledby=name)


def table(heading: Sequence[str], rows: Iterable[Sequence[object]], *, label: str, right: Iterable[int] = ()) -> Markup:
    """Return a table in a box of its own, in which it scrolls where it is wider than the page.

    Parameters
    ----------
    heading : sequence of str
    rows : iterable of sequence
        The first cell of each row names it.
    label : str
        What the box is called for those who do not see it.
    right : iterable of int
        Columns of numbers.
    """
    numeric = set(right)

    kinds = ["n" if place in numeric else None for place in range(len(heading))]

    def cells(row: Sequence[object]) -> list[Markup]:
        return [element("td", cell, class_=kind) for cell, kind in zip(row[1:], kinds[1:], strict=True)]

    listed = list(rows)
    shown = [element("tr", element("th", row[0], scope="row"), *cells(row)) for row in listed[:MOST_ROWS]]
    head = [element("th", name, scope="col", class_=kind) for name, kind in zip(heading, kinds, strict=True)]
    body = element("table", element("thead", element("tr", *head)), element("tbody", *shown))
    left = len(listed) - len(shown)
    rest = element("p", f"… and {counted(left, 'row')} more, stored with the run.", class_="note") if left > 0 else None
    return Markup(element("div", body, class_="scroll", tabindex="0", role="region", aria_label=label) + (rest or ""))


def number(value: float, *, sign: bool = False, digits: int = 4) -> str:
    """Return a number for people, with a minus sign that is as wide as a plus.

    Examples
    --------
    >>> number(0.012345), number(3.0, sign=True)
    ('0.01235', '+3')
    """
    if math.isnan(value):
        return "unknown"
    return f"{value:{'+' if sign else ''}.{digits}g}".replace("-", "\N{MINUS SIGN}").replace("inf", "∞")
