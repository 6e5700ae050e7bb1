"""What the three screens have in common: the title, a body, the footer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual.screen import Screen
from textual.widgets import Footer

from crystallize_cli.tui.widgets import Title

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult
    from textual.widget import Widget

    from crystallize_cli.tui.application import Application

__all__ = ["BaseScreen", "shown_folder"]


def shown_folder() -> str:
    """Return the folder that is open, the home folder as ``~``."""
    folder = Path.cwd()
    try:
        return str(Path("~") / folder.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(folder)


class BaseScreen(Screen[None]):
    """A screen with a title and the keys of the moment at its foot."""

    MODE: ClassVar[str]

    @property
    def application(self) -> Application:
        """The application."""
        return cast("Application", self.app)

    def compose(self) -> ComposeResult:
        """Put title, body and footer above each other."""
        yield Title(self.MODE, shown_folder())
        yield from self.body()
        yield Footer(show_command_palette=False, compact=True)

    def body(self) -> Iterable[Widget]:
        """Return what is between title and footer."""
        raise NotImplementedError
