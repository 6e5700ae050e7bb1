"""`ForkServer`: a process of one thread from which workers are forked, as the coordinator sees it.

It is a fork of this process where that is sound, else an interpreter of its own, which is kept for the next runs. What
it does itself is in `fork_server_process`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from crystallize.errors import WorkerStartError
from crystallize_plugins.execution.library_threads import environment_with_limits
from crystallize_plugins.execution.processes.fork_server_process import LARGEST_MESSAGE, is_alone, serve_as_fork
from crystallize_plugins.execution.processes.worker_pool import WorkerHandle, WorkerStarter, interpreter_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystallize_plugins.execution.processes.shared_memory import Segment

__all__ = ["ForkServer"]

_TO_END = 2.0
"""Seconds that a fork server has to end by itself: more than it gives its workers."""
_LONGEST_LIST = 100_000
"""Characters of the names of modules; a command line has its limits."""


class _ForkedWorker(WorkerHandle):
    server: ForkServer

    @property
    def problem(self) -> str | None:  # type: ignore[override]
        return self.server.problem

    def exit_code(self, timeout: float) -> int | None:
        return self.server.exit_code(self, timeout)

    def ended(self) -> bool:
        return self.server.has_ended(self)

    def kill(self) -> None:
        self.server.kill(self)


class ForkServer(WorkerStarter):
    """Has a process fork workers.

    Parameters
    ----------
    control : socket
        The line to it; keeps messages apart.
    pid : int
    process : Popen, optional
        None where it is a fork of this process.
    preload : sequence of str, default empty
        Modules that it was told to import, as workers need them.
    learnt : set of str, default empty
        The libraries that it was told to import, as workers had to.
    """

    _learnt: dict[str, None] = {}  # noqa: RUF012 - what one run has found out is for all later ones

    def __init__(
        self,
        control: socket.socket,
        pid: int,
        process: subprocess.Popen[bytes] | None = None,
        preload: Sequence[str] = (),
        learnt: frozenset[str] = frozenset(),
    ) -> None:
        self._control = control
        self._pid = pid
        self._process = process
        self._preload = preload
        self._knows = learnt
        self.method = "fork" if process is None else "forkserver"
        self.main = dict(vars(sys.modules["__main__"])) if process is None else None
        self.reusable = process is not None
        # Answered in this order. Not by number: a run that is over early leaves an answer to the next one.
        self._asked: deque[_ForkedWorker] = deque()
        self._codes: dict[int, int] = {}
        # The thread that looks after deadlines may want to know a worker's number while the coordinator listens.
        self._receiving = threading.Lock()

    # -- making one -------------------------------------------------------------------------------

    @staticmethod
    def may_fork() -> bool:
        """Whether this process has no other thread that Python knows of."""
        if threading.active_count() > 1 or len(sys._current_frames()) > 1:
            return False
        return threading.current_thread() is threading.main_thread()

    @classmethod
    def forked(cls) -> ForkServer | None:
        """Fork this process, if it has no thread but the calling one; None if it has."""
        if not cls.may_fork():
            return None
        ours, theirs = _message_sockets()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # there is none, or it was closed
                stream.flush()
        parent = os.getpid()
        with _interrupts_blocked(), warnings.catch_warnings():
            # Since 3.12 a fork beside other threads warns; we look for ourselves, and undo it.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                pid = os.fork()
            except OSError:
                pid = -1
            if pid == 0:
                ours.close()
                serve_as_fork(theirs, parent)
        theirs.close()
        if pid == -1:
            ours.close()
            return None
        # BLAS ends its threads before a fork; one that is still there belongs to a library that does not,
        # and that a child would wait for in vain.
        if not is_alone():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            ours.close()
            return None
        ours.send(b"go")
        return cls(ours, pid)

    @classmethod
    def launched(cls, preload: Sequence[str]) -> ForkServer:
        """Start one in an interpreter of its own.

        Parameters
        ----------
        preload : sequence of str
            Modules that its workers will need.
        """
        learnt = list(cls._learnt)
        while len(repr(learnt)) > _LONGEST_LIST:
            learnt = learnt[: len(learnt) // 2]
        ours, theirs = _message_sockets()
        boot = (
            "import gc; gc.disable(); from crystallize_plugins.execution.processes.fork_server_process import main; "
            f"main({theirs.fileno()}, {os.getpid()}, {list(preload)!r}, {learnt!r})"
        )
        try:
            command = interpreter_command(boot)
            with _interrupts_blocked():
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    # Its own libraries must not start threads, or it could not fork; workers get their share.
                    env=environment_with_limits(os.environ, 1),
                )
        except (OSError, WorkerStartError) as exc:
            ours.close()
            if isinstance(exc, WorkerStartError):
                raise
            raise WorkerStartError(f"worker processes could not be started: {exc}") from exc
        finally:
            theirs.close()
        return cls(ours, process.pid, process, preload, frozenset(map(_library, cls._learnt)))

    # -- workers ----------------------------------------------------------------------------------

    def start(self, number: int, payload: Segment, memory: Segment, library_threads: int) -> WorkerHandle:
        """Ask for a worker; the answer is heard later."""
        order = ("start", number, payload.size, memory.size, library_threads)
        ours = theirs = None
        try:
            ours, theirs = Pipe()
            fds: list[Any] = [theirs.fileno(), payload.fd, memory.fd]
            socket.send_fds(self._control, [pickle.dumps(order)], fds)
        except OSError as exc:
            if ours is not None:
                ours.close()
            raise WorkerStartError(f"worker processes could not be started: {self._how_it_ended() or exc}") from exc
        finally:
            if theirs is not None:
                theirs.close()
        worker = _ForkedWorker(number, ours, memory)
        worker.server = self
        self._asked.append(worker)
        return worker

    def waited_on(self) -> list[Any]:
        """Return the line to the fork server, as long as there is one."""
        return [self._control] if self.problem is None else []

    def receive(self) -> None:
        """Read what the fork server says."""
        with self._receiving:
            while self.problem is None and wait([self._control], 0):
                self._take(self._received())

    def _received(self) -> bytes:
        try:
            return self._control.recv(LARGEST_MESSAGE)
        except OSError:
            return b""

    def _take(self, message: bytes) -> None:
        if not message:
            self.problem = f"the process that starts workers ended ({self._how_it_ended() or 'for no known reason'})"
            return
        kind, *rest = pickle.loads(message)
        if kind == "started":
            self._asked.popleft().pid = rest[0]
            self._codes.pop(rest[0], None)  # of somebody who had the same number long ago
        elif kind == "ended":
            self._codes[rest[0]] = rest[1]
        elif kind == "refused":
            self.problem = f"no more processes can be started: {rest[0]}"

    def has_ended(self, worker: WorkerHandle) -> bool:
        """Whether a worker's end was heard of."""
        return worker.pid in self._codes or self.problem is not None

    def exit_code(self, worker: WorkerHandle, timeout: float) -> int | None:
        """Wait to hear how a worker ended."""
        limit = time.monotonic() + timeout
        self.receive()
        while not self.has_ended(worker) and (left := limit - time.monotonic()) > 0:
            wait([self._control], left)
            self.receive()
        return self._codes.pop(worker.pid, None)

    def kill(self, worker: WorkerHandle) -> None:
        """Have the fork server kill a worker: it alone knows whether the number is still that worker's."""
        if worker.pid == 0:
            self.exit_code(worker, 0.0)
        self._say("kill", worker.pid)

    def learn(self, modules: list[str]) -> None:
        """Remember what the next fork server is to import, if this process has it as well."""
        if self.reusable:
            ForkServer._learnt.update(dict.fromkeys(name for name in modules if name in sys.modules))

    @property
    def outdated(self) -> bool:
        """Whether the next one would have imported libraries of which this one knows nothing."""
        return self.reusable and not self._knows.issuperset(map(_library, ForkServer._learnt))

    def successor(self) -> ForkServer:
        """Return one of its own interpreter: this process may have threads by now."""
        return ForkServer.launched(self._preload)

    def close(self) -> None:
        """Have the fork server end when its workers have, within a moment."""
        self._say("dismiss")
        self.problem = self.problem or "it was shut down"
        limit = time.monotonic() + _TO_END
        while not self._is_over():
            if time.monotonic() > limit:
                os.kill(self._pid, signal.SIGKILL)
                limit = float("inf")
            time.sleep(0.0005)
        self._control.close()

    def __del__(self) -> None:
        # A run that never came to its cells: the end of the line is all that a fork server needs to know.
        self._control.close()

    def _say(self, *order: Any) -> None:
        with contextlib.suppress(OSError):
            self._control.send(pickle.dumps(order))

    def _is_over(self) -> bool:
        if self._process is not None:
            return self._process.poll() is not None
        try:
            return os.waitpid(self._pid, os.WNOHANG)[0] == self._pid
        except ChildProcessError:  # somebody else waited for it
            return True

    def _how_it_ended(self) -> str | None:
        if self._process is None:
            return None
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return None
        return f"it left with exit code {code}; its standard error says more"


def _library(module: str) -> str:
    return module.partition(".")[0]


def _message_sockets() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for line in pair:
        line.settimeout(None)  # `socket.setdefaulttimeout` is meant for the user's own
    return pair


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    # Ctrl-C reaches the whole process group: a child must not see it before it has learnt to ignore it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
