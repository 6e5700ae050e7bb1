"""What is copied: to the terminal's clipboard, the system's, and a file that is always there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["COPIED", "copy_by_system", "keep_copied"]

COPIED = Path(".crystallize", "copied.md")
"""What was copied last, for terminals and systems that pass nothing on."""

_TOOLS = (
    ["wl-copy"],
    ["xclip", "-selection", "clipboard"],
    ["xsel", "--clipboard", "--input"],
    ["pbcopy"],
    ["clip.exe"],
)
_SECONDS = 5.0


def keep_copied(text: str) -> None:
    """Write what is copied to `COPIED`.

    Raises
    ------
    OSError
    """
    from crystallize.hooks.tools import write_atomically

    write_atomically(COPIED, text if text.endswith("\n") else f"{text}\n")


def copy_by_system(text: str) -> None:
    """Hand text to the system's own tool, where there is one that works."""
    for tool in _TOOLS:
        found = shutil.which(tool[0])
        if found is None:
            continue
        encoding = "utf-16" if sys.platform == "win32" else "utf-8"
        try:
            subprocess.run(  # noqa: S603 - a tool from the list
                [found, *tool[1:]],
                input=text.encode(encoding),
                check=True,
                timeout=_SECONDS,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError):
            continue  # it has no display to talk to; the terminal and the file have the text
        return
