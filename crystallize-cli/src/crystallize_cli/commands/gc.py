"""``crystallize gc [ROOT]``: remove old runs, by a rule that is given."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode, Failure, stored_errors
from crystallize_cli.output import with_output

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["gc"]

_AGE = re.compile(r"(?P<count>[0-9]+)\s*(?P<unit>[hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def _age(context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:  # noqa: ARG001
    """Read a length of time: ``12h``, ``30d`` or ``8w``."""
    if value is None:
        return None
    match = _AGE.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a duration: write 12h, 30d or 8w")
    return timedelta(**{_UNITS[match["unit"]]: int(match["count"])})


@click.command()
@click.argument("root", type=click.Path(path_type=Path), default=Path("data"))
@click.option(
    "--keep", type=click.IntRange(min=0), metavar="N", help="Keep the newest N complete runs of each experiment."
)
@click.option("--older-than", callback=_age, metavar="AGE", help="Remove only runs older than 12h, 30d, 8w, …")
@click.option("--experiment", "experiments", multiple=True, metavar="NAME", help="Only this one; may be given again.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@with_output
def gc(
    root: Path,
    keep: int | None,
    older_than: timedelta | None,
    experiments: tuple[str, ...],
    dry_run: bool,
    output: Output,
) -> int:
    """Remove old runs with all their files, by a rule that is given.

    ROOT is the folder in which runs are stored, by default data. Nothing goes without --keep or --older-than; with
    both, only what both mean. What is being written, what is damaged, and the newest run of each experiment stay.
    """
    from crystallize_plugins.runs.removing import gc as remove

    if not root.is_dir():
        raise Failure(f"there is no folder {root}", ExitCode.NOTHING)
    if keep is None and older_than is None:
        raise click.UsageError("nothing is removed without a rule: give --keep N, --older-than AGE, or both")
    with stored_errors():
        done = remove(root, keep=keep, older_than=older_than, experiments=list(experiments) or None, dry_run=dry_run)
    output.data(done, lambda: str(done))
    return ExitCode.DONE
