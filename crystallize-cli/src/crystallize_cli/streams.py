"""The standard streams of the command: no command fails because one of them is closed, full or read by nobody."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crystallize_cli.events import EventFile

__all__ = ["Tee", "lost_output", "open_standard_streams", "reserved_stdout", "write"]

_STDOUT, _STDERR = 1, 2
# The reader of a pipe has gone; Windows says "invalid argument".
_READER_GONE = frozenset({errno.EPIPE, errno.EINVAL})

_lost: list[OSError] = []
"""Why what was written to standard output did not get there."""


def open_standard_streams() -> None:
    """Replace the standard streams of this process by some that are there and whose writes never fail.

    What cannot be written is lost: the disk is full, the terminal is gone, the reader has read enough. For standard
    output, `lost_output` says why. A descriptor that is closed is opened, or the next file would take its place.
    """
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _occupy_descriptors()
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: PTH123, SIM115 - as long as the process lives
    for name, descriptor in (("stdout", _STDOUT), ("stderr", _STDERR)):
        stream = getattr(sys, name)
        if stream is None or _descriptor(stream) == descriptor:
            opened = _opened(stream, descriptor)
            setattr(sys, name, opened)
            setattr(sys, f"__{name}__", opened)


def lost_output() -> OSError | None:
    """Return why something that was written to standard output is lost; None if nothing is, or nobody wanted it."""
    if sys.stdout is not None:
        sys.stdout.flush()
    return _lost[0] if _lost else None


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
    _occupy_descriptors()
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
            target.close()
        with suppress(OSError):
            os.close(kept)


def write(text: str, stream: TextIO | None = None) -> None:
    """Write an answer at once.

    Parameters
    ----------
    text : str
    stream : text stream, optional
        By default `sys.stdout`; nothing is written where there is none.
    """
    stream = sys.stdout if stream is None else stream
    if stream is not None:
        stream.write(text)
        stream.flush()


class Tee:
    """A standard stream whose lines go to a file of events, too.

    Parameters
    ----------
    stream : text stream
    events : EventFile
    name : str
        ``"stdout"`` or ``"stderr"``.

    Attributes
    ----------
    stream : text stream
        The one below: what is written there goes to no file.
    """

    def __init__(self, stream: TextIO | None, events: EventFile, name: str) -> None:
        self.stream = stream
        self._events = events
        self._name = name
        self._begun: dict[int, str] = {}

    def write(self, text: str) -> int:
        """Write text, and hand in the lines that are whole: those of each thread apart."""
        if not getattr(self._events.mine, "muted", False):
            thread = threading.get_ident()
            *lines, rest = (self._begun.pop(thread, "") + text).split("\n")
            for line in lines:
                self._events.put("text", stream=self._name, text=line)
            if rest:
                self._begun[thread] = rest
        return len(text) if self.stream is None else self.stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several pieces of text."""
        for line in lines:
            self.write(line)

    def finish(self) -> None:
        """Hand in lines that were left unfinished."""
        for rest in self._begun.values():
            self._events.put("text", stream=self._name, text=rest)
        self._begun.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class _Output(io.RawIOBase):
    """The bytes of a standard stream; what cannot be written is lost, and everything after it.

    Parameters
    ----------
    raw : raw binary file
        Where they go.
    notes : bool
        Whether to note why something is lost that somebody wanted.
    """

    def __init__(self, raw: Any, *, notes: bool) -> None:
        self._raw = raw
        self._notes = notes
        self.name = raw.name
        self.mode = "wb"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()  # type: ignore[no-any-return]

    def isatty(self) -> bool:
        return self._raw.isatty()  # type: ignore[no-any-return]

    def write(self, data: Any, /) -> int:
        try:
            while (written := self._raw.write(data)) is None:  # another process made it non-blocking
                select.select([], [self._raw], [])
        except OSError as error:
            if self._notes and not self._nobody_reads(error):
                _lost.append(error)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._raw.fileno())  # for whoever else writes there
            os.close(nowhere)
            return memoryview(data).nbytes
        return written  # type: ignore[no-any-return]

    def _nobody_reads(self, error: OSError) -> bool:
        if error.errno == errno.EIO:  # of a file it is the disk's, of a terminal its end
            return stat.S_ISCHR(os.fstat(self._raw.fileno()).st_mode)
        return error.errno in _READER_GONE

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._raw.close()


def _occupy_descriptors() -> None:
    # Here: the help and the version are shown without the core.
    from crystallize.hooks.tools import occupy_standard_descriptors

    occupy_standard_descriptors()


def _opened(stream: Any, descriptor: int) -> io.TextIOWrapper:
    """Return a stream that takes the place of one of the interpreter's own, which cannot be used any more then."""
    notes = descriptor == _STDOUT
    if stream is None:
        raw = _Output(io.FileIO(descriptor, "w", closefd=False), notes=notes)
        return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="backslashreplace")
    settings = {
        "encoding": stream.encoding,
        "errors": stream.errors,
        "line_buffering": stream.line_buffering,
        "write_through": stream.write_through,
    }
    buffer = stream.detach()
    buffered = isinstance(buffer, io.BufferedWriter)  # it is not under `python -u`
    output: Any = _Output(buffer.detach() if buffered else buffer, notes=notes)
    opened = io.TextIOWrapper(io.BufferedWriter(output) if buffered else output, **settings)
    opened.mode = "w"  # type: ignore[misc]  # as that of the interpreter's own
    return opened


def _answer_stream(given: TextIO | None, kept: int, nowhere: TextIO) -> TextIO:
    if given is None:
        return nowhere
    if _descriptor(given) != _STDOUT:
        return given  # replaced by the program that calls the command: a test, a notebook
    raw = _Output(io.FileIO(os.dup(kept), "w"), notes=True)
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=given.encoding, errors=given.errors)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None
