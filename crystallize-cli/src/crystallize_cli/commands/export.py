"""``crystallize export RUN``: the numbers of a stored run, for other programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure, stored_errors
from crystallize_cli.output import shown, with_output
from crystallize_cli.references import find_run, root_option, stored_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize_cli.output import Output
    from crystallize_plugins.artifacts import StoredRun

__all__ = ["COLUMNS", "export", "long_rows"]

COLUMNS = ("run", "condition", "replicate", "seed", "metric", "index", "value", "status", "duration", "worker")
"""One row for each recorded value; a failed cell has one row without a metric."""

_FORMULAS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
"""What makes a spreadsheet take text for a formula, in full width too."""
_FORMATS = ("csv", "json", "parquet")


@click.command()
@click.argument("run")
@root_option
@click.option("--format", "form", type=click.Choice(_FORMATS), help="By default what the file's name says, else csv.")
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="A file; by default stdout.")
@with_output
def export(run: str, root: Path, form: str | None, target: Path | None, output: Output) -> int:
    """Write every recorded value of a run as one row: condition, replicate, metric, value.

    RUN is a run's folder, an experiment's name for its newest run, or name@v3. CSV and JSON go to stdout, or to a file;
    Parquet needs a file, and pip install "crystallize-cli[parquet]".
    """
    from crystallize.hooks.tools import dump_json, write_atomically

    stored = find_run(run, root)
    chosen = form or ("json" if output.json else _from_name(target))
    with stored_errors():
        rows = list(long_rows(stored))
    if chosen == "parquet":
        _write_parquet(rows, target)
    else:
        text = f"{dump_json(rows)}\n" if chosen == "json" else _csv(rows)
        if target is None:
            output.write(text, newline=False)
        else:
            write_atomically(target, text)
    if target is not None:
        output.say(f"written to {target}")
    return ExitCode.DONE


def long_rows(run: StoredRun) -> Iterator[dict[str, Any]]:
    """Return the rows of a run, in the order of replicates and conditions."""
    from crystallize.hooks import was_pruned

    outcomes = run.lazy_outcomes()
    prunes = run.kind == "trial"
    order = {name: number for number, name in enumerate(run.conditions)}
    name = stored_name(run)
    for cell in sorted(outcomes, key=lambda cell: (cell.replicate, order.get(cell.condition, len(order)))):
        outcome = outcomes[cell]
        shared = {
            "run": name,
            "condition": cell.condition,
            "replicate": cell.replicate,
            "seed": outcome.seed,
            "status": "done" if outcome.ok else "pruned" if prunes and was_pruned(outcome) else "failed",
            "duration": outcome.duration,
            "worker": outcome.worker,
        }
        values: list[tuple[str | None, int | None, Any]] = [
            (metric, index, value) for metric, found in outcome.metrics.items() for index, value in enumerate(found)
        ]
        for metric, index, value in values or [(None, None, None)]:
            row = {**shared, "metric": metric, "index": index, "value": value}
            yield {column: row[column] for column in COLUMNS}


def _from_name(target: Path | None) -> str:
    suffix = "" if target is None else target.suffix.lstrip(".").lower()
    return suffix if suffix in _FORMATS else "csv"


def _csv(rows: list[dict[str, Any]]) -> str:
    from crystallize.hooks.tools import to_plain

    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        value = row["value"]
        # NaN and infinities have names in every reader of CSV.
        plain = value if isinstance(value, float) else to_plain(value)
        writer.writerow({column: _harmless(cell) for column, cell in {**row, "value": plain}.items()})
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    """Return text that a spreadsheet takes for text and a terminal just shows; numbers as they are."""
    if not isinstance(cell, str):
        return cell
    text = shown(cell)
    return f"'{text}" if text.lstrip()[:1] in _FORMULAS and text.strip() else text


def _write_parquet(rows: list[dict[str, Any]], target: Path | None) -> None:
    if target is None:
        raise Failure("Parquet is not for a terminal: give a file with -o")
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        message = f'Parquet needs pyarrow, which cannot be imported ({error}): pip install "crystallize-cli[parquet]"'
        raise Failure(message) from error

    from crystallize.hooks.tools import dump_json

    def number(value: Any) -> float | None:
        return float(value) if isinstance(value, (bool, int, float)) or hasattr(value, "__float__") else None

    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in COLUMNS if name != "value"}
    # A seed may have more than 64 bits.
    columns["seed"] = [None if seed is None else str(seed) for seed in columns["seed"]]
    columns["value"] = [number(row["value"]) for row in rows]
    # What is no number keeps its value, as JSON.
    columns["text"] = [
        None if row["value"] is None or number(row["value"]) is not None else dump_json(row["value"], indent=None)
        for row in rows
    ]
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(columns), temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
