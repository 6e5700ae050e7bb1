"""What lists tell of stored runs, out of an index beside them that is a cache: deleted, it is made again."""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import StoreError
from crystallize.hooks import was_pruned
from crystallize.hooks.tools import folder_name
from crystallize_plugins.artifacts import StoredRun

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["INDEX", "describe_run", "described_runs"]

INDEX = ".crystallize/runs.db"
"""Where the index lies in the folder of all experiments."""

_FORMAT = 1
"""What an entry holds; an index of another format is made again."""
_WORTH_AN_INDEX = 50
"""How many runs that no index knows of make one: fewer are read as fast as it is."""
_PATIENCE = 2.0
"""Seconds to wait for another process that writes the index."""

_DATABASE, _JOURNAL, _SUMMARY = "run.db", "run.db-wal", "run.json"
_VERSION = re.compile(r"v(0|[1-9][0-9]*)")


def described_runs(root: str | os.PathLike[str] = "data", experiment: str | None = None) -> list[dict[str, Any]]:
    """Describe the runs that are stored below a folder, as `describe_run` does.

    What is known of a run is taken from the index as long as none of its files has changed; whether a run is still
    running is found out anew. Where the folder cannot be written to, there is no index.

    Parameters
    ----------
    root : path, default "data"
        The folder that ``ArtifactPlugin(root_dir=...)`` was given.
    experiment : str, optional
        The name of an experiment; by default all are listed.

    Returns
    -------
    list of dict
        Experiments in the order of their folders' names, the runs of each with the oldest first.

    Examples
    --------
    >>> described_runs("nowhere")
    []
    """
    top = os.path.abspath(root)  # noqa: PTH100 - paths as text: there may be ten thousand
    index = f"{top}/{INDEX}"
    within = None if experiment is None else folder_name(experiment)
    known = _read(index)
    described: list[dict[str, Any]] = []
    fresh: list[tuple[str, str, str]] = []
    seen = set()
    for name, number in _folders(top, within):
        place = f"{name}/v{number}"
        path = f"{top}/{name}/v{number}"
        state = _state(path)
        seen.add(place)
        before = known.get(place)
        entry = None if before is None or before[0] != state else before[1]
        if entry is None or entry["status"] == "running":
            entry = _summarised(path) or describe_run(StoredRun(path))
            fresh.append((place, state, json.dumps(entry)))
        described.append({**entry, "version": number, "path": path})
    gone = {place for place in known.keys() - seen if within is None or place.startswith(f"{within}/")}
    if len(fresh) >= _WORTH_AN_INDEX or (known and (fresh or gone)):
        _write(index, fresh, gone)
    return described


def describe_run(run: StoredRun) -> dict[str, Any]:
    """Return what lists tell of a run: plain data, the start as text in UTC."""
    described: dict[str, Any] = {
        "experiment": run.experiment,
        "version": run.version,
        "status": run.status,
        "started": _utc(run.started),
        "duration": None,
        "replicates": run.replicates,
        "seed": run.seed,
        "path": str(run.path),
    }
    try:
        outcomes = run.lazy_outcomes()
        failed = outcomes.failed
        pruned = sum(was_pruned(outcomes[cell]) for cell in failed) if run.kind == "trial" else 0
        described |= {
            "conditions": len(run.conditions),
            "cells": len(outcomes),
            "failed": len(failed) - pruned or None,
            "pruned": pruned or None,
        }
        if run.status != "running":
            described["duration"] = run.metadata.get("run", {}).get("duration")
    except StoreError as error:
        described |= dict.fromkeys(("conditions", "cells", "failed", "pruned")) | {"problem": str(error)}
    return described


