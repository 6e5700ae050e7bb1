"""``crystallize report RUN``: a stored run as a page that can be sent and printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode, stored_errors
from crystallize_cli.output import with_output
from crystallize_cli.references import find_run, root_option

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["report"]


@click.command()
@click.argument("run")
@root_option
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="The file; by default NAME-vN.html.")
@click.option("--open", "opened", is_flag=True, help="Open it in the browser.")
@with_output
def report(run: str, root: Path, target: Path | None, opened: bool, output: Output) -> int:
    """Write a stored run as one HTML file: verdicts, plots, failures, how it came about.

    RUN is a run's folder, an experiment's name for its newest run, or name@v3. Nothing of the folder is imported or
    unpickled. The page loads nothing, and reads the same without JavaScript.
    """
    stored = find_run(run, root)
    # Not by the name in the record, which may be any text.
    folder = stored.path.absolute()
    named = target or Path(f"{folder.parent.name}-{folder.name}.html")
    with stored_errors():
        written = stored.result().report(named)
    output.data({"report": str(written)}, lambda: str(written))
    if opened:
        click.launch(written.absolute().as_uri())
    return ExitCode.DONE
