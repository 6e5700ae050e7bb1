"""How a command ends: the exit codes, and the failure that carries one."""

from __future__ import annotations

import enum
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ExitCode", "Failure", "code_of", "stored_errors"]


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
    """What is stored is damaged, or is not what it says it is; or a plan, or what it is of, was changed."""
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


@contextmanager
def stored_errors() -> Iterator[None]:
    """Turn errors of what is done with stored runs into failures: damage has an exit code of its own.

    Raises
    ------
    Failure
    """
    from crystallize import errors

    try:
        yield
    except errors.RunLockedError as error:
        raise Failure(str(error), ExitCode.LOCKED) from error
    except errors.RunStateError as error:
        raise Failure(str(error), ExitCode.LOCKED) from error
    except errors.StoreError as error:
        raise Failure(str(error), ExitCode.INTEGRITY) from error
    except errors.CrystallizeError as error:
        raise Failure(str(error), code_of(error)) from error


def code_of(error: BaseException) -> ExitCode:
    """Say how a command ends that an error of the framework stopped.

    What is wrong with an experiment that nobody has run yet is told from what went wrong in its run.
    """
    from crystallize import errors

    if isinstance(error, errors.RunLockedError):
        return ExitCode.LOCKED
    if isinstance(error, (errors.DamagedStoreError, errors.PreregistrationError)):
        return ExitCode.INTEGRITY
    if isinstance(error, errors.TooManyFailuresError):
        return ExitCode.FAILED
    found_before = isinstance(error, (ValueError, TypeError, LookupError, ImportError))
    return ExitCode.USAGE if found_before and getattr(error, "result", None) is None else ExitCode.INTERNAL
