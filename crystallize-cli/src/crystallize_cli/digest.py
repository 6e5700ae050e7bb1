"""``show RUN --digest``: what a language model needs to know of a run, in a few kilobytes of Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.hooks.tools import counted, mask_secrets, mask_text, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize import Result
    from crystallize.errors import PipelineExecutionError

__all__ = ["LIMIT", "digest"]

LIMIT = 4000
"""Bytes that a digest may take."""
_MOST_FAILURES = 3
_LAST_LINES = 8


def digest(row: Mapping[str, Any], result: Result, errors: Mapping[str, PipelineExecutionError]) -> str:
    """Return a run as Markdown: how it stands, its table and verdicts, its treatments, what failed and where.

    Parameters
    ----------
    row : mapping
        What lists tell of it.
    result : Result
    errors : mapping of str to PipelineExecutionError
        Of cells that failed.

    Returns
    -------
    str
        At most `LIMIT` bytes as UTF-8; what does not fit is left out, and said to be.
    """
    parts = [_heading(row), _fenced("Results", result.summary(), 1700), _treatments(result), _failures(errors)]
    text = "\n\n".join(part for part in parts if part)
    return _cut(mask_text(printable(text, lines=True)), LIMIT)


def _heading(row: Mapping[str, Any]) -> str:
    cells = f"{row['cells']} cells" + (f", {row['failed']} failed" if row["failed"] else "")
    seed = "no seed" if row["seed"] is None else f"seed {row['seed']}"
    took = "" if row["duration"] is None else f", took {row['duration']:.3g} s"
    counts = f"{cells}, {row['replicates']} replicates, {seed}, began {row['started']}{took}"
    return f"# {row['run']}: {row['status']}\n\n{counts}"


def _treatments(result: Result) -> str:
    lines = [
        f"- {condition.name}: "
        + (", ".join(f"{key} = {value!r}" for key, value in mask_secrets(condition.context).items()) or "-")
        for condition in result.conditions
        if condition.name != "baseline"
    ]
    return _cut("\n".join(["## Treatments", "", *lines]), 600) if lines else ""


def _failures(errors: Mapping[str, PipelineExecutionError]) -> str:
    first: dict[tuple[str, str], str] = {}
    for key, error in errors.items():
        first.setdefault((error.step_name, error.error_type), key)
    told = []
    for key in list(first.values())[:_MOST_FAILURES]:
        error = errors[key]
        lines = (error.traceback_text.rstrip() or str(error)).split("\n")
        told.append(f"{key}, in {error.step_name}:\n" + "\n".join(lines[-_LAST_LINES:]))
    return (
        _fenced(f"Failed: {counted(len(errors), 'cell')}, of {counted(len(first), 'kind')}", "\n\n".join(told), 1200)
        if told
        else ""
    )


def _fenced(title: str, text: str, limit: int) -> str:
    # A fence longer than any in the text ends where it is to end.
    fence = "`" * max(3, *(len(run) + 1 for run in _backticks(text)))
    return f"## {title}\n\n{fence}text\n{_cut(text, limit)}\n{fence}"


def _backticks(text: str) -> list[str]:
    import re

    return re.findall("`+", text) or [""]


def _cut(text: str, limit: int) -> str:
    """Return as many whole lines as there is room for."""
    if len(text.encode()) <= limit:
        return text
    kept: list[str] = []
    left = limit - len("\n[the rest is left out]")
    for line in text.split("\n"):
        left -= len(line.encode()) + 1
        if left < 0:
            break
        kept.append(line)
    return "\n".join([*kept, "[the rest is left out]"])
