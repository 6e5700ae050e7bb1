"""The subcommands that other installed distributions offer: found by metadata, imported when one is used."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import Failure

if TYPE_CHECKING:
    from crystallize.hooks import PluginRecord

__all__ = ["GROUP", "installed_commands", "load_command"]

GROUP = "crystallize.commands"
"""Entry-point group through which a distribution adds subcommands."""


def installed_commands() -> dict[str, PluginRecord]:
    """Find the subcommands that other distributions offer, without importing one.

    Returns
    -------
    dict of str to PluginRecord
        By name; a record's ``problem`` says why a command cannot be used, as far as metadata tells.

    Examples
    --------
    >>> for name, record in installed_commands().items():
    ...     print(name, record.origin)
    """
    if not _somebody_offers():
        return {}
    from crystallize.hooks import find_plugins

    return {record.name: record for record in find_plugins(GROUP)}


def load_command(record: PluginRecord) -> click.Command:
    """Import an installed subcommand.

    Raises
    ------
    Failure
        It cannot be imported, or is no click command; the message names the distribution.
    """
    from crystallize.errors import PluginError
    from crystallize.hooks import load_plugin

    try:
        # Whether it is asked for JSON is not known yet: what it prints when it is imported must not be in there.
        with redirect_stdout(sys.stderr):
            command = load_plugin(record.name, GROUP)
    except PluginError as error:
        raise Failure(str(error)) from error
    if not isinstance(command, click.Command):
        message = (
            f"the command {record.name!r} ({record.origin}) is of type {type(command).__name__!r}, not a click "
            "command: its entry point must lead to what @click.command or @click.group made. "
            f"Update {record.distribution}"
        )
        raise Failure(message)
    return command


def _somebody_offers() -> bool:
    """Whether the group occurs in any distribution's metadata at all.

    Reading the entry-point files alone takes a fiftieth of the time of a full scan, for which every ``--help`` would
    pay; where this looks too hard (a zip file on the path), it says yes.
    """
    needle = GROUP.encode()
    for folder in sys.path:
        try:
            entries = list(os.scandir(folder or "."))
        except NotADirectoryError:
            return True
        except OSError:
            continue
        for entry in entries:
            if entry.name.endswith((".dist-info", ".egg-info")):
                try:
                    # pathlib alone would cost a third of what this function may take
                    with open(os.path.join(entry.path, "entry_points.txt"), "rb") as file:  # noqa: PTH118, PTH123
                        if needle in file.read():
                            return True
                except OSError:  # no entry points; or an egg-info that is a file
                    continue
    return False
