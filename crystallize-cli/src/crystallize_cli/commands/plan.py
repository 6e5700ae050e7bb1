"""``crystallize plan PATH``: which cells would run, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure, code_of
from crystallize_cli.output import with_output
from crystallize_cli.running import check_without, settled_cache, step_options
from crystallize_cli.targets import load_target, target_options

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["plan"]


@click.command()
@target_options
@click.option(
    "--strategy", type=click.Choice(["resume", "rerun"]), default="resume", show_default=True, help="What to plan for."
)
@step_options
@with_output
def plan(
    strategy: str, cache: tuple[str, ...], no_cache: bool, without: tuple[str, ...], output: Output, **options: Any
) -> int:
    """Say which cells would run, and why, without running or writing anything.

    PATH and KEY=VALUE as for `crystallize run`. Of an experiment that reads what others write, the plan is for the
    files that are stored now. With --verbose every cell is listed. Ends with 5 where nothing would run.
    """
    from crystallize.errors import CrystallizeError

    settled_cache(cache, none=no_cache)  # which changes nothing of a plan
    target = load_target(**options)
    check_without(target.experiments, without)
    names = [target.experiment.name] if target.graph is None else target.graph.order
    try:
        plans = {
            experiment.name or experiment.id: experiment.plan(
                treatments=[each for each in experiment.treatments if each.name not in without] if without else None,
                replicates=target.replicates,
                strategy=strategy,
            )
            for experiment in sorted(target.experiments, key=lambda each: names.index(each.name))
        }
    except CrystallizeError as error:
        raise Failure(str(error), code_of(error)) from error
    rows = [
        {
            "experiment": name,
            "cell": planned.cell.key,
            "condition": planned.cell.condition,
            "replicate": planned.cell.replicate,
            "action": planned.action,
            "reason": planned.reason,
        }
        for name, each in plans.items()
        for planned in each.cells
    ]
    if output.json or output.verbose:
        output.table(rows, ["experiment", "cell", "action", "reason"])
    else:
        output.write("\n".join(f"{name}: {each.summary()}" for name, each in plans.items()))
    return ExitCode.DONE if any(each.to_run for each in plans.values()) else ExitCode.NOTHING
