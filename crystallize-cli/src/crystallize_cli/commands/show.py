"""``crystallize show RUN``: what a stored run gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crystallize_cli.commands.runs import describe_run
from crystallize_cli.exits import ExitCode, Failure, stored_errors
from crystallize_cli.output import with_output
from crystallize_cli.references import find_run, root_option

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from crystallize import Result
    from crystallize.errors import PipelineExecutionError
    from crystallize_cli.output import Output

__all__ = ["show"]

_LAST_LINES = 20


@click.command()
@click.argument("run")
@root_option
@click.option("--tree", is_flag=True, help="Show what each step of each cell did.")
@click.option("--cell", metavar="KEY", help="Show how a cell failed, and all of its log: KEY as in baseline_rep_0.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Show only this metric; may be given again.")
@click.option("--digest", "as_digest", is_flag=True, help="Show at most 4 kB of Markdown, for a language model.")
@with_output
def show(
    run: str, root: Path, tree: bool, cell: str | None, metrics: tuple[str, ...], as_digest: bool, output: Output
) -> int:
    """Show what a stored run gave: its table, its errors, how it came about.

    RUN is a run's folder, an experiment's name for its newest run, or name@v3. Nothing of the folder is imported or
    unpickled.
    """
    stored = find_run(run, root)
    with stored_errors():
        result = stored.result()
        errors = _errors_of_cells(result)
        if cell is not None:
            output.data(_described(_error_of(errors, cell)), lambda: _told(errors[cell]))
            return ExitCode.DONE
        if as_digest:
            from crystallize_cli.digest import digest

            told = digest(describe_run(stored), result, errors)
            output.data({"digest": told}, lambda: told)
            return ExitCode.DONE
        # Looked at here, so that damage anywhere in it is told as such.
        record = result.to_dict() if output.json else result

    def text() -> str:
        parts = [_heading(describe_run(stored)), result.summary(list(metrics) or None), *_tracebacks(errors)]
        if tree:
            parts.append(result.tree_text())
        return "\n\n".join(part for part in parts if part)

    with stored_errors():
        output.data(record, text)
    return ExitCode.DONE


def _errors_of_cells(result: Result) -> dict[str, PipelineExecutionError]:
    from crystallize.errors import PipelineExecutionError

    return {key: error for key, error in result.errors.items() if isinstance(error, PipelineExecutionError)}


def _error_of(errors: dict[str, PipelineExecutionError], key: str) -> PipelineExecutionError:
    if key not in errors:
        failed = ", ".join(errors) or "none"
        raise Failure(f"no cell {key!r} of this run failed; those that did: {failed}", ExitCode.NOTHING)
    return errors[key]


def _described(error: PipelineExecutionError) -> dict[str, Any]:
    return {
        "condition": error.condition,
        "replicate": error.replicate,
        "step": error.step_name,
        "error_type": error.error_type,
        "error": str(error),
        "traceback": error.traceback_text,
        "log": error.log,
    }


def _tracebacks(errors: dict[str, PipelineExecutionError]) -> list[str]:
    """Tell one failure of each kind: a hundred equal tracebacks would bury everything else."""
    first: dict[tuple[str, str], str] = {}
    for key, error in errors.items():
        first.setdefault((error.step_name, error.error_type), key)
    return [f"{key}:\n{_told(errors[key], f'--cell {key} shows all of it')}" for key in first.values()]


def _told(error: PipelineExecutionError, whole: str = "") -> str:
    log = error.log.rstrip()
    lines = log.split("\n")
    if whole and len(lines) > _LAST_LINES:
        log = "\n".join([f"[{len(lines) - _LAST_LINES} lines before; {whole}]", *lines[-_LAST_LINES:]])
    parts = [error.traceback_text.rstrip() or str(error)]
    if log:
        parts.append(f"It had printed and logged:\n{log}")
    return "\n\n".join(parts)


def _heading(row: dict[str, Any]) -> str:
    from crystallize.hooks.tools import counted

    counts = [f"{row[what]} {what}" for what in ("failed", "pruned") if row[what]]
    cells = ", ".join([counted(row["cells"], "cell"), *counts])
    seed = "no seed" if row["seed"] is None else f"seed {row['seed']}"
    return f"{row['run']}  {row['status']}, {counted(row['replicates'], 'replicate')}, {cells}, {seed}\n{row['path']}"
