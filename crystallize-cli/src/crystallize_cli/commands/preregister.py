"""``crystallize preregister PATH -o FILE``: write down what will be run and tested, before it is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure, code_of
from crystallize_cli.output import with_output
from crystallize_cli.running import refuse_graph, stop_options
from crystallize_cli.targets import load_target, target_options

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["preregister"]


@click.command()
@target_options
@stop_options
@click.option(
    "-o", "file", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The file to write; a new one."
)
@with_output
def preregister(file: Path, until: str | None, batch: int, output: Output, **options: Any) -> int:
    """Write down what will be run and tested, before it is.

    PATH and KEY=VALUE as for `crystallize run`, which carries the plan out with --preregistration FILE: hypotheses,
    number of replicates, rule to stop, code, data and parameters are fixed, and a fresh seed is drawn.
    """
    from crystallize.errors import CrystallizeError, PreregistrationExistsError

    if options["seed"] is not None:
        raise Failure("a plan has a seed of its own, so that its data are new: leave --seed out")
    target = load_target(**options)
    refuse_graph(target, "preregister")
    try:
        plan = target.experiment.preregister(file, replicates=target.replicates, until=until, batch=batch)
    except PreregistrationExistsError as error:
        raise Failure(str(error)) from error
    except CrystallizeError as error:
        raise Failure(str(error), code_of(error)) from error
    output.data({"path": str(file), "digest": plan.digest, "seed": plan.seed}, lambda: f"{file}: {plan.digest}")
    output.say(f"to carry it out: crystallize run {shlex.quote(str(target.path))} --preregistration {file}")
    return ExitCode.DONE
