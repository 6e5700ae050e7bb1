"""The digest of many bytes: a hash over the hashes of pieces, computed in a few threads.

How the bytes are cut depends on how many there are, never on the number of threads, so one content has one digest on
every machine. What is not larger than a piece has its plain SHA-256.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from crystallize.fingerprint._graph import new_hash

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PIECE", "digest_of_buffer", "digest_of_pieces"]

PIECE = 1 << 19
"""Bytes of one piece, at most."""

_MOST_THREADS = 4
# Fewer pieces take less time than starting a thread does.
_FEW = 8


def digest_of_buffer(data: bytes | bytearray | memoryview) -> bytes:
    """Give the digest of a buffer's bytes.

    Parameters
    ----------
    data : bytes-like
        Contiguous, of single bytes.
    """
    view = memoryview(data)
    count = max(1, -(-len(view) // PIECE))
    return digest_of_pieces(count, lambda at: view[at * PIECE : (at + 1) * PIECE])


def digest_of_pieces(count: int, piece: Callable[[int], bytes | memoryview]) -> bytes:
    """Give the digest of content that comes in pieces.

    Parameters
    ----------
    count : int
        How many there are; at least one.
    piece : callable of int
        Gives one of them by its number; called from several threads.
    """
    if count == 1:
        return _hash(piece(0))
    leaves = [b""] * count
    threads = min(_MOST_THREADS, os.cpu_count() or 1, count // _FEW)
    problems: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for at in range(first, count, max(1, threads)):
                leaves[at] = _hash(piece(at))
        except BaseException as problem:  # noqa: BLE001 - raised below, in the thread that asked
            problems.append(problem)

    helpers = [threading.Thread(target=work, args=(first,), daemon=True) for first in range(1, threads)]
    started = []
    try:
        for helper in helpers:
            helper.start()
            started.append(helper)
    except RuntimeError:
        # No thread can be had (a limit, the interpreter's end): its pieces are done here.
        for first in range(1 + len(started), threads):
            work(first)
    work(0)
    for helper in started:
        helper.join()
    if problems:
        raise problems[0]
    return _hash(b"".join(leaves))


def _hash(data: bytes | memoryview) -> bytes:
    digest = new_hash()
    digest.update(data)
    return digest.digest()
