"""The second screen: one experiment, how its next run is to be, and how the present one goes."""

from __future__ import annotations

import asyncio
import time
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Log, Static

from crystallize.hooks.tools import counted, printable
from crystallize_cli.tui.asking import ask, command_line
from crystallize_cli.tui.pictures import bar, clock, intervals
from crystallize_cli.tui.screens.base import BaseScreen
from crystallize_cli.tui.screens.dialogs import Reader
from crystallize_cli.tui.widgets import Line, Outline, Panes, Reading, plain

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from textual.widget import Widget

    from crystallize_cli.tui.curves import Curves
    from crystallize_cli.tui.progress import Progress
    from crystallize_cli.tui.session import LogLine, Session

__all__ = ["RunScreen"]

_NEVER = "\N{EN DASH}"
_ROWS_FOR_CURVES = 24
_LINES = 10_000
"""Lines of the log that are kept."""


class RunScreen(BaseScreen):
    """An experiment's steps and treatments, and its run."""

    MODE = "run"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("R", "run", "Run", id="run"),
        Binding("R", "stop", "Stop", id="run"),
        Binding("l", "cache", "Cache", id="cache"),
        Binding("x", "treatment", "Treatment", id="treatment"),
        Binding("plus,equals_sign", "replicates(1)", "Replicates", key_display="+/-", id="more"),
        Binding("minus", "replicates(-1)", "Fewer replicates", show=False, id="fewer"),
        Binding("L", "pane('Live')", "Live", show=False, id="live"),
        Binding("e", "pane('Errors')", "Errors", show=False, id="errors"),
        Binding("S", "pane('Summary')", "Summary", id="summary"),
        Binding("p", "plan", "Plan by cell", show=False, id="plan"),
        Binding("v", "level", "More or fewer lines", show=False, id="level"),
        Binding("space", "freeze", "Freeze", show=False, id="freeze"),
        Binding("D", "debug", "Debug the failed cell", show=False, id="debug"),
        Binding("E", "configure", "Edit config.yaml", show=False, id="configure"),
        Binding("slash", "find", "Find", show=False, key_display="/", id="find"),
        Binding("left_square_bracket", "step(-1)", "Pane before", show=False),
        Binding("right_square_bracket", "step(1)", "Next pane", show=False),
        Binding("escape", "back", "Back", show=False),
    ]
    DEFAULT_CSS = """
    RunScreen Horizontal { height: 1fr; }
    RunScreen Outline { width: 40%; min-width: 30; max-width: 48; }
    RunScreen Panes { border-left: solid $panel-lighten-1; }
    RunScreen Log { background: $background; padding: 0 1; scrollbar-size-vertical: 1; }
    RunScreen #status { height: 1; padding: 0 1; }
    RunScreen #plan, RunScreen #command { height: auto; max-height: 3; padding: 0 1; color: $text-muted; }
    """

    def body(self) -> Iterable[Widget]:
        """Return the line that says how it stands, the outline beside the panes, the plan and the command."""
        self.status = Static("", id="status", markup=False)
        self.outline = Outline()
        self.live = Reading()
        self.log_pane = Log(max_lines=_LINES)
        self.errors = Reading("No failures.")
        self.summary = Reading("Nothing has run yet.")
        self.panes = Panes(Live=self.live, Log=self.log_pane, Errors=self.errors, Summary=self.summary)
        self.plan = Static("", id="plan", markup=False)
        self.command = Static("", id="command", markup=False)
        return [self.status, Horizontal(self.outline, self.panes), self.plan, self.command]

    def on_mount(self) -> None:
        """Follow what is open."""
        self.session: Session | None = None
        self._state = ""
        self._curves: Curves | None = None
        self.frozen = False
        self.everything = True
        self.watch(self.app, "entries", self._reread, init=False)
        self.set_interval(0.4, self._follow)
        self.set_interval(1.0, self._tick)
        self.outline.focus()
        self._renew()

    def open(self, session: Session, *, run: bool = False, stop: bool = False) -> None:
        """Show another experiment, and run it, or stop the run that goes on."""
        if session is not self.session:
            self.session = session
            self.log_pane.clear()
            self._write(session.lines)
            self.errors.show("No failures.")
            self.summary.show("Nothing has run yet.")
            self.panes.go("Live")
            self._renew()
            self.outline.go(("experiment", session.name))
            self.run_worker(self._begin(session), group="begin", exclusive=True)
        self.outline.focus()
        if run or stop:
            self.run_worker(self._run_or_stop(session, stop=stop), group="start")

    def _reread(self) -> None:
        """Plan anew, now that a file of what is open was saved."""
        session = self.session
        if session is not None and session.reread(self.application.entries):
            self._renew()
            self.run_worker(self._begin(session), group="begin", exclusive=True)

    async def _run_or_stop(self, session: Session, *, stop: bool) -> None:
        if session.job is None or session.job.is_over:
            await session.look()  # somebody else may be running it
        if session is self.session and session.is_running == stop:
            await self.action_run()

    async def _begin(self, session: Session) -> None:
        await session.look()
        if session is self.session:
            self._show_progress()
            self._show_status()
            await self._draw()
            await self._summarise()
        await self._check(session)
        await self._plan()

    async def _check(self, session: Session) -> None:
        answer = await ask("check", "--json", str(session.entry.folder))
        found = answer.data[0]["problems"] if isinstance(answer.data, list) and answer.data else []
        self.application.note_problems(session.entry, found)
        if session is self.session:
            self._renew()

    # -- what is seen

    def _renew(self) -> None:
        """Show what is chosen."""
        session = self.session
        if session is None:
            self.live.show("No experiment is open. 1 lists them; enter opens one.")
            return
        self.outline.show(
            (
                Line(
                    (plain(part.name, "bold"), Text(""), _cached(part.cached)),
                    ("experiment", part.name),
                    ("experiment", part),
                ),
                [
                    *(
                        Line(
                            (plain(step.name), Text(session.duration(part.name, step.name), "dim"), _step(step.state)),
                            ("step", part.name, step.name),
                            ("step", part, step),
                        )
                        for step in part.steps
                    ),
                    *(
                        Line(
                            (plain(name), Text(""), Text("on" if on else "off", "" if on else "dim")),
                            ("treatment", part.name, name),
                            ("treatment", part, name),
                        )
                        for name, on in part.treatments.items()
                    ),
                ],
            )
            for part in session.parts
        )
        self.command.update(Content(f"$ {command_line(session.arguments())}"))
        self._show_plan()
        self._show_status()

    def _show_plan(self) -> None:
        session = self.session
        if session is not None:
            is_locked = session.job is not None and session.job.state == "locked"
            told = session.refusal if is_locked else session.plan
            self.plan.update(Content(printable(told)))

    def _show_status(self) -> None:
        session = self.session
        if session is None:
            return
        if session.state != self._state:
            self._state = session.state
            self.refresh_bindings()  # R runs, or stops
            self._show_plan()
        parts: list[Content] = []
        progress = session.progress
        name = progress.run if progress is not None else session.name
        parts.append(Content.styled(printable(name), "bold"))
        state = session.state
        words = {"stopping": "stopping, R forces"}
        style = {"running": "$accent", "complete": "$success", "broken": "$error", "locked": "$warning"}
        parts.append(Content.styled(words.get(state, state), style.get(state, "$warning")))
        if progress is not None:
            done = f"{progress.done}/{session.cells}"
            parts.append(Content(f"{done} cells" if session.is_running else counted(progress.done, "cell")))
            if progress.failed:
                parts.append(Content.styled(f"{progress.failed} failed", "$error"))
            if session.kept:
                parts.append(Content(f"{session.kept} kept"))
        if session.job is not None:
            end = session.job.ended or time.time()
            took = end - session.job.begun
            parts.append(Content(clock(took) + session.left(took)))
        self.status.update(Content("  ").join(parts))

    def _show_progress(self) -> None:
        session = self.session
        progress = session.progress if session is not None else None
        if session is None or progress is None:
            if session is not None:
                self.live.show("Not run yet. R runs it.")
            return
        width = max(self.live.size.width - 4, 20)
        self.live.show(Content("\n").join(_live(progress, session, width)))
        self.panes.count("Errors", progress.failed)
        if progress.failures:
            self.errors.show("\n\n".join(map(str, progress.failures)))

    async def _draw(self) -> None:
        """Draw the running means of the first metric, once there are some and room for them."""
        progress = self.session.progress if self.session is not None else None
        told = {} if progress is None else {name: each.metrics for name, each in progress.conditions.items()}
        metric = next((name for metrics in told.values() for name, values in metrics.items() if len(values) > 1), None)
        shown = metric is not None and self.size.height >= _ROWS_FOR_CURVES
        if self._curves is None and shown:
            # Importing it takes some tenths of a second.
            module = await asyncio.to_thread(import_module, "crystallize_cli.tui.curves")
            self._curves = module.Curves()
            await self.live.mount(self._curves)
        if self._curves is not None:
            self._curves.display = shown
            if metric is not None and shown:
                values = {name: each[metric] for name, each in told.items() if metric in each}
                # What is drawn before the first picture of it is thrown away.
                self.call_after_refresh(self._curves.show, printable(metric), values)

    # -- following

    async def _follow(self) -> None:
        session = self.session
        if session is None:
            return
        over = not session.is_running
        self._write(session.read() or ())
        if not await session.follow() and over:
            return
        if session is not self.session:
            return
        if not self.frozen or session.has_just_ended:
            self._show_progress()
            await self._draw()
            self._show_status()
        if session.has_just_ended:
            session.has_just_ended = False
            while (written := session.read()) is not None:
                self._write(written)
            self.application.look()
            session.reread(self.application.entries)  # what was saved meanwhile
            self._renew()
            if session.state == "broken":
                self.errors.show(session.job.complaint() if session.job is not None else "")
                self.panes.go("Errors")
            self.run_worker(self._after(), group="summary", exclusive=True)

    async def _after(self) -> None:
        await self._summarise()
        await self._plan()

    async def _summarise(self) -> None:
        session = self.session
        if session is None or session.progress is None or session.is_running:
            return
        answer = await ask("show", str(session.progress.path))
        if session is self.session:
            self.summary.show(answer.text)

    async def _plan(self) -> None:
        session = self.session
        if session is not None:
            await session.ask_plan()
            if session is self.session:
                self._show_plan()

    def _tick(self) -> None:
        if self.session is not None and self.session.is_running:
            self._show_status()

    # -- what keys do

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Leave out what needs an experiment while none is open."""
        session: Session | None = getattr(self, "session", None)
        if action in ("run", "stop"):
            return session is not None and session.is_running == (action == "stop")
        return session is not None or action not in ("cache", "treatment", "replicates")

    async def action_run(self) -> None:
        """Run, or stop, what is open."""
        session = self.session
        if session is None:
            return
        if session.progress is None and session.job is None:
            await session.look()  # somebody else may be running it
        if session.is_running:
            try:
                session.stop()
            except OSError as error:
                self.application.tell(f"it cannot be stopped: {error}", severe=True)
        else:
            self.log_pane.clear()
            self.errors.show("No failures.")
            session.start()
            self.panes.go("Live")
        self._show_status()

    async def action_stop(self) -> None:
        """Stop the run."""
        await self.action_run()

    def action_cache(self) -> None:
        """Cache what the cursor is on, or do not any more."""
        session, line = self.session, self.outline.line
        if session is not None and line is not None and line.value[0] in ("experiment", "step"):
            session.toggle_cache(*line.value[1:])
            self._chosen()
        else:
            self.application.tell("l caches steps, and the experiment: move to one of them")

    def action_treatment(self) -> None:
        """Leave a treatment out of the run, or take it in again."""
        session, line = self.session, self.outline.line
        if session is not None and line is not None and line.value[0] == "treatment":
            session.toggle_treatment(*line.value[1:])
            self._chosen()
        else:
            self.application.tell("x switches a treatment: move to one of them")

    def action_replicates(self, by: int) -> None:
        """Run more replicates, or fewer."""
        if self.session is not None:
            self.session.change_replicates(by)
            self._chosen()

    def _chosen(self) -> None:
        if self.session is not None:
            if problem := self.session.keep():
                self.application.tell(problem, severe=True)
            self._renew()
            self.run_worker(self._plan(), group="plan", exclusive=True)

    def shown_text(self) -> str:
        """Return the text of the pane."""
        return self.panes.text

    async def copied(self) -> str:
        """Return the run as a digest, else the text of the pane."""
        session = self.session
        if self.panes.current == "Summary" and session is not None and session.progress is not None:
            return await self.application.digest(str(session.progress.path))
        return self.panes.text

    def shown_arguments(self) -> list[str]:
        """Return the command at the foot of the screen."""
        return [] if self.session is None else self.session.arguments()

    def place(self) -> tuple[Path, int | None] | None:
        """Return where the first failure came from, where a step is defined, or the config.yaml."""
        session, line = self.session, self.outline.line
        if session is None:
            return None
        if self.panes.current == "Errors" and session.progress is not None and session.progress.failures:
            found = session.progress.failures[0].place
            if found is not None:
                return found
        if line is not None and line.value[0] == "step":
            return line.value[1].entry.folder / "steps.py", line.value[2].line
        return session.entry.config, None

    def action_plan(self) -> None:
        """Show for each cell whether it would run, and why."""
        self.run_worker(self._plan_by_cell(), group="cells", exclusive=True)

    async def _plan_by_cell(self) -> None:
        if self.session is not None:
            arguments = ["plan", "--verbose", *self.session.plan_arguments()]
            answer = await ask(*arguments)
            self.app.push_screen(Reader("Plan", answer.text, arguments=arguments, wrap=False))

    def action_level(self) -> None:
        """Show all lines of the log, or only warnings and errors."""
        self.everything = not self.everything
        self.log_pane.clear()
        self._write(self.session.lines if self.session is not None else ())
        self.panes.go("Log")
        self.application.tell("all lines" if self.everything else "warnings and errors alone")

    def on_input_changed(self) -> None:
        """Show the lines of the log that fit."""
        self.log_pane.clear()
        self._write(self.session.lines if self.session is not None else ())

    def action_freeze(self) -> None:
        """Leave the screen as it is, while the run goes on."""
        self.frozen = not self.frozen
        self.application.tell("frozen: space goes on" if self.frozen else "live again")

    def action_debug(self) -> None:
        """Run the first failed cell in a debugger, in the ordinary terminal."""
        session = self.session
        failed = session.progress.failures if session is not None and session.progress is not None else []
        if session is None or not failed:
            self.application.tell("no cell has failed")
            return
        first = failed[0]
        where = ["--condition", first.condition, "--replicate", str(first.replicate)]
        self.application.run_here(["debug", session.target, *where])

    def action_configure(self) -> None:
        """Edit the experiment's config.yaml."""
        if self.session is not None:
            self.application.configure(self.session.entry)

    def _write(self, lines: Iterable[LogLine]) -> None:
        shown = [
            printable(line.text if line.level == "INFO" else f"{line.level.lower()}: {line.text}", lines=True)
            for line in lines
            if (self.everything or line.level not in ("DEBUG", "INFO"))
            and self.panes.filter.value.casefold() in line.text.casefold()
        ]
        if shown:
            self.log_pane.write_lines(shown)

    def action_pane(self, name: str) -> None:
        """Show a pane."""
        self.panes.go(name)

    def action_find(self) -> None:
        """Ask which lines of the panes are to be shown."""
        self.panes.ask()

    def action_step(self, by: int) -> None:
        """Show the pane before or after this one."""
        self.panes.step(by)

    def action_back(self) -> None:
        """Go back to the outline, and then to the list."""
        if self.panes.show_all():
            self.outline.focus()
        elif self.outline.has_focus:
            self.application.action_go("experiments")
        else:
            self.outline.focus()


def _cached(cached: bool) -> Text:
    return Text("cached") if cached else Text("cache off", "yellow")


def _step(state: bool | None) -> Text:
    return Text(_NEVER, "dim") if state is None else _cached(state)


def _live(progress: Progress, session: Session, width: int) -> list[Content]:
    lines = []
    names = [printable(name) for name in session.conditions]
    widest = min(max(map(len, names), default=8), 16)
    total = session.replicates
    for name in session.conditions:
        each = progress.conditions.get(name)
        done, failed = (each.done, each.failed) if each is not None else (0, 0)
        lines.append(
            Content.assemble(
                f"{printable(name)[:widest]:<{widest}} ",
                bar(done, total, max(min(width - widest - 24, 40), 8), failed=failed),
                f" {done}/{total}",
                (f"  {failed} failed" if failed else "", "$error"),
            )
        )
    metrics = dict.fromkeys(metric for each in progress.conditions.values() for metric in each.metrics)
    for metric in metrics:
        told = {each.name: each.metrics[metric] for each in progress.conditions.values() if metric in each.metrics}
        lines += [Content(""), *intervals(metric, told, width)]
    if progress.problem:
        lines.append(Content.styled(printable(progress.problem), "$error"))
    return lines
