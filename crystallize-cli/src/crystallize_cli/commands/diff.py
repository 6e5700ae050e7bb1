"""``crystallize diff RUN_A RUN_B``: what is not the same in two stored runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode, stored_errors
from crystallize_cli.output import with_output
from crystallize_cli.references import find_run, root_option

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize_cli.output import Output

__all__ = ["diff"]


@click.command()
@click.argument("run_a")
@click.argument("run_b")
@root_option
@click.option("--part", "parts", multiple=True, metavar="NAME", help="Show only this part; may be given again.")
@with_output
def diff(run_a: str, run_b: str, root: Path, parts: tuple[str, ...], output: Output) -> int:
    """Say what differs between two stored runs.

    Parameters, code, data, plugins, packages, environment, git and results; what is the same is left out. RUN is a
    run's folder, an experiment's name for its newest run, or name@v3. Nothing of the folders is imported or unpickled.
    """
    from crystallize_plugins.runs.comparing import diff as compare
    from crystallize_plugins.runs.differences import PARTS, RunDiff

    for part in parts:
        if part not in PARTS:
            raise click.UsageError(f"--part {part}: give one of {', '.join(PARTS)}")
    first, second = find_run(run_a, root), find_run(run_b, root)
    with stored_errors():
        found = compare(first, second)
    if parts:
        found = RunDiff(found.first, found.second, found.of(*parts))
    output.data(found, found.text)
    return ExitCode.DONE
