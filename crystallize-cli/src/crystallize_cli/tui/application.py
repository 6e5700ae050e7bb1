"""The application: its screens, what every screen can do, how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.reactive import var

from crystallize_cli.tui.asking import ask
from crystallize_cli.tui.catalog import Entry, find_entries, newest_runs, stored_runs
from crystallize_cli.tui.screens.dialogs import Help, Question, TooSmall
from crystallize_cli.tui.screens.experiments import ExperimentsScreen
from crystallize_cli.tui.screens.run import RunScreen
from crystallize_cli.tui.screens.runs import RunsScreen
from crystallize_cli.tui.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from textual.events import Resize
    from textual.screen import Screen

__all__ = ["Application"]

_LEAST = (60, 16)
"""Columns and rows below which there is no room for the screens."""
_RENEWED = 3.0
"""Seconds between two looks at what is stored."""


class Application(App[None]):
    """The terminal UI, opened in the current folder."""

    TITLE = "Crystallize"
    MODES: ClassVar = {"experiments": ExperimentsScreen, "run": RunScreen, "runs": RunsScreen}
    DEFAULT_MODE = "experiments"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "go('experiments')", "Experiments", show=False, id="experiments"),
        Binding("2", "go('run')", "Run", show=False, id="run_screen"),
        Binding("3", "go('runs')", "Runs", show=False, id="runs"),
        Binding("r", "renew", "Refresh", show=False, id="refresh"),
        Binding("question_mark,f1", "help", "Help", key_display="?", id="help"),
        Binding("ctrl+p", "command_palette", "Every action", show=False, priority=True),
        Binding("ctrl+c", "help_quit", "Copy what is selected", show=False, system=True),
        Binding("ctrl+z", "suspend_process", "Back to the shell; fg returns", show=False),
        Binding("q", "leave", "Quit", id="quit"),
    ]
    CSS = """
    Screen { background: $background; }
    Footer { background: $panel; }
    """

    entries: var[list[Entry]] = var(list, init=False)
    """The experiments that are listed."""
    runs: var[list[dict[str, Any]] | None] = var(None, init=False)
    """What is told of every stored run, the newest first; None until it is known."""
    problems: var[dict[Path, list[dict[str, Any]]]] = var(dict, init=False)
    """What is wrong with experiments, by folder."""

    def __init__(self) -> None:
        super().__init__()
        # Read before the first picture, so that keys that were typed by then find the list.
        self.set_reactive(Application.entries, find_entries(Path()))
        self.sessions: dict[Path, Session] = {}

    # -- the life of it

    def on_mount(self) -> None:
        """Begin to look at what is stored, and at what is wrong."""
        self.set_interval(_RENEWED, self.look)
        self.look()
        self.check()

    def on_unmount(self) -> None:
        """Let go of what runs: it goes on."""
        for session in self.sessions.values():
            session.close()

    def on_resize(self, event: Resize) -> None:
        """Say so where there is no room."""
        small = event.size.width < _LEAST[0] or event.size.height < _LEAST[1]
        shown = isinstance(self.screen, TooSmall)
        if small and not shown:
            self.push_screen(TooSmall())
        elif shown and not small:
            self.pop_screen()

    @property
    def newest(self) -> Mapping[str, Mapping[str, Any]]:
        """The newest run of each experiment."""
        return newest_runs(self.runs or [])

    def look(self) -> None:
        """Look for experiments and runs, unless somebody is looking."""
        if not any(worker.group == "look" for worker in self.workers if not worker.is_finished):
            self.run_worker(self._look(), group="look")

    async def _look(self) -> None:
        known = {entry.folder: entry for entry in self.entries}
        entries, runs = await asyncio.gather(
            asyncio.to_thread(find_entries, Path(), known), asyncio.to_thread(stored_runs)
        )
        self.runs = runs
        if entries != self.entries:
            self.entries = entries
            self.check()

    def check(self) -> None:
        """Find out what is wrong with the configurations, in a process of its own."""
        self.run_worker(self._check(), group="check", exclusive=True)

    async def _check(self) -> None:
        answer = await ask("check", "--json")
        if isinstance(answer.data, list):
            self.problems = {Path(each["experiment"]): each["problems"] for each in answer.data if each["problems"]}

    async def look_now(self) -> None:
        """Look at what is there, and wait for it."""
        await self._look()

    def note_problems(self, entry: Entry, problems: list[dict[str, Any]]) -> None:
        """Keep what is wrong with an experiment, now that its code was looked at."""
        others = {folder: found for folder, found in self.problems.items() if folder != entry.folder}
        self.problems = {**others, entry.folder: problems} if problems else others

    def open_experiment(self, entry: Entry, *, run: bool = False) -> None:
        """Show an experiment on the second screen."""
        session = self.sessions.get(entry.folder)
        if session is None or (session.entry != entry and not session.is_running):
            session = Session(entry, {each.folder.name: each for each in self.entries})
            self.sessions[entry.folder] = session
            if session.problem:
                self.tell(session.problem, severe=True)
        self.action_go("run")
        self.call_after_refresh(self._open, session, run)

    def _open(self, session: Session, run: bool) -> None:
        screen = self.screen
        if isinstance(screen, RunScreen):
            screen.open(session, run=run)

    def problems_of(self, entry: Entry) -> list[dict[str, Any]]:
        """Return what is wrong with an experiment, as far as it is known."""
        found = self.problems.get(entry.folder, [])
        if not found and entry.problem:
            return [{"file": str(entry.config), "line": None, "column": None, "text": entry.problem}]
        return found

    # -- what every screen can do

    def action_go(self, mode: str) -> None:
        """Show one of the three screens."""
        while len(self.screen_stack) > 1:
            self.pop_screen()
        self.switch_mode(mode)

    def action_renew(self) -> None:
        """Look again at everything."""
        self.look()
        self.check()

    def action_help(self) -> None:
        """Show the keys of where the cursor is."""
        if not isinstance(self.screen, Help):
            self.push_screen(Help(self.screen))

    def action_help_quit(self) -> None:
        """Say how to leave: Ctrl-C is what people press."""
        self.tell("q quits")

    def action_leave(self) -> None:
        """Leave; ask first where something runs that was started here."""
        running = [session for session in self.sessions.values() if session.job is not None and session.is_running]
        if not running:
            self.exit()
            return
        told = ", ".join(_told(session) for session in running)
        answers = {"y": "leave it running", "s": "stop it"}
        self.push_screen(Question(f"still running: {told}", answers), self._answered)

    def _answered(self, answer: str | None) -> None:
        if answer == "s":
            self.run_worker(self._stop_all(), group="stop", exclusive=True)
        elif answer == "y":
            self.exit()

    async def _stop_all(self) -> None:
        """Stop what was started here, and leave when it has ended."""
        self.tell("stopping")
        for session in self.sessions.values():
            if session.job is not None and session.is_running:
                session.job.stop()
        jobs = [session.job for session in self.sessions.values() if session.job is not None]
        await asyncio.gather(*(asyncio.to_thread(job.process.wait) for job in jobs))
        self.exit()

    def tell(self, message: str, *, severe: bool = False) -> None:
        """Show a message for a moment."""
        self.notify(message, markup=False, severity="error" if severe else "information", timeout=6 if severe else 3)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Return every action there is at the moment."""
        seen = set()
        for _, binding, enabled, tooltip in screen.active_bindings.values():
            if enabled and binding.description and binding.action not in seen:
                seen.add(binding.action)
                key = self.get_key_display(binding)
                yield SystemCommand(f"{binding.description}  ({key})", tooltip, self._doing(binding.key))
        yield SystemCommand("Theme", "Light, dark, and others", self.action_change_theme)

    def _doing(self, key: str) -> Any:
        return lambda: self.call_later(self.simulate_key, key)


def _told(session: Session) -> str:
    progress = session.progress
    return session.name if progress is None else f"{session.name}, {progress.done}/{session.cells} cells"
