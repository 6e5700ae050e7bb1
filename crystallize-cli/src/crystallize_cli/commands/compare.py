"""``crystallize compare RUN…``: several runs beside each other, only what differs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.commands.runs import describe_run
from crystallize_cli.exits import ExitCode, stored_errors
from crystallize_cli.output import with_output
from crystallize_cli.references import find_run, root_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crystallize import Result
    from crystallize_cli.output import Output
    from crystallize_plugins.artifacts import StoredRun

__all__ = ["compare"]

_ABSENT = "-"


@click.command()
@click.argument("runs", nargs=-1, required=True)
@root_option
@click.option("--all", "everything", is_flag=True, help="Show columns in which all runs agree, too.")
@with_output
def compare(runs: tuple[str, ...], root: Path, everything: bool, output: Output) -> int:
    """Show several runs as a table, one column for each thing in which they differ.

    Settings that the conditions ran with, numbers of cells, seeds, and the mean of each metric by condition. RUN is a
    run's folder, an experiment's name for its newest run, or name@v3.
    """
    found = [find_run(run, root) for run in runs]
    with stored_errors():
        rows = [_row(run) for run in found]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if not everything:
        columns = [column for column in columns if column == "run" or _differs([row.get(column) for row in rows])]
    kept = [{column: row.get(column) for column in columns} for row in rows]
    if output.json:
        output.data(kept, str)
    else:
        shown = [{column: _shown(value) for column, value in row.items()} for row in kept]
        output.table(shown, columns, right=[name for name in columns if name.startswith("mean ")])
        if len(columns) == 1:
            output.say("they differ in nothing that is compared; `crystallize diff` looks closer")
    return ExitCode.DONE


def _row(run: StoredRun) -> dict[str, Any]:
    described = describe_run(run)
    result = run.result()
    row = {name: described[name] for name in ("run", "experiment", "status", "replicates", "cells", "failed", "seed")}
    for record in result.conditions:
        place = "" if record.name == "baseline" else f"{record.name}."
        for key, value in record.context.items():
            row[f"{place}{key}"] = value
        for step in record.steps:
            for key, value in step.params.items():
                row[f"{place}{step.name}.{key}"] = value
    return {**row, **_means(result)}


def _means(result: Result) -> dict[str, float]:
    found: dict[str, float] = {}
    conditions: dict[str, Mapping[str, Any]] = {"baseline": result.metrics.baseline.metrics}
    conditions |= {name: treatment.metrics for name, treatment in result.metrics.treatments.items()}
    for condition, metrics in conditions.items():
        place = "" if condition == "baseline" else f"{condition}."
        for name, values in metrics.items():
            numbers = [value for value in values if isinstance(value, (int, float))]
            if numbers and len(numbers) == len(values):
                found[f"mean {place}{name}"] = math.fsum(numbers) / len(numbers)
    return found


def _differs(values: list[Any]) -> bool:
    return any(repr(value) != repr(values[0]) for value in values[1:])


def _shown(value: Any) -> str:
    if value is None:
        return _ABSENT
    return f"{value:.6g}" if isinstance(value, float) else str(value)
