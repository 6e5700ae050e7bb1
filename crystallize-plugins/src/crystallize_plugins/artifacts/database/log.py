"""Whether a write-ahead log that a process left behind still has all that was committed to it.

SQLite reads a log up to the first thing in it that is not whole, and says nothing of what follows: it may be what a
process was writing when it was killed. So a damaged log would read like a shorter one. What is known beside it tells
the difference: the index (``-shm``), which is written after each commit, and the commits that follow the damage.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from crystallize.errors import DamagedStoreError
from crystallize_plugins.artifacts.files.inside import open_file

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

__all__ = ["check_log"]

_HEAD = struct.Struct(">IIIIII")
_FRAME = 24
"""Bytes of a frame before its page: the page's number, the size after a commit, salts and checksum."""
_HEAD_SIZE = _HEAD.size + 8
# Version, change counter, flags and page size; number of frames and pages; checksum of the last frame; salts.
_INDEX = struct.Struct("=IIIBBHIIII8s")
_MAGIC = 0x377F0682
_MASK = 0xFFFFFFFF
_PAGE_SIZES = frozenset(1 << power for power in range(9, 17))


class _Log(NamedTuple):
    """The head of a log."""

    page_size: int
    salts: bytes
    byteorder: str
    checksum: tuple[int, int]

    @property
    def frame_size(self) -> int:
        return _FRAME + self.page_size


def check_log(database: Path, *, index: bool = True) -> None:
    """Check that a log which nobody writes any more has what had been committed to it.

    A single commit that is not whole may be there: it was not yet acknowledged when the machine stopped.

    Parameters
    ----------
    database : Path
        Beside it the log and its index.
    index : bool, default True
        Whether the index may be looked at. It must not where this process has the database open: to close any
        descriptor of the index would give up SQLite's locks.

    Raises
    ------
    StoreError
        The log is damaged, or was cut off.
    """
    try:
        with _opened(database, "-wal") as file:
            head = file.read(_HEAD_SIZE)
            log = _log(head)
            committed = _committed(database, log) if index else 0
            rest = bool(file.peek(1))
            whole, unread = (0, 0) if log is None else _counted(log, file)
            file.seek(0)
            if file.read(_HEAD_SIZE) != head:
                return  # somebody does write it, and has just begun it anew
    except FileNotFoundError:
        # SQLite removes the index first.
        log, rest, committed = None, False, _committed(database, None) if index else 0
    if log is None:
        if rest or committed:
            raise DamagedStoreError("its log is damaged: the beginning does not fit, or is not there")
        return
    if committed > whole:
        raise DamagedStoreError("its log is damaged: what was committed last is not there, or not whole")
    if unread > 1:
        raise DamagedStoreError("its log is damaged: commits follow that cannot be read")


def _opened(database: Path, ending: str) -> BufferedReader:
    return open(open_file(database.with_name(database.name + ending)), "rb")  # noqa: PTH123 - of a descriptor


def _log(head: bytes) -> _Log | None:
    """Read the head of a log; None where it is damaged."""
    if len(head) < _HEAD_SIZE:
        return None
    magic, _, page_size, _, _, _ = _HEAD.unpack_from(head)
    byteorder = "big" if magic & 1 else "little"
    checksum = _checksum(head[: _HEAD.size], (0, 0), byteorder)
    if magic & ~1 != _MAGIC or page_size not in _PAGE_SIZES or struct.pack(">II", *checksum) != head[_HEAD.size :]:
        return None
    return _Log(page_size, head[16:24], byteorder, checksum)


def _committed(database: Path, log: _Log | None) -> int:
    """Give how many frames the index says are committed; 0 where it does not belong to the log, if that has a head."""
    try:
        with _opened(database, "-shm") as file:
            head = file.read(2 * (_INDEX.size + 8))
    except FileNotFoundError:
        return 0
    # It is there twice. A process that was killed while it wrote one has left the other, of the commit before.
    size = _INDEX.size + 8
    found = [_frames(head[place : place + size], log) for place in (0, size) if len(head) == 2 * size]
    return min((frames for frames in found if frames), default=0)


def _frames(head: bytes, log: _Log | None) -> int:
    """Read one of the index's two heads: how many frames are committed; 0 where it is damaged, or of another log."""
    *_, frames, _, _, _, salts = _INDEX.unpack_from(head)
    checksum = _checksum(head[: _INDEX.size], (0, 0), sys.byteorder)
    if struct.pack("=II", *checksum) != head[_INDEX.size :] or (log and salts != log.salts):
        return 0
    return int(frames)


def _counted(log: _Log, file: BinaryIO) -> tuple[int, int]:
    """Return how many frames SQLite reads, those up to the last commit before the first that is not whole.

    And how many commits follow these.
    """
    whole = unread = number = 0
    is_whole, checksum = True, log.checksum
    while len(frame := file.read(log.frame_size)) == log.frame_size:
        number += 1
        if is_whole:
            checksum = _checksum(frame[:8], checksum, log.byteorder)
            checksum = _checksum(frame[_FRAME:], checksum, log.byteorder)
            is_whole = frame[8:16] == log.salts and struct.pack(">II", *checksum) == frame[16:_FRAME]
        if frame[4:8] != b"\0\0\0\0" and frame[8:16] == log.salts:  # the last of a commit to this log
            whole, unread = (number, 0) if is_whole else (whole, unread + 1)
    return whole, unread


def _checksum(data: bytes, start: tuple[int, int], byteorder: str) -> tuple[int, int]:
    """Go on with a checksum as SQLite's logs have it."""
    words = array("I", data)
    if byteorder != sys.byteorder:
        words.byteswap()
    first, second = start
    numbers = iter(words)
    for one, other in zip(numbers, numbers, strict=True):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second
