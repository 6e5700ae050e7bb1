"""The published JSON Schema of config.yaml: the one place that says which keys there are and what they take."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

__all__ = ["properties_at", "published", "schema"]


@functools.cache
def published() -> dict[str, Any]:
    """Give the schema itself, which nobody may change."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return loaded


def schema() -> dict[str, Any]:
    """Give the JSON Schema (draft 2020-12) of config.yaml.

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
    """Give the keys that the schema names at a place, or None where any key can stand.

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
