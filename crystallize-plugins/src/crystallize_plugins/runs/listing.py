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

from crystallize.errors import DamagedStoreError, StoreError
from crystallize.hooks import was_pruned
from crystallize.hooks.tools import folder_name, to_plain
from crystallize_plugins.artifacts import StoredRun
from crystallize_plugins.artifacts.database import connection as database
from crystallize_plugins.artifacts.files.inside import is_folder, make_folder, read_file
from crystallize_plugins.artifacts.files.readable import means_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from crystallize import Result

__all__ = ["INDEX", "describe_run", "described_runs"]

INDEX = ".crystallize/runs.db"
"""Where the index lies in the folder of all experiments."""

_FORMAT = 2
"""What an entry holds; an index of another format is made again."""
_WORTH_AN_INDEX = 50
"""How many runs that no index knows of make one: fewer are read as fast as it is."""
_PATIENCE = 2.0
"""Seconds to wait for another process that writes the index."""

_TABLE = "CREATE TABLE run (place TEXT PRIMARY KEY, state TEXT, entry TEXT) WITHOUT ROWID"
_COLUMNS = ("started", "duration", "seed", "conditions", "cells", "failed", "pruned", "means", "verdicts")

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
    index = Path(top, INDEX)
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
            entry = _summarised(path) or _described(path)
            fresh.append((place, state, json.dumps(entry)))
        entry["version"], entry["path"] = number, path
        described.append(entry)
    gone = {place for place in known.keys() - seen if within is None or place.startswith(f"{within}/")}
    if len(fresh) >= _WORTH_AN_INDEX or (known and (fresh or gone)):
        _write(index, fresh, gone)
    return described


def _described(path: str) -> dict[str, Any]:
    try:
        return describe_run(StoredRun(path))
    except OSError as error:  # it was removed this moment, or may not be looked into
        return {
            **dict.fromkeys(_COLUMNS),
            "experiment": "",
            "status": "damaged",
            "replicates": 0,
            "problem": str(error),
        }


def describe_run(run: StoredRun) -> dict[str, Any]:
    """Return what lists tell of a run: plain data, the start as text in UTC.

    Returns
    -------
    dict
        ``experiment``, ``version``, ``status``, ``started``, ``duration`` (seconds), ``replicates``, ``seed``,
        ``path``; ``conditions``, ``cells``, ``failed`` and ``pruned``, numbers of them; ``means``, by condition and
        metric, of metrics that are numbers; ``verdicts``, each with ``hypothesis``, ``treatment``, ``holds`` (None
        where that is not known) and ``p``, the p-value after correction. What is not known is None.
    """
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
            "means": None,
            "verdicts": None,
        }
        if run.kind == "run":  # an optimisation has thousands of conditions
            described |= _measured(run.result())
        if run.status != "running":
            described["duration"] = run.metadata.get("run", {}).get("duration")
    except StoreError as error:
        described |= dict.fromkeys(_COLUMNS[3:]) | {"problem": str(error)}
    return described


def _summarised(path: str) -> dict[str, Any] | None:
    """Describe a run that is over from its ``run.json``; None where the database has to be asked."""
    summary, database = f"{path}/{_SUMMARY}", f"{path}/{_DATABASE}"
    try:
        told = json.loads(read_file(summary))
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
            "means": told.get("means"),
            "verdicts": _verdicts((each["name"], each["results"]) for each in told.get("hypotheses") or ()),
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _measured(result: Result) -> dict[str, Any]:
    tested = ((each.name, each.results) for each in result.metrics.hypotheses)
    return {"means": means_of(result), "verdicts": to_plain(_verdicts(tested))}


def _verdicts(tested: Iterable[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    found = []
    for name, results in tested:
        for treatment, told in results.items():
            adjusted = told.get("p_adjusted")
            p = told.get("p_value") if adjusted is None else adjusted
            found.append({"hypothesis": name, "treatment": treatment, "holds": told.get("holds"), "p": p})
    return found


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


def _read(index: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what is known: state and entry of each run; nothing where there is no sound index."""
    if not os.path.lexists(index) or not is_folder(index.parent):
        return {}
    try:
        database.check_files(index)
        with closing(sqlite3.connect(f"{index.as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)) as source:
            _check_index(source)
            rows = source.execute("SELECT * FROM run").fetchall()
            entries = json.loads(f"[{','.join(row[2] for row in rows)}]")  # at once: a third of the time
            return {row[0]: (row[1], entry) for row, entry in zip(rows, entries, strict=True)}
    except (sqlite3.Error, OSError, ValueError, TypeError, RecursionError) as error:
        if "locked" not in str(error):
            with suppress(OSError):
                index.unlink()  # damaged, or of another format: it is made again
    return {}


def _write(index: Path, fresh: list[tuple[str, str, str]], gone: set[str]) -> None:
    """Write down what is new; where that fails, it is found out again the next time."""
    # Where it is read-only, full, or written by another process for long, the next one writes it.
    with suppress(OSError, sqlite3.Error):
        make_folder(index.parent)
        is_new = not database.check_files(index)
        with closing(sqlite3.connect(index, timeout=_PATIENCE)) as target:
            target.execute("PRAGMA synchronous = OFF")
            target.execute("BEGIN IMMEDIATE")
            if is_new:
                target.execute(_TABLE)
                target.execute(f"PRAGMA user_version = {_FORMAT}")
            _check_index(target)
            target.executemany("INSERT OR REPLACE INTO run VALUES (?, ?, ?)", fresh)
            target.executemany("DELETE FROM run WHERE place = ?", [(place,) for place in gone])
            target.commit()


def _check_index(source: sqlite3.Connection) -> None:
    """Refuse a database that has anything but the table of an index: it may come from anybody."""
    source.execute("PRAGMA trusted_schema = OFF")
    version = source.execute("PRAGMA user_version").fetchone()[0]
    if version != _FORMAT or source.execute("SELECT sql FROM sqlite_master").fetchall() != [(_TABLE,)]:
        raise DamagedStoreError("this is no index of runs")
