"""The files for people and scripts, in strict JSON: ``results.json`` of each condition and ``run.json``.

All of it is in the database too, so nothing here is synced: after a loss of power it can be made again.
"""

from __future__ import annotations

import json
import os
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, Any

from crystallize.hooks.tools import mask_secrets, mask_text, to_plain
from crystallize_plugins.artifacts.files.inside import make_folder, read_file
from crystallize_plugins.artifacts.files.layout import DATABASE, RESULTS, RUN, condition_folder
from crystallize_plugins.artifacts.files.synced import file_digest, prepare_text, replace_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from crystallize import Result
    from crystallize_plugins.artifacts.database.facts import RunFacts, Session
    from crystallize_plugins.artifacts.files.synced import Prepared

__all__ = [
    "DATABASE_FILE",
    "FILES_REMOVED",
    "means_of",
    "metrics_json",
    "note_files_removed",
    "prepare_metrics",
    "read_entries",
    "write_beginning",
    "write_end",
]

FORMAT = 1
"""Version of ``run.json``."""

DATABASE_FILE = "database"
"""The entry with size and hash of the database of a run that is over."""

FILES_REMOVED = "files_removed"
"""The entry that says that the files of a run are gone on purpose."""

_quoted = json.encoder.encode_basestring_ascii
# `json.dumps` makes an encoder for every call that asks for anything beside the defaults.
_encode = json.JSONEncoder(allow_nan=False).encode
_VALUES_AT_ONCE = 8192
_JSON_ALREADY = frozenset({float, int, bool, str, type(None)})


def read_entries(folder: Path) -> dict[str, Any]:
    """Return what ``run.json`` says.

    Raises
    ------
    FileNotFoundError
        There is none.
    DamagedStoreError
        It is no plain file, or too large.
    ValueError
        It is no JSON, or holds no mapping.
    """
    try:
        entries = json.loads(read_file(folder / RUN))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(entries, dict):
        raise ValueError("it holds no mapping")  # noqa: TRY004 - like everything else that is no such JSON
    return entries


def write_beginning(folder: Path, facts: RunFacts, session: Session) -> None:
    """Write ``run.json`` as far as it is known before the first cell; who looks can tell that a run was begun."""
    replace_text(folder, RUN, _lines(_beginning(facts, session)))


def write_end(folder: Path, facts: RunFacts, session: Session, result: Result) -> None:
    """Write ``run.json`` of a run that is over, and its database closed."""
    run = result.facts.get("run", {})
    cells: Mapping[str, Any] = result.provenance["cells"]
    entries = {
        **_beginning(facts, session),
        "duration": run.get("duration"),
        "stopped_by": run.get("stopped_by"),
        "record_complete": result.record_complete,
        "conditions": {
            condition.name: {"folder": condition_folder(condition.name), **cells[condition.name]}
            for condition in result.conditions
        },
        "seeds": _seeds(result),
        **{name: part for name, part in _brief(result).items() if part},
        "artifacts": [
            {key: entry[key] for key in ("condition", "replicate", "step", "name", "path", "sha256", "size")}
            for entry in _inside(folder, result.provenance["artifacts"])
        ],
        "plugins": result.facts.get("plugins", []),
        DATABASE_FILE: {"size": (folder / DATABASE).stat().st_size, "sha256": file_digest(folder / DATABASE)},
    }
    replace_text(folder, RUN, _lines(entries))


def note_files_removed(folder: Path) -> None:
    """Say in ``run.json`` that the files of a run are gone on purpose, where there is such a file."""
    try:
        entries = read_entries(folder)
    except (OSError, ValueError):
        return
    if not entries.get(FILES_REMOVED):
        replace_text(folder, RUN, _lines({**entries, FILES_REMOVED: True}))


def prepare_metrics(folder: Path, result: Result) -> list[Prepared]:
    """Write ``results.json`` of each condition that ran, failed ones included, so that names are all that is missing.

    What is in them may not have been committed yet.

    Returns
    -------
    list of Prepared
        For `publish`.
    """
    prepared = []
    for condition in result.conditions:
        cells = result.provenance["cells"][condition.name]
        if cells["completed"] + cells["failed"] + cells.get("pruned", 0):
            name = condition.name
            measured = result.metrics.baseline if name == "baseline" else result.metrics.treatments.get(name)
            place = os.path.join(folder, condition_folder(name))  # noqa: PTH118 - there may be hundreds of conditions
            make_folder(place)
            values = () if measured is None else ((each, measured.values(each)) for each in measured.names)
            prepared.append(prepare_text(place, RESULTS, _metrics_parts(values)))
    return prepared


