"""``crystallize plugins order``: in which order plugins are called, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure, code_of
from crystallize_cli.folders import ExperimentPath
from crystallize_cli.output import with_output
from crystallize_cli.selection import select_from, selection_options
from crystallize_cli.streams import reserved_stdout
from crystallize_cli.targets import load_target

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize_cli.output import Output

__all__ = ["order"]


@click.command()
@click.argument("path", type=ExperimentPath(), required=False)
@click.option("--hook", metavar="HOOK", help="Only the plugins that are called in this hook.")
@selection_options
@with_output
def order(path: Path | None, hook: str | None, output: Output, **selection: Any) -> int:
    """Say in which order the plugins of an experiment are called, and why.

    PATH as for `crystallize run`; without it, the plugins that every experiment has.
    """
    from crystallize.errors import CrystallizeError
    from crystallize.hooks import HOOKS
    from crystallize.hooks.declarations import explain_order
    from crystallize.hooks.tools import did_you_mean

    if hook is not None and hook not in HOOKS:
        raise Failure(f"there is no hook {hook!r}.{did_you_mean(hook, HOOKS)} The hooks: {', '.join(HOOKS)}")
    try:
        with reserved_stdout():
            explained = explain_order(_plugins(path, selection))
    except CrystallizeError as error:
        raise Failure(str(error), code_of(error)) from error
    rows = [
        {
            "name": info.name,
            "distribution": info.distribution,
            "version": info.version,
            "hooks": list(info.hooks),
            "because": because,
        }
        for info, because in explained
        if hook is None or hook in info.hooks
    ]
    if output.json:
        output.data({"order": rows}, str)
    else:
        output.table(rows, ["name", "distribution", "version", "because"])
    return ExitCode.DONE


def _plugins(path: Path | None, selection: dict[str, Any]) -> list[Any]:
    if path is not None:
        return load_target(path, (), only=True, **selection).experiment.plugins
    from crystallize.hooks import build_plugins

    return select_from(build_plugins(None), **selection)
