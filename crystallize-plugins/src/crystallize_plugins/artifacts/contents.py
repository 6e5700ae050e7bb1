"""The rows of a run's database as the objects that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.errors import DamagedStoreError
from crystallize.hooks import ArtifactRecord, Cell, ConditionRecord, StepRecord
from crystallize_plugins.artifacts.cells import CellReader
from crystallize_plugins.artifacts.checksum import unseal_groups
from crystallize_plugins.artifacts.decoding import decode
from crystallize_plugins.artifacts.facts import RunFacts, Session
from crystallize_plugins.artifacts.owner import Owner
from crystallize_plugins.artifacts.schema import FIRST_VERSION
from crystallize_plugins.artifacts.shapes import CONTEXT
from crystallize_plugins.artifacts.table import CellTable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from crystallize_plugins.artifacts.database import RunDatabase

__all__ = [
    "artifacts",
    "cell_table",
    "check_every_row",
    "condition_names",
    "condition_records",
    "documents",
    "last_session",
]

SESSION = ("id", "run", "place", "host", "pid", "process", "started", "ended", "stopped_by")
FIRST_SESSION = tuple(name for name in SESSION if name not in ("run", "place"))
INPUT = ("replicate", "condition", "digest")
ARTIFACT = ("replicate", "condition", "step", "name", "path", "size", "sha256")


def last_session(source: RunDatabase) -> Session:
    """Give the last process' work on the run."""
    columns = SESSION if source.version > FIRST_VERSION else FIRST_SESSION
    row = next(source.rows("session", columns, "ORDER BY id DESC LIMIT 1"), None)
    if row is None:
        raise DamagedStoreError("nothing says who wrote it")
    if source.version == FIRST_VERSION:
        (run,) = source.execute("SELECT id FROM run").fetchone()
        row = (row[0], run, "", *row[1:])
    _, run, place, host, pid, process, started, ended, stopped_by = row
    return Session(Owner(host, pid, process), run, place, started, ended, stopped_by)


def documents(source: RunDatabase) -> dict[str, Any]:
    """Give what was known at the end; nothing where the run was cut short."""
    rows = source.execute("SELECT name, body FROM document")
    return {name: decode(source.unseal(body, name, what=f"the record of the run's {name}")) for name, body in rows}


def condition_names(source: RunDatabase) -> dict[int, str]:
    """Give the conditions by number."""
    names = {}
    for number, name, record in source.execute("SELECT id, name, record FROM condition ORDER BY id"):
        source.unseal(record, number, name, what=f"the record of condition {name!r}")
        names[number] = name
    return names


def condition_records(source: RunDatabase) -> dict[str, ConditionRecord]:
    """Give what was recorded of each condition, by name."""
    records = {}
    read = _read_contexts(source)
    for number, name, body in source.execute("SELECT id, name, record FROM condition ORDER BY id"):
        parts = decode(source.unseal(body, number, name, what=f"the record of condition {name!r}"))
        steps = [StepRecord(step, params, tuple(injected)) for step, params, injected in parts["steps"]]
        context = {**parts["context"], **read.get(number, {})}
        records[name] = ConditionRecord(name, context, steps)
    return records


def _read_contexts(source: RunDatabase) -> dict[int, dict[str, Any]]:
    """Give what was read of large contexts, by the number of the condition."""
    read: dict[int, dict[str, Any]] = {}
    for number, body in source.execute("SELECT id, body FROM shape WHERE kind = ? ORDER BY id", (CONTEXT,)):
        condition, values = decode(source.unseal(body, number, CONTEXT, what=f"the {CONTEXT} shape {number}"))
        read.setdefault(condition, {}).update(values)
    return read


def cell_table(source: RunDatabase) -> CellTable:
    """Give the cells that ran."""
    groups = source.execute("SELECT id, count, failed, body FROM cells ORDER BY id").fetchall()
    bodies: Sequence[bytes | memoryview]
    if source.version == FIRST_VERSION:
        bodies = [source.unseal(body, what=f"group {number} of the cells") for number, _, _, body in groups]
    else:
        bodies = unseal_groups(groups)
    return CellTable(b"".join(bodies), _reader(source))


def artifacts(source: RunDatabase, folder: Path) -> dict[Cell, list[ArtifactRecord]]:
    """Give the files that cells wrote, with their paths in `folder`.

    Raises
    ------
    StoreError
        A path leads out of the folder, as it can only in a database that somebody tampered with.
    """
    stored: dict[Cell, dict[tuple[str, str], ArtifactRecord]] = {}
    for replicate, condition, step, name, location, size, digest in source.rows("artifact", ARTIFACT):
        record = ArtifactRecord(step, name, None, digest, size, str(_inside(folder, location)))
        stored.setdefault(Cell(condition, replicate), {})[step, name] = record
    return {cell: list(records.values()) for cell, records in stored.items()}


def check_every_row(source: RunDatabase) -> None:
    """Read every row but those of the cells and the journal.

    Raises
    ------
    StoreError
        One of them is damaged.
    """
    columns = {"run": RunFacts._fields, "session": SESSION, "artifact": ARTIFACT}
    if source.version == FIRST_VERSION:
        columns["session"] = FIRST_SESSION
    else:
        columns["input"] = INPUT
        for digest, parts in source.execute("SELECT digest, parts FROM identity"):
            source.unseal(parts, digest, what="what the cells were made of")
        rows = source.execute("SELECT id, name, identity, common, parts FROM condition WHERE identity IS NOT NULL")
        for number, name, identity, common, parts in rows:
            source.unseal(parts, number, name, identity, common, what=f"the identity of condition {name!r}")
    for table, names in columns.items():
        for _ in source.rows(table, names, ""):
            pass
    condition_records(source)
    documents(source)


def _inside(folder: Path, location: str) -> Path:
    parts = location.split("/")
    if any(part in ("", ".", "..") or set("\\:\0") & set(part) for part in parts):
        raise DamagedStoreError(f"it names a file outside of the run's folder: {location!r}")
    return folder.joinpath(*parts)


def _reader(source: RunDatabase) -> CellReader:
    shapes = {
        number: (kind, decode(source.unseal(body, number, kind, what=f"the {kind} shape {number}")))
        for number, kind, body in source.execute("SELECT id, kind, body FROM shape")
    }
    return CellReader(condition_names(source), shapes)