def metrics_json(metrics: Mapping[str, list[Any]]) -> str:
    """Give the text of ``results.json``: one line a metric, so that it can be read and compared.

    Examples
    --------
    >>> print(metrics_json({"loss": [0.5, float("nan")]}), end="")
    {
      "metrics": {
        "loss": [0.5, null]
      }
    }
    """
    return "".join(_metrics_parts(metrics.items()))


def _metrics_parts(metrics: Iterable[tuple[str, list[Any]]]) -> Iterator[str]:
    """Yield the text of ``results.json``, of which there may be a million numbers, in parts."""
    before = '{\n  "metrics": {'
    end = "}\n}\n"
    for name, values in metrics:
        yield f"{before}\n    {_quoted(name)}: "
        yield from _list_parts(values)
        before, end = ",", "\n  }\n}\n"
    yield before + end if before != "," else end


def _list_parts(values: list[Any]) -> Iterator[str]:
    for start in range(0, len(values) or 1, _VALUES_AT_ONCE):
        part = _values_json(values[start : start + _VALUES_AT_ONCE])
        last = start + _VALUES_AT_ONCE >= len(values)
        yield (", " if start else "[") + part[1:-1] + ("]" if last else "")


def _values_json(values: list[Any]) -> str:
    if set(map(type, values)) <= _JSON_ALREADY:
        try:
            return _encode(values)
        except ValueError:
            pass  # NaN, an infinity, or an integer too long for decimal digits
    return _encode(to_plain(values))


def _lines(entries: Mapping[str, Any]) -> Iterator[str]:
    """Yield a mapping as JSON with one line for each entry, and for each part of those that have several."""
    before = "{\n"
    for name, part in entries.items():
        yield f"{before}  {_quoted(name)}: "
        if isinstance(part, list) and len(part) > _VALUES_AT_ONCE and not any(isinstance(each, dict) for each in part):
            yield from _list_parts(part)
        else:
            yield _parts(part)
        before = ",\n"
    yield "\n}\n"


def _parts(part: Any) -> str:
    if isinstance(part, dict) and part:
        return "{\n" + ",\n".join(f"    {_quoted(str(key))}: {_json(item)}" for key, item in part.items()) + "\n  }"
    if isinstance(part, list) and any(isinstance(item, dict) for item in part):
        return "[\n" + ",\n".join(f"    {_json(item)}" for item in part) + "\n  ]"
    return _json(part)


def _json(value: Any) -> str:
    try:
        # Most of it is plain already, and need not be copied.
        return _encode(value)
    except (RecursionError, TypeError, ValueError):
        return _encode(to_plain(value))


def _beginning(facts: RunFacts, session: Session) -> dict[str, Any]:
    return {"format": FORMAT, **facts.entries(), "owner": session.owner._asdict()}


def _seeds(result: Result) -> Any:
    """Give the seed of each replicate: once, where the conditions share them."""
    shared: list[Any] = []
    by_condition = result.provenance["seeds"]
    for seeds in by_condition.values():  # one list after the other: of a million cells they are large
        shared = shared or seeds
        if seeds and seeds != shared:
            return {name: seeds for name, seeds in by_condition.items() if seeds}
    return shared


def _brief(result: Result) -> dict[str, Any]:
    return {
        "resume": result.facts.get("resume"),
        "errors": {key: mask_text(str(error)) for key, error in result.errors.items()},
        "plugin_errors": mask_secrets(result.provenance["plugin_failures"]),
        "hypotheses": [
            {"name": tested.name, "results": tested.results, "ranking": tested.ranking}
            for tested in result.metrics.hypotheses
        ],
        # Of an optimisation, with its thousands of conditions, nobody lists them.
        "means": None if result.facts.get("run", {}).get("kind") == "trial" else means_of(result),
    }


def means_of(result: Result) -> dict[str, dict[str, float]]:
    """Return the mean of each metric of each condition, for lists: of those whose values are numbers."""
    found: dict[str, dict[str, float]] = {}
    for name, part in {"baseline": result.metrics.baseline, **result.metrics.treatments}.items():
        means = {metric: _mean(values) for metric, values in part.metrics.items()}
        if numbers := {metric: value for metric, value in means.items() if value is not None and isfinite(value)}:
            found[name] = numbers
    return found


def _mean(values: Sequence[Any]) -> float | None:
    if not values or not all(isinstance(value, Real) for value in values):
        return None
    try:
        return float(sum(values) / len(values))
    except (ArithmeticError, TypeError, ValueError):  # a whole number too large for a float, a type with no division
        return None


def _inside(folder: Path, entries: Any) -> Any:
    """Give entries of artifacts with their paths relative to the run's folder."""
    start = len(str(folder)) + 1
    for entry in entries:
        yield {**entry, "path": entry["path"] and entry["path"][start:].replace("\\", "/")}
