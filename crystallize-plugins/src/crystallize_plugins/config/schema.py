"""The published JSON Schema of config.yaml, and checking a document against it."""

from __future__ import annotations

import copy
import functools
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.hooks.tools import did_you_mean
from crystallize_plugins.config.reading import library
from crystallize_plugins.config.values import ListNode, MapNode, Node, ScalarNode, doubt_about, found, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize_plugins.config.problems import Problems

__all__ = ["KeyPath", "check_schema", "properties_at", "published", "schema", "shown_path"]


@functools.cache
def published() -> dict[str, Any]:
    """Return the schema itself, which nobody may change."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return loaded


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of config.yaml.

    Loading checks against this very schema, and editors that know it complete and check while one types. Beside what
    the draft defines, ``x-expected`` says in words what a value has to be.

    Returns
    -------
    dict
        A copy of its own.

    Examples
    --------
    >>> sorted(schema()["required"])
    ['datasource', 'steps']
    """
    return copy.deepcopy(published())


def properties_at(path: tuple[str | int, ...]) -> dict[str, Any] | None:
    """Return the keys that the schema names at a place, or None where any key can stand.

    Parameters
    ----------
    path : tuple
        Keys and positions from the top.

    Examples
    --------
    >>> sorted(properties_at(("cli",)))
    ['color', 'group', 'hidden', 'icon', 'priority']
    """
    at: Any = published()
    for key in path:
        if isinstance(key, int):
            at = at.get("items")
        else:
            at = at.get("properties", {}).get(key) or at.get("additionalProperties")
        if not isinstance(at, dict):
            return None
    found: dict[str, Any] | None = at.get("properties")
    return found


KeyPath = tuple[str | int, ...]
"""Keys and positions from the top of the document."""
_MOST = 1000


@functools.cache
def _validator() -> Any:
    return library("jsonschema_rs", "jsonschema-rs").Draft202012Validator(published())


def check_schema(root: Node, problems: Problems) -> set[KeyPath]:
    """Note everything in which a document differs from the schema.

    Parameters
    ----------
    root : Node
        The document.
    problems : Problems
        Takes what is wrong.

    Returns
    -------
    set of tuple
        The paths of the values that cannot be used.
    """
    data = _without_halves(plain(root))
    wrong: set[KeyPath] = set()
    differences = [*itertools.islice(_differences(data), _MOST), *_fractions(root)]
    # From the outside in: what is inside something wrong is not looked at.
    for path, keyword, rule in sorted(differences, key=lambda difference: len(difference[0])):
        if any(path[: len(other)] == other for other in wrong):
            continue
        node = _node_at(root, path)
        if keyword == "additionalProperties" and isinstance(node, MapNode):
            known = list(rule["properties"])
            for key, _ in node.pairs():
                if key.text not in known:
                    where = shown_path(path)
                    inside = f" in {where}" if where else ""
                    advice = f"{did_you_mean(key.text, known)} The keys there are: {', '.join(known)}".strip()
                    problems.add(key.place, f"the key {key.text!r} is unknown{inside}", advice)
            continue
        if keyword == "required" and isinstance(node, MapNode):
            for key in rule["required"]:
                if key not in node.entries:
                    example = f"Add it, for example `{_line(key, rule['properties'][key])}`"
                    where = shown_path(path)
                    problems.add(node.place, f"the key {key!r} is missing{f' in {where}' if where else ''}", example)
                    wrong.add((*path, key))
            continue
        wrong.add(path)
        _add(problems, path, node, rule)
    return wrong


def _differences(data: Any) -> Iterator[tuple[KeyPath, str, dict[str, Any]]]:
    """Return path, keyword and the part of the schema for each error that the library finds."""
    for error in _validator().iter_errors(data):
        rule: Any = published()
        *steps, keyword = error.schema_path
        for step in steps:
            rule = rule[step]
        yield tuple(error.instance_path), str(keyword), rule


def _fractions(root: Node) -> Iterator[tuple[KeyPath, str, dict[str, Any]]]:
    """Return the whole numbers that are written as fractions: 2.0 is an integer to a schema, and not to Python."""
    if isinstance(root, MapNode):
        for name, rule in published()["properties"].items():
            node = root.get(name)
            whole = "integer" in rule.get("type", ())
            if whole and isinstance(node, ScalarNode) and isinstance(node.value, float) and node.value.is_integer():
                yield (name,), "type", rule


def _without_halves(data: Any) -> Any:
    """Replace what the library cannot be given by something of the same type."""
    if isinstance(data, float) and data - data != 0:
        return 1e308 if data > 0 else -1e308
    if isinstance(data, list):
        return [_without_halves(item) for item in data]
    if isinstance(data, dict):
        return {key: _without_halves(item) for key, item in data.items()}
    return data


def _node_at(root: Node, path: KeyPath) -> Node:
    node = root
    for key in path:
        if isinstance(node, ListNode):
            node = node.items[int(key)]
        elif isinstance(node, MapNode):
            node = node.entries[str(key)].value
    return node


def shown_path(path: Sequence[str | int]) -> str:
    """Return a path as people write it; positions in lists are counted from 0, as overrides count them.

    Examples
    --------
    >>> shown_path(("treatments", "fast", "rate")), shown_path(("steps", 0))
    ('treatments.fast.rate', 'steps.0')
    """
    return ".".join(f'"{key}"' if isinstance(key, str) and (not key or "." in key) else str(key) for key in path)


def _add(problems: Problems, path: KeyPath, node: Node, rule: dict[str, Any]) -> None:
    what = shown_path(path) or "the document"
    problems.add(node.place, f"{what} must be {rule['x-expected']}, not {found(node)}", _advice(path, node, rule))


def _advice(path: KeyPath, node: Node, rule: dict[str, Any]) -> str:
    if not path:
        return "Write keys and values, such as `datasource: {data: load_data}`"
    if isinstance(node, ScalarNode) and (advice := _advice_on_word(node, rule)):
        return advice
    if isinstance(node, MapNode) and len(node.entries) > 1 and rule.get("maxProperties") == 1:
        return "Indent the parameters one level further than the name, or begin each item of a list with '- '"
    examples = rule.get("examples", ())
    # What has the form that was begun says more.
    wanted = dict if isinstance(node, MapNode) else list if isinstance(node, ListNode) else str
    chosen = next((example for example in examples if isinstance(example, wanted)), examples[0])
    key = path[-1]
    shown = _flow(chosen)
    return f"Write, for example, `{key}: {shown}`" if isinstance(key, str) else f"Write, for example, `- {shown}`"


def _advice_on_word(node: ScalarNode, rule: dict[str, Any]) -> str:
    doubt = None if node.quoted else doubt_about(node.text)
    kinds = rule.get("type", ())
    if doubt is not None:
        return f"{doubt.message}: write {doubt.instead}"
    if "string" in kinds and isinstance(node.value, (bool, int, float)):
        return f'Put it in quotes: "{node.text}"'
    if isinstance(node.value, float) and node.value.is_integer() and "integer" in kinds:
        return f"Write {int(node.value)}"
    return did_you_mean(node.text, [choice for choice in rule.get("enum", ()) if choice]).strip()


def _line(key: str, rule: dict[str, Any]) -> str:
    return f"{key}: {_flow(rule['examples'][0])}"


def _flow(value: Any) -> str:
    """Write an example down as YAML, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)
