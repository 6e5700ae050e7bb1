"""``crystallize run PATH``: run the experiment of a Python file and show its table."""

from __future__ import annotations

import copy
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.loading import load_experiment

if TYPE_CHECKING:
    from crystallize import Experiment, Result

__all__ = ["run"]


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--replicates", type=click.IntRange(min=1), metavar="N", help="How many replicates, for this run only."
)
@click.option("--seed", type=int, metavar="N", help="The seed, for this run only: any integer.")
def run(path: Path, replicates: int | None, seed: int | None) -> int:
    """Run the experiment that a Python file defines.

    PATH is a file with one Experiment at its top level, or with one that is named `experiment`. The table
    of results is written to stdout, everything else to stderr.
    """
    from crystallize.errors import CrystallizeError

    experiment = load_experiment(path)
    if seed is not None:
        _reseed(experiment, seed)
    _show_messages()
    try:
        experiment.validate()
        result = experiment.run(replicates=replicates)
    except KeyboardInterrupt as interrupt:
        _say_what_is_kept(interrupt)
        raise
    except CrystallizeError as error:
        _say_what_is_kept(error)
        raise Failure(f"{type(error).__name__}: {error}", _code_of(error)) from error
    return _show(experiment, result)


def _reseed(experiment: Experiment, seed: int) -> None:
    """Put the seed into the experiment's SeedPlugin, leaving the rest of its settings as they are."""
    from crystallize import SeedPlugin

    for position, plugin in enumerate(experiment.plugins):
        if isinstance(plugin, SeedPlugin):
            other = copy.copy(plugin)
            other.seed = seed
            experiment.plugins[position] = other
            return
    message = "--seed has nothing to act on: the experiment has no SeedPlugin. Leave the option out, or add one."
    raise Failure(message)
