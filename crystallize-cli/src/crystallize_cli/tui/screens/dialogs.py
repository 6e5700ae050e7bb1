"""What is shown before a screen: help, questions, problems, a new experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Checkbox, Footer, Input, Label, Static

from crystallize_cli.tui.screens.base import Shows
from crystallize_cli.tui.widgets import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from textual.app import ComposeResult

__all__ = ["Help", "NewExperiment", "Question", "Reader", "TooSmall"]

_ABOUT = """\
An experiment sends data through steps: once as it is (the baseline), once for each treatment, in many replicates.
One condition in one replicate is a cell. Hypotheses compare the treatments with the baseline.
"""


class TooSmall(ModalScreen[None]):
    """Nothing but that there is no room."""

    DEFAULT_CSS = "TooSmall { align: center middle; background: $background; } TooSmall Label { width: auto; }"

    def compose(self) -> ComposeResult:
        """Say it."""
        yield Label("too small: 60 columns and 16 rows are needed", markup=False)


class Reader(Shows, ModalScreen[None]):
    """A text over the screen.

    Parameters
    ----------
    heading : str
    text : str or Content
    arguments : sequence of str, optional
        What follows ``crystallize`` to see it in a shell.
    place : (Path, int or None), optional
        The file and the line that it is about.
    wrap : bool, default True
        Whether long lines go on in the next.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Back")]
    DEFAULT_CSS = """
    Reader { align: center middle; }
    Reader > Vertical { width: 92%; height: 90%; border: round $primary; background: $surface; }
    """

    def __init__(
        self,
        heading: str,
        text: str | Content,
        *,
        arguments: Sequence[str] = (),
        place: tuple[Path, int | None] | None = None,
        wrap: bool = True,
    ) -> None:
        super().__init__()
        self._heading = heading
        self._arguments = arguments
        self._place = place
        self.reading = Reading(text, wrap=wrap)

    def shown_text(self) -> str:
        """Return the text."""
        return self.reading.text

    def shown_arguments(self) -> Sequence[str]:
        """Return what shows the same in a shell."""
        return self._arguments

    def place(self) -> tuple[Path, int | None] | None:
        """Return the file and the line that it is about."""
        return self._place

    def compose(self) -> ComposeResult:
        """Put the text into a frame."""
        with Vertical() as frame:
            frame.border_title = Content(self._heading)
            yield self.reading
        yield Footer(show_command_palette=False, compact=True)

    async def action_dismiss(self, result: None = None) -> None:
        """Go back."""
        self.dismiss(result)


class Help(Reader):
    """The keys of a screen, and the words that it uses."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("question_mark,f1", "dismiss", "Back", show=False)]

    def __init__(self, screen: Screen[Any]) -> None:
        keys: dict[str, list[str]] = {}
        tips: dict[str, str] = {}
        # What the foot of the screen names comes first, what moves the cursor last.
        active = sorted(
            screen.active_bindings.items(), key=lambda item: (not item[1].binding.show, item[1].node is screen.focused)
        )
        for key, (_, binding, _, tooltip) in active:
            if binding.description and not key.startswith("super"):
                keys.setdefault(binding.description, []).append(screen.app.get_key_display(binding))
                tips[binding.description] = tooltip
        rows = [(" ".join(dict.fromkeys(several)), what, tips[what]) for what, several in keys.items()]
        widest = max(len(row[0]) for row in rows)
        lines = [
            Content.assemble((f"{each:<{widest}}", "bold $accent"), f"  {what}", f"  {tip}" if tip else "")
            for each, what, tip in rows
        ]
        super().__init__("Keys", Content("\n").join([Content(_ABOUT), *lines]))


class Question(ModalScreen[str]):
    """A question that is answered with a key.

    Parameters
    ----------
    question : str
    answers : mapping of str to str
        What each key means; its key is what comes back, "" for staying.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "answer('')", "Stay", show=False)]
    DEFAULT_CSS = """
    Question { align: center bottom; }
    Question > Static { width: 100%; height: auto; padding: 0 1; background: $warning-muted; color: $text-warning; }
    """

    def __init__(self, question: str, answers: Mapping[str, str]) -> None:
        super().__init__()
        told = "  ".join([*(f"{key} {what}" for key, what in answers.items()), "escape stay"])
        self._text = f"{question}. {told}"
        self._answers = answers

    def compose(self) -> ComposeResult:
        """Ask."""
        yield Static(Content(self._text), markup=False)

    def on_key(self, event: Any) -> None:
        """Take an answer."""
        if event.key in self._answers:
            event.stop()
            self.dismiss(event.key)

    def action_answer(self, answer: str) -> None:
        """Give an answer."""
        self.dismiss(answer)


class NewExperiment(ModalScreen["list[str] | None"]):
    """Asks what a new experiment is to be; answers with the arguments of ``crystallize new``.

    Parameters
    ----------
    outputs : sequence of str
        What it could read of others: ``experiment#output``.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back"), Binding("enter", "make", "Make")]
    DEFAULT_CSS = """
    NewExperiment { align: center middle; }
    NewExperiment > Vertical { width: 64; height: auto; border: round $primary; background: $surface; padding: 1 2; }
    NewExperiment Input { margin-bottom: 1; }
    NewExperiment #problem { color: $text-error; }
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        super().__init__()
        self._outputs = outputs

    def compose(self) -> ComposeResult:
        """Ask for the name, and what it reads."""
        with Vertical() as frame:
            frame.border_title = "New experiment"
            yield Label("Name")
            yield Input(placeholder="a word or two", id="name", compact=True)
            for output in self._outputs:
                yield Checkbox(Content(f"reads {output}"), name=output, compact=True)
            yield Label("", id="problem", markup=False)
            yield Label("enter makes it in experiments/, escape goes back")
        yield Footer(show_command_palette=False, compact=True)

    def on_input_submitted(self) -> None:
        """Make it."""
        self.action_make()

    def action_make(self) -> None:
        """Answer, where there is a name."""
        name = self.query_one("#name", Input).value.strip()
        if not name:
            self.query_one("#problem", Label).update("it needs a name")
            return
        reads = [each.name or "" for each in self.query(Checkbox) if each.value]
        self.dismiss(["new", *(part for output in reads for part in ("--reads", output)), "--", name])

    def action_leave(self) -> None:
        """Go back."""
        self.dismiss(None)
