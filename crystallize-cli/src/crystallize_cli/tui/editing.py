"""The editor that somebody has chosen, opened at a line."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

__all__ = ["editor_command", "has_window"]

_VARIABLES = ("CRYSTALLIZE_EDITOR", "VISUAL", "EDITOR")
_USUAL = ("nano", "vim", "vi", "notepad.exe")
_COLON = frozenset({"code", "codium", "cursor", "subl", "zed", "hx", "micro"})
"""Editors that take ``file:line``; all others take ``+line file``."""
_WINDOWS = frozenset(
    {
        "code",
        "codium",
        "cursor",
        "subl",
        "zed",
        "gedit",
        "gnome-text-editor",
        "kate",
        "gvim",
        "mate",
        "notepad",
        "xdg-open",
    }
)
"""Editors with a window of their own, for which the terminal stays as it is."""


def editor_command(file: Path, line: int | None = None) -> list[str]:
    """Return the command that opens a file at a line; empty where there is no editor.

    Parameters
    ----------
    file : Path
    line : int, optional
        Counted from 1.
    """
    chosen = next((value for name in _VARIABLES if (value := os.environ.get(name, "").strip())), None)
    chosen = chosen or next((found for name in _USUAL if (found := shutil.which(name))), None)
    if chosen is None:
        return []
    command = shlex.split(chosen, posix=os.name != "nt")
    if line is None:
        return [*command, str(file)]
    if _name(command) in _COLON:
        goto = ["--goto"] if _name(command) in ("code", "codium", "cursor") else []
        return [*command, *goto, f"{file}:{line}"]
    return [*command, f"+{line}", str(file)]


def has_window(command: list[str]) -> bool:
    """Whether an editor has a window of its own."""
    return _name(command) in _WINDOWS


def _name(command: list[str]) -> str:
    return Path(command[0]).stem.lower()
