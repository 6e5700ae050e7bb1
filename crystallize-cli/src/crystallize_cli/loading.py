"""From a path on the command line to the experiment that is meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_cli.exits import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from crystallize import Experiment

__all__ = ["load_experiment"]


def load_experiment(path: Path) -> Experiment:
    """Give the experiment that a Python file defines, as `crystallize_plugins.loading.load_experiment` does.

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
