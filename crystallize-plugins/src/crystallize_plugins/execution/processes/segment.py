"""Memory that processes share and that nobody has to clean up: it is gone with the last one that holds it."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.names import fresh_id

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PrivateMap", "Segment"]

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

    __slots__ = ("_map", "fd", "size", "tag")

    def __init__(self, size: int, *, fd: int | None = None, tag: str | None = None) -> None:
        self.size = max(size, 1)
        self.fd = fd
        self.tag = tag
        self._map: mmap.mmap | None = None

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
