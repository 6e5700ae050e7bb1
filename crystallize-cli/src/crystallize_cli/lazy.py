"""A group of subcommands of which each is imported when it is used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group whose subcommands are listed with their short help before any of them is imported.

    Parameters
    ----------
    table : mapping of str to tuple of str
        By name, where a command is, ``"package.module:attribute"``, and the sentence that the help shows.
    **options
        As for `click.Group`.
    """

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of all subcommands."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and give the subcommand of a name, or None where there is none."""
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def rows(self, ctx: click.Context) -> Iterable[tuple[str, str]]:
        """Return the name and the short help of each subcommand."""
        return [(name, self.table[name][1]) for name in self.list_commands(ctx)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing one."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.rows(ctx)))
