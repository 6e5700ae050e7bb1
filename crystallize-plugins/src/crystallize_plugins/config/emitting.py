"""From plain data to the text of a YAML document that reads back as the very same data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from crystallize_plugins.config.extra import yaml_library
from crystallize_plugins.config.scalars import doubt_about, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["dump", "unwritable"]

_DEEPEST = 40
_PLAIN_TYPES = (type(None), bool, int, float, str)


def unwritable(value: object, what: str, depth: int = 0) -> str | None:
    """Say what in a value YAML has no word for, or give None.

    Parameters
    ----------
    value : object
        Anything.
    what : str
        What to call it.
    depth : int, default 0
        In how many others it lies.

    Examples
    --------
    >>> unwritable({"grid": [1, (2, 3)]}, "treatments.fine")
    'treatments.fine.grid.1 is a tuple'
    """
    if type(value) in _PLAIN_TYPES:
        return _odd_word(value, what)
    if type(value) is not list and type(value) is not dict:
        return f"{what} is a {type(value).__name__}"
    if depth >= _DEEPEST:
        return f"{what} is nested more than {_DEEPEST} levels deep"
    if isinstance(value, dict):
        for key in value:
            odd = f"{what} has the key {key!r:.40}, which is no text" if type(key) is not str else None
            if odd or (odd := _odd_word(key, f"a key of {what}")):
                return odd
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return next((fault for key, item in parts if (fault := unwritable(item, f"{what}.{key}", depth + 1))), None)


def _odd_word(value: object, what: str) -> str | None:
    if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        return f"{what} is a text with half a character in it"
    if type(value) is int and abs(value) >= 10**999:
        return f"{what} is a number of too many digits"
    return None


def dump(data: Mapping[str, Any]) -> str:
    """Write a document of mappings, lists and single values down.

    Parameters
    ----------
    data : mapping
        Of what `unwritable` has no fault to find with.

    Examples
    --------
    >>> print(dump({"name": "no", "steps": ["clean", {"train": {"rate": 0.1}}]}), end="")
    name: "no"
    steps:
      - clean
      - train:
          rate: 0.1
    """
    yaml = yaml_library()

    class Indented(yaml.SafeDumper):  # type: ignore[misc,name-defined]
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
            del indentless
            return super().increase_indent(flow, indentless=False)

    events = [
        yaml.StreamStartEvent(),
        yaml.DocumentStartEvent(explicit=False),
        *_events(yaml, data),
        yaml.DocumentEndEvent(explicit=False),
        yaml.StreamEndEvent(),
    ]
    written: str = yaml.emit(events, Dumper=Indented, allow_unicode=True, width=100)
    return written


def _events(yaml: Any, value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield yaml.MappingStartEvent(None, None, implicit=True, flow_style=not value)
        for key, item in value.items():
            yield _text(yaml, key)
            yield from _events(yaml, item)
        yield yaml.MappingEndEvent()
    elif isinstance(value, list):
        yield yaml.SequenceStartEvent(None, None, implicit=True, flow_style=not value)
        for item in value:
            yield from _events(yaml, item)
        yield yaml.SequenceEndEvent()
    else:
        yield (
            _text(yaml, value) if isinstance(value, str) else yaml.ScalarEvent(None, None, (True, True), _word(value))
        )


def _text(yaml: Any, value: str) -> Any:
    if resolve(value) == value and doubt_about(value) is None and value != "<<" and value.isprintable():
        # The emitter quotes it where its place asks for that.
        return yaml.ScalarEvent(None, None, (True, True), value)
    return yaml.ScalarEvent(None, None, (False, True), value, style='"')


def _word(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return repr(value)
