"""HTML and SVG as text: elements whose content is escaped, and numbers as the page writes them."""

from __future__ import annotations

import html
import math
from typing import Any

from crystallize.hooks.tools import mask_text, printable

__all__ = ["Markup", "element", "escaped", "joined", "number", "section"]

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
