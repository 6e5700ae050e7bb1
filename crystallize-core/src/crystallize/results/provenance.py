"""What happened in each cell, as mappings that are computed when somebody looks.

A run keeps, beside its metrics, a few columns per condition and the compact `CellTrace` of each cell;
the dictionaries that people read are made from them on access and not kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import ChainMap
from collections.abc import ItemsView, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, SupportsIndex, cast, overload

from crystallize.errors import UnknownNameError
from crystallize.names import did_you_mean
from crystallize.results.description import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crystallize.errors import PipelineExecutionError
    from crystallize.results.columns import CellColumns, MetricColumn
    from crystallize.results.outcome import ArtifactRecord, Attempt
    from crystallize.results.trace import CellTrace, StepShape

__all__ = [
    "ABSENT",
    "ArtifactsView",
    "ByCondition",
    "ByReplicate",
    "ConditionLog",
    "ConditionRecord",
    "Conditions",
    "StepRecord",
    "describe",
]

ABSENT = "<absent>"
"""Stands for the value of a key that a step looked for and that was not in the context."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step of the pipeline as one condition runs it.

    Attributes
    ----------
    name : str
    params : mapping of str to object
        The parameters with which every cell begins, described (`describe`).
    injected : sequence of str
        Keys with which the context supplies parameters, ``parameter`` or ``step.parameter``; what a cell writes under
        such a key replaces the value in `params`, and the last one that is there counts.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    injected: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ConditionRecord:
    """A condition of the run.

    Attributes
    ----------
    name : str
    context : mapping of str to object
        What every cell of the condition starts with, described (`describe`): initial context and treatment.
    steps : sequence of StepRecord
    unread : tuple of str
        Keys that its treatment sets and that none of its successful cells has read: they changed nothing.
    """

    name: str
    context: Mapping[str, Any] = field(default_factory=dict)
    steps: Sequence[StepRecord] = ()
    unread: tuple[str, ...] = ()


class Conditions(tuple[ConditionRecord, ...]):
    """The conditions of a run, in order; by their names, too.

    Examples
    --------
    >>> conditions = Conditions([ConditionRecord("baseline"), ConditionRecord("fast", unread=("rate",))])
    >>> conditions[0].name, conditions["fast"].unread
    ('baseline', ('rate',))
    """

    __slots__ = ()

    @overload
    def __getitem__(self, key: str | SupportsIndex) -> ConditionRecord: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[ConditionRecord, ...]: ...
    def __getitem__(self, key: str | SupportsIndex | slice) -> ConditionRecord | tuple[ConditionRecord, ...]:
        if not isinstance(key, str):
            return super().__getitem__(key)
        for record in self:
            if record.name == key:
                return record
        names = [record.name for record in self]
        raise UnknownNameError(
            f"the run has no condition {key!r}; its conditions: {', '.join(names)}.{did_you_mean(key, names)}"
        )


class ConditionLog:
    """What is kept of one condition: its record, its cells by column, and what few of them have."""

    __slots__ = ("attempts", "columns", "failed", "pruned", "record")

    def __init__(self, record: ConditionRecord, columns: CellColumns) -> None:
        self.record = record
        self.columns = columns
        self.failed: dict[int, PipelineExecutionError] = {}
        self.pruned: dict[int, PipelineExecutionError] = {}
        self.attempts: dict[int, Sequence[Attempt]] = {}
        for outcome in columns.rare:
            if outcome.error is not None:
                self.failed[outcome.cell.replicate] = outcome.error
            if outcome.attempts:
                self.attempts[outcome.cell.replicate] = outcome.attempts

    @property
    def replicates(self) -> Sequence[int]:
        """Those that ran, in order."""
        return self.columns.replicates

    @property
    def succeeded(self) -> int:
        """How many cells ran to their end."""
        return len(self.columns.replicates) - len(self.failed) - len(self.pruned)

    def part_pruned(self) -> None:
        """Tell the cells that were pruned from those that failed."""
        self.pruned = {replicate: error for replicate, error in self.failed.items() if error.pruned}
        for replicate in self.pruned:
            del self.failed[replicate]

    def position(self, replicate: object) -> int:
        """Return the index of a replicate's entry; raise `KeyError` where it did not run."""
        return self.columns.position(replicate)

    def steps_of(self, replicate: int) -> list[dict[str, Any]]:
        """Return what each step of a cell did, in order."""
        trace = self.columns.traces[self.position(replicate)]
        if trace is None:
            return []
        reader = _CellReader(self, replicate, trace)
        reader.read(trace.shape.before)
        described = []
        for number, shape in enumerate(trace.shape.steps):
            step = self.record.steps[number] if number < len(self.record.steps) else None
            duration = trace.durations[number] if number < len(trace.durations) else None
            described.append(
                {
                    "step": shape.name,
                    "params": {} if step is None else reader.params(step),
                    "cache_hit": shape.cache_hit,
                    **reader.read(shape),
                    "duration": duration,
                }
            )
        return described

    def before_of(self, replicate: int) -> dict[str, Any]:
        """Return what happened in a cell before its first step."""
        trace = self.columns.traces[self.position(replicate)]
        if trace is None:
            return {"reads": {}, "writes": {}, "metrics": {}}
        return _CellReader(self, replicate, trace).read(trace.shape.before)


