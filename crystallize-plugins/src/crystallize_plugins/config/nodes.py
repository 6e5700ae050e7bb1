"""What a YAML document consists of: values with their places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crystallize_plugins.config.scalars import doubt_about, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize_plugins.config.problems import Place, Problems

__all__ = ["Entry", "ListNode", "MapNode", "Node", "ScalarNode", "found", "is_empty", "plain", "value_of"]

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
        """Give the value of a key; None where it is absent or empty."""
        entry = self.entries.get(key)
        return None if entry is None or is_empty(entry.value) else entry.value

    def pairs(self) -> Iterator[tuple[ScalarNode, Node]]:
        """Give keys and values."""
        return ((entry.key, entry.value) for entry in self.entries.values())


Node = ScalarNode | ListNode | MapNode


def is_empty(node: Node) -> bool:
    """Whether there is nothing where a value could be."""
    return isinstance(node, ScalarNode) and node.value is None


def plain(node: Node) -> Any:
    """Give the data of a node: dicts, lists and single values."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return {key: plain(entry.value) for key, entry in node.entries.items()}


def value_of(node: Node, problems: Problems) -> Any:
    """Give the data of a node that may be anything, noting every word in it that could be misread."""
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
