"""What one cell leaves behind: small, picklable, the same whatever worker ran it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.context.records import Cell, Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystallize.errors import PipelineExecutionError
    from crystallize.results.trace import CellTrace

__all__ = ["ArtifactRecord", "Attempt", "Cell", "CellOutcome", "Event", "PluginFailure"]


@dataclass(slots=True)
class ArtifactRecord:
    """A file that a step wrote: its content until it is stored, its place and hash afterwards."""

    step: str
    """Name of the step's folder, ``PublishStep`` for ``publish``."""
    name: str
    data: bytes | None
    sha256: str = ""
    size: int = 0
    path: str | None = None
    """Absolute path once stored."""


@dataclass(frozen=True, slots=True)
class PluginFailure:
    """An error of a plugin that was kept as data instead of stopping anything."""

    plugin: str
    distribution: str | None
    version: str | None
    hook: str
    cell: Cell | None
    error: str
    """Type and text of what was raised."""
    traceback: str = ""


class Attempt(NamedTuple):
    """An attempt at a cell that failed and was followed by another one."""

    number: int
    """Counted from 1."""
    step: str
    """Where it failed; see `PipelineExecutionError.step_name`."""
    error_type: str
    """The class name of what was raised."""
    error: str
    """Its text."""
    duration: float
    """Seconds."""


@dataclass(slots=True)
class CellOutcome:
    """What running one cell gave.

    Attributes
    ----------
    cell : Cell
    metrics : mapping of str to sequence
        Every recorded value in order of recording; empty where the cell failed.
    seed : int or None
        ``seed_used``.
    error : PipelineExecutionError or None
    artifacts : sequence of ArtifactRecord
    provenance : CellTrace or None
        What each step read, wrote and recorded, and how long it took, in compact form.
    duration : float
        Seconds.
    worker : str
        Who ran it: ``"main"``, ``"thread-0"``, ``"process-1"``, …
    events : sequence of Event
        What the cell emitted while nobody listened live.
    plugin_failures : sequence of PluginFailure
    tags : mapping
        ``{metric: {index: tags}}`` for values recorded with tags.
    payload : object
        The final data; kept for ``apply`` only and never pickled.
    reports : sequence of tuple
        What an optimiser heard of the cell while it ran: ``(order, name, value, step)``, `order` counted over all
        cells. Added in the coordinator.
    attempts : sequence of Attempt
        The attempts before the one that this outcome is of; all of them failed.
    started : float
        When the attempt began, in seconds since the epoch, by the worker's clock; 0 where no worker began it.
    host : str
        The name of the machine that ran it; empty where none did.
    """

    cell: Cell
    metrics: Mapping[str, Sequence[Any]]
    seed: int | None = None
    error: PipelineExecutionError | None = None
    artifacts: Sequence[ArtifactRecord] = ()
    provenance: CellTrace | None = None
    duration: float = 0.0
    worker: str = "main"
    events: Sequence[Event] = ()
    plugin_failures: Sequence[PluginFailure] = ()
    tags: Mapping[str, Mapping[int, Mapping[str, Any]]] = field(default_factory=dict)
    payload: Any = None
    reports: Sequence[tuple[int, str, float, int]] = ()
    attempts: Sequence[Attempt] = ()
    started: float = 0.0
    host: str = ""

    @property
    def ok(self) -> bool:
        """Whether the cell ran to its end."""
        return self.error is None

    def __getstate__(self) -> tuple[Any, ...]:
        # As a tuple without the payload: what travels between processes stays small.
        return (
            tuple(self.cell), self.metrics, self.seed, self.error, self.artifacts, self.provenance,
            self.duration, self.worker, self.events, self.plugin_failures, self.tags, self.attempts,
            self.started, self.host,
        )  # fmt: skip

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        (
            cell, self.metrics, self.seed, self.error, self.artifacts, self.provenance,
            self.duration, self.worker, self.events, self.plugin_failures, self.tags, self.attempts,
            self.started, self.host,
        ) = state  # fmt: skip
        self.cell = Cell(*cell)
        self.payload = None
        self.reports = ()
