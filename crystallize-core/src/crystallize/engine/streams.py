"""Standard output and error while a run goes on: what cannot be written there is lost, and no cell fails because of it.

The streams stay the objects that they are. Their methods raise nothing where the disk is full, the
terminal is gone, the reader of a pipe has left or the stream was closed; ``write`` also adds to the log of the cell
that the current context belongs to.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from crystallize.engine.cell_log import current_log

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["StreamHold", "occupy_standard_descriptors"]

_LOGGER = logging.getLogger("crystallize")
_STANDARD = (0, 1, 2)
_NOBODY_READS = frozenset({errno.EPIPE, errno.EIO, errno.EBADF})
"""Nobody will ever read what is written there; on Windows a pipe's end is an invalid argument."""


def occupy_standard_descriptors() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed: the next file or socket would take their place.

    Whatever writes to them (a child process, a library in C, a traceback in the worst of cases) would write into it.
    """
    for descriptor in _STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
            os.set_inheritable(opened, True)  # noqa: FBT003 - takes no keywords


class _HeldStream:
    """The methods that stand in for those of one stream.

    Raises
    ------
    AttributeError, TypeError
        It is no stream, or one to which no attribute can be added.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.error: Exception | None = None
        self._write = stream.write
        self._flush = stream.flush
        self.attributes = stream.__dict__
        self.methods = {"write": self.write, "writelines": self.writelines, "flush": self.flush}
        self.attributes.update(self.methods)

    def write(self, text: str) -> Any:
        log = current_log.get()
        if log is not None and not log.muted and isinstance(text, str):
            log.add(text)
        try:
            return self._write(text)
        except (OSError, ValueError) as exc:
            self._note(exc)
            return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._flush()
        except (OSError, ValueError) as exc:
            self._note(exc)

    def _note(self, exc: Exception) -> None:
        """Note why something is lost, or raise what is no fault of the stream."""
        if isinstance(exc, ValueError) and not _is_closed(self.stream):
            raise exc
        self.error = exc
        if getattr(exc, "errno", None) in _NOBODY_READS:
            with contextlib.suppress(AttributeError, OSError, ValueError):
                if (descriptor := self.stream.fileno()) in _STANDARD:
                    # What is in its buffer would fail at every attempt, at the last one with a traceback.
                    nowhere = os.open(os.devnull, os.O_WRONLY)
                    os.dup2(nowhere, descriptor)
                    os.close(nowhere)

    def tell(self) -> None:
        """Say that something is lost that somebody might have read."""
        if isinstance(self.error, OSError) and self.error.errno not in _NOBODY_READS:
            name = getattr(self.stream, "name", type(self.stream).__name__)
            _LOGGER.warning("what was printed to %s is lost in part: %s", name, self.error)


def _is_closed(stream: Any) -> bool:
    try:
        return bool(stream.closed)
    except ValueError:  # its buffer was taken away
        return True


class _Held:
    lock = threading.Lock()
    users = 0
    streams: tuple[_HeldStream, ...] = ()

    @classmethod
    def flush(cls) -> None:
        """Write what is in buffers, before a fork: the child would write it once more."""
        for held in cls.streams:
            held.flush()

    @classmethod
    def forget_users(cls) -> None:
        """Begin anew in a forked process, whose runs are others; the streams that it has are held already."""
        cls.lock = threading.Lock()
        cls.users = 0


class StreamHold:
    """One user's wish that what cannot be printed be lost; without any, the streams are as they were."""

    _holds = False

    def hold(self) -> None:
        """Begin, unless that was done before."""
        with _Held.lock:
            occupy_standard_descriptors()
            _Held.users += not self._holds
            self._holds = True
            for stream in (sys.stdout, sys.stderr):
                for held in _Held.streams:
                    if held.stream is stream:
                        break
                else:
                    try:
                        _Held.streams += (_HeldStream(stream),)
                    except (AttributeError, TypeError):
                        continue  # there is none, or one that takes no attributes

    @staticmethod
    def is_needed() -> bool:
        """Return whether nobody in this process holds the streams."""
        return not _Held.users

    def release(self) -> None:
        """End, if it has begun."""
        with _Held.lock:
            _Held.users -= self._holds
            self._holds = False
            if _Held.users:
                return
            released, _Held.streams = _Held.streams, ()
        for held in released:
            if held.error is not None:
                held.tell()  # as long as that cannot fail
        for held in released:
            if held.attributes.get("write") is held.methods["write"]:  # else somebody has put another in its place
                for name in held.methods:
                    if name in held.attributes:
                        del held.attributes[name]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_Held.flush, after_in_child=_Held.forget_users)
