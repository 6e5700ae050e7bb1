"""From a path on the command line to the experiment that is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_cli.exits import Failure

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from crystallize import Experiment

__all__ = ["load_experiment", "load_file"]


def load_experiment(path: Path) -> Experiment:
    """Give the experiment that a Python file defines.

    Parameters
    ----------
    path : Path
        A Python file with exactly one `Experiment` at module level, or with one named ``experiment``.

    Returns
    -------
    Experiment

    Raises
    ------
    Failure
        There is no such file, it cannot be imported, or it is unclear which experiment is meant.

    Examples
    --------
    >>> from pathlib import Path
    >>> load_experiment(Path("absent.py"))
    Traceback (most recent call last):
    ...
    crystallize_cli.exits.Failure: there is no file absent.py
    """
    from crystallize.errors import ConfigurationError
    from crystallize_plugins import loading

    try:
        return loading.load_experiment(path)
    except ConfigurationError as error:
        raise Failure(str(error)) from error


def load_file(path: Path) -> ModuleType:
    """Import a Python file as a module of its own, with its folder on the import path.

    See `crystallize_plugins.loading.load_file`.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ModuleType

    Raises
    ------
    Failure
        There is no such file, or importing it raised.
    """
    from crystallize.errors import ConfigurationError
    from crystallize_plugins import loading

    try:
        return loading.load_file(path)
    except ConfigurationError as error:
        raise Failure(str(error)) from error
