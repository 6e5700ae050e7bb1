"""The rows of a run's database as the objects that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.errors import DamagedStoreError
from crystallize.hooks import ArtifactRecord, Cell, ConditionRecord, StepRecord
from crystallize_plugins.artifacts.database.cells import SUMMARY, error_row, metric_rows
from crystallize_plugins.artifacts.database.facts import Session, checked_session
from crystallize_plugins.artifacts.database.owner import Owner
from crystallize_plugins.artifacts.database.schema import COLUMNS
from crystallize_plugins.artifacts.database.typed_json import decode
from crystallize_plugins.artifacts.database.writer import plugin_rows
from crystallize_plugins.artifacts.files.layout import is_artifact_folder
from crystallize_plugins.artifacts.recorded import newest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from crystallize.hooks import CellOutcome
    from crystallize_plugins.artifacts.database.connection import RunDatabase

__all__ = ["artifacts", "cells_by_kind", "check_every_row", "condition_records", "documents", "last_session"]


def last_session(source: RunDatabase) -> tuple[int, Session]:
    """Return the number of the last process' work on the run, and that work."""
    row = next(source.rows("session", "ORDER BY id DESC LIMIT 1"), None)
    if row is None:
        raise DamagedStoreError("nothing says who wrote it")
    number, run, *_, host, pid, process, started, ended, stopped_by = row  # version 3 has one column more
    return number, checked_session(Session(Owner(host, pid, process), run, started, ended, stopped_by))


def documents(source: RunDatabase) -> dict[str, Any]:
    """Return what was recorded beside the cells; little where the run was cut short."""
    return {name: decode(body) for name, body in source.rows("document", "ORDER BY name")}


def cells_by_kind(source: RunDatabase) -> list[Sequence[Any]]:
    """Return which cells there are, as `SUMMARY` gives it; they are counted where the run is not over."""
    known = next(source.rows("document", "WHERE name = ?", ("cells",)), None)
    return list(source.execute(SUMMARY)) if known is None else decode(known[1])


def condition_records(source: RunDatabase) -> dict[str, ConditionRecord]:
    """Return what was recorded of each condition, by name."""
    contexts: dict[str, dict[str, Any]] = {}
    for condition, name, value in source.rows("parameter"):
        contexts.setdefault(condition, {})[name] = decode(value)
    records = {}
    for _, name, steps, *_ in source.rows("condition", "ORDER BY id"):
        described = [StepRecord(step, params, tuple(injected)) for step, params, injected in decode(steps)]
        records[name] = ConditionRecord(name, contexts.get(name, {}), described)
    return records


def artifacts(source: RunDatabase, folder: Path) -> dict[Cell, list[ArtifactRecord]]:
    """Return the files that cells wrote, with their paths in `folder`.

    Raises
    ------
    DamagedStoreError
        A path leads out of the folder, as it can only in a database that somebody tampered with.
    """
    stored: dict[Cell, dict[tuple[str, str], ArtifactRecord]] = {}
    for condition, replicate, step, name, location, size, digest in source.rows("artifact"):
        record = ArtifactRecord(step, name, None, digest, size, str(_inside(folder, location)))
        stored.setdefault(Cell(condition, replicate), {})[step, name] = record
    return {cell: list(records.values()) for cell, records in stored.items()}


def check_every_row(source: RunDatabase, outcomes: Iterable[CellOutcome]) -> None:
    """Read every row but those of the cells, and compare with these what repeats them.

    Raises
    ------
    DamagedStoreError
        One of them is damaged.
    """
    for table in COLUMNS:
        if table != "cell":
            for _ in source.rows(table):
                pass
    condition_records(source)
    if [*map(tuple, cells_by_kind(source))] != source.execute(SUMMARY).fetchall():
        raise DamagedStoreError("cells are missing, or are not those that the run had")
    expected: dict[str, set[tuple[Any, ...]]] = {"metric": set(), "error": set()}
    for outcome in outcomes:
        expected["metric"].update(metric_rows(outcome))
        expected["error"].update(filter(None, [error_row(outcome)]))
    bodies = {name: body for name, body, _ in source.execute("SELECT * FROM document")}
    expected["plugin"] = set(plugin_rows(newest_of(bodies, "plugins")))
    for table, rows in expected.items():
        if set(source.execute(f"SELECT * FROM {table}")) != rows:  # noqa: S608 - our own names
            raise DamagedStoreError(f"the table {table} is damaged: it does not repeat what other tables hold")


def _inside(folder: Path, location: str) -> Path:
    parts = location.split("/")
    if not is_artifact_folder(parts[0]) or any(part in ("", ".", "..") or set("\\:\0") & set(part) for part in parts):
        raise DamagedStoreError(f"it names a file where no step writes any: {location!r}")
    return folder.joinpath(*parts)
