"""How far a stored run is: counted from the store, whoever writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize_cli.references import stored_name
from crystallize_cli.tui.catalog import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.errors import PipelineExecutionError
    from crystallize.hooks import Cell
    from crystallize_plugins.artifacts import StoredRun

__all__ = ["Condition", "FailedCell", "Progress", "newest_run", "read_progress"]

_FRAME = re.compile(r'File "(.+?)", line (\d+)')
_MOST_FAILURES = 200
"""Failed cells that are told one by one."""


@dataclass(slots=True)
class FailedCell:
    """A cell that failed, and how."""

    condition: str
    replicate: int
    step: str
    message: str
    traceback: str

    @property
    def key(self) -> str:
        """The cell, as commands take it."""
        return f"{self.condition}_rep_{self.replicate}"

    @property
    def place(self) -> tuple[Path, int | None] | None:
        """The line of the experiment's own code that was running."""
        frames = [(Path(file), int(line)) for file, line in _FRAME.findall(self.traceback)]
        own = [(file, line) for file, line in frames if file.is_file() and Path.cwd() in file.absolute().parents]
        return own[-1] if own else None

    def __str__(self) -> str:
        return f"{self.key}, step {self.step}: {self.message}\n{self.traceback.rstrip()}"


@dataclass(slots=True)
class Condition:
    """How far one condition is.

    Attributes
    ----------
    done, failed : int
        Cells that are stored, failed ones included, and how many failed.
    metrics : dict of str to sequence
        The values of each metric whose values are numbers, in replicate order.
    """

    name: str
    done: int = 0
    failed: int = 0
    metrics: dict[str, Sequence[float]] = field(default_factory=dict)


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    run : str
        ``name@v3``.
    path : Path
    status : str
    pid, host : int, str
        The process that writes it, or wrote it last.
    replicates : int
        How many each condition is to have.
    started : float
        Seconds since the epoch.
    conditions : dict of str to Condition
    failures : list of FailedCell
    problem : str
        Why it could not be read.
    """

    run: str
    path: Path
    status: str
    pid: int = 0
    host: str = ""
    replicates: int = 0
    started: float = 0.0
    conditions: dict[str, Condition] = field(default_factory=dict)
    failures: list[FailedCell] = field(default_factory=list)
    problem: str = ""

    @property
    def done(self) -> int:
        """How many cells are stored."""
        return sum(each.done for each in self.conditions.values())

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return sum(each.failed for each in self.conditions.values())


def newest_run(experiment: str) -> StoredRun | None:
    """Return the newest stored run of an experiment; None where there is none."""
    from crystallize.errors import CrystallizeError
    from crystallize_plugins.artifacts import StoredRun
    from crystallize_plugins.artifacts.files import layout

    try:
        stored = layout.versions(layout.experiment_folder(ROOT, experiment))
        return StoredRun(stored[-1].path) if stored else None
    except (CrystallizeError, OSError):
        return None  # it is being made, or was removed this moment


def read_progress(run: StoredRun) -> Progress:
    """Read how far a run is."""
    from crystallize.errors import CrystallizeError

    owner = run.owner
    found = Progress(stored_name(run), run.path, run.status, replicates=run.replicates, started=run.started)
    if owner is not None:
        found.pid, found.host = owner.pid, owner.host
    try:
        outcomes = run.lazy_outcomes()
        for name in outcomes.conditions:
            columns = outcomes.columns(name)
            condition = Condition(name, len(columns.replicates), len(columns.replicates) - columns.succeeded)
            for metric, column in columns.metrics.items():
                values = _numbers(column.values)
                if values is not None:
                    condition.metrics[metric] = values
            found.conditions[name] = condition
            for outcome in columns.rare:
                if outcome.error is not None and len(found.failures) < _MOST_FAILURES:
                    found.failures.append(_failure(outcome.cell, outcome.error))
    except (CrystallizeError, OSError) as error:
        found.problem = str(error)
    return found


def _numbers(values: Sequence[Any]) -> Sequence[float] | None:
    if isinstance(values, list) and not all(isinstance(value, (int, float)) for value in values):
        return None
    return values


def _failure(cell: Cell, error: PipelineExecutionError) -> FailedCell:
    message = str(error.__cause__ or error)
    return FailedCell(cell.condition, cell.replicate, error.step_name, message, error.traceback_text or str(error))
