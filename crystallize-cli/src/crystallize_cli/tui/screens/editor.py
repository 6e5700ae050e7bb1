"""The config.yaml of an experiment, as text: what is valid is saved, comments and all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Footer, Static, TextArea

from crystallize.hooks.tools import printable
from crystallize_cli.tui.screens.base import Shows, shown_folder
from crystallize_cli.tui.screens.dialogs import Question
from crystallize_cli.tui.widgets import Title

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from crystallize_cli.tui.catalog import Entry

__all__ = ["ConfigEditor"]


class ConfigEditor(Shows):
    """The text of a config.yaml.

    Parameters
    ----------
    entry : Entry
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", priority=True),
        Binding("escape", "back", "Back", priority=True),
    ]
    DEFAULT_CSS = """
    ConfigEditor TextArea { height: 1fr; border: none; padding: 0; }
    ConfigEditor #told { height: auto; max-height: 6; padding: 0 1; color: $text-warning; }
    """

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self._entry = entry
        self._before = entry.config.read_text(encoding="utf-8")
        self.area = TextArea(self._before, show_line_numbers=True, soft_wrap=False, tab_behavior="indent")
        self.told = Static("", id="told", markup=False)

    def compose(self) -> ComposeResult:
        """Put the text between title and footer."""
        yield Title("experiments", f"{shown_folder()}  {self._entry.config}")
        yield self.area
        yield self.told
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Begin at what is wrong, where something is."""
        self.area.focus()
        for problem in self.application.problems_of(self._entry):
            if problem.get("line") is not None and problem["file"].endswith(self._entry.config.name):
                self.area.move_cursor((problem["line"] - 1, max(problem["column"] - 1, 0)))
                self.told.update(Content(printable(problem["text"])))
                break

    async def action_save(self) -> None:
        """Save the text, where it is valid and nobody else has changed the file meanwhile."""
        text = self.area.text
        wrong = await self.application.check_text(self._entry, text)
        if wrong:
            self.told.update(Content(f"not saved: {printable(wrong, lines=True)}"))
            return
        try:
            saved = await asyncio.to_thread(self._save, text)
        except OSError as error:
            self.told.update(Content(f"not saved: {printable(str(error))}"))
            return
        if not saved:
            self.told.update(
                Content("not saved: somebody else has changed the file meanwhile. escape, and E, shows it")
            )
            return
        self._before = text
        self.told.update(Content(f"saved: {self._entry.config}"))
        self.application.action_renew()

    def _save(self, text: str) -> bool:
        if self._entry.config.read_text(encoding="utf-8") != self._before:
            return False
        from crystallize.hooks.tools import write_atomically

        write_atomically(self._entry.config, text)
        return True

    def action_back(self) -> None:
        """Go back; ask first where something would be lost."""
        if self.area.text == self._before:
            self.app.pop_screen()
        else:
            self.app.push_screen(Question("not saved", {"y": "leave it"}), self._leave)

    def _leave(self, answer: str | None) -> None:
        if answer:
            self.app.pop_screen()

    def shown_text(self) -> str:
        """Return the text."""
        return self.area.text
