"""Comparing what two runs have under the same names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize_plugins.artifacts.database.typed_json import encode
from crystallize_plugins.runs.differences import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crystallize_plugins.runs.compared_run import ComparedRun

__all__ = ["flat", "mappings", "recorded", "same_value", "unknown", "values"]

_DEEPEST = 50


def same_value(first: Any, second: Any) -> bool:
    """Whether two recorded values are the same bit by bit: NaN is NaN, and 0.0 is not -0.0.

    The order of a mapping's keys does not count: it may come from a set, whose order is another in each process.
    """
    if encode(first).text == encode(second).text:
        return True
    return encode(_in_order(first, _DEEPEST)).text == encode(_in_order(second, _DEEPEST)).text


def _in_order(value: Any, depth: int) -> Any:
    kind = type(value)
    if depth and kind in (list, tuple):
        return kind(_in_order(item, depth - 1) for item in value)
    if depth and kind is dict:
        items = sorted(value.items(), key=lambda item: encode(item[0]).text)
        return {key: _in_order(item, depth - 1) for key, item in items}
    return value


def recorded(name: str, first: ComparedRun, second: ComparedRun) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return a fact of both runs; None where one of them has recorded nothing, or only why nothing could be."""
    ours, theirs = first.facts.get(name), second.facts.get(name)
    if _is_recorded(ours) and _is_recorded(theirs):
        return ours, theirs  # type: ignore[return-value]
    return None


def unknown(part: str, name: str, first: ComparedRun, second: ComparedRun) -> Iterator[Difference]:
    """Yield that a fact cannot be compared, unless both runs lack it."""
    if first.facts.get(name) != second.facts.get(name):
        yield Difference(part, name, "unknown", detail="not recorded by both runs")


def _is_recorded(fact: Any) -> bool:
    return isinstance(fact, dict) and set(fact) != {"reason"}


def values(part: str, name: str, first: Any, second: Any) -> Iterator[Difference]:
    """Compare two values under one name."""
    if not same_value(first, second):
        yield Difference(part, name, "changed", first, second)


def mappings(part: str, prefix: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Difference]:
    """Compare two mappings, key by key."""
    for key in (*first, *(key for key in second if key not in first)):
        if key not in second:
            yield Difference(part, f"{prefix}{key}", "removed", first[key])
        elif key not in first:
            yield Difference(part, f"{prefix}{key}", "added", None, second[key])
        else:
            yield from values(part, f"{prefix}{key}", first[key], second[key])


def flat(facts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, lists as text."""
    found: dict[str, Any] = {}
    for key, value in facts.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{key} "))
        else:
            found[f"{prefix}{key}"] = " ".join(map(str, value)) if isinstance(value, list) else value
    return found