class _CellReader:
    """Follows one cell through its steps: which keys exist by then, and which metrics have been recorded."""

    def __init__(self, log: ConditionLog, replicate: int, trace: CellTrace) -> None:
        position = log.position(replicate)
        self._written = trace.written or {}
        own: dict[str, Any] = {"replicate": replicate, "condition": log.record.name}
        seed = log.columns.seeds[position]
        if seed is not None and "seed_used" not in log.record.context:
            own["seed_used"] = seed
        # In layers, since the context may be large and describes each value when it is asked for.
        self._constant = ChainMap(own, cast("dict[str, Any]", log.record.context))
        failed = replicate in log.failed or replicate in log.pruned
        self._values: Mapping[str, MetricColumn] = {} if failed else log.columns.metrics
        self._replicate = replicate
        self._recorded: dict[str, int] = {}
        self._added: set[str] = set()

    def params(self, step: StepRecord) -> dict[str, Any]:
        params = dict(step.params)
        for key in step.injected:
            if self._has(key) and (key in self._written or "." in key):
                params[key.rpartition(".")[2]] = self._value(key)
        return params

    def read(self, shape: StepShape) -> dict[str, Any]:
        self._added.update(shape.writes)
        return {
            "reads": {key: self._value(key) if self._has(key) else ABSENT for key in shape.reads},
            "writes": {key: self._value(key) for key in shape.writes},
            "metrics": {name: self._take(name, count) for name, count in shape.metrics},
        }

    def _has(self, key: str) -> bool:
        return key in self._added or key in self._constant

    def _value(self, key: str) -> Any:
        return describe(self._written[key] if key in self._written else self._constant.get(key), key=key)

    def _take(self, name: str, count: int) -> list[Any]:
        column = self._values.get(name)
        if column is None:
            return []
        start = bisect_left(column.replicates, self._replicate) + self._recorded.get(name, 0)
        self._recorded[name] = self._recorded.get(name, 0) + count
        return [*column.values[start : start + count]]


class ByReplicate(Mapping[int, Any]):
    """Something about each cell of a condition, by replicate, computed on access.

    Parameters
    ----------
    log : ConditionLog
    look : callable
        What computes the value for a condition's log and a replicate.
    """

    __slots__ = ("_log", "_look")

    def __init__(self, log: ConditionLog, look: Callable[[ConditionLog, int], Any]) -> None:
        self._log = log
        self._look = look

    def __getitem__(self, replicate: int) -> Any:
        return self._look(self._log, replicate)

    def __contains__(self, replicate: object) -> bool:
        try:
            self._log.position(replicate)
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[int]:
        return iter(self._log.replicates)

    def __len__(self) -> int:
        return len(self._log.replicates)

    def __repr__(self) -> str:
        return f"<{len(self)} replicates of {self._log.record.name!r}>"


class ByCondition(dict[str, list[Any]]):
    """A column of each condition, made into a list when somebody looks at it; to be read.

    A dictionary, so that `json` and others who ask for one take it.

    Parameters
    ----------
    logs : mapping of str to ConditionLog
    look : callable
        What gives the column of a condition's log.
    """

    __slots__ = ("_logs", "_look")

    def __init__(self, logs: Mapping[str, ConditionLog], look: Callable[[ConditionLog], Iterable[Any]]) -> None:
        super().__init__(dict.fromkeys(logs, ()))  # type: ignore[arg-type]
        self._logs = logs
        self._look = look

    def __getitem__(self, condition: str) -> list[Any]:
        return list(self._look(self._logs[condition]))

    # `dict` copies past `__getitem__` what is iterated over by its own method.
    def __iter__(self) -> Iterator[str]:
        return iter(self._logs)

    def get(self, condition: str, default: Any = None) -> Any:
        """Return the column of a condition, or the default where there is no such condition."""
        return self[condition] if condition in self else default  # noqa: SIM401 - that is what this defines

    def values(self) -> ValuesView[list[Any]]:  # type: ignore[override]
        """Return the columns."""
        return ValuesView(self)

    def items(self) -> ItemsView[str, list[Any]]:  # type: ignore[override]
        """Return the conditions, each with its column."""
        return ItemsView(self)

    def copy(self) -> dict[str, list[Any]]:
        """Return a dictionary of lists."""
        return dict(self)

    def __eq__(self, other: object) -> bool:
        return dict(self) == other

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def __repr__(self) -> str:
        return repr(dict(self))


class ArtifactsView(Sequence[dict[str, Any]]):
    """Every file that a step wrote, in the order of conditions and replicates, described on access.

    Parameters
    ----------
    logs : mapping of str to ConditionLog
    failed : bool, default False
        Whether those of the cells that failed are meant, not those of the others.
    """

    __slots__ = ("_failed", "_logs")

    def __init__(self, logs: Mapping[str, ConditionLog], *, failed: bool = False) -> None:
        self._logs = logs
        self._failed = failed

    def records(self) -> Iterator[tuple[str, int, ArtifactRecord]]:
        """Return condition, replicate and record of each file."""
        for name, log in self._logs.items():
            for replicate, record in log.columns.artifacts:
                if (replicate in log.failed) is self._failed:
                    yield name, replicate, record

    def __len__(self) -> int:
        return sum(1 for _ in self.records())

    def __getitem__(self, index: Any) -> Any:
        found = list(self.records())[index]
        return list(map(_artifact_entry, found)) if isinstance(index, slice) else _artifact_entry(found)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(_artifact_entry, self.records())

    def __repr__(self) -> str:
        return f"<{len(self)} artifacts>"


def _artifact_entry(found: tuple[str, int, ArtifactRecord]) -> dict[str, Any]:
    condition, replicate, record = found
    return {
        "condition": condition,
        "replicate": replicate,
        "step": record.step,
        "name": record.name,
        "path": record.path,
        "sha256": record.sha256,
        "size": record.size,
    }
