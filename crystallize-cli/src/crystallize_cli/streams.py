"""Standard output kept for the answer of a command: what anything else prints goes to standard error."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from crystallize_cli.exits import ExitCode, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["reserved_stdout", "write"]

_STDOUT, _STDERR = 1, 2
# The reader of a pipe has gone; Windows says "invalid argument".
_READER_GONE = frozenset({errno.EPIPE, errno.EINVAL})


@contextmanager
def reserved_stdout(*, exits: bool = False) -> Iterator[TextIO]:
    """Yield what writes to standard output, and point everything else that does at standard error.

    That is `sys.stdout`, and the file descriptor 1 of this process: what C libraries, child processes and workers
    print, and what reads `sys.__stdout__`.

    Parameters
    ----------
    exits : bool, default False
        Whether the process ends after the command: then it stays so, also for what is printed at exit and what is
        still in the buffers of C libraries by then.

    Yields
    ------
    text stream
        Takes what is written and loses it where there is no standard output.

    Examples
    --------
    >>> with reserved_stdout() as answer:
    ...     print("goes to standard error")
    ...     _ = answer.write("the answer")
    the answer
    """
    given = sys.stdout
    if given is not None:
        given.flush()
    _occupy_standard_descriptors()
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - open as long as the command runs
    target = _answer_stream(given, kept, nowhere)
    sys.stdout = nowhere if sys.stderr is None else sys.stderr
    try:
        yield target
    finally:
        if not exits:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            sys.stdout = given
            os.dup2(kept, _STDOUT)
            nowhere.close()
        if target is not given:
            with suppress(OSError):  # what could not be written was reported when it was
                target.close()
        with suppress(OSError):
            os.close(kept)


def write(text: str, stream: TextIO | None = None) -> None:
    """Write an answer; where its reader has gone (``| head -1``), the rest is not written, and that is no error.

    Parameters
    ----------
    text : str
    stream : text stream, optional
        By default `sys.stdout`.

    Raises
    ------
    Failure
        Writing fails: the disk is full, say.
    """
    stream = sys.stdout if stream is None else stream
    if stream is None:
        return  # closed by whoever started the process
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        _give_up(stream)
        if error.errno not in _READER_GONE:
            raise Failure(f"cannot write to standard output: {error}", ExitCode.INTERNAL) from error


def _answer_stream(given: TextIO | None, kept: int, nowhere: TextIO) -> TextIO:
    if given is None:
        return nowhere
    if _descriptor(given) != _STDOUT:
        return given  # replaced by the program that calls the command: a test, a notebook
    return open(os.dup(kept), "w", encoding=given.encoding, errors=given.errors)  # noqa: PTH123


def _occupy_standard_descriptors() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed: the next file would take their place."""
    for descriptor in (0, _STDOUT, _STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None


def _give_up(stream: TextIO) -> None:
    """Let what is left in a stream's buffer go nowhere, or flushing it at exit would fail once more."""
    descriptor = _descriptor(stream)
    if descriptor is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
