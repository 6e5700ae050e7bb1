"""How a command ends: the exit codes, and the failure that carries one."""

from __future__ import annotations

import enum
from typing import Any

import click

__all__ = ["ExitCode", "Failure", "code_of"]


class ExitCode(enum.IntEnum):
    """What the exit code of ``crystallize`` says; a public promise."""

    DONE = 0
    """Everything ran."""
    FAILED = 1
    """A cell failed, or a hypothesis could not be judged; what succeeded is kept."""
    USAGE = 2
    """The command line or the experiment is not in order; nothing ran."""
    INTERNAL = 3
    """The run broke down: a plugin stopped it, the store could not be written, or Crystallize has a bug."""
    UNSUPPORTED = 4
    """A hypothesis is not supported; only where ``--check`` asks for that."""
    NOTHING = 5
    """There is nothing to do, or no such experiment or run."""
    INTEGRITY = 6
    """What is stored is damaged, or is not what it says it is."""
    LOCKED = 75
    """Another process is running this experiment; nothing ran."""
    INTERRUPTED = 130
    """Ctrl-C; the cells that had finished are kept."""


class Failure(click.ClickException):
    """A command cannot go on: a message for stderr, and the exit code.

    Parameters
    ----------
    message : str
        What is wrong and what to do.
    code : ExitCode
        How the process ends.

    Examples
    --------
    >>> raise Failure("there is no file x.py", ExitCode.USAGE)
    Traceback (most recent call last):
    ...
    crystallize_cli.exits.Failure: there is no file x.py
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.exit_code = int(code)  # type: ignore[misc] # a ClassVar in click, which reads it from the instance

    def show(self, file: Any = None) -> None:
        """Write the message to stderr, or to `file`."""
        click.echo(f"crystallize: {self.message}", file=file, err=file is None)


def code_of(error: BaseException) -> ExitCode:
    """Say how a command ends that an error of the framework stopped.

    What is wrong with an experiment that nobody has run yet is told from what went wrong in its run.
    """
    from crystallize import errors

    if isinstance(error, errors.RunLockedError):
        return ExitCode.LOCKED
    if isinstance(error, errors.TooManyFailuresError):
        return ExitCode.FAILED
    found_before = isinstance(error, (ValueError, TypeError, LookupError, ImportError))
    return ExitCode.USAGE if found_before and getattr(error, "result", None) is None else ExitCode.INTERNAL
