"""``crystallize show RUN``: what a stored run gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crystallize_cli.commands.runs import describe_run
from crystallize_cli.exits import ExitCode, stored_errors
from crystallize_cli.output import with_output
from crystallize_cli.references import find_run, root_option

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from crystallize_cli.output import Output

__all__ = ["show"]


@click.command()
@click.argument("run")
@root_option
@click.option("--tree", is_flag=True, help="Show what each step of each cell did.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Show only this metric; may be given again.")
@with_output
def show(run: str, root: Path, tree: bool, metrics: tuple[str, ...], output: Output) -> int:
    """Show what a stored run gave: its table, its errors, how it came about.

    RUN is a run's folder, an experiment's name for its newest run, or name@v3. Nothing of the folder is imported or
    unpickled.
    """
    stored = find_run(run, root)
    with stored_errors():
        result = stored.result()
        # Looked at here, so that damage anywhere in it is told as such.
        record = result.to_dict() if output.json else result

    def text() -> str:
        from crystallize_plugins.reports import summary_text

        parts = [_heading(describe_run(stored)), summary_text(result, list(metrics) or None)]
        if tree:
            parts.append(result.tree_text())
        return "\n\n".join(part for part in parts if part)

    with stored_errors():
        output.data(record, text)
    return ExitCode.DONE


def _heading(row: dict[str, Any]) -> str:
    counts = [f"{row[what]} {what}" for what in ("failed", "pruned") if row[what]]
    counted = ", ".join([f"{row['cells']} cells", *counts])
    seed = "no seed" if row["seed"] is None else f"seed {row['seed']}"
    return f"{row['run']}  {row['status']}, {row['replicates']} replicates, {counted}, {seed}\n{row['path']}"
