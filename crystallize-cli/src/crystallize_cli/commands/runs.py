"""``crystallize runs``: the stored runs, and how each stands."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.output import with_output
from crystallize_cli.references import root_option, stored_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crystallize_cli.output import Output
    from crystallize_plugins.artifacts import StoredRun

__all__ = ["describe_run", "runs"]


@click.command()
@click.argument("experiment", required=False)
@root_option
@with_output
def runs(experiment: str | None, root: Path, output: Output) -> int:
    """List the stored runs.

    EXPERIMENT is a name; by default all are listed. Whether a run is still running is found out by looking at the
    process that writes it.
    """
    from crystallize_plugins.runs import described_runs

    found = described_runs(root, experiment)
    if not found:
        where = f"no run of {experiment!r}" if experiment else "no run"
        raise Failure(f"{where} is stored in {root}", ExitCode.NOTHING)
    rows = [{"run": _name(run), **run} for run in found]
    output.table(
        [{**row, "started": _local(row["started"])} if not output.json else row for row in rows],
        ["run", "status", "started", "conditions", "replicates", "cells", "failed", "seed"],
        right=["conditions", "replicates", "cells", "failed"],
    )
    return ExitCode.DONE


def describe_run(run: StoredRun) -> dict[str, Any]:
    """Return what is told of a run in lists: plain data, the start as text in UTC."""
    from crystallize_plugins import runs as stored

    return {"run": stored_name(run), **stored.describe_run(run)}


def _name(run: Mapping[str, Any]) -> str:
    return f"{run['experiment'] or Path(run['path']).parent.name}@v{run['version']}"


def _local(started: str | None) -> str | None:
    if started is None:
        return None
    return dt.datetime.fromisoformat(started).astimezone().strftime("%Y-%m-%d %H:%M:%S")
