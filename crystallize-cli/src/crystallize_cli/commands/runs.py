"""``crystallize runs``: the stored runs, and how each stands."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.output import with_output
from crystallize_cli.references import root_option, stored_name

if TYPE_CHECKING:
    from pathlib import Path

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
    from crystallize_plugins.artifacts import list_runs

    found = list_runs(root, experiment)
    if not found:
        where = f"no run of {experiment!r}" if experiment else "no run"
        raise Failure(f"{where} is stored in {root}", ExitCode.NOTHING)
    rows = [describe_run(run) for run in found]
    output.table(
        [{**row, "started": _local(row["started"])} if not output.json else row for row in rows],
        ["run", "status", "started", "conditions", "replicates", "cells", "failed", "seed"],
        right=["conditions", "replicates", "cells", "failed"],
    )
    return ExitCode.DONE


def describe_run(run: StoredRun) -> dict[str, Any]:
    """Give what is told of a run in lists: plain data, the start as text in UTC."""
    from crystallize.errors import StoreError
    from crystallize.hooks import was_pruned

    described: dict[str, Any] = {
        "run": stored_name(run),
        "experiment": run.experiment,
        "version": run.version,
        "status": run.status,
        "started": dt.datetime.fromtimestamp(run.started, dt.timezone.utc).isoformat() if run.started else None,
        "replicates": run.replicates,
        "seed": run.seed,
        "path": str(run.path),
    }
    try:
        outcomes = run.lazy_outcomes()
        failed = outcomes.failed
        pruned = [cell for cell in failed if was_pruned(outcomes[cell])] if run.kind == "trial" else ()
        described |= {
            "conditions": len(run.conditions),
            "cells": len(outcomes),
            "failed": len(failed) - len(pruned) or None,
            "pruned": len(pruned) or None,
        }
    except StoreError as error:
        described |= dict.fromkeys(("conditions", "cells", "failed", "pruned")) | {"problem": str(error)}
    return described


def _local(started: str | None) -> str | None:
    if started is None:
        return None
    return dt.datetime.fromisoformat(started).astimezone().strftime("%Y-%m-%d %H:%M:%S")
