"""``crystallize resume PATH``: run what is missing, failed or changed, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.output import with_output
from crystallize_cli.running import carry_out, how_to_run, plan_option, stop_options
from crystallize_cli.targets import load_target, target_options

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["resume"]


@click.command()
@target_options
@click.option("--check", is_flag=True, help="End with 4 where a hypothesis is not supported.")
@stop_options
@plan_option
@with_output
def resume(check: bool, output: Output, **options: Any) -> int:
    """Run the cells that are missing, failed or changed, and keep all others.

    PATH and KEY=VALUE as for `crystallize run`. Ends with 5 where there is nothing to do, and with 75 where another
    process is running the experiment. `crystallize plan` says beforehand what would run, and why.
    """
    how = how_to_run(options)
    return carry_out(load_target(**options), output, strategy="resume", check=check, **how)
