"""What git says of the code: commit, branch, and how the files differ from that commit."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from crystallize.hooks.tools import mask_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["LONGEST_DIFF", "MOST_NAMES", "git_state", "repository_of"]

LONGEST_DIFF = 256 * 1024
"""Bytes of a diff that are kept; of a longer one, its beginning."""

MOST_NAMES = 200
"""Names of changed, and of untracked, files that are kept."""

_PATIENCE = 10.0
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_PREFIX")
# Nothing of the user's configuration may run a program, and no lock is taken that would get into another git's way.
_OPTIONS = ("-c", "core.fsmonitor=false", "-c", "core.quotepath=false", "--no-optional-locks", "--no-pager")
_SETTINGS = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


_SECRET_FILES = (
    "*.jks", "*.kdbx", "*.key", "*.keystore", "*.p12", "*.pem", "*.pfx", "*.ppk", "*.tfvars", ".dockercfg", ".env",
    ".env.*", "*.env", ".envrc", ".git-credentials", ".htpasswd", ".my.cnf", ".netrc", ".npmrc", ".pgpass", ".pypirc",
    ".vault-token", "_netrc", "credentials", "credentials.*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "id_rsa*",
    "kubeconfig", "secret.*", "secrets", "secrets.*", "service-account*.json",
)  # fmt: skip
"""Names of files that are there to hold secrets."""

_NO_DIFF = [f":(exclude,glob,icase)**/{name}" for name in _SECRET_FILES]


def _is_secret(entry: str) -> bool:
    """Whether an entry of git's status is of a file that is there to hold secrets."""
    name = entry.rpartition("/")[2].rpartition(" ")[2].lower()
    return entry[:1] in "12u" and any(fnmatchcase(name, each) for each in _SECRET_FILES)


def repository_of(folder: str | os.PathLike[str]) -> Path | None:
    """Return the root of the working tree that a folder lies in; None where it lies in none.

    Parameters
    ----------
    folder : path
    """
    place = Path(folder).absolute()
    return next((above for above in (place, *place.parents) if (above / ".git").exists()), None)


def git_state(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Ask git about the working tree that a folder lies in.

    Parameters
    ----------
    folder : path

    Returns
    -------
    dict
        ``root``, ``commit`` (None before the first one), ``branch`` (None where none is checked out), ``dirty``
        (whether a tracked file differs from the commit), ``changed`` and ``untracked`` (names of files, at most
        `MOST_NAMES` of each; ``changed_count`` and ``untracked_count`` say how many there are), ``diff`` (against the
        commit, at most `LONGEST_DIFF` bytes, secrets masked, without files such as ``.env`` and ``*.pem`` that are
        there to hold some) and ``diff_complete``. Where git cannot say: ``reason``.

    Examples
    --------
    >>> git_state("/")
    {'reason': 'no repository'}
    """
    root = repository_of(folder)
    if root is None:
        return {"reason": "no repository"}
    program = shutil.which("git")
    if program is None:
        return {"root": str(root), "reason": "git is not installed"}
    command = [program, *_OPTIONS]
    status, complaint = _output(
        [*command, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal"], root
    )
    if complaint is not None:
        return {"root": str(root), "reason": complaint}
    state = _parsed(status.decode("utf-8", "surrogateescape"))
    diff, complete = b"", True
    if state["dirty"] and state["commit"] is not None:
        options = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames")
        diff, complete = _beginning([*command, "diff", *options, "HEAD", "--", ".", *_NO_DIFF], root)
        complete = complete and not any(map(_is_secret, status.decode("utf-8", "surrogateescape").split("\0")))
    # Half a surrogate pair is no text that could be stored or printed.
    plain = {name: _printable(value) for name, value in state.items()}
    return {"root": str(root), **plain, "diff": mask_text(diff.decode("utf-8", "replace")), "diff_complete": complete}


def _parsed(status: str) -> dict[str, Any]:
    """Read what ``git status --porcelain=v2 --branch -z`` writes."""
    commit = branch = None
    changed: list[str] = []
    untracked: list[str] = []
    entries = iter(status.split("\0"))
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            name, _, value = rest.partition(" ")
            if name == "branch.oid" and value != "(initial)":
                commit = value
            elif name == "branch.head" and value != "(detached)":
                branch = value
        elif kind == "?":
            untracked.append(rest)
        elif kind in ("1", "2", "u"):
            # The path follows 7, 8 or 9 fields; that of a renamed file is followed by its former one.
            changed.append(rest.split(" ", {"1": 7, "2": 8, "u": 9}[kind])[-1])
            if kind == "2":
                next(entries, None)
    return {
        "commit": commit,
        "branch": branch,
        "dirty": bool(changed),
        "changed": changed[:MOST_NAMES],
        "changed_count": len(changed),
        "untracked": untracked[:MOST_NAMES],
        "untracked_count": len(untracked),
    }


def _printable(value: Any) -> Any:
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if isinstance(value, str) else value


def _output(command: list[str], root: Path) -> tuple[bytes, str | None]:
    """Return all that a command prints, and what is wrong where it fails."""
    try:
        with _started(command, root, stderr=subprocess.PIPE) as process:
            output, errors = process.communicate()
    except OSError as error:
        return b"", f"git cannot be run: {error}"
    if process.returncode < 0:
        return b"", f"git gave no answer within {_PATIENCE:.0f} s" if process.returncode == -9 else "git was stopped"  # noqa: PLR2004
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return output, None if process.returncode == 0 else (lines[0] if lines else f"git ended with {process.returncode}")


def _beginning(command: list[str], root: Path) -> tuple[bytes, bool]:
    """Return what a command prints up to `LONGEST_DIFF`, by whole lines, and whether that was all."""
    try:
        with _started(command, root, stderr=subprocess.DEVNULL) as process:
            output: IO[bytes] | None = process.stdout
            read = b"" if output is None else output.read(LONGEST_DIFF + 1)
            if len(read) > LONGEST_DIFF:
                process.kill()
                return read[: read.rfind(b"\n", 0, LONGEST_DIFF) + 1], False
    except OSError:
        return b"", False
    return read, process.returncode == 0


@contextmanager
def _started(command: list[str], root: Path, *, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start git in a working tree; whatever it waits for, it ends."""
    process = subprocess.Popen(  # noqa: S603 - git itself, with arguments of our own
        command,
        cwd=root,
        env=_environment(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    guard = threading.Timer(_PATIENCE, process.kill)
    guard.daemon = True
    guard.start()
    try:
        with process:
            yield process
    finally:
        guard.cancel()


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return git's environment: a hook of git, say, sets variables that mean another repository."""
    return {**{name: value for name, value in environ.items() if name not in _ELSEWHERE}, **_SETTINGS}
