"""``crystallize verify [PATH…]``: whether what is stored is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode, Failure, stored_errors
from crystallize_cli.output import with_output
from crystallize_cli.references import find_run, root_option

if TYPE_CHECKING:
    from crystallize_cli.output import Output
    from crystallize_plugins.runs.verifying import Verification

__all__ = ["verify"]


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@root_option
@with_output
def verify(paths: tuple[str, ...], root: Path, output: Output) -> int:
    """Read everything that is stored and name what is damaged.

    PATH is a folder of runs (one, an experiment's, or all), or a run as name@v3; by default all below --root. Nothing
    is changed, imported or unpickled. Ends with 6 where something is damaged or missing.
    """
    found = [_verified(path, root) for path in paths or (str(root),)]
    output.data([each.to_dict() for each in found], lambda: "\n".join(map(str, found)))
    return ExitCode.DONE if all(each.ok for each in found) else ExitCode.INTEGRITY


def _verified(path: str, root: Path) -> Verification:
    from crystallize.errors import StoreError
    from crystallize_plugins.runs.verifying import verify as check

    with stored_errors():
        if not Path(path).is_dir() and path != str(root):
            return check(find_run(path, root))
        try:
            return check(path)
        except StoreError as error:
            raise Failure(str(error), ExitCode.NOTHING) from error
