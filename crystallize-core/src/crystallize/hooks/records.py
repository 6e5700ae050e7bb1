"""Records of the contract that no other room defines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crystallize.results.outcome import PluginFailure

__all__ = ["WorkerReport"]


@dataclass(slots=True)
class WorkerReport:
    """What a worker has to tell at the end: errors that belong to no cell.

    Attributes
    ----------
    errors : list of (str, str, str)
        Key in ``result.errors``, text, traceback's text.
    plugin_failures : list of PluginFailure
    setup : dict of str to object
        What ``setup`` added to the context, described.
    """

    errors: list[tuple[str, str, str]] = field(default_factory=list)
    plugin_failures: list[PluginFailure] = field(default_factory=list)
    setup: dict[str, Any] = field(default_factory=dict)

    def absorb(self, other: WorkerReport) -> None:
        """Take in what another process, or an earlier attempt to stop, has to tell."""
        self.errors.extend(other.errors)
        self.plugin_failures.extend(other.plugin_failures)
        self.setup.update(other.setup)
