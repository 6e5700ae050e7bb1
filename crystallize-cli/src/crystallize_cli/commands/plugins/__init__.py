"""``crystallize plugins``: what is installed, whether it keeps the contract, and which of it a run had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crystallize_cli.lazy import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMMANDS", "plugins"]

_HERE = __name__
COMMANDS: Mapping[str, tuple[str, str]] = {
    "list": (f"{_HERE}.listing:list_", "List what is installed, importing nothing."),
    "show": (
        f"{_HERE}.show:show",
        "Show one of them: where it comes from, its settings and the hooks in which it is called.",
    ),
    "new": (f"{_HERE}.new:new", "Make the distribution of a new plugin, with tests that pass: change it from there."),
    "check": (
        f"{_HERE}.check:check",
        "Say whether a plugin, or all that a distribution brings, keeps the contract; no experiment runs.",
    ),
    "prove": (f"{_HERE}.prove:prove", "Say whether an experiment gives the same with a plugin and without it."),
    "order": (f"{_HERE}.order:order", "Say in which order the plugins of an experiment are called, and why."),
    "lock": (f"{_HERE}.lock:lock", "Write the lock of a run's or an experiment's plugins, as JSON."),
    "compare": (f"{_HERE}.compare:compare", "Say how what is installed, or a run, differs from a lock."),
    "export": (f"{_HERE}.export:export", "Write a lock as requirements for pip, one a line."),
    "cost": (f"{_HERE}.cost:cost", "Show what the plugins of a run have cost it, the dearest first."),
}
"""Name to (where the command is, its short help): the list of commands imports none of them."""


@click.group(cls=LazyGroup, table=COMMANDS)
def plugins() -> None:
    """Look at plugins, verifiers, optimisers, seeders, commands: what is installed, and what runs had.

    Works with any of them broken: each is found by its distribution's metadata alone, and imported in a process of its
    own.
    """
