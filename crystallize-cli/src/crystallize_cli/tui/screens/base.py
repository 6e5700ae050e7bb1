"""What screens have in common: a title, a body, the footer, and that what is shown can be copied and edited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer

from crystallize_cli.tui.asking import command_line
from crystallize_cli.tui.widgets import Title

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.app import ComposeResult
    from textual.widget import Widget

    from crystallize_cli.tui.application import Application

__all__ = ["BaseScreen", "Shows", "shown_folder"]


def shown_folder() -> str:
    """Return the folder that is open, the home folder as ``~``."""
    folder = Path.cwd()
    try:
        return str(Path("~") / folder.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(folder)


class Shows(Screen):  # type: ignore[type-arg] # a mixin of screens that answer, and of those that do not
    """A screen of which something can be copied, printed, and opened in an editor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "copy", "Copy", show=False, id="copy"),
        Binding("Y", "copy_command", "Copy the command", show=False, id="copy_command"),
        Binding("o", "edit", "Open in the editor", show=False, id="edit"),
        Binding("t", "plain_text", "As plain text", show=False, id="plain_text"),
    ]

    @property
    def application(self) -> Application:
        """The application."""
        return cast("Application", self.app)

    # -- what a screen says of itself

    def shown_text(self) -> str:
        """Return the text of what is focused."""
        return ""

    async def copied(self) -> str:
        """Return what is copied of it."""
        return self.shown_text()

    def shown_arguments(self) -> Sequence[str]:
        """Return what follows ``crystallize`` to see the same in a shell; empty where there is no such command."""
        return ()

    def place(self) -> tuple[Path, int | None] | None:
        """Return the file and the line that it is about."""
        return None

    # -- what keys do

    def action_copy(self) -> None:
        """Copy what is focused."""
        self.run_worker(self._copy(), group="copy", exclusive=True)

    async def _copy(self) -> None:
        await self.application.copy(await self.copied())

    async def action_copy_command(self) -> None:
        """Copy the command that does the same."""
        arguments = self.shown_arguments()
        await self.application.copy(command_line(arguments) if arguments else "")

    def action_edit(self) -> None:
        """Open the file that this is about."""
        place = self.place()
        if place is None:
            self.application.tell("there is no file here to open")
        else:
            self.application.edit(*place)

    def action_plain_text(self) -> None:
        """Print it into the ordinary terminal, until enter."""
        self.application.print_plainly(self.shown_text())


class BaseScreen(Shows):
    """A screen with a title and the keys of the moment at its foot."""

    MODE: ClassVar[str]

    def compose(self) -> ComposeResult:
        """Put title, body and footer above each other."""
        yield Title(self.MODE, shown_folder())
        yield from self.body()
        yield Footer(show_command_palette=False, compact=True)

    def body(self) -> Iterable[Widget]:
        """Return what is between title and footer."""
        raise NotImplementedError
