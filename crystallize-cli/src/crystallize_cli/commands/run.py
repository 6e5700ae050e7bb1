"""``crystallize run PATH``: run an experiment, or a graph of them, and show the results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.output import with_output
from crystallize_cli.running import Asked, carry_out, run_options
from crystallize_cli.targets import load_target, target_options

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["run"]


@click.command()
@target_options
@click.option(
    "--account", is_flag=True, help="Keep an account of what plugins cost: `crystallize plugins cost` shows it."
)
@click.option("--strategy", type=click.Choice(["resume", "rerun"]), help="By default the experiment's own.")
@click.option(
    "--rerun",
    multiple=True,
    metavar="EXPERIMENT",
    help="Of a graph: run every cell of this experiment. Can be repeated.",
)
@run_options
@with_output
def run(account: bool, output: Output, **options: Any) -> int:
    """Run an experiment and show its results.

    PATH is a folder with a config.yaml, its name as `crystallize list` shows it, or a Python file with one Experiment
    at its top level (or with one that is named `experiment`). A folder that reads what others write runs after those.
    KEY=VALUE replaces what config.yaml says: replicates=30 treatments.fast.lr=0.1; of a Python file it can be
    replicates=N. plugins.NAME.SETTING=VALUE gives a plugin another setting, in a folder and in a file.
    """
    asked = Asked.among(options)
    target = load_target(**options)
    for experiment in target.experiments if account else ():
        experiment.account = True
    return carry_out(target, output, asked)
