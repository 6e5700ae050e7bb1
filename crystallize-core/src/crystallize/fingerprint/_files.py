"""Files and folders by content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crystallize.fingerprint._graph import new_hash

if TYPE_CHECKING:
    import os

__all__ = ["content_of"]

_CHUNK = 1 << 20


def content_of(path: str | os.PathLike[str]) -> str:
    """Give the digest of what a file, or everything in a folder, contains.

    Names count inside a folder, but neither the path itself nor times and permissions.

    Parameters
    ----------
    path : path
        A file or a folder. One that is not there has a digest of its own, so that it appears as a change.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> content_of("no such file") == content_of("nor this one")
    True
    """
    root = Path(path)
    digest = new_hash()
    if root.is_dir():
        for file in sorted(found for found in root.rglob("*") if found.is_file()):
            digest.update(f"{file.relative_to(root).as_posix()}\0".encode("utf-8", "surrogateescape"))
            digest.update(_file(file))
    elif root.exists():
        digest.update(b"file\0" + _file(root))
    else:
        digest.update(b"absent")
    return digest.hexdigest()


def _file(path: Path) -> bytes:
    digest = new_hash()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()
