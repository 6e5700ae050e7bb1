"""What a process holds open, so that what a plugin leaves behind can be told."""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["check_leaks", "found_leaks", "held_open"]

_DESCRIPTORS = 1024
_PATIENCE = 2.0
_PYTESTS = "PYTEST_CURRENT_TEST"
"""pytest itself changes this variable around each fixture."""
_ADVICE = {
    "leak-thread": "ends the threads that it starts: join them in after_run or worker_stop",
    "leak-file": "closes the files that it opens, in after_run or worker_stop",
    "leak-process": "ends the processes that it starts, in after_run or worker_stop",
    "leak-cwd": "leaves the working folder as it was",
    "leak-environ": "leaves the environment variables as they were",
}


def held_open() -> dict[str, dict[str, str]]:
    """Return what the process holds, by rule and by a key that tells one thing from another, described."""
    return {
        "leak-thread": {str(thread.ident): f"thread {thread.name!r}" for thread in threading.enumerate()},
        "leak-file": _descriptors(),
        "leak-process": {str(pid): f"process {pid}" for pid in _children()},
        "leak-cwd": {os.getcwd(): f"the working folder is {os.getcwd()}"},  # noqa: PTH109 - as text
        "leak-environ": {
            f"{name}={value}": f"variable {name} is set" for name, value in os.environ.items() if name != _PYTESTS
        },
    }


def found_leaks(before: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Return what is held open now and was not before, by rule; what is about to end is waited for."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        gc.collect()
        now = held_open()
        more = {rule: [text for key, text in now[rule].items() if key not in before[rule]] for rule in now}
        names = {entry.partition("=")[0] for entry in now["leak-environ"]}
        known = {entry.partition("=")[0] for entry in before["leak-environ"]}
        more["leak-environ"] += [f"variable {name} is gone" for name in sorted(known - names)]
        if not any(more.values()) or time.monotonic() > deadline:
            return {rule: texts for rule, texts in more.items() if texts}
        time.sleep(0.02)


@contextmanager
def check_leaks() -> Iterator[None]:
    """Raise where more is held open after the block than before it, or a file was written into the working folder.

    The block runs in an empty folder.

    Raises
    ------
    AssertionError
        It begins with the name of the rule.
    """
    before = held_open()
    home = os.getcwd()  # noqa: PTH109 - as text
    with tempfile.TemporaryDirectory(prefix="crystallize-", ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        try:
            yield
            moved = Path.cwd() != Path(folder).resolve()
        finally:
            os.chdir(home)
        written = sorted(path.name for path in Path(folder).iterdir())
    leaks = found_leaks(before)
    if moved:
        leaks["leak-cwd"] = ["the working folder is another one"]
    if written:
        leaks.setdefault("leak-file", []).append(f"{', '.join(written)} was written into the working folder")
    if leaks:
        raise AssertionError(
            "\n".join(f"[{rule}] {'; '.join(texts)}: a plugin {_ADVICE[rule]}" for rule, texts in leaks.items())
        )


def _descriptors() -> dict[str, str]:
    found = {}
    for descriptor in range(_DESCRIPTORS):
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        name = f"file descriptor {descriptor}"
        with suppress(OSError, AttributeError):
            name = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        found[f"{descriptor}:{status.st_dev}:{status.st_ino}"] = f"{name} is open"
    return found


def _children() -> set[int]:
    """Return the processes that this one has started, as far as the system tells."""
    found = {child.pid for child in multiprocessing.active_children() if child.pid is not None}
    if sys.platform == "linux":
        for task in Path("/proc/self/task").iterdir():
            with suppress(OSError):
                found |= set(map(int, (task / "children").read_text(encoding="ascii").split()))
    return found
