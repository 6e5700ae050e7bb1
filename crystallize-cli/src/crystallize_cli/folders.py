"""Finding folder experiments below a folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["CONFIG", "find_folders"]

CONFIG = "config.yaml"

_NEVER = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages"})
# What tells an experiment from other folders that have a file of this name.
_MODULES = frozenset({"datasources.py", "steps.py"})


def find_folders(top: Path) -> Iterator[Path]:
    """Give the folders of experiments at and below a folder, in the order of their names.

    Parameters
    ----------
    top : Path
        Hidden folders below it, and those that tools make, are passed over; folders of an experiment are not looked
        into.

    Examples
    --------
    >>> from pathlib import Path
    >>> list(find_folders(Path("nowhere")))
    []
    """
    folders, files = [], set()
    try:
        with os.scandir(top) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
                else:
                    files.add(entry.name)
    except OSError:
        return  # gone, or not ours to read
    if CONFIG in files and not _MODULES.isdisjoint(files):
        yield top
        return
    for name in sorted(folders):
        if not name.startswith(".") and name not in _NEVER:
            yield from find_folders(top / name)
