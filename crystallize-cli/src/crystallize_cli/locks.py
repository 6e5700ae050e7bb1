"""Which lock is meant: a file, a stored run, or what an experiment would run with now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crystallize_cli.exits import ExitCode, Failure, code_of, stored_errors
from crystallize_cli.references import find_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize import Experiment
    from crystallize_cli.output import Output

__all__ = ["apply_lock", "experiment_lock", "lock_option", "read_lock_file", "say_doubts", "stored_lock"]

lock_option = click.option(
    "--locked",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Run with exactly the plugins of a lock that `crystallize plugins lock` wrote, or not at all.",
)


def read_lock_file(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a lock in a file.

    Raises
    ------
    Failure
        There is no such file, or it is no lock.
    """
    from crystallize.errors import ConfigurationError
    from crystallize.hooks.declarations import read_lock

    try:
        return read_lock(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as error:
        raise Failure(
            f"there is no lock {path}. `crystallize plugins lock RUN > {path}` writes one", ExitCode.NOTHING
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"the lock {path} cannot be read: {error}") from error
    except ConfigurationError as error:
        raise Failure(str(error)) from error


def stored_lock(reference: str, root: Path) -> list[dict[str, Any]]:
    """Return the entries of a lock in a file, or of a stored run.

    Parameters
    ----------
    reference : str
        A file, or a run as `find_run` takes it.
    root : Path
        Where names of experiments are looked up.

    Raises
    ------
    Failure
        There is neither.
    """
    path = Path(reference)
    if path.is_file() or (path.suffix == ".json" and not path.exists()):
        return read_lock_file(path)
    run = find_run(reference, root)
    with stored_errors():
        entries = run.result().provenance.get("plugins")
    if entries is None:
        raise Failure(f"{reference} has recorded no plugins: it was stopped before its first cell was stored")
    return [dict(entry) for entry in entries]


def experiment_lock(experiment: Experiment) -> list[dict[str, Any]]:
    """Return the entries of the lock that a run of an experiment would have now.

    Raises
    ------
    Failure
        Its plugins cannot be used together.
    """
    from crystallize.errors import CrystallizeError
    from crystallize.hooks.declarations import active_plugins

    try:
        return active_plugins(experiment.plugins).lock()
    except CrystallizeError as error:
        raise Failure(str(error), code_of(error)) from error


def apply_lock(experiments: Sequence[Experiment], lock: Sequence[dict[str, Any]]) -> None:
    """Give experiments exactly the plugins that a lock names.

    Raises
    ------
    Failure
        They cannot be had; with the plugin, both versions and what to type.
    """
    from crystallize.errors import CrystallizeError
    from crystallize.hooks.declarations import plugins_as_locked, use_plugins

    for experiment in experiments:
        try:
            use_plugins(experiment, plugins_as_locked(lock, experiment.plugins))
        except CrystallizeError as error:
            raise Failure(f"--locked: {error}") from error


def say_doubts(lock: Sequence[dict[str, Any]], output: Output) -> None:
    """Say on standard error what a lock does not pin."""
    from crystallize.hooks.declarations import lock_doubts

    for doubt in lock_doubts(lock):
        output.say(f"note: {doubt}")