def _summarised(path: str) -> dict[str, Any] | None:
    """Describe a run that is over from its ``run.json``; None where the database has to be asked."""
    summary, database = f"{path}/{_SUMMARY}", f"{path}/{_DATABASE}"
    try:
        with open(summary, "rb") as file:  # noqa: PTH123
            told = json.load(file)
        written, stored = os.stat(summary), os.stat(database)  # noqa: PTH116
        if told["database"]["size"] != stored.st_size or stored.st_mtime_ns > written.st_mtime_ns:
            return None
        if os.path.exists(f"{path}/{_JOURNAL}"):  # noqa: PTH110
            return None
        cells = [counts for counts in told["conditions"].values() if _ended(counts)]
        failed, pruned = (sum(counts.get(name, 0) for counts in cells) for name in ("failed", "pruned"))
        return {
            "experiment": told["experiment"],
            "version": -1,
            "status": "interrupted" if told["stopped_by"] else "complete",
            "started": told["started"],
            "duration": told["duration"],
            "replicates": told["replicates"],
            "seed": told["seed"],
            "path": path,
            "conditions": len(cells),
            "cells": sum(map(_ended, cells)),
            "failed": failed or None,
            "pruned": pruned or None,
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _ended(counts: Mapping[str, int]) -> int:
    return counts["completed"] + counts["failed"] + counts.get("pruned", 0)


def _utc(started: float) -> str | None:
    return dt.datetime.fromtimestamp(started, dt.timezone.utc).isoformat() if started else None


def _folders(top: str, within: str | None) -> Iterator[tuple[str, int]]:
    """Return experiment's folder and number of each run."""
    for name in [within] if within is not None else sorted(_folders_in(top)):
        found = map(_VERSION.fullmatch, _folders_in(f"{top}/{name}"))
        numbers = [int(match[1]) for match in found if match]
        yield from ((name, number) for number in sorted(numbers))


def _folders_in(folder: str) -> list[str]:
    with suppress(OSError), os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_dir()]
    return []


def _state(path: str) -> str:
    """Return what changes with a run's files."""
    found = []
    for name in (_DATABASE, _JOURNAL, _SUMMARY):
        try:
            stat = os.stat(f"{path}/{name}")  # noqa: PTH116
        except OSError:
            found.append("")
        else:
            found.append(f"{stat.st_ino}.{stat.st_size}.{stat.st_mtime_ns}")
    return " ".join(found)


def _read(index: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what is known: state and entry of each run; nothing where there is no sound index."""
    if not os.path.exists(index):  # noqa: PTH110
        return {}
    try:
        with closing(sqlite3.connect(f"{Path(index).as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)) as source:
            if source.execute("PRAGMA user_version").fetchone()[0] == _FORMAT:
                rows = source.execute("SELECT * FROM run").fetchall()
                entries = json.loads(f"[{','.join(row[2] for row in rows)}]")  # at once: a third of the time
                return {row[0]: (row[1], entry) for row, entry in zip(rows, entries, strict=True)}
    except (sqlite3.Error, ValueError, TypeError) as error:
        if "locked" not in str(error):
            with suppress(OSError):
                os.remove(index)  # noqa: PTH107 - damaged: it is made again
    return {}


def _write(index: str, fresh: list[tuple[str, str, str]], gone: set[str]) -> None:
    """Write down what is new; where that fails, it is found out again the next time."""
    # Where it is read-only, full, or written by another process for long, the next one writes it.
    with suppress(OSError, sqlite3.Error):
        Path(index).parent.mkdir(exist_ok=True)
        with closing(sqlite3.connect(index, timeout=_PATIENCE)) as target:
            target.execute("PRAGMA synchronous = OFF")
            target.execute("BEGIN IMMEDIATE")
            if target.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
                target.execute("DROP TABLE IF EXISTS run")
                target.execute("CREATE TABLE run (place TEXT PRIMARY KEY, state TEXT, entry TEXT) WITHOUT ROWID")
                target.execute(f"PRAGMA user_version = {_FORMAT}")
            target.executemany("INSERT OR REPLACE INTO run VALUES (?, ?, ?)", fresh)
            target.executemany("DELETE FROM run WHERE place = ?", [(place,) for place in gone])
            target.commit()
