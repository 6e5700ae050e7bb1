"""What other distributions can add: the kinds, their entry-point groups, and finding one by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode, Failure

if TYPE_CHECKING:
    from crystallize.hooks import PluginRecord

__all__ = ["GROUPS", "find_installed", "installed", "kind_of", "kind_option"]

GROUPS = {
    "plugin": "crystallize.plugins",
    "verifier": "crystallize.verifiers",
    "optimizer": "crystallize.optimizers",
    "seeder": "crystallize.seeders",
    "config": "crystallize.configs",
    "report": "crystallize.reports",
    "command": "crystallize.commands",
}
"""What can be installed, and its entry-point group."""

kind_option = click.option("--kind", type=click.Choice(list(GROUPS)), help="Only what is of this kind.")


def installed(kind: str | None = None) -> list[tuple[str, PluginRecord]]:
    """Return kind and record of everything that is installed, by metadata alone.

    Parameters
    ----------
    kind : str, optional
        One of `GROUPS`; by default all of them.
    """
    from crystallize.hooks import find_plugins

    return [
        (found, record) for found, group in GROUPS.items() if kind in (None, found) for record in find_plugins(group)
    ]


def kind_of(record: PluginRecord) -> str:
    """Return the kind of what a record stands for."""
    return next(kind for kind, group in GROUPS.items() if group == record.group)


def find_installed(name: str, kind: str | None = None) -> list[tuple[str, PluginRecord]]:
    """Return what is installed under a name: usually one, several where kinds or distributions share it.

    Raises
    ------
    Failure
        There is nothing of that name; with the nearest.
    """
    known = installed(kind)
    found = [(each, record) for each, record in known if record.name == name]
    if not found:
        from crystallize.hooks.tools import did_you_mean

        raise Failure(
            f"nothing that is installed is called {name!r}.{did_you_mean(name, [record.name for _, record in known])} "
            "`crystallize plugins list` shows what is there",
            ExitCode.NOTHING,
        )
    return found
