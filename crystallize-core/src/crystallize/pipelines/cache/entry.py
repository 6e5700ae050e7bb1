"""An entry as a file: sealed, so that damage is noticed, and that nothing is unpickled which this user did not write.

A file holds a mark of the format, a message authentication code, a header, and sections: a pickle first, then the
buffers of large arrays, as they lie in memory. The code covers the header, and the header holds the digest of every
section and the address that the entry is for.
"""

from __future__ import annotations

import hmac
import json
import os
import pickle
from typing import TYPE_CHECKING, Any

from crystallize.fingerprint import digest_of_buffer

if TYPE_CHECKING:
    from io import FileIO

__all__ = ["DamagedEntryError", "read_entry", "sealed"]

_MARK = b"crystallize step cache 1\n"
_CODE = 32
_LENGTH = 4
_HEAD = len(_MARK) + _CODE + _LENGTH
_LONGEST_HEADER = 1 << 26
# Smaller buffers are as quick inside the pickle.
_LARGE = 1 << 12


class DamagedEntryError(Exception):
    """A file is not the entry that it should be; the text says why."""


def sealed(record: Any, address: str, key: bytes) -> list[bytes | memoryview]:
    """Return the content of the file of an entry, in parts.

    Parameters
    ----------
    record : object
        What is to come back.
    address : str
        What it is the answer to.
    key : bytes
        The user's.

    Raises
    ------
    Exception
        Whatever pickling raises.
    """
    buffers: list[memoryview] = []

    def is_kept_inside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _LARGE:
            return True
        buffers.append(raw)
        return False

    sections: list[bytes | memoryview] = [pickle.dumps(record, protocol=5, buffer_callback=is_kept_inside)]
    sections += buffers
    described = [[len(section), _read_only(section), digest_of_buffer(section).hex()] for section in sections]
    header = json.dumps({"address": address, "sections": described}).encode()
    covered = len(header).to_bytes(_LENGTH, "little") + header
    return [_MARK, _code(key, covered), covered, *sections]


def read_entry(path: str | os.PathLike[str], address: str, key: bytes) -> tuple[Any, float]:
    """Return what an entry holds, and when it was used last, in seconds since the epoch.

    Raises
    ------
    FileNotFoundError
        There is none.
    DamagedEntryError
        It is not what this user wrote for this address, or cannot be unpickled any more.
    """
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a `Path` is made in a tenth of the time of a small hit
        found = os.fstat(file.fileno())
        described = _header(file, found.st_size, address, key)
        sections = [bytearray(length) for length, _, _ in described]
        for section, (_, _, digest) in zip(sections, described, strict=True):
            _fill(file, section)
            if digest_of_buffer(section).hex() != digest:
                raise DamagedEntryError("its content is not what was written")
    buffers = [
        memoryview(section).toreadonly() if read_only else section
        for section, (_, read_only, _) in zip(sections[1:], described[1:], strict=True)
    ]
    try:
        return pickle.loads(sections[0], buffers=buffers), found.st_mtime  # noqa: S301 - this user wrote it
    except Exception as error:
        # A class that is gone, another version of a library.
        raise DamagedEntryError(f"it cannot be read any more ({type(error).__name__}: {error})") from error


def _header(file: FileIO, size: int, address: str, key: bytes) -> list[tuple[int, bool, str]]:
    head = file.read(_HEAD) or b""
    if not head.startswith(_MARK):
        raise DamagedEntryError("it is no entry of this version")
    length = int.from_bytes(head[-_LENGTH:], "little")
    if len(head) < _HEAD or length > min(size, _LONGEST_HEADER):
        raise DamagedEntryError("it is cut short")
    header = file.read(length) or b""
    code = head[len(_MARK) : -_LENGTH]
    if not hmac.compare_digest(_code(key, head[-_LENGTH:] + header), code):
        raise DamagedEntryError("it was not written with this user's key, or is damaged")
    found = json.loads(header)
    described: list[tuple[int, bool, str]] = found["sections"]
    if found["address"] != address:
        raise DamagedEntryError("it belongs to another step or input")
    if size != _HEAD + length + sum(section[0] for section in described):
        raise DamagedEntryError("it is not as long as it was written")
    return described


def _fill(file: FileIO, section: bytearray) -> None:
    view = memoryview(section)
    while view:
        count = file.readinto(view)
        if not count:
            raise DamagedEntryError("it is cut short")
        view = view[count:]


def _read_only(section: bytes | memoryview) -> bool:
    return isinstance(section, memoryview) and section.readonly


def _code(key: bytes, covered: bytes) -> bytes:
    return hmac.digest(key, _MARK + covered, "sha256")
