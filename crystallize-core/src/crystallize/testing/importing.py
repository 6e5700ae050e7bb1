"""Importing a plugin's module while looking at what that does to the process.

What other distributions do when the plugin imports them (NumPy adds filters of warnings, for one) is not the plugin's
doing. To tell one from the other, and to say where, the import is traced line by line. That makes it slow, so it is
done only where something has changed, in a process of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import random
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

__all__ = ["CHANGES", "changes_of_import", "global_state"]

CHANGES = {
    "import-random": "changes the state of a global random generator: make a generator of your own",
    "import-environ": "changes environment variables: leave them to the user, or set them in before_run",
    "import-cwd": "changes the working folder: use absolute paths",
    "import-logging": "configures logging: get a logger of your own, and leave handlers and levels to the user",
    "import-warnings": "changes the filters of warnings: use warnings.catch_warnings around what warns",
    "import-path": "changes sys.path: install what has to be imported",
    "import-thread": "starts a thread: start it in before_run or worker_start",
    "import-output": "prints: use logging, or print in a hook",
}
"""What may not change by an import, and what to do instead."""


def global_state() -> dict[str, Any]:
    """Return what of the process' state an import should leave alone, by the rule that says so."""
    loggers = [logging.getLogger(), logging.getLogger("crystallize")]
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()
    return {
        "import-random": (random.getstate(), _numpy_state()),
        "import-environ": dict(os.environ),
        "import-cwd": _cwd(),
        "import-logging": [
            logging.root.manager.disable,
            *((log.level, list(log.handlers), list(log.filters), log.propagate, log.disabled) for log in loggers),
        ],
        "import-warnings": (list(warnings.filters), warnings.showwarning),
        "import-path": list(sys.path),
        "import-thread": {thread.ident for thread in threading.enumerate()},
        "import-output": [_size(descriptor) for descriptor in (1, 2)],
    }


def changes_of_import(module: str) -> list[tuple[str, str]]:
    """Import a module for the first time, and return what its package does to the process.

    Parameters
    ----------
    module : str
        Its package is what stands before the first dot. What it imports of other packages is left out.

    Returns
    -------
    list of (str, str)
        A rule of `CHANGES`, and ``"file:line"``.
    """
    tracer = _Tracer(module.partition(".")[0])
    with contextlib.suppress(BaseException), tracer.tracing():  # that it fails is said elsewhere
        importlib.import_module(module)
    return tracer.found


class _Tracer:
    """Compares the process' state after each line of one package."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._last = global_state()
        self._line: str | None = None
        self._outer: FrameType | None = None  # The module of another package that is being imported just now.
        self.found: list[tuple[str, str]] = []

    @contextlib.contextmanager
    def tracing(self) -> Iterator[None]:
        previous = sys.gettrace()
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(previous)
            self._settle()

    def _call(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:  # noqa: ARG002
        if self._outer is not None:
            return None
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] == self._package:
            return self._own
        if frame.f_code.co_name == "<module>":
            self._settle()
            self._outer = frame
            frame.f_trace_lines = False
            return self._foreign
        return None

    def _own(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:  # noqa: ARG002
        self._settle()
        self._line = f"{frame.f_code.co_filename}:{frame.f_lineno}" if event == "line" else self._line
        return self._own

    def _foreign(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:  # noqa: ARG002
        if event == "return" and frame is self._outer:
            self._outer = None
            self._last = global_state()
        return self._foreign

    def _settle(self) -> None:
        """Note what the line before has changed."""
        now = global_state()
        if self._line is not None:
            self.found += [(rule, self._line) for rule, state in now.items() if state != self._last[rule]]
        self._last = now


def _cwd() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - pathlib would look at the file system too
    except OSError:
        return None


def _size(descriptor: int) -> int | None:
    try:
        return os.fstat(descriptor).st_size
    except OSError:
        return None


def _numpy_state() -> str | None:
    mtrand: Any = sys.modules.get("numpy.random.mtrand")
    state = getattr(mtrand, "get_state", None)  # Not there yet while NumPy itself is being imported.
    if state is None:
        return None
    name, key, *rest = state()
    return f"{name}{key.tobytes().hex()}{rest}"
