"""From the text of a YAML document to nodes with places, whatever the text does to prevent it.

Only events are taken from the library: no tag makes an object, nothing recurses, and sizes are counted before anything
is multiplied, so that a hostile file costs no more than its own length.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from crystallize.errors import MissingExtraError
from crystallize_plugins.config.problems import Place
from crystallize_plugins.config.values import Entry, ListNode, MapNode, Node, ScalarNode

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize_plugins.config.problems import Problems

__all__ = [
    "DEEPEST",
    "LARGEST_FILE",
    "MOST_VALUES",
    "compose",
    "library",
    "read_document",
    "unprintable",
]


def library(module: str, name: str) -> Any:
    """Import a library of the extra ``yaml``.

    Parameters
    ----------
    module : str
        What is imported.
    name : str
        What it is called.

    Raises
    ------
    MissingExtraError
        It is not installed; the message says what to install.

    Examples
    --------
    >>> library("yaml", "PyYAML").__name__
    'yaml'
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f'reading config.yaml needs {name} ({error}). Install it: pip install "crystallize-plugins[yaml]"',
            distribution="crystallize-plugins",
        ) from error


LARGEST_FILE = 1 << 20
"""Bytes."""
MOST_VALUES = 10_000
"""Values of a document, those that aliases and merge keys repeat counted each time."""
DEEPEST = 50
"""Levels of lists and mappings in each other."""

_TOO_DEEP = f"values are nested more than {DEEPEST} levels deep"
_WRITE_FLATTER = "Write it flatter"
_MERGE = "<<"
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class _Refused(Exception):  # noqa: N818 - not an error of anybody's: it ends the reading of one document
    """Reading cannot go on; what is wrong has been noted."""


