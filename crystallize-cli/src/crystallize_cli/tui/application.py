"""The application: its screens, what every screen can do, how it ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SuspendNotSupported, SystemCommand
from textual.binding import Binding, BindingType
from textual.reactive import var

from crystallize.hooks.tools import counted, did_you_mean, printable
from crystallize_cli.exits import Failure
from crystallize_cli.tui.asking import ask, program
from crystallize_cli.tui.catalog import Entry, find_entries, newest_runs, stored_runs
from crystallize_cli.tui.copying import copy_by_system, keep_copied
from crystallize_cli.tui.editing import editor_command, has_window
from crystallize_cli.tui.findings import Findings, key_of, read_findings
from crystallize_cli.tui.screens.base import Shows
from crystallize_cli.tui.screens.dialogs import Help, Question, TooSmall
from crystallize_cli.tui.screens.experiments import ExperimentsScreen
from crystallize_cli.tui.screens.opened import OpenedRun
from crystallize_cli.tui.screens.run import RunScreen
from crystallize_cli.tui.screens.runs import RunsScreen
from crystallize_cli.tui.session import Session
from crystallize_cli.tui.settings import Settings, keep_theme, read_settings, settings_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from textual.events import Resize
    from textual.screen import Screen
    from textual.theme import Theme

__all__ = ["Application"]

_LEAST = (60, 16)
"""Columns and rows below which there is no room for the screens."""
_FOUND = 200
"""How many of the newest runs are looked into."""
_FOUND_AT_ONCE = 20
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
        self.findings: dict[tuple[Any, ...], Findings] = {}
        self.damaged = ""
        try:
            self._settings = read_settings()
        except Failure as error:
            self._settings, self.damaged = Settings(), error.message

    # -- the life of it

    def on_mount(self) -> None:
        """Begin to look at what is stored, and at what is wrong."""
        self._apply(self._settings)
        self.set_interval(_RENEWED, self.look)
        self.look()
        self.check()

    def _apply(self, settings: Settings) -> None:
        """Take the theme and the keys that are wanted; name what cannot be had."""
        if settings.theme in self.available_themes:
            self.theme = settings.theme
        elif settings.theme is not None:
            advice = did_you_mean(settings.theme, self.available_themes)
            self.damaged = f"{settings_file()}: there is no theme {settings.theme!r}.{advice}"
        known = {
            binding.id: binding
            for place in (Application, Shows, ExperimentsScreen, RunScreen, RunsScreen, OpenedRun)
            for binding in place.BINDINGS
            if isinstance(binding, Binding) and binding.id is not None
        }
        self.set_keymap({action: key for action, key in settings.keys.items() if action in known})
        for action in settings.keys.keys() - known:
            self.damaged = f"{settings_file()}: there is no action {action!r}.{did_you_mean(action, known)}"
        if self.damaged:
            self.tell(self.damaged, severe=True)
        self.theme_changed_signal.subscribe(self, self._keep_theme)

    def _keep_theme(self, theme: Theme) -> None:
        try:
            keep_theme(theme.name)
        except OSError as error:
            self.tell(f"the theme cannot be kept: {error}", severe=True)

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
        if any(key_of(run) not in self.findings for run in _over(runs)):
            self.run_worker(self._find(runs), group="find", exclusive=True)
        if entries != self.entries:
            self.entries = entries
            self.check()

    async def _find(self, runs: list[dict[str, Any]]) -> None:
        """Read what the newest runs came to, each once; in parts, so that the first are soon seen."""
        missing = [run for run in _over(runs) if key_of(run) not in self.findings]
        for start in range(0, len(missing), _FOUND_AT_ONCE):
            for run in missing[start : start + _FOUND_AT_ONCE]:
                self.findings[key_of(run)] = await asyncio.to_thread(read_findings, run["path"])
            self.mutate_reactive(Application.runs)

    def found(self, run: Mapping[str, Any]) -> Findings:
        """Return what a run came to, as far as it is known."""
        return self.findings.get(key_of(run), Findings())

    def check(self) -> None:
        """Find out what is wrong with the configurations, in a process of its own."""
        self.run_worker(self._check(), group="check", exclusive=True)

    async def _check(self) -> None:
        answer = await ask("check", "--no-code", "--json")
        if isinstance(answer.data, list):
            self.problems = {Path(each["experiment"]): each["problems"] for each in answer.data if each["problems"]}

    async def look_now(self) -> None:
        """Look at what is there, and wait for it."""
        await self._look()

    def note_problems(self, entry: Entry, problems: list[dict[str, Any]]) -> None:
        """Keep what is wrong with an experiment, now that its code was looked at."""
        others = {folder: found for folder, found in self.problems.items() if folder != entry.folder}
        self.problems = {**others, entry.folder: problems} if problems else others

    def open_experiment(self, entry: Entry, *, run: bool = False, stop: bool = False) -> None:
        """Show an experiment on the second screen, and run it, or stop the run that goes on."""
        session = self.sessions.get(entry.folder)
        if session is None:
            session = Session(entry, self.entries)
            self.sessions[entry.folder] = session
            if session.problem:
                self.tell(session.problem, severe=True)
        self.action_go("run")
        self.call_after_refresh(self._open, session, run, stop)

    def run_in_turn(self, entries: list[Entry]) -> None:
        """Run several experiments, each when the one before is over; what was stopped stops the rest."""
        self.run_worker(self._run_in_turn(entries), group="turn", exclusive=True)

    async def _run_in_turn(self, entries: list[Entry]) -> None:
        for entry in entries:
            known = self.sessions.get(entry.folder)
            before = None if known is None else known.job
            self.open_experiment(entry, run=True)
            session = self.sessions[entry.folder]
            for _ in range(200):  # it is opened after the next picture
                if session.job is not before:
                    break
                await asyncio.sleep(0.05)
            if session.job is None or session.job is before:
                return  # it could not be started: the screen says why
            await asyncio.to_thread(session.job.process.wait)
            if session.job.state == "stopping":
                return

    def _open(self, session: Session, run: bool, stop: bool) -> None:
        screen = self.screen
        if isinstance(screen, RunScreen):
            screen.open(session, run=run, stop=stop and not run)

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

    async def copy(self, text: str) -> None:
        """Copy a text, and say so."""
        if not text.strip():
            self.tell("there is nothing here to copy")
            return
        self.copy_to_clipboard(text)
        await asyncio.gather(asyncio.to_thread(copy_by_system, text), asyncio.to_thread(self._keep_copied, text))
        self.tell(f"copied, {counted(len(text.splitlines()), 'line')}")

    def _keep_copied(self, text: str) -> None:
        with suppress(OSError):  # a folder that is not ours to write to; the clipboard has the text
            keep_copied(text)

    async def check_text(self, entry: Entry, text: str) -> str:
        """Return what is wrong with a text that is to be an experiment's config.yaml; nothing where it is valid."""
        answer = await ask("check", "--stdin", "--json", str(entry.folder), given=text)
        if not isinstance(answer.data, list):
            return answer.text
        return "\n".join(problem["text"] for each in answer.data for problem in each["problems"])

    async def digest(self, path: str) -> str:
        """Return a stored run as Markdown for a language model."""
        return (await ask("show", "--digest", path)).text

    def edit(self, file: Path, line: int | None = None) -> None:
        """Open a file in the editor of whoever sits here."""
        command = editor_command(file, line)
        if not command:
            self.tell("no editor is known: set EDITOR, for example to nano", severe=True)
            return
        try:
            if has_window(command):
                subprocess.Popen(command, start_new_session=True)  # noqa: S603 - what the user has chosen
            else:
                with self.suspend():
                    subprocess.run(command, check=False)  # noqa: S603 - what the user has chosen
                self.refresh()
                self.action_renew()
        except (OSError, SuspendNotSupported) as error:
            self.tell(f"{command[0]} cannot be started: {error}", severe=True)

    def configure(self, entry: Entry) -> None:
        """Edit the text of an experiment's config.yaml."""
        # What edits text takes a while to import.
        from crystallize_cli.tui.screens.editor import ConfigEditor

        try:
            self.push_screen(ConfigEditor(entry))
        except (OSError, ValueError) as error:
            self.tell(f"{entry.config} cannot be read: {error}", severe=True)

    def run_here(self, arguments: Sequence[str]) -> None:
        """Run a command in the ordinary terminal, and come back after enter."""
        try:
            with self.suspend():
                subprocess.run(program(arguments), check=False)  # noqa: S603 - this program
                sys.stdout.write("\nenter goes back ")
                sys.stdout.flush()
                sys.stdin.readline()
        except SuspendNotSupported:
            self.tell("this terminal cannot be left for a moment", severe=True)
        self.refresh()

    def print_plainly(self, text: str) -> None:
        """Print a text into the ordinary terminal, and come back after enter."""
        try:
            with self.suspend():
                sys.stdout.write(f"{printable(text, lines=True)}\n\nenter goes back ")
                sys.stdout.flush()
                sys.stdin.readline()
        except SuspendNotSupported:
            self.tell("this terminal cannot be left for a moment", severe=True)
        self.refresh()

    def report(self, path: str) -> None:
        """Write a run's report into its folder, and open it."""
        self.run_worker(self._report(path), group="report", exclusive=True)

    async def _report(self, path: str) -> None:
        target = str(Path(path, "report.html"))
        shows = bool(sys.platform in ("win32", "darwin") or os.environ.get("DISPLAY") or os.environ.get("BROWSER"))
        answer = await ask("report", path, "-o", target, *(["--open"] if shows else []))
        if answer.code:
            self.tell(answer.err.strip().removeprefix("crystallize: "), severe=True)
        else:
            self.tell(f"written: {target}")

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


def _over(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the newest runs that are over."""
    return [run for run in runs[:_FOUND] if run["status"] in ("complete", "interrupted")]


def _told(session: Session) -> str:
    progress = session.progress
    return session.name if progress is None else f"{session.name}, {progress.done}/{session.cells} cells"
