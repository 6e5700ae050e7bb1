"""A progress bar: cells done, failed, rate, time left; on a terminal or in a notebook, else nothing."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from crystallize.hooks.tools import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ProgressBar", "open_bar", "show_counts", "where_to_show"]


class ProgressBar:
    """Counts cells on standard error.

    Parameters
    ----------
    name : str
        What is shown before the bar.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._done = 0
        self._failed = 0
        self._pruned = 0
        self._retried = 0
        self._bar: Any = None
        self._place = where_to_show()

    def expect(self, cells: int) -> None:
        """Expect more cells."""
        if self._place is None:
            return
        if self._bar is None:
            self._bar = open_bar(self._place, desc=printable(self._name))
        self._bar.total += cells
        self._bar.refresh()

    def expect_to_come(self, cells: int) -> None:
        """Expect as many cells beside those that are done, and no others."""
        self.expect(self._done + cells - (0 if self._bar is None else self._bar.total))

    def count(self, *, failed: bool = False, pruned: bool = False) -> None:
        """Count a cell that is done."""
        if self._bar is None:
            return
        self._done += 1
        if failed or pruned:
            self._failed += failed
            self._pruned += pruned
            self._show_counts()
        self._bar.update()

    def count_retry(self) -> None:
        """Count a cell that is tried again."""
        if self._bar is not None:
            self._retried += 1
            self._show_counts()
            self._bar.refresh()

    def _show_counts(self) -> None:
        show_counts(self._bar, {"failed": self._failed, "pruned": self._pruned, "tried again": self._retried})

    def close(self) -> None:
        """Leave the bar as it is, and go to the next line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def where_to_show() -> str | None:
    """Return ``"terminal"`` or ``"notebook"``, or None where nobody looks."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is not None and hasattr(shell, "kernel"):
        return "notebook"
    try:
        return "terminal" if sys.stderr.isatty() else None
    except (AttributeError, ValueError):  # there is none, or it was closed
        return None


def open_bar(place: str, **settings: Any) -> Any:
    """Return a bar of `tqdm` that counts cells on standard error.

    Parameters
    ----------
    place : {"terminal", "notebook"}
        What `where_to_show` gave.
    **settings
        Further ones of the bar.
    """
    if place == "notebook":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without widgets it falls back to text, and warns about it
            from tqdm.auto import tqdm as bar
    else:
        from tqdm.std import tqdm as bar  # type: ignore[assignment]

        # A terminal may not know how large it is, and would be taken for one without any room.
        settings |= {"dynamic_ncols": True} if _knows_its_size() else {"ncols": 100, "nrows": 24}
    # Its thread that looks after slow bars would keep worker processes from being forked.
    kind = type("CellBar", (bar,), {"monitor_interval": 0})
    return kind(total=0, unit="cell", file=sys.stderr, **settings)


def show_counts(bar: Any, counts: Mapping[str, int]) -> None:
    """Write behind a bar how many cells are of each kind, where there are some; seen when the bar is drawn next."""
    bar.set_postfix_str(", ".join(f"{n} {what}" for what, n in counts.items() if n), refresh=False)


def _knows_its_size() -> bool:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):
        return False
