"""What YAML's words mean, and what a document consists of: values with their places.

Versions 1.1 and 1.2 of YAML read some words differently. Where one of the two readings would be wrong in silence
(`no`, `010`, `1_000`), the word is text where text is expected, and refused everywhere else with what to write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize_plugins.config.problems import Place, Problems

__all__ = [
    "Doubt",
    "Entry",
    "ListNode",
    "MapNode",
    "Node",
    "ScalarNode",
    "doubt_about",
    "found",
    "is_empty",
    "plain",
    "resolve",
    "value_of",
]


_LONGEST_NUMBER = 1000
_CONSTANTS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((f"{sign}.{word}" for sign in ("", "+") for word in ("inf", "Inf", "INF")), float("inf")),
    **dict.fromkeys((f"-.{word}" for word in ("inf", "Inf", "INF")), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_TRUTH = re.compile(r"(yes|on)|no|off", re.IGNORECASE)
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+", re.ASCII)
# Numbers to YAML 1.1, some of which are none to YAML 1.2: with underscores, in binary, with a sign before 0x.
_OLDER = re.compile(
    r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?)", re.ASCII
)


class Doubt(NamedTuple):
    """Why a plain word could be taken for two things.

    Attributes
    ----------
    message : str
        The two readings.
    advice : str
        What to write for each.
    instead : str
        What to write if a number or a truth value was meant.
    """

    message: str
    advice: str
    instead: str


def resolve(text: str) -> bool | float | str | None:
    """Return the value of a plain word.

    Parameters
    ----------
    text : str
        As it stands in the file, without quotes.

    Returns
    -------
    None, bool, int, float or str

    Examples
    --------
    >>> resolve("1e3"), resolve("0o17"), resolve("no"), resolve("2026-01-31"), resolve("~")
    (1000.0, 15, 'no', '2026-01-31', None)
    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "-+.0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def doubt_about(text: str) -> Doubt | None:
    """Return how a plain word could be misread, or None.

    Parameters
    ----------
    text : str
        As it stands in the file, without quotes.

    Examples
    --------
    >>> doubt_about("no").advice
    "Write false, or 'no' in quotes for the text"
    >>> doubt_about("nothing")
    """
    if not text or text[0] not in "-+.0123456789yYnNoO":
        return None
    if truth := _TRUTH.fullmatch(text):
        meant = "true" if truth[1] else "false"
        readings = f"{text} is {meant} to some readers of YAML and a text to others"
    elif _LEADING_ZERO.fullmatch(text) and len(text) < _LONGEST_NUMBER:
        meant = str(int(text))
        readings = f"{text} is an octal number to some readers of YAML and a decimal one to others"
    elif len(text) < _LONGEST_NUMBER and _OLDER.fullmatch(text) and resolve(text) == text:
        meant = _without_groups(text)
        readings = f"{text} is a number to some readers of YAML and a text to others"
    elif _INTEGER.fullmatch(text) and len(text) > _LONGEST_NUMBER:
        return Doubt(
            f"a number of {len(text)} digits cannot be read", "Put it in quotes if it is a text", "a shorter number"
        )
    else:
        return None
    return Doubt(readings, f"Write {meant}, or {text!r} in quotes for the text", meant)


def _without_groups(text: str) -> str:
    digits = text.replace("_", "")
    if digits.lstrip("-+")[:2] in ("0b", "0x"):
        return str(int(digits, 0)) if len(digits.lstrip("-+")) > len("0b") else "a number"
    return digits


_SHOWN = 60


@dataclass(slots=True)
class ScalarNode:
    """A single value.

    Attributes
    ----------
    place : Place
    text : str
        Without quotes.
    quoted : bool
        Whether it is text whatever it looks like.
    """

    place: Place
    text: str
    quoted: bool = False

    @property
    def value(self) -> bool | float | str | None:
        """The value that it stands for."""
        return self.text if self.quoted else resolve(self.text)


@dataclass(slots=True)
class ListNode:
    """A list."""

    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Entry:
    """A key of a mapping, with its place, and its value."""

    key: ScalarNode
    value: Node


@dataclass(slots=True)
class MapNode:
    """A mapping; its keys are text, as they are written."""

    place: Place
    entries: dict[str, Entry] = field(default_factory=dict)

    def get(self, key: str) -> Node | None:
        """Return the value of a key; None where it is absent or empty."""
        entry = self.entries.get(key)
        return None if entry is None or is_empty(entry.value) else entry.value

    def pairs(self) -> Iterator[tuple[ScalarNode, Node]]:
        """Return keys and values."""
        return ((entry.key, entry.value) for entry in self.entries.values())


Node = ScalarNode | ListNode | MapNode


def is_empty(node: Node) -> bool:
    """Whether there is nothing where a value could be."""
    return isinstance(node, ScalarNode) and node.value is None


def plain(node: Node) -> Any:
    """Return the data of a node: dicts, lists and single values."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return {key: plain(entry.value) for key, entry in node.entries.items()}


def value_of(node: Node, problems: Problems) -> Any:
    """Return the data of a node that may be anything, noting every word in it that could be misread."""
    if isinstance(node, ListNode):
        return [value_of(item, problems) for item in node.items]
    if isinstance(node, MapNode):
        for key, _ in node.pairs():
            if not isinstance(key.value, str):
                problems.add(
                    key.place, f"the key {key.text or '(empty)'} is no text", f'Put it in quotes: "{key.text}"'
                )
        return {key.text: value_of(value, problems) for key, value in node.pairs()}
    doubt = None if node.quoted else doubt_about(node.text)
    if doubt is not None:
        problems.add(node.place, doubt.message, doubt.advice)
    return node.value


def found(node: Node) -> str:
    """Say what a node holds, for messages.

    Examples
    --------
    >>> from crystallize_plugins.config.problems import Place
    >>> found(ScalarNode(Place("config.yaml"), "12")), found(ListNode(Place("config.yaml")))
    ('the number 12', 'an empty list')
    """
    if isinstance(node, ListNode):
        return "a list" if node.items else "an empty list"
    if isinstance(node, MapNode):
        return "a mapping" if node.entries else "an empty mapping"
    value = node.value
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {node.text}"
    if isinstance(value, (int, float)):
        return f"the number {node.text:.{_SHOWN}}"
    return f"the text {value!r}" if len(value) <= _SHOWN else f"the text {value[:_SHOWN]!r}…"
