"""The commands of this command line, asked in processes of their own, so that the interface never waits."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Answer", "ask", "command_line", "environment", "program"]

_LIMIT = 32_000_000
"""Characters of an answer that are kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said.

    Attributes
    ----------
    code : int
        Its exit code.
    out, err : str
        What it wrote to stdout and to stderr.
    """

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What it wrote as JSON; None where it wrote none."""
        try:
            return json.loads(self.out)
        except ValueError:
            return None

    @property
    def text(self) -> str:
        """What there is to read: the answer, else why there is none."""
        return self.out.rstrip() or self.err.rstrip()


def program(arguments: Sequence[str]) -> list[str]:
    """Return what starts ``crystallize`` with these arguments, in this interpreter."""
    return [sys.executable, "-m", "crystallize_cli", *arguments]


def command_line(arguments: Sequence[str]) -> str:
    """Return the command that does the same in a shell."""
    return shlex.join(["crystallize", *arguments])


def environment() -> dict[str, str]:
    """Return the environment of such a process: text is UTF-8, and no terminal is meant to be there."""
    return {**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"}


async def ask(*arguments: str, given: str | None = None) -> Answer:
    """Run ``crystallize`` with these arguments and return what it said.

    Parameters
    ----------
    *arguments : str
        As on the command line.
    given : str, optional
        What is written to its standard input.
    """
    process = subprocess.Popen(  # noqa: ASYNC220, S603 - this program, which takes milliseconds to start
        program(arguments),
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    try:
        out, err = await asyncio.to_thread(process.communicate, None if given is None else given.encode())
    except asyncio.CancelledError:
        process.kill()  # nobody waits for what it says any more; the thread sees it end
        raise
    return Answer(process.returncode, _text(out), _text(err))


def _text(written: bytes) -> str:
    return written.decode("utf-8", "replace")[:_LIMIT]
