"""Memory that processes share: `Segment`, and in one of them what each worker is at, as a `WorkerStatus`.

Nobody has to clean it up: it is gone with the last process that holds it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from crystallize.hooks.tools import fresh_id

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Overdue", "PrivateMap", "Segment", "WorkerStatus"]

_WINDOWS = sys.platform == "win32"


class Segment:
    """A piece of anonymous memory.

    On POSIX it is a descriptor (of memory, or of a file that was unlinked at once), which a child process
    is handed; on Windows it is a tag that the system forgets with the last handle. Either way a process
    that is killed leaves nothing behind.

    Parameters
    ----------
    size : int
        Bytes.
    fd : int, optional
        The descriptor of a segment that another process made.
    tag : str, optional
        The same, on Windows.
    """

    __slots__ = ("_map", "_words", "fd", "size", "tag")

    def __init__(self, size: int, *, fd: int | None = None, tag: str | None = None) -> None:
        self.size = max(size, 1)
        self.fd = fd
        self.tag = tag
        self._map: mmap.mmap | None = None
        self._words: memoryview | None = None

    @classmethod
    def create(cls, size: int) -> Segment:
        """Make a new one, filled with zeros."""
        if _WINDOWS:
            segment = cls(size, tag=f"crystallize-{fresh_id()}")
            segment.shared()
            return segment
        segment = cls(size, fd=_anonymous_file())
        os.truncate(segment.fd, segment.size)  # type: ignore[arg-type]
        return segment

    def shared(self) -> mmap.mmap:
        """Map it so that every process sees what any of them writes."""
        if self._map is None:
            self._map = self._mapped(mmap.ACCESS_WRITE)
        return self._map

    def words(self) -> memoryview:
        """Map it as `shared` does, as whole numbers of eight bytes."""
        if self._words is None:
            self._words = memoryview(self.shared()).cast("q")
        return self._words

    def fill(self, parts: Iterable[tuple[int, Any]]) -> None:
        """Write buffers at offsets."""
        for offset, part in parts:
            view = memoryview(part).cast("B")
            if self.fd is None:
                self.shared()[offset : offset + view.nbytes] = view
                continue
            # Twice as fast as through a map, where every page is faulted in first.
            while view.nbytes:
                written = os.pwrite(self.fd, view, offset)
                offset += written  # noqa: PLW2901 - a large buffer takes several turns
                view = view[written:]

    def private(self) -> PrivateMap:
        """Map it so that what this process writes stays its own."""
        return PrivateMap(self._mapped(mmap.ACCESS_COPY), self._mapped)

    def close(self) -> None:
        """Let go of it."""
        if self._words is not None:
            self._words.release()
            self._words = None
        if self._map is not None:
            with contextlib.suppress(BufferError):  # somebody still looks at it: it goes with the process
                self._map.close()
            self._map = None
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def _mapped(self, access: int) -> mmap.mmap:
        if _WINDOWS:
            return mmap.mmap(-1, self.size, tagname=self.tag, access=access)  # type: ignore[call-arg]
        return mmap.mmap(self.fd, self.size, access=access)  # type: ignore[arg-type]


class PrivateMap:
    """A copy-on-write view of a segment that can be made as new."""

    __slots__ = ("_pristine", "bytes", "restores")

    def __init__(self, private: mmap.mmap, mapped: Any) -> None:
        self.bytes = private
        self._pristine: mmap.mmap | None = None
        # Elsewhere the advice keeps what was written.
        self.restores = sys.platform == "linux"
        if not self.restores:
            self._pristine = mapped(mmap.ACCESS_READ)

    def restore(self) -> None:
        """Forget everything that this process wrote into it."""
        if self._pristine is None:
            self.bytes.madvise(mmap.MADV_DONTNEED)
        else:
            self.bytes[:] = memoryview(self._pristine)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("crystallize", os.MFD_CLOEXEC)
    handle, path = tempfile.mkstemp(prefix="crystallize-")
    Path(path).unlink()
    return handle


class Overdue(NamedTuple):
    """A worker that has been at something for too long.

    Attributes
    ----------
    cell : int
        Its index.
    position : int
        Where in the cell; see `Policies.place`.
    whole_cell : bool
        Whether it is the cell's time-out that has passed.
    deadline : int
        When that was.
    """

    cell: int
    position: int
    whole_cell: bool
    deadline: int


_WORD = 8
_CELL, _STOP, _DEADLINE, _POSITION = range(4)
_WORDS = 4


class WorkerStatus:
    """What one worker and the coordinator tell each other without a message, in words of shared memory.

    Every worker has four: the cell that it is at (one more than its index; 0 for none), the cell that the coordinator
    asks to stop, the moment at which to end the worker (nanoseconds of the monotonic clock; 0 for none), and where in
    the cell it is. One word for all of them says whether the run was interrupted. A word is read and written in one go.

    Parameters
    ----------
    memory : Segment
        Of `size_for` so many workers.
    number : int
        Which worker it is.
    """

    __slots__ = ("_first", "_words", "number")

    def __init__(self, memory: Segment, number: int) -> None:
        self.number = number
        self._words = memory.words()
        self._first = 1 + _WORDS * number

    @staticmethod
    def size_for(workers: int) -> int:
        """Return the bytes that so many workers need."""
        return _WORD * (1 + _WORDS * workers)

    @property
    def interrupted(self) -> bool:
        """Whether no worker is to begin another cell."""
        return bool(self._words[0])

    def interrupt(self) -> None:
        """Have no worker begin another cell."""
        self._words[0] = 1

    @property
    def cell(self) -> int:
        """The index of the cell that the worker is at, -1 for none."""
        return self._words[self._first] - 1

    @cell.setter
    def cell(self, index: int) -> None:
        self._words[self._first] = index + 1

    def ask_to_stop(self) -> None:
        """Have the worker's cell learn, with its next event, that it is to stop."""
        self._words[self._first + _STOP] = self._words[self._first]

    @property
    def asked_to_stop(self) -> bool:
        """Whether the coordinator has asked the cell at hand to stop."""
        at = self._words[self._first]
        return bool(at and self._words[self._first + _STOP] == at)

    def limit(self, end: float, position: int, *, whole_cell: bool) -> None:
        """Say until when to leave this process alone; see `RunCell.watch`."""
        words, first = self._words, self._first
        words[first + _DEADLINE] = 0  # first: whoever reads now must not take one moment for another
        words[first + _POSITION] = (position + 1) << 1 | whole_cell
        words[first + _DEADLINE] = int(end * 1e9)

    @property
    def deadline(self) -> int:
        """The moment at which the worker has to be ended, 0 for none."""
        return self._words[self._first + _DEADLINE]

    def overdue(self, now: int) -> Overdue | None:
        """Return at what the worker has been for too long; None if it has not."""
        deadline = self.deadline
        if not deadline or deadline > now:
            return None
        index, position = self.cell, self._words[self._first + _POSITION]
        if self.deadline != deadline:
            return None  # it went on meanwhile
        return Overdue(index, (position >> 1) - 1, bool(position & 1), deadline)

    def disconnect(self) -> None:
        """Have what is written stay in this process: a step has forked it, and the words are the worker's."""
        self._words = memoryview(bytearray(self._words)).cast("q")

    def clear(self) -> None:
        """Forget a worker that is gone."""
        for word in range(_WORDS):
            self._words[self._first + word] = 0