def read_document(path: Path, shown: str, problems: Problems) -> Node | None:
    """Read a YAML file.

    Parameters
    ----------
    path : Path
        The file.
    shown : str
        What to call it in messages.
    problems : Problems
        Takes what is wrong with it.

    Returns
    -------
    Node or None
        None where nothing can be made of the file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        problems.add(Place(shown), f"it cannot be read: {error.strerror or error}", "Give a file that can", cause=error)
        return None
    if len(content) > LARGEST_FILE:
        problems.add(
            Place(shown),
            f"the file is larger than {LARGEST_FILE >> 20} MiB, too large for a configuration",
            "Keep data in files of its own, which datasources.py reads",
        )
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig", "replace")
        problems.add(
            _place_at(before, len(before), shown),
            f"the byte 0x{content[error.start]:02x} is not UTF-8",
            "Save the file in the encoding UTF-8",
        )
        return None
    return compose(text, shown, problems)


def compose(text: str, shown: str, problems: Problems) -> Node | None:
    """Make nodes of the text of one YAML document.

    Parameters
    ----------
    text : str
        The document.
    shown : str
        What to call it in messages.
    problems : Problems
        Takes what is wrong with it.

    Returns
    -------
    Node or None
        None where nothing can be made of the text; an empty document is an empty value.

    Examples
    --------
    >>> from crystallize_plugins.config.values import plain
    >>> from crystallize_plugins.config.problems import Problems
    >>> plain(compose("seed: 7", "config.yaml", Problems()))
    {'seed': 7}
    """
    yaml = library("yaml", "PyYAML")
    odd = unprintable(text)
    if odd is not None:
        problems.add(
            _place_at(text, odd, shown),
            f"the character {text[odd]!r} cannot stand in YAML",
            'Remove it, or write it in double quotes by its number, such as "\\x07"',
        )
        return None
    try:
        return _Composer(shown, problems).document(
            yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        )
    except _Refused:
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(shown) if mark is None else Place(shown, mark.line + 1, mark.column + 1)
        if "nesting depth" in str(error.problem):
            # Brackets are counted by libyaml before it hands out events; since PyYAML 6.0.4 it has a limit of its own.
            problems.add(place, _TOO_DEEP, _WRITE_FLATTER, cause=error)
        else:
            problems.add(place, f"this is no YAML: {_reason(error)}", _advice(error, text, place), cause=error)
        return None


def unprintable(text: str) -> int | None:
    """Find the first character that no YAML can hold; give its position."""
    found = _UNPRINTABLE.search(text)
    return None if found is None else found.start()


def _reason(error: Any) -> str:
    context = f" {error.context}" if error.context else ""
    if context and error.context_mark is not None and error.problem_mark is not None:
        context += f" that begins in line {error.context_mark.line + 1}"
    return f"{error.problem or 'it cannot be parsed'}{context}"


_ADVICE = (
    ("mapping values are not allowed", "Put a text that holds ': ' in quotes, and each key on a line of its own"),
    ("anchor", "Write &name before the value that *name is to repeat"),
    ("alias", "Write &name before the value that *name is to repeat"),
    ("could not find expected ':'", "Write `key: value`, with a colon and a space"),
    ("quoted scalar", "Close the quotes"),
    ("flow", "Close the bracket, and put a comma between items"),
)


def _advice(error: Any, text: str, place: Place) -> str:
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if "\t" in line[: place.column] and "token" in str(error.problem):
        return "Indent with spaces: YAML takes no tabs"
    said = f"{error.problem} {error.context}"
    return next((advice for words, advice in _ADVICE if words in said), _LOOK)


_LOOK = "Look at indentation, quotes and brackets just before this place"


def _place_at(text: str, index: int, shown: str) -> Place:
    before = text[:index]
    return Place(shown, before.count("\n") + 1, index - before.rfind("\n"))


class _Open:
    """A list or mapping whose end has not been seen."""

    __slots__ = ("anchor", "key", "merged", "node", "size")

    def __init__(self, node: ListNode | MapNode, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: ScalarNode | None = None
        self.merged: list[tuple[ScalarNode, Node]] = []
        self.size = 1


class _Composer:
    """Puts nodes together from events, and counts."""

    def __init__(self, shown: str, problems: Problems) -> None:
        self._shown = shown
        self._problems = problems
        self._open: list[_Open] = []
        self._root: Node | None = None
        # What an anchor stands for, and how many values that is; None while it is not complete.
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        self._size = 0

    def document(self, events: Any) -> Node:
        """Take the events of one document, and refuse a second one."""
        documents = 0
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    self._refuse(
                        self._place(event), "a second document begins here", "Write one document: remove the line ---"
                    )
            elif kind == "ScalarEvent":
                self._check_tag(event)
                node = ScalarNode(self._place(event), event.value, quoted=bool(event.style) or not event.implicit[0])
                self._add(node, 1, event.anchor)
            elif kind == "AliasEvent":
                self._alias(event)
            elif kind in ("SequenceStartEvent", "MappingStartEvent"):
                self._begin(event, ListNode if kind == "SequenceStartEvent" else MapNode)
            elif kind in ("SequenceEndEvent", "MappingEndEvent"):
                self._end()
        return ScalarNode(Place(self._shown), "") if self._root is None else self._root

    def _begin(self, event: Any, kind: type[ListNode | MapNode]) -> None:
        self._check_tag(event)
        place = self._place(event)
        if self._open and isinstance(self._open[-1].node, MapNode) and self._open[-1].key is None:
            self._refuse(place, "a list or a mapping stands where a key is expected", "Keys are text: put it in quotes")
        if len(self._open) >= DEEPEST:
            self._refuse(place, _TOO_DEEP, _WRITE_FLATTER)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(kind(place), event.anchor))

    def _end(self) -> None:
        done = self._open.pop()
        if isinstance(done.node, MapNode):
            self._merge(done, done.node)
        self._add(done.node, done.size, done.anchor, counted=True)

    def _alias(self, event: Any) -> None:
        place = self._place(event)
        known = self._anchors.get(event.anchor)
        if known is None and event.anchor in self._anchors:
            self._refuse(place, f"*{event.anchor} stands inside what it is to repeat", "Write the values out")
        if known is None:
            self._refuse(
                place, f"*{event.anchor} repeats something that has no name yet", f"Write &{event.anchor} before it"
            )
        node, size = known
        self._count(size, place)
        self._add(node, size, None, place=place, counted=True)

    def _add(
        self, node: Node, size: int, anchor: str | None, *, place: Place | None = None, counted: bool = False
    ) -> None:
        """Put a complete value where it belongs."""
        if not counted:
            self._count(1, node.place)
        if anchor is not None:
            self._anchors[anchor] = (node, size)
        if not self._open:
            self._root = node
            return
        inside = self._open[-1]
        inside.size += size
        if isinstance(inside.node, ListNode):
            inside.node.items.append(node)
        elif inside.key is None:
            inside.key = self._as_key(node, place)
        else:
            key, inside.key = inside.key, None
            self._enter(inside, inside.node, key, node)

    def _as_key(self, node: Node, place: Place | None) -> ScalarNode:
        if not isinstance(node, ScalarNode):
            self._refuse(place or node.place, "a list or a mapping stands where a key is expected", "Keys are text")
        return node if place is None else ScalarNode(place, node.text, quoted=node.quoted)

    def _enter(self, inside: _Open, mapping: MapNode, key: ScalarNode, value: Node) -> None:
        if key.text == _MERGE and not key.quoted:
            inside.merged.append((key, value))
        elif key.text in mapping.entries:
            first = mapping.entries[key.text].key.place
            self._problems.add(
                key.place,
                f"the key {key.text!r} is there twice: the first is in line {first.line}",
                "Remove one of them, or give it another name",
            )
        else:
            mapping.entries[key.text] = Entry(key, value)

    def _merge(self, done: _Open, mapping: MapNode) -> None:
        """Add what merge keys refer to; a mapping's own keys win, then the first that has a key."""
        for key, value in done.merged:
            for source in value.items if isinstance(value, ListNode) else [value]:
                if not isinstance(source, MapNode):
                    self._problems.add(
                        key.place, "<< merges mappings, and this is none", "Write `<<: *name`, where &name is a mapping"
                    )
                else:
                    for entry in source.entries.values():
                        mapping.entries.setdefault(entry.key.text, entry)

    def _count(self, size: int, place: Place) -> None:
        self._size += size
        if self._size > MOST_VALUES:
            self._refuse(
                place,
                f"the document has more than {MOST_VALUES} values, with what aliases repeat",
                "Keep data in files of its own, which datasources.py reads",
            )

    def _check_tag(self, event: Any) -> None:
        # "!" says only that a word is text, which the event says too.
        if event.tag is not None and event.tag != "!":
            shown = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self._problems.add(
                self._place(event),
                f"the tag {shown:.60} is refused: values are only text, numbers, truth values, lists and mappings",
                "Remove it, and put a text that looks like a number in quotes",
                final=True,
            )

    def _place(self, event: Any) -> Place:
        return Place(self._shown, event.start_mark.line + 1, event.start_mark.column + 1)

    def _refuse(self, place: Place, message: str, advice: str) -> NoReturn:
        self._problems.add(place, message, advice)
        raise _Refused
