"""Words for how a worker process ended."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from crystallize.errors import WorkerCrashError

if TYPE_CHECKING:
    from crystallize.results.outcome import Cell

__all__ = ["crash_error", "how_it_ended"]

_HINTS = {
    "SIGKILL": "something killed it: most often the system, because memory ran out",
    "SIGSEGV": "native code touched memory that is not its own",
    "SIGABRT": "native code aborted",
    "SIGBUS": "native code, or a file that shrank while it was mapped",
    "SIGILL": "native code that this processor cannot run",
    "SIGTERM": "it was asked to end",
}


def how_it_ended(code: int | None) -> tuple[str, str | None]:
    """Say how a process ended, and give the signal's name if there was one.

    Parameters
    ----------
    code : int or None
        Exit code, negative for a signal; None where nobody knows.
    """
    if code is None:
        return "ended in an unknown way", None
    if code >= 0:
        return f"left with exit code {code}", None
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = _HINTS.get(name)
    return f"died with {name}{f' ({hint})' if hint else ''}", name


def crash_error(cell: Cell, code: int | None, *, worker: str, again: bool) -> WorkerCrashError:
    """Give the error of a cell that cost a worker its life, the first time or after others."""
    how, name = how_it_ended(code)
    return WorkerCrashError(
        f"the worker process {how} while it ran condition {cell.condition!r}, replicate {cell.replicate}"
        f"{f'; so did the one that tried it again, alone ({worker})' if again else ''}",
        exit_code=code if code is not None and code >= 0 else None,
        signal=name,
    )
