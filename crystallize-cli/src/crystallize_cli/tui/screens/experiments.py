"""The first screen: what experiments there are, how each stands, what is wrong."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from crystallize.hooks.tools import counted, printable
from crystallize_cli.exits import Failure
from crystallize_cli.tui.asking import ask
from crystallize_cli.tui.catalog import Entry, ago, run_name
from crystallize_cli.tui.choices import read_choices
from crystallize_cli.tui.pictures import short
from crystallize_cli.tui.screens.base import BaseScreen
from crystallize_cli.tui.screens.dialogs import NewExperiment, Reader
from crystallize_cli.tui.widgets import Line, Outline, Reading, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from textual.events import Click
    from textual.widget import Widget

    from crystallize_plugins.config import Description

__all__ = ["ExperimentsScreen"]

_TWICE = 2
_MARKS = {"complete": "✓", "running": "▶", "interrupted": "‖", "damaged": "✗"}
_STYLES = {"complete": "green", "running": "cyan", "interrupted": "yellow", "damaged": "red"}


class ExperimentsScreen(BaseScreen):
    """The list of experiments, and what the chosen one is about."""

    MODE = "experiments"
    BINDINGS: ClassVar[list[BindingType]] = [
        # A terminal that nobody had switched yet makes a new line of an early "enter".
        Binding("enter,ctrl+j", "open", "Open", key_display="enter", id="open"),
        Binding("R", "run", "Run", id="run"),
        Binding("n", "new", "New", id="new"),
        Binding("e", "errors", "Errors", id="errors"),
        Binding("E", "configure", "Edit", id="configure"),
        Binding("space", "mark", "Mark", show=False, id="mark"),
        Binding("slash", "find", "Find", key_display="/", id="find"),
        Binding("escape", "back", "Back", show=False),
    ]
    DEFAULT_CSS = """
    ExperimentsScreen Horizontal { height: 1fr; }
    ExperimentsScreen Outline { width: 45%; min-width: 32; max-width: 60; }
    ExperimentsScreen Reading { border-left: solid $panel-lighten-1; }
    ExperimentsScreen Input { height: 1; border: none; padding: 0 1; display: none; }
    ExperimentsScreen Input.-shown { display: block; }
    ExperimentsScreen #message { height: 1; padding: 0 1; color: $text-warning; }
    """

    def body(self) -> Iterable[Widget]:
        """Return the list, what is said of the chosen one, and a line for problems."""
        self.outline = Outline()
        self.about = Reading()
        self.message = Static("", id="message", markup=False)
        self.filter = Input(placeholder="part of a name", compact=True)
        self.marked: set[Path] = set()
        return [Horizontal(self.outline, self.about), self.filter, self.message]

    def on_mount(self) -> None:
        """Show what is known, and whatever comes to be known."""
        for name in ("entries", "runs", "problems"):
            self.watch(self.app, name, self.renew, init=False)
        self.renew()
        self.outline.focus()
        if self.application.entries:
            self.outline.go(_key(self.application.entries[0]))

    def renew(self) -> None:
        """Show what is known by now."""
        app = self.application
        newest = app.newest
        wanted = self.filter.value.casefold()
        found = [entry for entry in app.entries if wanted in entry.name.casefold()]
        groups = groupby(found, key=lambda entry: entry.group)
        self.outline.show(
            (
                Line((plain(group, "bold"),), ("group", group)),
                [
                    _line(
                        entry, newest.get(entry.name), len(app.problems_of(entry)), marked=entry.folder in self.marked
                    )
                    for entry in entries
                ],
            )
            for group, entries in groups
        )
        if self.outline.display != bool(app.entries):
            self.outline.display = bool(app.entries)
            self.outline.focus()
        count = sum(len(app.problems_of(entry)) for entry in app.entries)
        told = f"{counted(count, 'problem')}: e shows {'it' if count == 1 else 'them'}" if count else ""
        self.message.update(Content(told))
        self._tell()

    def on_tree_node_highlighted(self) -> None:
        """Say what the chosen one is about."""
        self._tell()

    def on_click(self, event: Click) -> None:
        """Open what is clicked twice."""
        if event.chain == _TWICE and self.outline.has_focus:
            self.action_open()

    @property
    def chosen(self) -> Entry | None:
        """The experiment that the cursor is on."""
        line = self.outline.line
        return line.value if line is not None and isinstance(line.value, Entry) else None

    def _tell(self) -> None:
        app = self.application
        if not app.entries:
            self.about.show("No experiments here. n makes one that runs.")
            return
        entry = self.chosen
        if entry is None:
            self.about.show("")
            return
        run = app.newest.get(entry.name)
        found = () if run is None else app.found(run).words
        self.about.show(_about(entry, run, found, app.problems_of(entry)))

    # -- what keys do

    def action_open(self) -> None:
        """Open the chosen experiment, or fold the group."""
        entry = self.chosen
        if entry is not None:
            self.application.open_experiment(entry)
        elif self.outline.cursor_node is not None:
            self.outline.cursor_node.toggle()

    def action_run(self) -> None:
        """Open the chosen experiment and run it, or run all that are marked, one after the other."""
        marked = [entry for entry in self.application.entries if entry.folder in self.marked]
        if marked:
            self.marked.clear()
            self.renew()
            self.application.run_in_turn(marked)
        elif self.chosen is not None:
            self.application.open_experiment(self.chosen, run=True)

    def action_mark(self) -> None:
        """Mark the chosen experiment, or do not any more."""
        if self.chosen is not None:
            self.marked ^= {self.chosen.folder}
            self.renew()

    def action_configure(self) -> None:
        """Edit the chosen experiment's config.yaml."""
        if self.chosen is not None:
            self.application.configure(self.chosen)

    def action_find(self) -> None:
        """Ask which experiments are to be shown."""
        self.filter.add_class("-shown")
        self.filter.focus()

    def on_input_changed(self) -> None:
        """Show what fits."""
        self.renew()

    def on_input_submitted(self) -> None:
        """Go back to the list."""
        self.outline.focus()

    def action_back(self) -> None:
        """Show all experiments again."""
        self.filter.value = ""
        self.filter.remove_class("-shown")
        self.outline.focus()

    def action_new(self) -> None:
        """Ask for the name of a new experiment, make it and open it."""
        outputs = [
            f"{entry.folder.name}#{output}"
            for entry in self.application.entries
            if entry.description is not None and entry.folder.parent == Path("experiments")
            for output in entry.description.outputs
        ]
        self.app.push_screen(NewExperiment(outputs), self._make)

    def _make(self, arguments: list[str] | None) -> None:
        if arguments is not None:
            self.run_worker(self._made(arguments))

    async def _made(self, arguments: list[str]) -> None:
        answer = await ask(arguments[0], "--json", *arguments[1:])
        if answer.code or answer.data is None:
            self.application.tell(answer.err.strip().removeprefix("crystallize: "), severe=True)
            return
        await self.application.look_now()
        made = Path(answer.data["folder"])
        for entry in self.application.entries:
            if entry.folder == made:
                self.outline.go(_key(entry))
                self.application.open_experiment(entry)

    def shown_text(self) -> str:
        """Return what is said of the chosen one."""
        return self.about.text

    def shown_arguments(self) -> list[str]:
        """Return what runs it."""
        return ["run", str(self.chosen.folder)] if self.chosen is not None else ["list"]

    def place(self) -> tuple[Path, int | None] | None:
        """Return its config.yaml, at what is wrong there."""
        entry = self.chosen
        return None if entry is None else _place(self.application.problems_of(entry), entry)

    def action_errors(self) -> None:
        """Show what is wrong, with the places."""
        app = self.application
        texts = [
            "\n".join([printable(entry.name), *(f"  {_placed(problem)}" for problem in problems)])
            for entry in app.entries
            if (problems := app.problems_of(entry))
        ]
        told = "\n\n".join(texts) or "Nothing is wrong, as far as is known."
        first = next((entry for entry in app.entries if app.problems_of(entry)), None)
        place = None if first is None else _place(app.problems_of(first), first)
        self.app.push_screen(Reader("Problems", told, arguments=["check"], place=place))


