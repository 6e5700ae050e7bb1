"""Who writes a run, and whether that process is still at work: a run's status is found out, never only stored.

Two things tell. A lock on the run's folder, which the kernel gives up with the process that holds it, tells at once,
but only to those on the same kernel: in whatever container, under whatever user or host name. To all others the owner
shows every few seconds that it is alive, by the time of ``run.json``.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
import threading
import time
import uuid
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

from crystallize.errors import RunLockedError, StoreError
from crystallize_plugins.artifacts import operations
from crystallize_plugins.artifacts.files.layout import LOCK, RUN, temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HEARTBEAT", "SILENCE", "Owner", "RunLock", "identity_of", "is_alive", "no_thread"]

HEARTBEAT = 5.0
"""Seconds after which the owner of a run shows again that it is alive, for those on other kernels."""

SILENCE = 6 * HEARTBEAT
"""Seconds after which an owner that has not shown that it is alive is dead, for those on other kernels."""

_PATIENCE = 0.5
"""Seconds that a lock is waited for: who looks whether a run is locked has the lock for a moment."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# What file systems say that have no locks, or none for folders.
_NO_LOCKS = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_HELD = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK, errno.EWOULDBLOCK})

_locks: WeakSet[RunLock] = WeakSet()


class Owner(NamedTuple):
    """The process that writes a run."""

    host: str
    pid: int
    process: str
    """The kernel whose lock on the folder shows whether the process is alive; empty where there are no locks."""


class RunLock:
    """This process' hold on a run's folder: a lock, and a sign of life for those who cannot see the lock.

    Parameters
    ----------
    folder : Path
        Of the run.
    started : float, default 0.0
        When the run started, in seconds since the epoch.

    Attributes
    ----------
    owner : Owner
        This process.

    Raises
    ------
    BlockingIOError
        Somebody else holds it.
    OSError
        The folder cannot be opened.
    StoreError
        No thread can be started.
    """

    def __init__(self, folder: Path, started: float = 0.0) -> None:
        self._folder = folder
        self._started = started
        self._pid = os.getpid()
        self._descriptor = _opened(folder, make=True)
        self._identity = _identity(os.fstat(self._descriptor))
        self._released = threading.Event()
        self._checking = threading.Lock()
        self._heart = threading.Thread(target=self._show_life, name="crystallize-heartbeat", daemon=True)
        try:
            has_locks = _patiently(lambda: _lock(self._descriptor, shared=False))
            self.owner = Owner(socket.gethostname(), self._pid, _kernel() if has_locks else "")
            _locks.add(self)
            self._heart.start()
        except BaseException as error:
            self.release()
            if isinstance(error, (RuntimeError, MemoryError)):
                raise no_thread(folder, error) from error
            raise

    def check(self) -> None:
        """Refuse to go on where the folder is not the one that was locked, or the lock is another's now.

        Raises
        ------
        RunLockedError
            The folder was removed, renamed or replaced; or a step closed the lock, and another process took it.
        """
        if os.getpid() != self._pid:
            raise self.lost(f"it is written by process {self._pid}, of which this one is a fork")
        if self._released.is_set():
            raise self.lost("this process has given it up")
        if identity_of(_locked_path(self._folder)) != self._identity:
            raise self.lost("its folder was removed, renamed or replaced")
        if not self._is_ours():
            with self._checking:
                self._lock_again()

    def _lock_again(self) -> None:
        """Lock the folder again after a step has closed descriptors that are not its own."""
        if self._is_ours():
            return  # the other thread was quicker
        # What has the old number now is somebody's, and stays open.
        self._descriptor = _opened(self._folder, make=True)
        try:
            _patiently(lambda: _lock(self._descriptor, shared=False))
        except BlockingIOError:
            raise self.lost("another process works on it") from None

    def lost(self, why: str) -> RunLockedError:
        """Return the error that says that this process may not write to the run any more."""
        return RunLockedError(
            f"the run in {self._folder} cannot be written any more: {why}. What was committed before is where that "
            'folder is now; strategy="resume" goes on with it',
            host=self.owner.host,
            pid=self.owner.pid,
            started=self._started,
            path=str(self._folder),
        )

    def release(self) -> None:
        """Let others have the run; releasing it again has no effect."""
        if not self._released.is_set():
            self._released.set()
            _locks.discard(self)
            self._close()
            if self._heart.is_alive():
                self._heart.join(HEARTBEAT)  # the next run may want to fork, which takes a single thread

    def _close(self) -> None:
        if self._is_ours():
            os.close(self._descriptor)
            if LOCK:
                with suppress(OSError):
                    operations.unlink(self._folder / LOCK)

    def _is_ours(self) -> bool:
        """Whether the descriptor was not closed, and its number given to another file."""
        try:
            return _identity(os.fstat(self._descriptor)) == self._identity
        except OSError:
            return False

    def _show_life(self) -> None:
        while not self._released.wait(HEARTBEAT):
            # The writer will say what is wrong, at its next commit.
            with suppress(OSError, StoreError):
                self.check()
                operations.touch(self._folder / RUN)


