"""A stored run that is open: its summary, plots, tree, files and errors."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from crystallize_cli.tui.asking import ask
from crystallize_cli.tui.pictures import intervals
from crystallize_cli.tui.progress import read_progress
from crystallize_cli.tui.screens.base import BaseScreen
from crystallize_cli.tui.widgets import Panes, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget

    from crystallize_cli.tui.progress import Progress

__all__ = ["OpenedRun"]


class OpenedRun(BaseScreen):
    """A stored run.

    Parameters
    ----------
    name, path : str
        ``name@v3``, and its folder.
    """

    MODE = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "find", "Find", show=False, key_display="/", id="find"),
        Binding("left_square_bracket", "step(-1)", "Pane before", show=False),
        Binding("right_square_bracket", "step(1)", "Next pane", key_display="[ ]"),
        Binding("e", "pane('Errors')", "Errors", id="errors"),
        Binding("S", "pane('Summary')", "Summary", show=False, id="summary"),
        Binding("b", "report", "Report", id="report"),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, name: str, path: str) -> None:
        super().__init__()
        self._run_name = name
        self._path = path
        self._failures: list[Any] = []

    def body(self) -> Iterable[Widget]:
        """Return the panes."""
        self.panes = Panes(
            Summary=Reading("…"),
            Plots=Reading("…"),
            Tree=Reading("…", wrap=False),
            Files=Reading("…", wrap=False),
            Errors=Reading("…"),
        )
        return [self.panes]

    def on_mount(self) -> None:
        """Read it, a pane at a time."""
        self.panes.pane.focus()
        self.run_worker(self._read())

    async def _read(self) -> None:
        show = self.panes.show
        progress, files = await asyncio.gather(
            asyncio.to_thread(_progress, self._path), asyncio.to_thread(_files, self._path)
        )
        if progress is not None:
            show("Plots", _plots(progress, max(self.size.width - 6, 20)))
            failures = progress.failures
            show("Errors", "\n\n".join(map(str, failures)) or progress.problem or "No failures.")
            self._failures = failures
            self.panes.count("Errors", progress.failed)
        show("Files", "\n".join(files) or "No files.")
        summary = await ask("show", self._path)
        show("Summary", summary.text)
        tree = await ask("show", "--tree", self._path)
        show("Tree", tree.out.removeprefix(summary.out.rstrip()).strip() or tree.text)

    # -- what keys do

    async def copied(self) -> str:
        """Return what is copied: in the summary the run as a digest, else the pane."""
        if self.panes.current == "Summary":
            return await self.application.digest(self._path)
        return self.panes.text

    def shown_text(self) -> str:
        """Return the text of the pane."""
        return self.panes.text

    def shown_arguments(self) -> list[str]:
        """Return what shows the same."""
        return ["show", self._run_name]

    def place(self) -> tuple[Path, int | None] | None:
        """Return the folder's summary for people, or where the first failure came from."""
        found = self._failures[0].place if self.panes.current == "Errors" and self._failures else None
        return found or (Path(self._path, "run.json"), None)

    def action_pane(self, name: str) -> None:
        """Show a pane."""
        self.panes.go(name)
        self.panes.pane.focus()

    def action_find(self) -> None:
        """Ask which lines of the panes are to be shown."""
        self.panes.ask()

    def action_step(self, by: int) -> None:
        """Show the pane before or after this one."""
        self.panes.step(by)

    def action_report(self) -> None:
        """Write the report and open it."""
        self.application.report(self._path)

    def action_back(self) -> None:
        """Go back to the list."""
        if self.panes.show_all():
            self.panes.pane.focus()
        else:
            self.app.pop_screen()


def _progress(path: str) -> Progress | None:
    from crystallize.errors import CrystallizeError
    from crystallize_plugins.artifacts import StoredRun

    try:
        return read_progress(StoredRun(path))
    except (CrystallizeError, OSError):
        return None


def _files(path: str) -> list[str]:
    folder = Path(path)
    found = sorted(each for each in folder.rglob("*") if each.is_file())
    return [f"{each.stat().st_size:>12,}  {each.relative_to(folder)}" for each in found[:2000]]


def _plots(progress: Progress, width: int) -> Content:
    lines: list[Content] = []
    for metric in dict.fromkeys(metric for each in progress.conditions.values() for metric in each.metrics):
        told = {each.name: each.metrics[metric] for each in progress.conditions.values() if metric in each.metrics}
        lines += [*intervals(metric, told, width), Content("")]
    return Content("\n").join(lines) if lines else Content("No metric is a number.")
