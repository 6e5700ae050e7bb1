"""The process from which workers are forked: single-threaded, with the usual modules loaded already.

It speaks with the coordinator (`fork_server`) over a socket that keeps messages apart. Forking here is sound whatever
threads, database connections or devices the coordinator has.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import multiprocessing.process
import multiprocessing.util
import os
import pickle
import select
import signal
import socket
import sys
import threading
import time
import traceback
import weakref
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.hooks import handle_interrupts
from crystallize_plugins.execution.library_threads import environment_with_limits, limit_library_threads
from crystallize_plugins.execution.processes.process_tree import adopt_orphans, children, parent_watch
from crystallize_plugins.execution.processes.shared_memory import Segment
from crystallize_plugins.execution.processes.worker import work

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["is_alone", "main", "serve_as_fork"]

LARGEST_MESSAGE = 1 << 16
_TO_LEAVE = 1.5
"""Seconds that workers have to leave after their server was dismissed."""
_TO_CLEAN_UP = 0.2
"""Seconds that processes have which a worker has left behind: some remove what it shared with others."""
_STARTED_ANEW = ("jemalloc_bg_thd",)
"""Threads of libraries that see to forks themselves: this one is of PyArrow's allocator, and pandas loads PyArrow."""


def main(fd: int, parent: int, preload: Sequence[str], learnt: Sequence[str]) -> None:
    """Run as a fork server in an interpreter of its own.

    Parameters
    ----------
    fd : int
        The line to the coordinator.
    parent : int
        The coordinator.
    preload : sequence of str
        Modules that start no threads.
    learnt : sequence of str
        Others that workers had to import before.
    """
    handle_interrupts(signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    for name in (*preload, *learnt):
        with contextlib.suppress(Exception):  # whoever needs it says so better
            importlib.import_module(name)
    if learnt and not is_alone():
        # One of them has started threads, beside which a fork is not sound: begin anew without them.
        *command, boot = sys.orig_argv
        os.set_inheritable(fd, True)  # noqa: FBT003 - takes no keywords
        os.execv(sys.executable, [*command, boot.replace(repr(learnt), "[]")])  # noqa: S606 - itself
    # It was off: collections take a twentieth of the time of many imports. What there is by now stays as it is.
    gc.freeze()
    gc.enable()
    with socket.socket(fileno=fd) as control:
        _ForkServerProcess(control, parent, may_raise_threads=True).serve()


def serve_as_fork(control: socket.socket, parent: int) -> None:
    """Turn a fresh fork of the coordinator into its fork server; never comes back."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        handle_interrupts(signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        _leave_to_the_parent()
        if control.recv(16) == b"go":  # else the fork was not sound after all
            _ForkServerProcess(control, parent, may_raise_threads=False).serve()
        status = 0
    finally:
        os._exit(status)


def is_alone() -> bool:
    """Whether no thread but the calling one is lost by a fork in a way that a child would suffer from.

    Threads that Python does not know of count as well; false where the system does not tell.
    """
    own = str(threading.get_native_id())
    try:
        others = [task for task in Path("/proc/self/task").iterdir() if task.name != own]
    except OSError:
        return False
    return all(_starts_anew(task) for task in others)


def _starts_anew(task: Path) -> bool:
    try:
        return (task / "comm").read_text(encoding="utf-8", errors="replace").strip() in _STARTED_ANEW
    except FileNotFoundError:
        return True  # it has ended meanwhile


def _leave_to_the_parent() -> None:
    """Give up what belongs to the process that we were forked from."""
    atexit._clear()
    registry = getattr(weakref.finalize, "_registry", None)
    if registry is not None:
        registry.clear()
        weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    multiprocessing.util._finalizer_registry.clear()  # type: ignore[attr-defined]
    multiprocessing.process._children.clear()  # type: ignore[attr-defined]
    if "multiprocessing.forkserver" in sys.modules:
        sys.modules["multiprocessing.forkserver"]._forkserver.__init__()
    gc.freeze()  # its objects are not ours to finalize
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.settrace(None)
    sys.setprofile(None)


class _ForkServerProcess:
    """Forks workers and tells how they end.

    Parameters
    ----------
    control : socket
        The line to the coordinator.
    parent : int
        The coordinator.
    may_raise_threads : bool
        Whether libraries that were told to use fewer threads than a worker's share are to use more.
    """

    def __init__(self, control: socket.socket, parent: int, *, may_raise_threads: bool) -> None:
        self._library_threads = 0
        self._may_raise_threads = may_raise_threads
        self._control = control
        self._parent = parent
        self._children: set[int] = set()
        self._orphans: dict[int, float] = {}
        adopt_orphans()
        self._die_with_parent = parent_watch(os.getpid())
        self._ends, self._wakes = os.pipe()
        os.set_blocking(self._ends, False)
        os.set_blocking(self._wakes, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Work until dismissed or orphaned."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._ends, select.POLLIN)
        dismissed = float("inf")
        try:
            while self._is_needed(dismissed):
                happened = dict(poll.poll(1000 if not self._orphans else 20))
                if os.getppid() != self._parent:
                    return
                if self._ends in happened:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._ends, 4096)
                self._reap()
                self._end_orphans()
                if self._control.fileno() in happened and not self._obey():
                    poll.unregister(self._control)
                    dismissed = time.monotonic()
        except (BrokenPipeError, ConnectionResetError, EOFError):
            return  # nobody is there any more
        finally:
            self._end_all()

    def _is_needed(self, dismissed: float) -> bool:
        return dismissed == float("inf") or (
            bool(self._children or self._orphans) and time.monotonic() - dismissed < _TO_LEAVE
        )

    def _obey(self) -> bool:
        """Do what the coordinator says; return False if that is to end."""
        message, fds, _, _ = socket.recv_fds(self._control, LARGEST_MESSAGE, 4)
        if not message:
            raise EOFError
        kind, *rest = pickle.loads(message)
        if kind == "start":
            self._start(fds, *rest)
        elif kind == "kill" and rest[0] in self._children:
            os.kill(rest[0], signal.SIGKILL)
        return kind != "dismiss"  # type: ignore[no-any-return]

    def _start(self, fds: list[int], number: int, payload: int, memory: int, library_threads: int) -> None:
        self._limit(library_threads)
        try:
            pid = os.fork()
        except OSError as exc:
            self._say("refused", str(exc))
        else:
            if pid == 0:
                self._work(fds, number, payload, memory)
            self._children.add(pid)
            self._say("started", pid)
        for fd in fds:
            os.close(fd)

    def _limit(self, library_threads: int) -> None:
        # Here and not in each worker: the next fork ends the threads that OpenBLAS starts on being told.
        if library_threads != self._library_threads:
            limit_library_threads(library_threads, raises=self._may_raise_threads)
            self._library_threads = library_threads
            if not self._may_raise_threads:  # for libraries that a worker loads later
                os.environ.update(environment_with_limits(os.environ, library_threads))

    def _work(self, fds: list[int], number: int, payload: int, memory: int) -> None:
        """Be a worker, in a fresh fork of this process."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._die_with_parent()
            atexit._clear()
            self._control.close()
            os.close(self._ends)
            os.close(self._wakes)
            for fd in fds:
                os.set_inheritable(fd, False)  # noqa: FBT003 - takes no keywords
            work(Connection(fds[0]), Segment(payload, fd=fds[1]), Segment(memory, fd=fds[2]), number)
            status = 0
        except BaseException:
            # Not to `sys.stderr`, which leads to the coordinator: that may be what is gone.
            with contextlib.suppress(OSError):
                os.write(2, traceback.format_exc().encode(errors="replace"))
            raise
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """Tell how workers have ended, and find out whom they have left behind."""
        look = False
        try:
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                if pid in self._children:
                    look = look or status != 0
                    self._children.discard(pid)
                    self._say("ended", pid, os.waitstatus_to_exitcode(status))
                else:
                    look = True  # it may have left somebody behind itself
                    self._orphans.pop(pid, None)
        except ChildProcessError:
            return  # nobody is left
        # To look takes milliseconds: where workers end as they should, once, after the last of them.
        if look or not (self._children or self._orphans):
            limit = time.monotonic() + _TO_CLEAN_UP
            for pid in children() - self._children:
                self._orphans.setdefault(pid, limit)

    def _end_orphans(self) -> None:
        """End what workers have left behind, once it had the time to clean up."""
        now = time.monotonic()
        for pid, limit in self._orphans.items():
            if limit <= now:
                _kill(pid)

    def _end_all(self) -> None:
        """End the workers, and what they leave behind by that."""
        for pid in self._children:
            _kill(pid)
        limit = time.monotonic() + _TO_LEAVE
        while (self._children or self._orphans) and time.monotonic() < limit:
            self._reap()
            self._end_orphans()
            time.sleep(0.002)

    def _say(self, *message: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, OSError):
            self._control.send(pickle.dumps(message))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
