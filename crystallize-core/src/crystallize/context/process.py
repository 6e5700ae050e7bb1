"""Which process a cell belongs to: a child that a step forks, and that comes back from the step, ends there.

It would go on as a second worker or coordinator: run the next cells, write the same store, answer in the same place.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from typing import NoReturn

__all__ = ["forks", "leave", "leave_if_forked"]

forks = 0
"""How often this process has become another one by a fork; compared, not counted."""


def leave_if_forked(since: int, exc: BaseException | None = None) -> None:
    """End this process if it was forked since; else return.

    Parameters
    ----------
    since : int
        What `forks` was before the code of a user was called.
    exc : BaseException, optional
        What that code has raised.
    """
    if forks != since:
        leave(exc)


def leave(exc: BaseException | None = None) -> NoReturn:
    """End this process, which a step has forked, with the exit code that it would have had as a program.

    What it has printed is written. Nothing else is: exit handlers and buffers of files belong to the process that it
    was forked from.

    Parameters
    ----------
    exc : BaseException, optional
        What the step has raised in it.
    """
    code = 0 if exc is None else 1
    try:
        if isinstance(exc, SystemExit) and (exc.code is None or isinstance(exc.code, int)):
            code = exc.code or 0
        elif isinstance(exc, SystemExit):
            sys.stderr.write(f"{exc.code}\n")
        elif exc is not None:
            traceback.print_exception(exc)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
    finally:
        os._exit(code & 0xFF)


def _note_fork() -> None:
    global forks  # noqa: PLW0603 - a step's cost is what it takes to compare it
    forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)
