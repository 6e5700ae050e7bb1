"""Who writes a run, and whether that process is still alive: a run's status is found out, never only stored."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["HEARTBEAT", "Owner", "current_owner", "is_alive", "place_of", "written_here"]

HEARTBEAT = 5.0
"""Seconds after which the owner of a run shows again that it is alive, for those who cannot see its process."""

written_here: set[str] = set()
"""The runs that this process is writing, by identifier: it may outlive a run that it could not finish."""

_SILENCE = 6 * HEARTBEAT
_PROC = Path("/proc")
_GONE = ("Z", "X", "x")


class Owner(NamedTuple):
    """A process, told apart from all that will have its number."""

    host: str
    pid: int
    process: str
    """When the process started and in which system; empty where the system does not say."""


def current_owner() -> Owner:
    """Describe this process."""
    return _owner(os.getpid())


def place_of(folder: Path) -> str:
    """Give what tells a folder from every copy of it, but stays the same where it is renamed.

    Parameters
    ----------
    folder : Path
        Of a run.
    """
    return str(folder.stat().st_ino)


def is_alive(owner: Owner, run: str, heartbeat: Path, place: str = "") -> bool:
    """Say whether the owner of a run is still there and at work on it.

    Parameters
    ----------
    owner : Owner
    run : str
        The run's identifier.
    heartbeat : Path
        A file that the owner touches every few seconds; looked at where the process itself cannot be seen: on
        another machine, in another container, on systems that do not say when a process started.
    place : str, optional
        What `place_of` said of the folder in which the owner writes. A copy of that folder is nobody's.
    """
    if place and not _is_there(heartbeat.parent, place):
        return False
    return run in written_here if owner == current_owner() else _runs(owner, heartbeat)


def _runs(owner: Owner, heartbeat: Path) -> bool:
    """Say whether another process is there."""
    if owner.host != socket.gethostname():
        return _beats(heartbeat)
    here = current_owner().process
    if not (owner.process and here):
        return _has_number(owner.pid) and _beats(heartbeat)
    boot, namespace, _ = owner.process.split(":")
    boot_here, namespace_here, _ = here.split(":")
    if boot != boot_here:
        return False
    if namespace != namespace_here:
        return _beats(heartbeat)
    return _process(str(owner.pid)) == owner.process


@lru_cache(maxsize=1)
def _owner(pid: int) -> Owner:
    return Owner(socket.gethostname(), pid, _process("self"))


def _process(pid: str) -> str:
    """Say when a process started; nothing where there is no such process, or no way to tell."""
    try:
        status = (_PROC / pid / "stat").read_text(encoding="utf-8", errors="replace")
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = (_PROC / "self/ns/pid").readlink().name.strip("pid:[]")
    except OSError:
        return _asked_of_ps(str(os.getpid()) if pid == "self" else pid)
    # The command, in brackets, may hold anything; the state and nineteen fields follow it.
    fields = status.rpartition(")")[2].split()
    return "" if fields[0] in _GONE else f"{boot}:{namespace}:{fields[19]}"


def _asked_of_ps(pid: str) -> str:
    """Say when a process started on systems that keep no files about processes, such as macOS."""
    if os.name != "posix" or _PROC.is_dir():
        return ""
    command = ["ps", "-o", "state=,lstart=", "-p", pid]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 - a number of ours
    except (OSError, subprocess.SubprocessError):
        return ""
    state, _, started = done.stdout.strip().partition(" ")
    return "" if not started or state[0] in _GONE else f"ps::{' '.join(started.split()).replace(':', '.')}"


def _has_number(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # signal 0 is an event there, which would interrupt the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_there(folder: Path, place: str) -> bool:
    try:
        return place_of(folder) == place
    except OSError:
        return False


def _beats(heartbeat: Path) -> bool:
    try:
        return time.time() - heartbeat.stat().st_mtime < _SILENCE
    except OSError:
        return False
