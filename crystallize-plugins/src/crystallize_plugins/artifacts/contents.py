"""The rows of a run's database as the objects that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.errors import StoreError
from crystallize.results import ArtifactRecord, Cell, ConditionRecord, StepRecord
from crystallize_plugins.artifacts.cells import CellReader
from crystallize_plugins.artifacts.checksum import unseal
from crystallize_plugins.artifacts.decoding import decode
from crystallize_plugins.artifacts.facts import Session
from crystallize_plugins.artifacts.owner import Owner
from crystallize_plugins.artifacts.shapes import CONTEXT

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from crystallize.results import CellOutcome

__all__ = ["artifacts", "cell_states", "condition_names", "condition_records", "documents", "last_session", "outcomes"]


def last_session(source: sqlite3.Connection) -> Session:
    """Give the last process' work on the run."""
    rows = source.execute("SELECT host, pid, process, ended, stopped_by FROM session ORDER BY id DESC LIMIT 1")
    host, pid, process, ended, stopped_by = rows.fetchone()
    return Session(Owner(host, pid, process), ended, stopped_by)


def documents(source: sqlite3.Connection) -> dict[str, Any]:
    """Give what was known at the end; nothing where the run was cut short."""
    rows = source.execute("SELECT name, body FROM document")
    return {name: decode(unseal(body, what=f"the record of the run's {name}")) for name, body in rows}


def condition_names(source: sqlite3.Connection) -> dict[int, str]:
    """Give the conditions by number."""
    return dict(source.execute("SELECT id, name FROM condition ORDER BY id").fetchall())


def condition_records(source: sqlite3.Connection) -> dict[str, ConditionRecord]:
    """Give what was recorded of each condition, by name."""
    records = {}
    read = _read_contexts(source)
    for number, name, body in source.execute("SELECT id, name, record FROM condition ORDER BY id"):
        parts = decode(unseal(body, what=f"the record of condition {name!r}"))
        steps = [StepRecord(step, params, tuple(injected)) for step, params, injected in parts["steps"]]
        context = {**parts["context"], **read.get(number, {})}
        records[name] = ConditionRecord(name, context, steps)
    return records


def _read_contexts(source: sqlite3.Connection) -> dict[int, dict[str, Any]]:
    """Give what was read of large contexts, by the number of the condition."""
    read: dict[int, dict[str, Any]] = {}
    for number, body in source.execute("SELECT id, body FROM shape WHERE kind = ? ORDER BY id", (CONTEXT,)):
        condition, values = decode(unseal(body, what=f"the {CONTEXT} shape {number}"))
        read.setdefault(condition, {}).update(values)
    return read


def cell_states(source: sqlite3.Connection) -> dict[Cell, bool]:
    """Give the cells that ran, and whether each succeeded."""
    reader = _reader(source)
    return {cell: succeeded for records in _groups(source) for cell, succeeded in reader.cells(records)}


def outcomes(source: sqlite3.Connection) -> dict[Cell, CellOutcome]:
    """Give the cells that ran, without their artifacts; one that was run again as it was the last time."""
    reader = _reader(source)
    return {outcome.cell: outcome for records in _groups(source) for outcome in reader.outcomes(records)}


def artifacts(source: sqlite3.Connection, folder: Path) -> dict[Cell, list[ArtifactRecord]]:
    """Give the files that cells wrote, with their paths in `folder`.

    Raises
    ------
    StoreError
        A path leads out of the folder, as it can only in a database that somebody tampered with.
    """
    stored: dict[Cell, dict[tuple[str, str], ArtifactRecord]] = {}
    rows = source.execute("SELECT condition, replicate, step, name, sha256, size, path FROM artifact ORDER BY id")
    for condition, replicate, step, name, digest, size, location in rows:
        record = ArtifactRecord(step, name, None, digest, size, str(_inside(folder, location)))
        stored.setdefault(Cell(condition, replicate), {})[step, name] = record
    return {cell: list(records.values()) for cell, records in stored.items()}


def _inside(folder: Path, location: str) -> Path:
    parts = location.split("/")
    if any(part in ("", ".", "..") or set("\\:\0") & set(part) for part in parts):
        raise StoreError(f"it names a file outside of the run's folder: {location!r}")
    return folder.joinpath(*parts)


def _reader(source: sqlite3.Connection) -> CellReader:
    shapes = {
        number: (kind, decode(unseal(body, what=f"the {kind} shape {number}")))
        for number, kind, body in source.execute("SELECT id, kind, body FROM shape")
    }
    return CellReader(condition_names(source), shapes)


def _groups(source: sqlite3.Connection) -> Iterator[memoryview]:
    for number, body in source.execute("SELECT id, body FROM cells ORDER BY id"):
        yield unseal(body, what=f"group {number} of the cells")