def _key(entry: Entry) -> tuple[str, ...]:
    return ("experiment", str(entry.folder))


def _place(problems: list[dict[str, Any]], entry: Entry) -> tuple[Path, int | None]:
    placed = next((problem for problem in problems if problem.get("line") is not None), None)
    return (entry.config, None) if placed is None else (Path(placed["file"]), placed["line"])


def _placed(problem: Mapping[str, Any]) -> str:
    text = str(problem["text"])
    if problem.get("line") is None:
        return text
    place = f"{problem['file']} line {problem['line']}, column {problem['column']}"
    return f"{place}: {problem['message']}. {problem['advice']}".replace("..", ".")


def _line(entry: Entry, run: Mapping[str, Any] | None, problems: int, *, marked: bool = False) -> Line:
    style = entry.description.cli.color or "" if entry.description is not None else ""
    icon = entry.description.cli.icon if entry.description is not None else None
    name = plain(f"{'● ' if marked else ''}{f'{icon} ' if icon else ''}{entry.name}")
    if style:
        try:
            name.stylize(style)
            name.markup  # noqa: B018
        except ValueError:
            pass
    if problems:
        return Line((name, Text(f"✗ {counted(problems, 'problem')}", style="red"), Text("")), _key(entry), entry)
    if run is None:
        return Line((name, Text("· never run", style="dim"), Text("")), _key(entry), entry)
    status = run["status"]
    told = Text(f"{_MARKS.get(status, '?')} {status}", style=_STYLES.get(status, ""))
    return Line((name, told, Text(ago(run["started"]), style="dim")), _key(entry), entry)


