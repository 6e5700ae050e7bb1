"""The hook contract as data, so that one version can be compared with another."""

from __future__ import annotations

import inspect
from typing import Any

from crystallize.hooks.base import BasePlugin
from crystallize.hooks.deprecations import DEPRECATIONS
from crystallize.hooks.roles import ExecutorPlugin, RunCell, SeederPlugin, StorePlugin
from crystallize.hooks.specs import CONTRACT, HOOKS, HookSpecs
from crystallize.results.description import describe

__all__ = ["contract_description"]

_ROLES = (BasePlugin, ExecutorPlugin, RunCell, SeederPlugin, StorePlugin)


def contract_description() -> dict[str, Any]:
    """Return the contract between the core and plugins, as data that JSON has.

    Returns
    -------
    dict
        ``contract``, its version; ``hooks``, by name, with the ``arguments``, ``returns``, ``place``, ``first_result``,
        ``undeclared`` and ``since`` of each; ``roles``, by class, with what they declare and their methods; ``names``,
        what ``crystallize.hooks`` publishes; ``deprecations``.

    Examples
    --------
    >>> contract_description()["hooks"]["collect"]["arguments"]
    ['experiment', 'outcome']
    """
    from crystallize import hooks

    return {
        "contract": CONTRACT,
        "hooks": {
            name: {
                "arguments": list(spec.arguments),
                "returns": str(inspect.signature(getattr(HookSpecs, name)).return_annotation),
                "place": spec.place,
                "first_result": spec.first_result,
                "undeclared": spec.undeclared,
                "since": spec.since,
            }
            for name, spec in HOOKS.items()
        },
        "roles": {role.__name__: _members(role) for role in _ROLES},
        "names": sorted(hooks.__all__),
        "deprecations": [
            {
                "hook": each.hook,
                "argument": each.argument,
                "since": each.since,
                "removed_in": each.removed_in,
                "instead": each.instead,
            }
            for each in DEPRECATIONS
        ],
    }


def _members(role: type) -> dict[str, Any]:
    """Return what a class says of itself: attributes with their defaults, methods with their parameters."""
    found: dict[str, Any] = {}
    for name, member in sorted(vars(role).items()):
        if name in HOOKS or (name.startswith("_") and name != "__call__"):
            continue
        if callable(member):
            found[name] = list(inspect.signature(member).parameters)[1:]
        else:
            found[name] = "property" if isinstance(member, property) else describe(member)
    return found
