"""The commands of SLURM that are used: `sbatch`, `squeue`, `scancel`, `scontrol`.

Nothing here asks `sacct`: many clusters keep no accounts.
"""

from __future__ import annotations

import getpass
import os
import re
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from crystallize.errors import ArgumentTypeError, ValidationError, WorkerStartError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Task", "cancel", "checked_options", "largest_array", "submit", "tasks", "version"]

_PATIENCE = 120.0
"""Seconds that a busy controller has for an answer; the commands themselves try for about as long."""

_OURS = frozenset(
    (
        "array", "a", "output", "o", "error", "e", "job-name", "J", "wrap", "parsable", "wait", "W", "chdir", "D",
        "test-only", "quiet", "Q", "help", "h", "usage", "version", "V", "clusters", "M", "hold", "H", "requeue",
        "open-mode", "signal",
    )
)  # fmt: skip
"""Options that `SlurmExecution` sets itself, or that would change what sbatch answers."""


class Task(NamedTuple):
    """A task of an array, as the queue shows it.

    Attributes
    ----------
    id : str
        Such as ``"12_3"``.
    name : str
        The job's name.
    state : str
        SLURM's short word for it, such as ``"PD"`` or ``"R"``.
    reason : str
        Why it waits.
    """

    id: str
    name: str
    state: str
    reason: str


def checked_options(options: object, *, what: str) -> tuple[str, ...]:
    """Return options of sbatch as its arguments.

    Parameters
    ----------
    options : mapping of str to object, or None
        Names without the dashes in front, with ``_`` or ``-``; True for a flag, None or False for what is left out.
    what : str
        How the argument is called.

    Raises
    ------
    ArgumentTypeError
        It is no mapping of names to texts, numbers and flags.
    ValidationError
        An option is one that the executor sets itself.
    """
    if options is None:
        return ()
    if not isinstance(options, Mapping):
        raise ArgumentTypeError(
            f"{what} takes options of sbatch by name, such as {{'time': '1:00:00'}}, not {options!r:.80}"
        )
    arguments = []
    for key, value in options.items():
        if not isinstance(key, str) or not isinstance(value, (str, int, float, bool, type(None))):
            raise ArgumentTypeError(f"{what} takes texts, numbers and True, by name, not {key!r}: {value!r:.80}")
        name = key.strip("-").replace("_", "-")
        if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9-]*", name):
            raise ValidationError(f"{what}: {key!r} cannot be the name of an option of sbatch")
        if name in _OURS:
            raise ValidationError(f"{what}: SlurmExecution sets {key!r} itself; leave it out")
        if value is None or value is False:
            continue
        dashed = f"-{name}" if len(name) == 1 else f"--{name}"
        if value is True:
            arguments.append(dashed)
        else:
            arguments.append(f"{dashed}{value}" if len(name) == 1 else f"{dashed}={value}")
    return tuple(arguments)


def submit(script: Path, arguments: Sequence[str], *, options: Sequence[str], name: str, tasks: int, log: Path) -> str:
    """Queue an array of jobs and return its id.

    Parameters
    ----------
    script : Path
    arguments : sequence of str
        Of the script.
    options : sequence of str
        What users want of sbatch.
    name : str
        How the jobs are called.
    tasks : int
        How many.
    log : Path
        The folder of what they print.

    Raises
    ------
    WorkerStartError
        SLURM refuses; with what sbatch said.
    """
    command = [
        "sbatch", "--parsable", "--requeue", "--open-mode=append", *options, f"--job-name={name}",
        f"--array=0-{tasks - 1}", f"--output={log}/%A_%a.log", str(script), *arguments,
    ]  # fmt: skip
    done = _run(command)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip() or f"it ended with exit code {done.returncode}"
        raise WorkerStartError(
            f"sbatch refuses the jobs, and none is queued: {said}\nThe command was: {' '.join(command)}"
        )
    return done.stdout.strip().partition(";")[0]


def tasks(names: Sequence[str]) -> dict[str, Task] | str:
    """Return the tasks of jobs that wait or run, by their ids; where squeue fails, what it said."""
    shape = "%F|%K|%t|%r|%j"
    done = _run(
        ["squeue", "--noheader", "--array", f"--name={','.join(names)}", f"--user={getpass.getuser()}", "-o", shape]
    )
    if done.returncode:
        return done.stderr.strip() or f"it ended with exit code {done.returncode}"
    found = {}
    for line in done.stdout.splitlines():
        array, index, state, reason, name = line.strip().split("|", 4)
        task = Task(f"{array}_{index}", name, state, reason)
        found[task.id] = task
    return found


def cancel(name: str, *, waiting: bool = False) -> None:
    """Cancel the jobs of a name, or those of them alone that wait."""
    state = ["--state=PENDING"] if waiting else []
    _run(["scancel", f"--name={name}", f"--user={getpass.getuser()}", *state])


def largest_array() -> int:
    """Return how many tasks an array may have."""
    done = _run(["scontrol", "show", "config"])
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    return max(1, int(found[1])) if found else 1000


def version() -> str:
    """Return the version of SLURM here."""
    return _run(["sbatch", "--version"]).stdout.strip().rpartition(" ")[2]


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # In a job's own environment these would be taken for options.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLURM_") or name in ("SLURM_CONF", "SLURM_CLUSTERS")
    }
    try:
        return subprocess.run(  # noqa: S603 - no shell
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE,
            check=False, start_new_session=True,  # Ctrl-C is not for them
        )  # fmt: skip
    except FileNotFoundError:
        raise WorkerStartError(
            f"{command[0]} is not installed here: SlurmExecution is for machines from which jobs are submitted to SLURM"
        ) from None
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} has not answered for {_PATIENCE:g} seconds")