def no_thread(folder: Path, error: BaseException) -> StoreError:
    """Return the error that says that a run cannot be stored without threads."""
    return StoreError(
        f"the run in {folder} cannot be stored: no thread can be started ({str(error) or type(error).__name__}). Let "
        "this user or container have more processes (ulimit -u, pids.max) or memory"
    )


def is_alive(owner: Owner, folder: Path, *, locked: bool = False) -> bool:
    """Return whether the owner of a run that did not end is still at work on it.

    Parameters
    ----------
    owner : Owner
    folder : Path
        Of the run. A copy of it is locked by nobody.
    locked : bool, default False
        Whether it is this process that has the lock now, so that nobody else on this kernel has it.
    """
    held = False if locked else _is_held(folder)
    if held is False and owner.process and owner.process == _kernel():
        return False
    return held or _shows_life(folder)


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return what tells a file or folder from all others, as long as it is open; None where there is none."""
    try:
        return _identity(path.stat())
    except OSError:
        return None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_held(folder: Path) -> bool | None:
    """Return whether somebody holds the lock of a folder; None where that cannot be found out."""
    try:
        with closing(_Descriptor(_opened(folder))) as file:
            return False if _patiently(lambda: _lock(file.number, shared=True), 0.0) else None
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return None


def _shows_life(folder: Path) -> bool:
    """Return whether ``run.json`` was touched lately, by the clock of the file system that it is on."""
    sign = folder / RUN
    try:
        status = sign.lstat()
        age = _now(folder) - status.st_mtime
        if age < 0 and stat.S_ISREG(status.st_mode):
            # The clock was put back since: from now on it counts.
            operations.touch(sign)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # somebody's whose clock is ahead of ours, and who keeps us from looking
    return age < SILENCE


def _now(folder: Path) -> float:
    """Return what time it is for a file system; where nothing can be written there, for this machine."""
    probe = folder / temporary_name()
    try:
        os.close(operations.open_new(probe))
        now = probe.stat().st_mtime
        operations.unlink(probe)
    except OSError:
        return time.time()
    return now


@lru_cache(maxsize=1)
def _kernel() -> str:
    """Return what tells the kernel that this process runs on from all others; empty where it cannot be found out."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        node = uuid.getnode()
    return "" if node >> 40 & 1 else f"{sys.platform}:{node:012x}"  # the bit of a number that was only drawn


# -- locks, as the system has them --------------------------------------------------------------------


class _Descriptor:
    """A descriptor that can be closed as a file can."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        os.close(self.number)


def _locked_path(folder: Path) -> Path:
    """Return what is locked: the folder itself, or a file in it where the system has no locks for folders."""
    return folder / LOCK if LOCK else folder


def _opened(folder: Path, *, make: bool = False) -> int:
    """Open what is locked; a child that runs another program does not get it."""
    flags = os.O_RDWR | (os.O_CREAT if make else 0) if LOCK else os.O_RDONLY | os.O_DIRECTORY
    return os.open(_locked_path(folder), flags)


def _patiently(lock: Callable[[], None], seconds: float = _PATIENCE) -> bool:
    """Take a lock, and say whether there are any.

    Raises
    ------
    BlockingIOError
        Somebody else holds it.
    """
    limit = time.monotonic() + seconds
    while True:
        try:
            lock()
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return False
            if error.errno not in _HELD:
                raise
            if time.monotonic() >= limit:
                raise BlockingIOError(*error.args) from error
        else:
            return True
        time.sleep(0.005)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, shared: bool) -> None:
        """Lock a file; a shared lock, of those who only look, is given up with the descriptor."""
        del shared
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, *, shared: bool) -> None:
        """Lock a folder; those who only look share their lock, which is given up with the descriptor."""
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)

    def _give_up() -> None:
        """Close, in a forked child, what its parent has locked: it would be locked as long as the child lives."""
        for lock in list(_locks):
            if lock._is_ours():
                os.close(lock._descriptor)
        _locks.clear()

    os.register_at_fork(after_in_child=_give_up)
