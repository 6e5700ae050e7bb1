"""``crystallize resume PATH``: run what is missing, failed or changed, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.output import with_output
from crystallize_cli.running import Asked, carry_out, run_options
from crystallize_cli.targets import load_target, target_options

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["resume"]


@click.command()
@target_options
@run_options
@with_output
def resume(output: Output, **options: Any) -> int:
    """Run the cells that are missing, failed or changed, and keep all others.

    PATH and KEY=VALUE as for `crystallize run`. Ends with 5 where there is nothing to do, and with 75 where another
    process is running the experiment. `crystallize plan` says beforehand what would run, and why.
    """
    asked = replace(Asked.among(options), strategy="resume")
    return carry_out(load_target(**options), output, asked)
