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
    from collections.abc import Iterable, Iterator

    from crystallize import Result
    from crystallize_cli.output import Output

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

    RUN is a run's folder, an experiment's name for its newest run, or name@v3. CSV and JSON go to stdout, or to a file,
    with a row for each failed cell; Parquet needs a file, and pip install "crystallize-cli[parquet]", and is what
    Result.to_parquet writes.
    """
    from crystallize.hooks.tools import dump_json, write_atomically

    stored = find_run(run, root)
    chosen = form or ("json" if output.json else _from_name(target))
    with stored_errors():
        result = stored.result()
        if chosen == "parquet":
            _write_parquet(result, target)
        else:
            rows = long_rows(stored_name(stored), result)
            text = f"{dump_json(list(rows))}\n" if chosen == "json" else _csv(rows)
    if chosen != "parquet":
        if target is None:
            output.write(text, newline=False)
        else:
            write_atomically(target, text)
    if target is not None:
        output.say(f"written to {target}")
    return ExitCode.DONE


def long_rows(run: str, result: Result) -> Iterator[dict[str, Any]]:
    """Yield the rows of a result, in the order of conditions, metrics and replicates, failed cells last.

    Parameters
    ----------
    run : str
        The name of the run, which is in each row.
    result : Result
    """
    from crystallize.hooks.tools import metric_parts

    about = {
        condition: dict(zip(log.replicates, zip(log.columns.durations, log.columns.workers, strict=True), strict=True))
        for condition, log in result.logs.items()
    }

    def row(condition: str, replicate: int, seed: int | None, *recorded: Any, status: str = "done") -> dict[str, Any]:
        metric, index, value = recorded or (None, None, None)
        found = (run, condition, replicate, seed, metric, index, value, status, *about[condition][replicate])
        return dict(zip(COLUMNS, found, strict=True))

    for part in metric_parts(result.logs):
        cells = zip(part.replicates, part.seeds, part.indices, part.values, strict=True)
        for replicate, seed, index, value in cells:
            yield row(part.condition, replicate, seed, part.metric, index, value)
    for condition, log in result.logs.items():
        seeds = dict(zip(log.replicates, log.columns.seeds, strict=True))
        for status, several in (("failed", log.failed), ("pruned", log.pruned)):
            for replicate in several:
                yield row(condition, replicate, seeds[replicate], status=status)


def _from_name(target: Path | None) -> str:
    suffix = "" if target is None else target.suffix.lstrip(".").lower()
    return suffix if suffix in _FORMATS else "csv"


def _csv(rows: Iterable[dict[str, Any]]) -> str:
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


def _write_parquet(result: Result, target: Path | None) -> None:
    from crystallize.errors import MissingExtraError

    if target is None:
        raise Failure("Parquet is not for a terminal: give a file with -o")
    try:
        result.to_parquet(target)
    except MissingExtraError as error:
        raise Failure(str(error)) from error
