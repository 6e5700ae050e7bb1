"""Overrides: `key.path=value` puts a value in place of what config.yaml says, for one load."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from crystallize.hooks.tools import did_you_mean
from crystallize_plugins.config.problems import Place, Problems
from crystallize_plugins.config.reading import DEEPEST, compose, unprintable
from crystallize_plugins.config.schema import properties_at, shown_path
from crystallize_plugins.config.values import Entry, ListNode, MapNode, Node, ScalarNode, found, is_empty, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["apply_overrides", "values_of"]

_KEY = re.compile(r"""(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[^."'=]+))(?P<end>\.|$)""")
_TARGET = re.compile(r"""(?P<sign>[+~]?)(?P<path>(?:"[^"]*"|'[^']*'|[^=])*)(?P<value>=.*)?""", re.DOTALL)


def apply_overrides(root: Node, overrides: Iterable[str], problems: Problems) -> Node:
    """Return a document with some values replaced, added or removed.

    Parameters
    ----------
    root : Node
        The document; it is left as it is.
    overrides : iterable of str
        ``"key.path=value"`` replaces what is there, or sets a key that the schema knows; ``"+key.path=value"`` adds
        what is not there; ``"~key.path"`` removes what is. Values are YAML. A step or a hypothesis in a list goes by
        its name or by its position, counted from 0. A key with a dot stands in quotes.
    problems : Problems
        Takes what is wrong with an override; it is then left out.

    Examples
    --------
    >>> from crystallize_plugins.config.values import plain
    >>> from crystallize_plugins.config.problems import Problems
    >>> root = compose("steps: [{train: {rate: 0.1}}]", "config.yaml", Problems())
    >>> plain(apply_overrides(root, ["steps.train.rate=0.5", "+seed=7"], Problems()))
    {'steps': [{'train': {'rate': 0.5}}], 'seed': 7}
    """
    for number, text in enumerate(overrides, start=1):
        change = _Change(f"override {number}", str(text), problems)
        if change.read():
            changed = change.applied(root, ())
            root = root if changed is None else changed
    return root


def values_of(overrides: Iterable[str]) -> dict[str, Any]:
    """Return what ``key.path=value`` texts say, as nested values, where there is no document.

    Raises
    ------
    ConfigurationError
        One cannot be read, or removes something.

    Examples
    --------
    >>> values_of(["plugins.seed.seed=7"])
    {'plugins': {'seed': {'seed': 7}}}
    """
    problems = Problems("")
    root = apply_overrides(MapNode(Place("")), [f"+{text.removeprefix('+')}" for text in overrides], problems)
    problems.check()
    values: dict[str, Any] = plain(root)
    return values


class _Change:
    """One override."""

    def __init__(self, shown: str, text: str, problems: Problems) -> None:
        self._shown = shown
        self._text = text
        self._problems = problems
        self._sign = ""
        self._path: tuple[str, ...] = ()
        self._columns: list[int] = []
        self._value: Node | None = None

    def read(self) -> bool:
        """Take the text apart; say whether it can be used."""
        odd = unprintable(self._text)
        if odd is not None:
            return self._wrong(odd + 1, f"the character {self._text[odd]!r} cannot stand in YAML", "Remove it")
        match = _TARGET.fullmatch(self._text)
        if match is None or not match["path"].strip():
            return self._wrong(1, f"{self._text!r:.80} names no key", "Write key.path=value")
        self._sign = match["sign"]
        path, at = match["path"], match.start("path")
        keys: list[str] = []
        position = 0
        while position < len(path):
            part = _KEY.match(path, position)
            if part is None or (part["end"] and part.end() == len(path)):
                advice = 'Write key.path=value, and a key that holds a dot in quotes: treatments."rate 0.1".rate=0.1'
                return self._wrong(at + position + 1, f"{path!r} is no path of keys", advice)
            keys.append(next(text for text in part.group("double", "single", "bare") if text is not None))
            self._columns.append(at + position + 1)
            position = part.end()
        if len(keys) > DEEPEST:
            return self._wrong(1, f"{len(keys)} keys lead deeper than {DEEPEST} levels", "Write fewer")
        self._path = tuple(keys)
        return self._read_value(match["value"], match.start("value") + 2)

    def _read_value(self, given: str | None, column: int) -> bool:
        if self._sign == "~":
            if given is not None:
                path = shown_path(self._path)
                return self._wrong(column - 1, f"~{path} removes a key, and takes no value", f"Write ~{path}")
            return True
        if given is None and not self._sign:
            path = shown_path(self._path)
            advice = f"Write {path}=value, or ~{path} to remove it"
            return self._wrong(len(self._text) + 1, f"{self._text!r:.80} gives no value", advice)
        text = (given or "=")[1:]
        if text.lstrip().startswith("#"):  # a colour, and no comment
            self._value = ScalarNode(Place(self._shown, 1, column), text.strip(), quoted=True)
            return True
        found = Problems(self._shown)
        # The value is read in its place, so that what is wrong in it has the override's columns.
        indent = " " * (column - 1) if given else ""
        self._value = compose(indent + text, self._shown, found)
        end = Place(self._shown, 1, len(self._text) + 1)
        for problem in found:
            # What is missing is missed in the line after the last one.
            self._problems.add(problem.place if problem.line == 1 else end, problem.message, problem.advice)
        return not len(found)

    def applied(self, node: Node, done: tuple[str | int, ...]) -> Node | None:
        """Return a copy of `node` with the change, or None if it cannot be made."""
        key = self._path[len(done)]
        if is_empty(node) and self._sign != "~":
            node = MapNode(node.place)
        if isinstance(node, ListNode):
            return self._in_list(node, done, key)
        if isinstance(node, ScalarNode):
            where = shown_path(self._path[: len(done)])
            advice = f"Replace it as a whole: {where}={{{key}: ...}}"
            self._wrong(self._columns[len(done)], f"{where} is {found(node)}, which has no keys", advice)
            return None
        return self._in_mapping(node, done, key)

    def _in_mapping(self, node: MapNode, done: tuple[str | int, ...], key: str) -> Node | None:
        last = len(done) + 1 == len(self._path)
        named = properties_at(done)
        entry = node.entries.get(key)
        setting = last and done[:-1] == ("plugins",)  # the plugin knows which it has
        if entry is None and not (self._sign == "+" or (self._sign == "" and (setting or key in (named or ())))):
            self._unknown(done, key, [*node.entries, *(named or ())], addable=self._sign == "" and named is None)
            return None
        if entry is not None and last and self._sign == "+" and not is_empty(entry.value):
            path = shown_path(self._path)
            self._wrong(
                self._columns[-1],
                f"{path} is there already, in {_where(entry.key.place)}",
                f"Leave the + out to replace it: {self._text[1:]}",
            )
            return None
        entries = dict(node.entries)
        if last and self._sign == "~":
            del entries[key]
            return MapNode(node.place, entries)
        place = self._place(len(done))
        if last:
            value: Node | None = self._value
        else:
            value = self.applied(entry.value if entry else MapNode(place), (*done, key))
        if value is None:
            return None
        entries[key] = Entry(entry.key if entry else ScalarNode(place, key, quoted=True), value)
        return MapNode(node.place, entries)

    def _in_list(self, node: ListNode, done: tuple[str | int, ...], key: str) -> Node | None:
        last = len(done) + 1 == len(self._path)
        at = self._position(node, done, key)
        if at is None:
            return None
        items = list(node.items)
        if at == len(items):
            entry = Entry(
                ScalarNode(self._place(len(done)), key, quoted=True), self._value or ScalarNode(Place(""), "")
            )
            return ListNode(node.place, [*items, MapNode(self._place(len(done)), {key: entry})])
        item = items[at]
        by_name = _name_of(item) == key
        if last and self._sign == "~":
            del items[at]
            return ListNode(node.place, items)
        if last and self._sign == "+":
            self._wrong(
                self._columns[-1], f"{shown_path(self._path)} is there already", "Leave the + out to replace it"
            )
            return None
        if by_name and not _is_record(item):
            # `- train` and `- train: {...}` are one thing: what follows the name are its parameters.
            changed = self._in_step(item, done, key, last=last)
        else:
            changed = self._value if last else self.applied(item, (*done, at))
        if changed is None:
            return None
        items[at] = changed
        return ListNode(node.place, items)

    def _in_step(self, item: Node, done: tuple[str | int, ...], key: str, *, last: bool) -> Node | None:
        inside = item.entries[key].value if isinstance(item, MapNode) else ScalarNode(item.place, "")
        name = item.entries[key].key if isinstance(item, MapNode) else ScalarNode(item.place, key, quoted=True)
        if last:
            value: Node | None = self._value
        elif is_empty(inside) and self._sign != "+":
            self._unknown((*done, key), self._path[len(done) + 1], [], addable=self._sign == "")
            return None
        else:
            value = self.applied(inside, (*done, key))
        return None if value is None else MapNode(item.place, {key: Entry(name, value)})

    def _position(self, node: ListNode, done: tuple[str | int, ...], key: str) -> int | None:
        """Find an item by its name or number; the length of the list stands for one to be added."""
        column = self._columns[len(done)]
        names = [_name_of(item) for item in node.items]
        count = names.count(key)
        if count == 1:
            return names.index(key)
        where = shown_path(self._path[: len(done)])
        if count:
            numbers = " and ".join(str(at) for at, name in enumerate(names) if name == key)
            self._wrong(
                column, f"{where} has {key!r} {count} times", f"Write its position instead of its name: {numbers}"
            )
            return None
        if re.fullmatch("[0-9]{1,6}", key):
            if int(key) < len(names):
                return int(key)
            self._wrong(column, f"{where} has no item {key}", f"Its items are 0 to {len(names) - 1}")
            return None
        if self._sign == "+" and done == ("steps",) and len(self._path) == len(done) + 1:
            return len(names)
        known = [name for name in names if name]
        advice = f"{did_you_mean(key, known)} What is there: {', '.join(known) or 'nothing'}".strip()
        self._wrong(column, f"{where} has no item called {key!r}", advice)
        return None

    def _unknown(self, done: Sequence[str | int], key: str, known: Sequence[str], *, addable: bool) -> None:
        where = shown_path(done)
        inside = f"in {where}" if where else "in config.yaml"
        advice = f"{did_you_mean(key, known)} What is there: {', '.join(dict.fromkeys(known)) or 'nothing'}".strip()
        if addable:
            advice += f". To add it, write +{self._text}"
        self._wrong(self._columns[len(done)], f"there is no {key!r} {inside}", advice)

    def _wrong(self, column: int, message: str, advice: str) -> bool:
        self._problems.add(Place(self._shown, 1, column), message, advice)
        return False

    def _place(self, at: int) -> Place:
        return Place(self._shown, 1, self._columns[at])


def _name_of(item: Node) -> str | None:
    """Return the name of a list's item: of `name`, of `name: {...}`, and of a mapping with the key `name`."""
    if isinstance(item, ScalarNode):
        return item.text
    if isinstance(item, MapNode):
        if _is_record(item):
            named = item.entries["name"].value
            return named.text if isinstance(named, ScalarNode) else None
        if len(item.entries) == 1:
            return next(iter(item.entries))
    return None


def _is_record(item: Node) -> bool:
    return isinstance(item, MapNode) and "name" in item.entries and isinstance(item.entries["name"].value, ScalarNode)


def _where(place: Place) -> str:
    return f"{place.file}, line {place.line}"
