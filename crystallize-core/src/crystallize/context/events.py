"""What a cell tells while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cell", "Event"]


class Cell(NamedTuple):
    """One condition in one replicate: the unit of scheduling, failure and storage."""

    condition: str
    replicate: int

    @property
    def key(self) -> str:
        """The cell's name in ``result.errors``: ``"<condition>_rep_<replicate>"``."""
        return f"{self.condition}_rep_{self.replicate}"


class Event(NamedTuple):
    """Something that happened while a run went on: a step's ``ctx.emit`` or the engine's progress.

    The engine's own are ``run_started`` (``cells``), ``cell_retried`` (``attempt``, the number of the one that failed,
    ``step``, ``error_type``, ``error``, and ``delay``, the seconds until the next one), ``cell_finished`` (``failed``,
    ``duration``) and ``run_finished`` (``failed``).
    """

    name: str
    fields: Mapping[str, Any]
    cell: Cell | None
    time: float
    """Seconds since the epoch."""
