"""The processes that a worker has started: they are to end with a worker that is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Relative", "descendants", "end_all"]


class Relative(NamedTuple):
    """A process; its number alone may come again."""

    pid: int
    started: int


def descendants(pid: int) -> list[Relative]:
    """Give the processes that a process has started, and theirs; none where the system does not say."""
    if sys.platform != "linux" or not pid:
        return []
    children: dict[int, list[Relative]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (facts := _facts(int(entry.name))) is not None:
            children.setdefault(facts[0], []).append(facts[1])
    found: list[Relative] = []
    todo = [pid]
    while todo:
        theirs = children.get(todo.pop(), [])
        found += theirs
        todo += [relative.pid for relative in theirs]
    return found


def end_all(relatives: Iterable[Relative]) -> None:
    """End processes that still are those that were found."""
    for relative in relatives:
        facts = _facts(relative.pid)
        if facts is not None and facts[1] == relative:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(relative.pid, signal.SIGKILL)


def _facts(pid: int) -> tuple[int, Relative] | None:
    """Give the parent of a process and what tells it from others."""
    try:
        # After the name, which may hold anything: the state, the parent and, as the 20th, the start.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return int(fields[1]), Relative(pid, int(fields[19]))
    except (OSError, ValueError, IndexError):
        return None
