"""Digests of bytes, files and folders.

The digest of many bytes is a hash over the hashes of pieces, computed in a few threads. How the bytes are cut depends
on how many there are, never on the number of threads, so one content has one digest on every machine. What is not
larger than a piece has its plain SHA-256.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["PIECE", "content_of", "content_of_path", "digest_of_buffer", "digest_of_pieces", "new_hash"]

PIECE = 1 << 19
"""Bytes of one piece, at most."""

_MOST_THREADS = 4
# Fewer pieces take less time than starting a thread does.
_FEW = 8


def new_hash() -> hashlib._Hash:
    """Start a digest: SHA-256, which processors compute at memory speed."""
    return hashlib.sha256(usedforsecurity=False)


def digest_of_buffer(data: bytes | bytearray | memoryview) -> bytes:
    """Return the digest of a buffer's bytes.

    Parameters
    ----------
    data : bytes-like
        Contiguous, of single bytes.
    """
    view = memoryview(data)
    count = max(1, -(-len(view) // PIECE))
    return digest_of_pieces(count, lambda at: view[at * PIECE : (at + 1) * PIECE])


def digest_of_pieces(count: int, piece: Callable[[int], bytes | memoryview]) -> bytes:
    """Return the digest of content that comes in pieces.

    Parameters
    ----------
    count : int
        How many there are; at least one.
    piece : callable of int
        Gives one of them by its number; called from several threads.
    """
    if count == 1:
        return _hash(piece(0))
    threads = min(_MOST_THREADS, os.cpu_count() or 1, count // _FEW)
    if threads > 1:
        from concurrent.futures import ThreadPoolExecutor

        # Without a thread to be had (a limit, the interpreter's end) it is done below.
        with suppress(RuntimeError), ThreadPoolExecutor(threads) as pool:
            return _hash(b"".join(pool.map(lambda at: _hash(piece(at)), range(count))))
    return _hash(b"".join(_hash(piece(at)) for at in range(count)))


def _hash(data: bytes | memoryview) -> bytes:
    digest = new_hash()
    digest.update(data)
    return digest.digest()


_CHUNK = 1 << 20
_MOST_KNOWN = 1 << 18
_MOST_FILES = 100_000
# A file may change again within the time that its stamp counts in.
_SETTLED = 2.0

# What programs keep beside data: it comes and goes without the data being any other.
_SKIPPED = frozenset({"__pycache__", ".git"})
_SKIPPED_WITH = frozenset({"CACHEDIR.TAG", "pyvenv.cfg"})
# What a stored run consists of, as far as it has begun.
_RUN = frozenset({"run.db", "run.json"})

_known_files: dict[tuple[int, int], tuple[tuple[int, ...], bytes]] = {}


def content_of(path: str | os.PathLike[str]) -> str:
    """Return the digest of what a file, or everything in a folder, contains.

    Names count inside a folder, but neither the path itself nor times and permissions. Links are followed. Left out are
    what lies in ``__pycache__`` and ``.git``, in virtual environments, and in folders marked as caches by a file
    ``CACHEDIR.TAG``. A file is read again once its size or a time of it has changed.

    Parameters
    ----------
    path : path
        A file or a folder. One that is not there has a digest of its own, so that it appears as a change.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    OSError
        A file cannot be read, or is none that could be read again: a pipe, a socket, a device.

    Examples
    --------
    >>> content_of("no such file") == content_of("nor this one")
    True
    """
    return _content(os.fspath(path), None)


def content_of_path(path: Path) -> str:
    """Return the digest of what lies below a `Path` that code or a value refers to.

    As `content_of`, with two differences. A folder of experiments, such as ``Path("data")``, may hold what this
    experiment has stored in earlier runs, which is no part of what it means: the runs of experiments below it are left
    out, and those anywhere in a folder that the program runs in. And one of more than a hundred thousand files is more
    likely a place than data: that is an error.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError
        A file cannot be read, or there are too many.
    """
    text = os.fspath(path)
    own = "\0" not in text and _is_above(os.path.realpath(text), str(Path.cwd()))
    return _content(text, _MOST_FILES, runs_below=0 if own else 1)


def _content(path: str, most: int | None, runs_below: int | None = None) -> str:
    """Return the digest; without the stored runs that lie more than so many folders deep."""
    digest = new_hash()
    try:
        status = os.stat(path)  # noqa: PTH116 - a text, as from a walk over folders
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last for a text with a null byte in it
        digest.update(b"absent")
        return digest.hexdigest()
    if not stat.S_ISDIR(status.st_mode):
        digest.update(b"absent" if path == os.devnull else b"file\0" + _file(path, status))
        return digest.hexdigest()
    count, left_out = 0, False
    for name, content in _listed(path, status, runs_below):
        if not content:
            left_out = True
            continue
        count += 1
        if most is not None and count > most:
            raise OSError(f"{path} holds more than {most} files")
        digest.update(f"{name}\0".encode("utf-8", "surrogateescape"))
        digest.update(content)
    if left_out and not count:
        # Made to store runs in: before the first one it was not there.
        digest.update(b"absent")
    return digest.hexdigest()


class _Folder(NamedTuple):
    path: str
    prefix: str
    names: Iterator[str]


def _listed(path: str, status: os.stat_result, runs_below: int | None) -> Iterator[tuple[str, bytes]]:
    """Yield the names in a folder, however deep, and what each stands for, in the order of their parts.

    Stored runs that are left out stand for nothing: no bytes.
    """
    met = {(status.st_dev, status.st_ino): "."}
    pending = [_Folder(path, "", iter(sorted(os.listdir(path))))]  # noqa: PTH208 - names, sorted as such
    while pending:
        folder = pending[-1]
        name = next(folder.names, None)
        if name is None:
            pending.pop()
            continue
        inner, relative = os.path.join(folder.path, name), f"{folder.prefix}{name}"  # noqa: PTH118 - texts
        try:
            status = os.stat(inner)  # noqa: PTH116 - a text
        except OSError:
            # A link that leads nowhere, or in a cycle of links.
            yield relative, b"link " + os.fsencode(os.readlink(inner))  # noqa: PTH115 - a text
            continue
        if stat.S_ISREG(status.st_mode):
            yield relative, _file(inner, status)
        elif not stat.S_ISDIR(status.st_mode):
            yield relative, b"special"
        elif (status.st_dev, status.st_ino) in met:
            # Reached once more, through a link: what is in it has been counted, or is being counted.
            yield relative, b"as " + met[status.st_dev, status.st_ino].encode("utf-8", "surrogateescape")
        else:
            names = os.listdir(inner)  # noqa: PTH208 - names, sorted as such
            if name in _SKIPPED or not _SKIPPED_WITH.isdisjoint(names):
                continue
            if _is_left_out(name, names, folder.prefix.count("/"), runs_below):
                yield f"{relative}/", b""
                continue
            if not names:
                yield f"{relative}/", b"empty"
            met[status.st_dev, status.st_ino] = relative
            pending.append(_Folder(inner, f"{relative}/", iter(sorted(names))))


def _file(path: str, status: os.stat_result) -> bytes:
    """Return the digest of a file, which is read again only where its stamp is another one."""
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is neither a file nor a folder, and cannot be read twice")
    place = (status.st_dev, status.st_ino)
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    known = _known_files.get(place)
    if known is not None and known[0] == stamp:
        return known[1]
    digest = new_hash()
    with Path(path).open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED:
        if len(_known_files) >= _MOST_KNOWN:
            _known_files.clear()
        _known_files[place] = (stamp, digest.digest())
    return digest.digest()


def _is_left_out(name: str, names: list[str], depth: int, runs_below: int | None) -> bool:
    """Return whether a folder holds a stored run that is left out, or one that has just begun."""
    if runs_below is None or depth < runs_below:
        return False
    begun = not names and (not runs_below or (name[:1] == "v" and name[1:].isdigit()))
    return begun or not _RUN.isdisjoint(names)


def _is_above(folder: str, inner: str) -> bool:
    """Return whether a folder is another one, or one of those that the other lies in."""
    return os.path.realpath(inner).startswith(folder.rstrip(os.sep) + os.sep) or os.path.realpath(inner) == folder
