"""``crystallize plugins compare``: a lock beside what is installed, or beside another run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode
from crystallize_cli.locks import say_doubts, stored_lock
from crystallize_cli.output import with_output
from crystallize_cli.references import root_option

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize_cli.output import Output

__all__ = ["compare"]


@click.command()
@click.argument("lock", metavar="LOCK|RUN")
@click.option("--with", "other", metavar="LOCK|RUN", help="Compare with this instead of what is installed.")
@root_option
@with_output
def compare(lock: str, other: str | None, root: Path, output: Output) -> int:
    """Say how what is installed, or a run, differs from a lock.

    LOCK is a file that `crystallize plugins lock` wrote; RUN as there. What is installed has neither an order nor
    settings: those are compared --with another run. Ends with 1 where something differs.
    """
    from crystallize.hooks.declarations import lock_differences

    recorded = stored_lock(lock, root)
    differences = lock_differences(recorded, None if other is None else stored_lock(other, root))
    record = {"same": not differences, "differences": [each.to_dict() for each in differences]}
    output.data(record, lambda: "\n".join(map(str, differences)) or "the same")
    say_doubts(recorded, output)
    return ExitCode.FAILED if differences else ExitCode.DONE