def _about(
    entry: Entry, run: Mapping[str, Any] | None, words: Sequence[str], problems: list[dict[str, Any]]
) -> Content:
    parts = [Content.assemble((printable(entry.name), "bold"))]
    try:
        inactive = read_choices(entry.folder).inactive
    except Failure:
        inactive = set()  # it is named when the experiment is opened
    found = entry.description
    if found is not None:
        if found.description:
            parts.append(Content(printable(found.description)))
        parts += [
            _named(what, values)
            for what, values in (
                ("data", [f"{experiment}#{output}" for _, experiment, output in found.references]),
                ("steps", [step.name for step in found.steps]),
                ("treatments", [name if name not in inactive else f"{name} (off)" for name in found.treatments]),
                ("hypotheses", found.hypotheses),
                ("outputs", found.outputs),
            )
            if values
        ]
        conditions = 1 + len(set(found.treatments) - inactive - {"baseline"})
        parts.append(Content(f"{counted(found.replicates * conditions, 'cell')}{_expected(found, conditions, run)}"))
    if run is not None:
        failed = f", {run['failed']} failed" if run.get("failed") else ""
        parts.append(Content(f"{run_name(run)}: {run['status']}, {counted(run.get('cells') or 0, 'cell')}{failed}"))
        parts += [Content(f"  {printable(word)}") for word in words]
    parts += [Content.styled(_placed(problem), "$text-error") for problem in problems[:5]]
    parts.append(Content.styled(str(entry.folder), "dim"))
    return Content("\n").join(parts)


def _expected(found: Description, conditions: int, run: Mapping[str, Any] | None) -> str:
    """Say how long it may take, by what the last run took."""
    if run is None or not run.get("duration") or not run.get("cells"):
        return ""
    return f", about {short(run['duration'] / run['cells'] * found.replicates * conditions)}"


def _named(what: str, values: Iterable[str]) -> Content:
    return Content.assemble((what, "dim"), "  ", printable(", ".join(values)))
