"""The process from which workers are forked: single-threaded, with the usual modules loaded already.

It speaks with the coordinator over a socket that keeps messages apart. Forking here is sound whatever
threads, database connections or devices the coordinator has.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import traceback
import weakref
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from crystallize.engine.interrupts import handle_interrupts
from crystallize_plugins.execution.library_threads import environment_with_limits, limit_library_threads
from crystallize_plugins.execution.processes.segment import Segment
from crystallize_plugins.execution.processes.worker import parent_watch, work

__all__ = ["become_zygote", "is_alone", "main", "without_timeout"]

LARGEST_MESSAGE = 1 << 16
DUTY = struct.Struct("=3q")
"""What a worker hears first, beside two descriptors: its number, and the sizes of the payload and of the slots."""
_PATIENCE = 5.0
_STARTED_ANEW = ("jemalloc_bg_thd",)
"""Threads of libraries that see to forks themselves: this one is of PyArrow's allocator, and pandas loads PyArrow."""


def main(fd: int, parent: int, preload: list[str]) -> None:
    """Run as a zygote in an interpreter of its own."""
    handle_interrupts(signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    for name in preload:
        with contextlib.suppress(ImportError):  # whoever needs it says so better
            importlib.import_module(name)
    # It was off: collections take a twentieth of the time of many imports. What there is by now stays as it is.
    gc.freeze()
    gc.enable()
    with without_timeout(socket.socket(fileno=fd)) as control:
        _Zygote(control, parent, raises=True).serve()


def become_zygote(control: socket.socket, parent: int) -> None:
    """Turn a fresh fork of the coordinator into its zygote; never comes back."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        handle_interrupts(signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        _leave_to_the_parent()
        if control.recv(16) == b"go":  # else the fork was not sound after all
            _Zygote(control, parent, raises=False).serve()
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


def without_timeout(line: socket.socket) -> socket.socket:
    """Have a socket wait for as long as it takes: ``socket.setdefaulttimeout`` is meant for the user's own."""
    line.settimeout(None)
    return line


def _leave_to_the_parent() -> None:
    """Give up what belongs to the process that we were forked from."""
    atexit._clear()
    registry = getattr(weakref.finalize, "_registry", None)
    if registry is not None:
        registry.clear()
        weakref.finalize._registered_with_atexit = False  # type: ignore[attr-defined]
    gc.freeze()  # its objects are not ours to finalize
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.settrace(None)
    sys.setprofile(None)


def _duty(link: int) -> tuple[Connection, Segment, Segment, int] | None:
    """Wait to hear what a worker is for; None where nobody has anything to do for it."""
    line = without_timeout(socket.socket(fileno=link))
    message, fds, _, _ = socket.recv_fds(line, DUTY.size, 2)
    if not message:
        return None
    for fd in (link, *fds):
        os.set_inheritable(fd, False)  # noqa: FBT003 - takes no keywords
    number, payload, slots = DUTY.unpack(message)
    return Connection(line.detach()), Segment(payload, fd=fds[0]), Segment(slots, fd=fds[1]), number


class _Zygote:
    def __init__(self, control: socket.socket, parent: int, *, raises: bool) -> None:
        self._library_threads = 0
        self._raises = raises
        self._sound = True
        self._control = control
        self._parent = parent
        self._children: set[int] = set()
        self._die_with_parent = parent_watch(os.getpid())
        self._ends, wakes = os.pipe()
        os.set_blocking(self._ends, False)
        os.set_blocking(wakes, False)
        self._wakes = wakes
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Fork workers and tell how they end, until dismissed or orphaned."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._ends, select.POLLIN)
        patience = None
        try:
            while patience is None or (self._children and patience > 0):
                happened = dict(poll.poll(1000))
                if os.getppid() != self._parent:
                    return
                if self._ends in happened:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._ends, 4096)
                self._reap()
                if patience is not None:
                    patience -= 0 if happened else 1.0
                elif self._control.fileno() in happened:
                    message, fds, _, _ = socket.recv_fds(self._control, LARGEST_MESSAGE, 4)
                    if not message:
                        return
                    order = pickle.loads(message)
                    if order[0] == "dismiss":
                        poll.unregister(self._control)
                        patience = _PATIENCE
                    else:
                        self._do(order, fds)
        except (BrokenPipeError, ConnectionResetError):
            return  # nobody is there any more
        finally:
            for pid in self._children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _do(self, order: tuple[Any, ...], fds: list[int]) -> None:
        what, *rest = order
        if what == "hire":
            self._hire(fds, *rest)
        elif what == "limit":
            self._limit(*rest)
        elif what == "kill":
            if rest[0] in self._children:
                os.kill(rest[0], signal.SIGKILL)
        elif what == "load":
            names, last = rest
            for name in names:
                # A module that cannot be imported here is the worker's business.
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
            if last:
                self._sound = is_alone()
                self._say("loaded", self._sound)

    def _limit(self, library_threads: int) -> None:
        # Here and not in each worker: the next fork ends the threads that OpenBLAS starts on being told.
        if library_threads != self._library_threads:
            limit_library_threads(library_threads, raises=self._raises)
            self._library_threads = library_threads
            if not self._raises:  # for libraries that a worker loads later
                os.environ.update(environment_with_limits(os.environ, library_threads))

    def _hire(self, fds: list[int], library_threads: int) -> None:
        self._limit(library_threads)
        try:
            pid = os.fork() if self._sound else -1
            problem = "the process that forks them has threads"
        except OSError as exc:
            pid, problem = -1, str(exc)
        if pid == -1:
            for fd in fds:
                os.close(fd)
            self._say("refused", problem)
            return
        if pid == 0:
            self._work(fds)
        for fd in fds:
            os.close(fd)
        self._children.add(pid)
        self._say("hired", pid)

    def _work(self, fds: list[int]) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._die_with_parent()
            atexit._clear()
            self._control.close()
            os.close(self._ends)
            os.close(self._wakes)
            duty = _duty(*fds)
            if duty is not None:
                work(*duty)
            status = 0
        except BaseException:
            # Not to `sys.stderr`, which leads to the coordinator: that may be what is gone.
            with contextlib.suppress(OSError):
                os.write(2, traceback.format_exc().encode(errors="replace"))
            raise
        finally:
            os._exit(status)

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._children.discard(pid)
            self._say("ended", pid, os.waitstatus_to_exitcode(status))

    def _say(self, *message: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, OSError):
            self._control.send(pickle.dumps(message))
