"""``crystallize plugins list``: what is installed, by metadata alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode
from crystallize_cli.kinds import installed, kind_option
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["list_"]


@click.command("list")
@kind_option
@with_output
def list_(kind: str | None, output: Output) -> int:
    """List what is installed, importing nothing."""
    rows = [
        {
            "name": record.name,
            "kind": found,
            "distribution": record.distribution,
            "version": record.version,
            "entry_point": record.value,
            "problem": record.problem,
        }
        for found, record in installed(kind)
    ]
    output.table(rows, ["name", "kind", "distribution", "version", "problem"])
    return ExitCode.DONE
