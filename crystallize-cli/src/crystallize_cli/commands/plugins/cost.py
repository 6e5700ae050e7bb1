"""``crystallize plugins cost``: what the plugins of a run have cost it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure, stored_errors
from crystallize_cli.output import with_output
from crystallize_cli.references import find_run, root_option, stored_name

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize_cli.output import Output

__all__ = ["cost"]


@click.command()
@click.argument("run")
@root_option
@with_output
def cost(run: str, root: Path, output: Output) -> int:
    """Show what the plugins of a run have cost it, the dearest first.

    RUN as for `crystallize show`. A run keeps the account where it is asked to: `crystallize run PATH --account`. Ends
    with 5 where it kept none.
    """
    stored = find_run(run, root)
    with stored_errors():
        account = stored.result().provenance.get("plugin_cost")
    if account is None:
        raise Failure(
            f"{stored_name(stored)} kept no account of its plugins: run it with --account, or with "
            "Experiment(account=True)",
            ExitCode.NOTHING,
        )
    dearest = sorted(account.items(), key=lambda item: -item[1]["seconds"])
    rows = [{"name": name, **costs} for name, costs in dearest]
    if output.json:
        output.data(rows, str)
    else:
        output.table([_shown(row) for row in rows], ["name", "seconds", "share", "import ms", "dearest hooks"])
    return ExitCode.DONE


def _shown(row: dict[str, Any]) -> dict[str, str]:
    hooks = sorted(row["hooks"].items(), key=lambda item: -item[1]["seconds"])
    return {
        "name": row["name"],
        "seconds": f"{row['seconds']:.4f}",
        "share": f"{row['share']:.1%}",
        "import ms": "" if row["import_ms"] is None else f"{row['import_ms']:.0f}",
        "dearest hooks": ", ".join(f"{name} {each['calls']} x" for name, each in hooks[:3]),
    }
