"""``crystallize plugins export``: what pip needs to install the plugins of a run."""

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

__all__ = ["export"]


@click.command()
@click.argument("lock", metavar="LOCK|RUN")
@root_option
@with_output
def export(lock: str, root: Path, output: Output) -> int:
    """Write a lock as requirements for pip, one a line.

    LOCK and RUN as for `crystallize plugins compare`. With it, `pip install -r` installs what the run had:
    `crystallize plugins export quickstart > requirements.txt`.
    """
    from crystallize.hooks import lock_requirements

    entries = stored_lock(lock, root)
    requirements = lock_requirements(entries)
    output.data({"requirements": requirements}, lambda: "\n".join(requirements))
    say_doubts(entries, output)
    return ExitCode.DONE
