"""What is known of a run before its first cell: the row ``run`` of the database, and the beginning of ``run.json``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from crystallize.hooks.tools import mask_text
from crystallize_plugins.artifacts.database.owner import Owner
from crystallize_plugins.artifacts.files.readable import read_entries

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize.hooks import ExperimentView
    from crystallize_plugins.artifacts.database.connection import RunDatabase

__all__ = ["RunFacts", "Session", "checked_session", "facts_from_file", "facts_from_row", "facts_of", "moment"]


Record = TypeVar("Record", bound=NamedTuple)

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,), "str | None": (str, type(None)), "int": (int,), "int | None": (int, type(None)), "bool": (bool,),
    "float": (float, int), "float | None": (float, int, type(None)),
}  # fmt: skip
_YEAR_9999 = 253_402_214_400.0
_LARGEST = {"replicates": 2**40, "pid": 2**32, "started": _YEAR_9999, "ended": _YEAR_9999}


class RunFacts(NamedTuple):
    """A run, as far as it is known when it starts."""

    id: str
    experiment: str
    description: str | None
    kind: str
    strategy: str
    replicates: int
    seed: int | None
    started: float
    """Seconds since the epoch."""
    versioned: bool

    def row(self) -> tuple[Any, ...]:
        """Give the row of the table ``run``."""
        # As text, since an integer of the database has 64 bits.
        seed = None if self.seed is None else str(self.seed)
        return (*self._replace(seed=None, versioned=False)[:6], seed, self.started, int(self.versioned))

    def entries(self) -> dict[str, Any]:
        """Give the entries of ``run.json``."""
        return {**self._asdict(), "started": moment(self.started)}


class Session(NamedTuple):
    """One process' work on a run."""

    owner: Owner
    run: str
    """What tells that call of `run` from all others."""
    started: float = 0.0
    ended: float | None = None
    stopped_by: str | None = None
    """Type of what ended the run early: ``"KeyboardInterrupt"``, say."""

    def row(self) -> tuple[Any, ...]:
        """Give the row of the table ``session``, without its number."""
        return (self.run, *self.owner, self.started, self.ended, self.stopped_by)


def facts_of(experiment: ExperimentView, *, versioned: bool) -> RunFacts:
    """Gather the facts of a run that is about to start."""
    run = experiment.run
    return RunFacts(
        run.id,
        experiment.name or experiment.id,
        experiment.description and mask_text(experiment.description),
        run.kind,
        run.strategy,
        experiment.replicates,
        run.seed,
        run.started,
        versioned,
    )


def facts_from_row(source: RunDatabase) -> RunFacts | None:
    """Read the row ``run``; None where the first commit was never made."""
    row = next(source.rows("run"), None)
    if row is None:
        return None
    facts = RunFacts(*row)
    seed = None if facts.seed is None else int(facts.seed)
    return _checked(facts._replace(seed=seed, versioned=bool(facts.versioned)), RunFacts)


def facts_from_file(folder: Path) -> tuple[RunFacts, Session] | None:
    """Read the beginning of ``run.json``; None where there is none, or it was cut off."""
    try:
        entries = read_entries(folder)
        started = dt.datetime.fromisoformat(entries["started"]).timestamp()
        facts = RunFacts(**{name: entries[name] for name in RunFacts._fields if name != "started"}, started=started)
        duration = entries.get("duration")
        ended = None if duration is None else started + duration
        session = Session(Owner(**entries["owner"]), facts.id, started, ended, entries.get("stopped_by"))
        return _checked(facts, RunFacts), checked_session(session)
    except (ArithmeticError, OSError, KeyError, TypeError, ValueError):
        return None


def checked_session(session: Session) -> Session:
    """Return what is said of a process, if it is of the types that it is declared with.

    Raises
    ------
    ValueError
        It is not: somebody forged it, and would have it asked of the system.
    """
    _checked(session.owner, Owner)
    return _checked(session, Session)


def _checked(record: Record, kind: type[Record]) -> Record:
    """Return a record whose values are of the types that are declared, and in the bounds of what there can be."""
    for name, declared in kind.__annotations__.items():
        value = getattr(record, name)
        if declared in _TYPES and not isinstance(value, _TYPES[declared]):
            raise ValueError(f"{name} is {value!r:.80}, which is no {declared}")
        if name in _LARGEST and value is not None and not 0 <= value <= _LARGEST[name]:
            raise ValueError(f"{name} is {value!r:.80}")
    return record


def moment(seconds: float) -> str:
    """Give a moment as people and machines read it, in UTC."""
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat()
