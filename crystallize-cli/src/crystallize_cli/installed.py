"""The subcommands that other installed distributions offer: found by metadata, imported by nobody here."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GROUP", "InstalledCommand", "installed_commands"]

GROUP = "crystallize.commands"
"""Entry-point group through which a distribution adds subcommands."""


class InstalledCommand(NamedTuple):
    """An entry point of `GROUP`, not yet imported."""

    name: str
    distribution: str
    version: str
    entry_point: Any
    """An `importlib.metadata.EntryPoint`."""

    @property
    def origin(self) -> str:
        """The distribution and its version, as messages name it."""
        return f"{self.distribution} {self.version}"


def installed_commands() -> Mapping[str, tuple[InstalledCommand, ...]]:
    """Find the subcommands that other distributions offer.

    Returns
    -------
    mapping of str to tuple of InstalledCommand
        By name of the command; more than one where distributions clash.

    Examples
    --------
    >>> for name, offers in installed_commands().items():
    ...     print(name, [offer.origin for offer in offers])
    """
    if not _somebody_offers():
        return {}
    from importlib import metadata

    found: dict[str, tuple[InstalledCommand, ...]] = {}
    seen = set()
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        key = str(name).lower().replace("_", "-").replace(".", "-")
        if key in seen:  # the same distribution again, further down the path
            continue
        seen.add(key)
        for entry_point in distribution.entry_points:
            if entry_point.group == GROUP:
                command = InstalledCommand(entry_point.name, name, distribution.version, entry_point)
                found[entry_point.name] = (*found.get(entry_point.name, ()), command)
    return found


def _somebody_offers() -> bool:
    """Whether the group occurs in any metadata at all.

    Reading the entry-point files alone takes a tenth of the time of `importlib.metadata`, which
    every ``--help`` would pay for; where this looks too hard (a zip file on the path), it says yes.
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
