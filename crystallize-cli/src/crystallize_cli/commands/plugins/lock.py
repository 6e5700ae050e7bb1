"""``crystallize plugins lock``: the lock of a stored run, or of an experiment as it would run now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure
from crystallize_cli.locks import experiment_lock, say_doubts, stored_lock
from crystallize_cli.output import with_output
from crystallize_cli.references import root_option
from crystallize_cli.selection import selection_options
from crystallize_cli.streams import reserved_stdout
from crystallize_cli.targets import load_target

if TYPE_CHECKING:
    from crystallize_cli.output import Output

__all__ = ["lock"]


@click.command()
@click.argument("run", metavar="RUN|PATH")
@root_option
@selection_options
@with_output
def lock(run: str, root: Path, output: Output, **selection: Any) -> int:
    """Write the lock of a run's or an experiment's plugins, as JSON.

    RUN is a run's folder, an experiment's name for its newest run, or name@v3; PATH is a Python file, a folder with a
    config.yaml or its name: its lock is that of a run that began now. Keep it beside the experiment, and run with it:
    `crystallize run PATH --locked FILE`.
    """
    from crystallize.hooks.declarations import lock_document
    from crystallize.hooks.tools import dump_json

    with reserved_stdout():  # the answer is JSON in any case
        entries = _entries(run, root, selection)
    document = lock_document(entries)
    output.data(document, lambda: dump_json(document))
    say_doubts(entries, output)
    return ExitCode.DONE


def _entries(reference: str, root: Path, selection: dict[str, Any]) -> list[dict[str, Any]]:
    path = Path(reference)
    if path.is_file() or (path.is_dir() and any((path / name).is_file() for name in ("config.yaml", "config.yml"))):
        return experiment_lock(load_target(path, (), only=True, **selection).experiment)
    try:
        return stored_lock(reference, root)
    except Failure as failure:
        if failure.exit_code != ExitCode.NOTHING or path.exists():
            raise
        try:
            return experiment_lock(load_target(path, (), only=True, **selection).experiment)
        except Failure as other:
            raise (failure if other.exit_code == ExitCode.NOTHING else other) from None
