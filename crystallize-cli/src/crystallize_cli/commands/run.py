"""``crystallize run PATH``: run the experiment of a Python file and show its table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.loading import load_experiment

if TYPE_CHECKING:
    from crystallize import Experiment, Result
    from crystallize.errors import CrystallizeError

__all__ = ["run"]


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--replicates", type=click.IntRange(min=1), metavar="N", help="How many replicates, for this run only.")
@click.option("--seed", type=int, metavar="N", help="The seed, any integer, for this run only.")
def run(path: Path, replicates: int | None, seed: int | None) -> int:
    """Run the experiment that a Python file defines.

    PATH is a file with one Experiment at its top level, or with one that is named `experiment`. The table of results is
    written to stdout, everything else to stderr.
    """
    from crystallize.errors import CrystallizeError

    try:
        experiment = load_experiment(path)
        if seed is not None:
            _reseed(experiment, seed)
        result = experiment.run(replicates=replicates)
    except KeyboardInterrupt as interrupt:
        _say_what_is_kept(interrupt)
        raise
    except CrystallizeError as error:
        _say_what_is_kept(error)
        raise Failure(str(error), _code_of(error)) from error
    return _show(result)


def _reseed(experiment: Experiment, seed: int) -> None:
    """Build the experiment's SeedPlugin again with this seed and the rest of its settings."""
    from crystallize import SeedPlugin
    from crystallize.hooks.settings import arguments_of

    for position, plugin in enumerate(experiment.plugins):
        if isinstance(plugin, SeedPlugin):
            # Anew, not by setting an attribute: the run's record shows what a plugin was built with.
            experiment.plugins[position] = type(plugin)(**{**arguments_of(plugin), "seed": seed})
            return
    message = "--seed has nothing to act on: the experiment has no SeedPlugin. Add one, or leave the option out"
    raise Failure(message)


def _show(result: Result) -> int:
    """Print the table; give the exit code."""
    from crystallize_plugins.reports import summary_text

    click.echo(summary_text(result))
    return ExitCode.FAILED if result.errors else ExitCode.DONE


def _say_what_is_kept(stopped_by: BaseException) -> None:
    """Say how much of a run that was stopped is kept; the engine attaches it to what stopped the run."""
    result = getattr(stopped_by, "result", None)
    if result is not None:
        cells = result.provenance["cells"].values()
        completed, requested = (sum(counts[what] for counts in cells) for what in ("completed", "requested"))
        click.echo(f"stopped: {completed} of {requested} cells had finished, and are kept", err=True)


def _code_of(error: CrystallizeError) -> ExitCode:
    """Tell what is wrong with the experiment, which nobody has run yet, from what went wrong in its run."""
    found_before = isinstance(error, (ValueError, TypeError, LookupError, ImportError))
    return ExitCode.USAGE if found_before and getattr(error, "result", None) is None else ExitCode.INTERNAL
