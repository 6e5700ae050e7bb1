"""Asking for what takes milliseconds (git, packages, libraries) in a thread, and not for every run.

An answer serves all runs that start within a second of the question, as long as what is quickly looked at says that
nothing has changed: git's own files for the commit, the folders of packages for what is installed.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from crystallize_plugins.environment.git import git_state, repository_of
from crystallize_plugins.environment.machine import library_threads
from crystallize_plugins.environment.packages import installed_packages

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FRESH", "PendingFacts", "find_out"]

FRESH = 1.0
"""Seconds for which an answer serves the runs of a process."""

_PATIENCE = 30.0

_lock = threading.Lock()
_pending: dict[str, PendingFacts] = {}
_packages: tuple[Any, dict[str, str]] | None = None


class PendingFacts:
    """What is being found out.

    Attributes
    ----------
    facts : dict
        ``git``, ``packages`` and ``libraries``, once `known`.
    """

    def __init__(self, folder: str) -> None:
        self.facts: dict[str, Any] = {}
        self._folder = folder
        self._asked = time.monotonic()
        root = repository_of(folder)
        self._watched = () if root is None else tuple(f"{root}/.git/{name}" for name in ("HEAD", "index", "logs/HEAD"))
        self._looked = [*map(_stat, self._watched)]
        self._done = threading.Event()
        self._callbacks: list[Callable[[dict[str, Any]], None]] = []

    @property
    def known(self) -> bool:
        """Whether the facts are there."""
        return self._done.is_set()

    @property
    def is_fresh(self) -> bool:
        """Whether a run that starts now may use it."""
        return time.monotonic() - self._asked < FRESH and self._looked == [*map(_stat, self._watched)]

    def then(self, callback: Callable[[dict[str, Any]], None]) -> None:
        """Call a function with the facts: at once, or in the asking thread as soon as they are there."""
        with _lock:
            if not self.known:
                self._callbacks.append(callback)
                return
        callback(self.facts)

    def wait(self) -> dict[str, Any]:
        """Return the facts; what takes longer than any patience is said to have given no answer."""
        if self._done.wait(_PATIENCE):
            return self.facts
        silent = {"reason": f"no answer within {_PATIENCE:.0f} s"}
        return {"git": silent, "packages": {}, "libraries": []}

    def _find_out(self) -> None:
        # Git works while this process looks at the rest.
        asked: dict[str, Any] = {}
        git = threading.Thread(target=lambda: asked.update(git=_tried(git_state, self._folder)), daemon=True)
        _start(git)
        facts = {"packages": _tried(_installed), "libraries": _tried(library_threads)}
        if git.is_alive():
            git.join()
        facts["git"] = asked["git"]
        with _lock:
            self.facts = facts
            self._done.set()
            waiting, self._callbacks = self._callbacks, []
        for callback in waiting:
            callback(facts)


def find_out(folder: str | os.PathLike[str]) -> PendingFacts:
    """Begin to find out what surrounds a run, unless that was just done.

    Parameters
    ----------
    folder : path
        Where the code lies; git is asked about the working tree around it.
    """
    key = os.fspath(folder)
    with _lock:
        facts = _pending.get(key)
        if facts is not None and facts.is_fresh:
            return facts
        facts = _pending[key] = PendingFacts(key)
    _start(threading.Thread(target=facts._find_out, name="crystallize-facts", daemon=True))
    return facts


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except RuntimeError:  # no more threads can be had: the interpreter ends, or the system's limit is reached
        thread.run()


def _tried(find_out: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function gives, or why it gave nothing: no run is lost to what was to be known about it."""
    try:
        return find_out(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's library or a broken system does
        return {"reason": f"{type(error).__name__}: {error}"}


def _installed() -> dict[str, str]:
    global _packages  # noqa: PLW0603 - looked at once per process, unless something is installed meanwhile
    places = tuple((folder, _stat(folder or ".")) for folder in sys.path)
    if _packages is None or _packages[0] != places:
        _packages = (places, installed_packages())
    return _packages[1]


def _stat(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - every run looks at several
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _forget() -> None:
    """Begin anew in a forked child: the threads that would answer are its parent's."""
    global _lock  # noqa: PLW0603 - somebody may have held it at the moment of the fork
    _lock = threading.Lock()
    _pending.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
