"""``crystallize reproduce RUN``: do a stored run again, and say what has drifted."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode, Failure, stored_errors
from crystallize_cli.folders import ExperimentPath, find_experiment
from crystallize_cli.locks import apply_lock, lock_option, read_lock_file
from crystallize_cli.output import with_output
from crystallize_cli.references import find_run, root_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from crystallize import Experiment
    from crystallize_cli.output import Output

__all__ = ["reproduce"]


@click.command()
@click.argument("run")
@click.argument("path", type=ExperimentPath(), required=False)
@root_option
@lock_option
@with_output
def reproduce(run: str, path: Path | None, root: Path, locked: Path | None, output: Output) -> int:
    """Do a stored run again from its record, and compare it bit for bit.

    RUN is a run's folder, an experiment's name for its newest run, or name@v3. PATH is the Python file, or the folder
    with a config.yaml or its name, that defines the experiment; by default the one that the run recorded, which is
    shown, and loaded once you say yes. Nothing is stored. Ends with 1 where something has drifted; what has changed in
    code, packages and plugins stands beside it.
    """
    from crystallize_plugins.runs.reproducing import reproduce as run_again

    stored = find_run(run, root)

    def confirm(place: Path, overrides: Sequence[str]) -> bool:
        output.say(
            f"{run} says that it was made by the code in\n  {place}" + "".join(f"\n  {each}" for each in overrides)
        )
        if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
            raise Failure(
                "nobody is there to confirm that this code may run. Look at it, and type: "
                f"crystallize reproduce {shlex.quote(run)} {shlex.quote(str(place))}"
            )
        return click.confirm("Load it, and run the experiment?", err=True)

    lock = None if locked is None else read_lock_file(locked)

    def prepare(experiment: Experiment) -> None:
        if lock is not None:
            apply_lock([experiment], lock)

    with stored_errors():
        found = run_again(stored, None if path is None else find_experiment(path), confirm=confirm, prepare=prepare)
    output.data(found, found.text)
    return ExitCode.DONE if found.identical else ExitCode.FAILED
