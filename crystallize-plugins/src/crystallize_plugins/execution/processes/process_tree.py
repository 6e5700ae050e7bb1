"""Processes that end with those that started them, or are ended: what the kernel of Linux does for it."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["adopt_orphans", "children", "parent_watch"]

_SET_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36


def parent_watch(parent: int) -> Callable[[], None]:
    """Return what has the kernel end the process that calls it when its parent ends, in the middle of C code too.

    Parameters
    ----------
    parent : int
        Whose child will call it.
    """
    # Here and not in the child: what is looked up before the fork is there after it.
    control = ctypes.CDLL(None, use_errno=True).prctl

    def die_with_parent() -> None:
        control(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it went before we asked
            os._exit(1)

    return die_with_parent


def adopt_orphans() -> None:
    """Have processes below this one become its children when their parents end, instead of those of the system."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> set[int]:
    """Return the children of this process, the adopted ones too."""
    own = os.getpid()
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _parent(entry) == own}


def _parent(entry: Path) -> int | None:
    try:
        # After the name, which may hold anything, come the state and the parent.
        return int((entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):  # it has ended meanwhile
        return None
