"""``crystallize debug PATH``: one cell, in this process, with a debugger where it fails."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure, code_of
from crystallize_cli.folders import ExperimentPath
from crystallize_cli.output import with_output
from crystallize_cli.selection import selection_options
from crystallize_cli.targets import load_target

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize import Experiment, Treatment
    from crystallize_cli.output import Output

__all__ = ["debug"]


@click.command()
@click.argument("path", type=ExperimentPath())
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--condition", metavar="NAME", default="baseline", show_default=True, help="Which condition.")
@click.option(
    "--replicate", type=click.IntRange(min=0), metavar="N", default=0, show_default=True, help="Which replicate."
)
@selection_options
@click.option("--no-break", is_flag=True, help="Open no debugger where it fails.")
@with_output
def debug(
    path: Path,
    overrides: tuple[str, ...],
    condition: str,
    replicate: int,
    no_break: bool,
    output: Output,
    **selection: Any,
) -> int:
    """Run one cell in this process and show what every step did.

    PATH and KEY=VALUE as for `crystallize run`. Nothing is stored. Where a step fails, its traceback is shown, and on a
    terminal a debugger opens at the place.
    """
    from crystallize.errors import CrystallizeError

    experiment = load_target(path, overrides, only=True, **selection).experiment
    treatment = _treatment(experiment, condition)
    try:
        experiment.validate()
    except CrystallizeError as error:
        raise Failure(str(error), code_of(error)) from error
    try:
        outcome = experiment.debug(treatment, replicate)
    except Exception as error:  # noqa: BLE001 - whatever the step raised is what is looked for
        return _failed(error, no_break=no_break)
    record = {
        "cell": outcome.cell.key,
        "seed": outcome.seed,
        "duration": outcome.duration,
        "metrics": {name: list(values) for name, values in outcome.metrics.items()},
        "data": repr(outcome.payload),
    }
    output.data(record, lambda: "\n".join(f"{name}: {value}" for name, value in record.items()))
    return ExitCode.DONE


def _treatment(experiment: Experiment, condition: str) -> Treatment | None:
    from crystallize.hooks.tools import did_you_mean

    found = next((each for each in experiment.treatments if each.name == condition), None)
    if found is None and condition != "baseline":
        known = ["baseline", *(each.name for each in experiment.treatments)]
        raise Failure(
            f"there is no condition {condition!r}.{did_you_mean(condition, known)} Conditions: {', '.join(known)}"
        )
    return found


def _failed(error: BaseException, *, no_break: bool) -> int:
    import traceback

    traceback.print_exception(type(error), error, error.__traceback__)
    if not no_break and sys.stdin.isatty() and sys.stderr.isatty():
        import pdb  # noqa: T100 - this is the debugger that was asked for

        pdb.post_mortem(error.__traceback__)
    return ExitCode.FAILED
