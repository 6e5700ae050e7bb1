"""The coordinator's side of a zygote: made by a fork where that is sound, else by a new interpreter."""

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
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from crystallize.errors import WorkerStartError
from crystallize_plugins.execution.library_threads import environment_with_limits
from crystallize_plugins.execution.processes.starters import Hand, Starter, interpreter_command
from crystallize_plugins.execution.processes.zygote import (
    DUTY,
    LARGEST_MESSAGE,
    become_zygote,
    is_alone,
    without_timeout,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crystallize_plugins.execution.processes.segment import Segment

__all__ = ["ZygoteStarter"]

_GRACE = 0.5
_A_WHILE = 1.0


class _Child(Hand):
    """A worker that was asked for; it waits for its duty."""

    def __init__(self, starter: ZygoteStarter, line: socket.socket) -> None:
        self._starter = starter
        self.line = line
        self.pid = 0  # not known until the zygote says so

    def put_to_work(self, number: int, payload: Segment, slots: Segment) -> None:
        duty = DUTY.pack(number, payload.size, slots.size)
        try:
            socket.send_fds(self.line, [duty], [payload.fd, slots.fd])  # type: ignore[list-item]
        except (BrokenPipeError, ConnectionResetError):
            pass  # that it is gone is noticed when its line is read
        except OSError as exc:
            self.line.close()
            raise WorkerStartError(f"worker processes could not be started: {exc}") from exc
        self.number = number
        self.link = Connection(self.line.detach())

    @property
    def problem(self) -> str | None:
        return self._starter.problem

    def exit_code(self, timeout: float) -> int | None:
        return self._starter.exit_code(self, timeout)

    def ended(self) -> bool:
        return self._starter.ended(self)

    def kill(self) -> None:
        self._starter.kill(self)


class ZygoteStarter(Starter):
    """Has a zygote fork workers.

    Parameters
    ----------
    control : socket
        Keeps messages apart.
    pid : int
        The zygote.
    process : Popen or None
        None where the zygote is a fork of this process.
    """

    def __init__(self, control: socket.socket, pid: int, process: subprocess.Popen[bytes] | None) -> None:
        self._control = control
        self._pid = pid
        self._process = process
        self.method = "fork" if process is None else "forkserver"
        self.main = dict(vars(sys.modules["__main__"])) if process is None else None
        self.keeps = process is not None
        # Answered in this order. Not by number: a run that is over early leaves an answer to the next one.
        self._asked: deque[_Child] = deque()
        self._idle: deque[_Child] = deque()
        self._codes: dict[int, int] = {}
        self._taught: set[str] = set()
        self._lessons = 0
        self._dismissed = False
        # Whoever watches over time-outs may want to know a worker's number while the coordinator listens.
        self._hearing = threading.Lock()

    _teaches = True

    # -- making one -------------------------------------------------------------------------------

    @staticmethod
    def may_fork() -> bool:
        """Whether this process has no other thread that Python knows of."""
        if threading.active_count() > 1 or len(sys._current_frames()) > 1:
            return False
        return threading.current_thread() is threading.main_thread()

    @classmethod
    def forked(cls) -> ZygoteStarter | None:
        """Fork this process, if it has no thread but the calling one; None if it has."""
        if not cls.may_fork():
            return None
        ours, theirs = _message_sockets()
        sys.stdout.flush() if sys.stdout is not None else None
        sys.stderr.flush() if sys.stderr is not None else None
        parent = os.getpid()
        with _interrupts_held(), warnings.catch_warnings():
            # Since 3.12 a fork beside other threads warns; we look for ourselves, and undo it.
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                pid = os.fork()
            except OSError:
                pid = -1
            if pid == 0:
                ours.close()
                become_zygote(theirs, parent)
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
        return cls(ours, pid, None)

    @classmethod
    def launched(cls, preload: list[str]) -> ZygoteStarter:
        """Start a zygote in an interpreter of its own, which can be kept.

        Parameters
        ----------
        preload : list of str
            Modules that its workers will need.
        """
        ours, theirs = _message_sockets()
        boot = (
            "import gc; gc.disable(); from crystallize_plugins.execution.processes.zygote import main; "
            f"main({theirs.fileno()}, {os.getpid()}, {preload!r})"
        )
        try:
            command = interpreter_command(boot)
            with _interrupts_held():
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
        return cls(ours, process.pid, process)

    # -- workers ----------------------------------------------------------------------------------

    def prepare(self, library_threads: int, workers: int) -> None:
        """Have the zygote tell its libraries, and fork workers, while there is nothing else to do."""
        with contextlib.suppress(OSError):
            self._control.send(pickle.dumps(("limit", library_threads)))
        if not self._lessons:  # else they are to come after those
            with contextlib.suppress(WorkerStartError):  # said when they are needed
                self._idle.extend(self._asked_for(library_threads) for _ in range(workers))

    def start(self, number: int, payload: Segment, slots: Segment, library_threads: int) -> Hand:
        """Put one of those to work that wait, or ask for another; the answer is heard later."""
        while self._lessons and self.problem is None:
            # It would not get round to it before it has loaded what it was told to, and then it may have threads.
            wait([self._control], _A_WHILE)
            self.heard()
        child = self._idle.popleft() if self._idle else self._asked_for(library_threads)
        child.put_to_work(number, payload, slots)
        return child

    def _asked_for(self, library_threads: int) -> _Child:
        if self.worn:
            raise WorkerStartError("worker processes cannot be forked any more: a module that they need starts threads")
        ours, theirs = map(without_timeout, socket.socketpair())
        try:
            socket.send_fds(self._control, [pickle.dumps(("hire", library_threads))], [theirs.fileno()])
        except OSError as exc:
            ours.close()
            raise WorkerStartError(f"worker processes could not be started: {self._how_it_ended() or exc}") from exc
        finally:
            theirs.close()
        child = _Child(self, ours)
        self._asked.append(child)
        return child

    def disband(self) -> None:
        """Let those go that wait for something to do."""
        while self._idle:
            self._idle.pop().line.close()

    def watched(self) -> list[Any]:
        """The line to the zygote, as long as there is one."""
        return [self._control] if self.problem is None else []

    def heard(self) -> None:
        """Read what the zygote says."""
        with self._hearing:
            self._hear()

    def _hear(self) -> None:
        while self.problem is None and wait([self._control], 0):
            try:
                message = self._control.recv(LARGEST_MESSAGE)
            except OSError:
                message = b""
            if not message:
                self.problem = (
                    f"the process that starts workers ended ({self._how_it_ended() or 'for no known reason'})"
                )
                return
            what, *rest = pickle.loads(message)
            if what == "hired":
                self._asked.popleft().pid = rest[0]
                self._codes.pop(rest[0], None)  # of somebody who had the same number long ago
            elif what == "ended":
                self._codes[rest[0]] = rest[1]
            elif what == "refused":
                self.problem = f"no more processes can be started: {rest[0]}"
            elif what == "loaded":
                self._lessons -= 1
                if not rest[0]:
                    # A module started threads when it was imported: from there on a fork is not sound.
                    self.worn = True
                    ZygoteStarter._teaches = False

    def ended(self, hand: Hand) -> bool:
        """Whether a worker's end was heard of."""
        return hand.pid in self._codes or self.problem is not None

    def exit_code(self, hand: Hand, timeout: float) -> int | None:
        """Wait to hear how a worker ended."""
        limit = time.monotonic() + timeout
        self.heard()
        while not self.ended(hand) and (left := limit - time.monotonic()) > 0:
            wait([self._control], left)
            self.heard()
        return self._codes.pop(hand.pid, None)

    def kill(self, hand: Hand) -> None:
        """Have the zygote kill a worker: it alone knows whether the number is still that worker's."""
        if hand.pid == 0:
            self.exit_code(hand, 0.0)
        with contextlib.suppress(OSError):
            self._control.send(pickle.dumps(("kill", hand.pid)))

    def learn(self, modules: list[str]) -> None:
        """Have a zygote that is kept import what its workers had to, if this process has it as well."""
        if not self.keeps or not ZygoteStarter._teaches:
            return
        # Not only from the first that leaves: it may be one that had no cell to run.
        names = [name for name in modules if name in sys.modules and name not in self._taught]
        self._taught.update(names)
        starts = range(0, len(names), 500)  # a message has its limits
        for start in starts:
            with contextlib.suppress(OSError):
                self._control.send(pickle.dumps(("load", names[start : start + 500], start == starts[-1])))
        self._lessons += bool(names)

    def successor(self) -> ZygoteStarter:
        """Give a zygote of its own interpreter: this process may have threads by now."""
        return ZygoteStarter.launched([])

    def dismiss(self) -> None:
        """Have the zygote end when its workers have; it is waited for when this is closed."""
        self.disband()
        if not self._dismissed:
            self._dismissed = True
            with contextlib.suppress(OSError):
                self._control.send(pickle.dumps(("dismiss",)))
        self.problem = self.problem or "it was shut down"

    def close(self) -> None:
        """Dismiss the zygote; it waits for its workers to leave, for a moment."""
        self.dismiss()
        limit = time.monotonic() + _GRACE
        while not self._has_ended():
            if time.monotonic() > limit:
                os.kill(self._pid, signal.SIGKILL)
                limit = float("inf")
            time.sleep(0.0005)
        self._control.close()

    def __del__(self) -> None:
        # A run that never came to its cells: the end of the line is all that a zygote needs to know.
        self._control.close()

    def _has_ended(self) -> bool:
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


def _message_sockets() -> tuple[socket.socket, socket.socket]:
    ours, theirs = map(without_timeout, socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    return ours, theirs


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    # Ctrl-C reaches the whole process group: a child must not see it before it has learnt to ignore it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
