"""The third screen: the stored runs, the newest first."""

from __future__ import annotations

import asyncio
import datetime as dt
import operator
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, Static

from crystallize.hooks.tools import counted, printable
from crystallize_cli.tui.asking import ask
from crystallize_cli.tui.catalog import run_name
from crystallize_cli.tui.findings import key_of
from crystallize_cli.tui.screens.base import BaseScreen
from crystallize_cli.tui.screens.dialogs import Reader
from crystallize_cli.tui.screens.opened import OpenedRun
from crystallize_cli.tui.widgets import Table, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from textual.widget import Widget

__all__ = ["RunsScreen"]

_TWO = 2
_COMPARISON = re.compile(r"(.+?)(<=|>=|<|>|=)(-?[0-9.]+(?:e-?[0-9]+)?)")
_RELATIONS = {"<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "=": operator.eq}
_AT_ONCE = 100
"""Rows that are added before the keys are looked at again."""
_METRIC = "metric"
_COLUMNS = ("", "run", "status", "started", "cells", "failed", _METRIC, "verdict")


class RunsScreen(BaseScreen):
    """A table of the stored runs."""

    MODE = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        # A terminal that nobody had switched yet makes a new line of an early "enter".
        Binding("enter,ctrl+j", "open", "Open", key_display="enter", id="open_run"),
        Binding("space", "mark", "Mark", id="mark"),
        Binding("d", "diff", "Diff", id="diff"),
        Binding("c", "compare", "Compare", id="compare"),
        Binding("b", "report", "Report", id="report"),
        Binding("R", "run", "Stop or resume", show=False, id="run"),
        Binding("s", "sort", "Sort", id="sort"),
        Binding("i", "invert", "Invert", show=False, id="invert"),
        Binding("slash", "find", "Find", key_display="/", id="find"),
        Binding("escape", "back", "Back", show=False),
    ]
    DEFAULT_CSS = """
    RunsScreen #count { height: 1; padding: 0 1; color: $text-muted; }
    RunsScreen Table { height: 1fr; }
    RunsScreen Input { height: 1; border: none; padding: 0 1; display: none; }
    RunsScreen Input.-shown { display: block; }
    """

    def body(self) -> Iterable[Widget]:
        """Return the count, the filter and the table."""
        self.count = Static("", id="count", markup=False)
        self.filter = Input(placeholder="complete accuracy>0.9", compact=True)
        self.table = Table()
        self.marked: list[str] = []
        self._sort, self._downwards = "started", True
        self._drawn: dict[str, tuple[Any, ...]] = {}
        self._metric = ""
        return [self.count, self.filter, self.table]

    def on_mount(self) -> None:
        """Show what is stored, and whatever comes to be stored."""
        self._head("")
        self.table.focus()
        self.watch(self.app, "runs", self.renew)

    def _head(self, metric: str) -> None:
        """Name the columns, one of them after a metric."""
        self._metric, self._drawn = metric, {}
        self.table.clear(columns=True)
        self.table.add_columns(*((plain(metric if name == _METRIC else name), name) for name in _COLUMNS))

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The runs that the filter lets through, in order."""
        runs = [
            run
            for run in self.application.runs or []
            if _fits(
                f"{run_name(run)} {run['status']} {self._verdict(run)}",
                self.application.found(run).means,
                self.filter.value,
            )
        ]
        known = [run for run in runs if self._value(run) is not None]
        known.sort(key=self._value, reverse=self._downwards)
        return known + [run for run in runs if self._value(run) is None]

    def _verdict(self, run: Mapping[str, Any]) -> str:
        return ", ".join(self.application.found(run).verdicts)

    def _value(self, run: Mapping[str, Any]) -> Any:
        """Return what is sorted by."""
        if self._sort == "run":
            return (run["experiment"], run["version"])
        if self._sort == _METRIC:
            return self._mean(run)
        return self._verdict(run) if self._sort == "verdict" else run.get(self._sort)

    def _mean(self, run: Mapping[str, Any]) -> float | None:
        """Return the highest mean of the column's metric that a condition of the run has."""
        means = self.application.found(run).means.values()
        return max((each[self._metric] for each in means if self._metric in each), default=None)

    def renew(self) -> None:
        """Show what is stored by now."""
        self.run_worker(self._fill(), group="fill", exclusive=True)

    async def _fill(self) -> None:
        everything = self.application.runs
        metrics = (
            metric for run in everything or [] for each in self.application.found(run).means.values() for metric in each
        )
        at = self.chosen_name
        if (metric := next(metrics, "")) != self._metric:
            self._head(metric)
        runs = self.shown
        total = len(everything or [])
        count = f"{len(runs)} of {counted(total, 'run')}" if len(runs) != total else counted(total, "run")
        waiting = "  looking…" if everything is None else "  nothing has run yet" if not total else ""
        arrow = "▼" if self._downwards else "▲"
        by = self._metric or "mean" if self._sort == _METRIC else self._sort
        self.count.update(Content(f"{count}{waiting}   sort: {printable(by)} {arrow}"))
        # Compared before anything is drawn: there may be ten thousand, of which one goes on.
        now = {run_name(run): (key_of(run), self._verdict(run), run_name(run) in self.marked) for run in runs}
        before, self._drawn = self._drawn, now
        if list(before) == list(now) and self.table.row_count == len(now):
            for run in runs:
                name = run_name(run)
                if before[name] != now[name]:
                    for column, cell in zip(_COLUMNS, self._row(run), strict=True):
                        self.table.update_cell(name, column, cell, update_width=True)
            return
        self.table.clear()
        for number, run in enumerate(runs):
            name = run_name(run)
            self.table.add_row(*self._row(run), key=name)
            if name == at:
                self.table.move_cursor(row=number)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)

    def _row(self, run: Mapping[str, Any]) -> list[Text]:
        name = run_name(run)
        return [
            Text("●" if name in self.marked else " "),
            plain(name),
            plain(run["status"], _STYLES.get(run["status"], "")),
            plain(_local(run["started"])),
            plain("" if run.get("cells") is None else run["cells"]),
            plain(run.get("failed") or "", "red"),
            plain("" if (value := self._mean(run)) is None else f"{value:.4g}"),
            plain(self._verdict(run)),
        ]

    @property
    def chosen_name(self) -> str | None:
        """The run that the cursor is on."""
        if not self.table.row_count:
            return None
        return self.table.coordinate_to_cell_key(self.table.cursor_coordinate).row_key.value

    # -- what keys do

    def action_mark(self) -> None:
        """Mark the run, or do not any more, and go to the next."""
        name = self.chosen_name
        if name is None:
            return
        self.marked.remove(name) if name in self.marked else self.marked.append(name)
        self.renew()

    def action_sort(self) -> None:
        """Sort by the next column."""
        columns = [name for name in _COLUMNS if name]
        self._sort = columns[(columns.index(self._sort) + 1) % len(columns)]
        self.renew()

    def action_invert(self) -> None:
        """Turn the order round."""
        self._downwards = not self._downwards
        self.renew()

    def action_find(self) -> None:
        """Ask what is to be shown."""
        self.filter.add_class("-shown")
        self.filter.focus()

    def on_input_changed(self) -> None:
        """Show what fits."""
        self.renew()

    def on_input_submitted(self) -> None:
        """Go back to the table."""
        self.table.focus()

    def action_back(self) -> None:
        """Take the filter away, or go back to the list of experiments."""
        if self.filter.has_class("-shown"):
            self.filter.value = ""
            self.filter.remove_class("-shown")
            self.table.focus()
        else:
            self.application.action_go("experiments")

    def action_open(self) -> None:
        """Open the run."""
        run = self.chosen
        if run is not None:
            self.app.push_screen(OpenedRun(run_name(run), run["path"]))

    def action_diff(self) -> None:
        """Say what differs between two runs: those marked, or this one and the one before it."""
        names = [name for name in self.marked if name in self.known]
        if len(names) != _TWO:
            second = self.chosen if not names else self.known.get(names[0])
            first = None if second is None else self._before(second)
            if first is None or second is None:
                self.application.tell("mark two runs with space; or move to one that has a predecessor")
                return
            names = [run_name(first), run_name(second)]
        else:
            names.sort(key=lambda name: self.known[name]["started"] or "")
        self.run_worker(self._read("Diff", ["diff", *names]), group="read", exclusive=True)

    def action_compare(self) -> None:
        """Show the marked runs beside each other."""
        names = [name for name in self.marked if name in self.known]
        if len(names) < _TWO:
            self.application.tell("mark the runs with space that are to be compared")
            return
        self.run_worker(self._read("Compare", ["compare", *names]), group="read", exclusive=True)

    async def _read(self, heading: str, arguments: list[str]) -> None:
        answer = await ask(*arguments)
        self.app.push_screen(Reader(heading, answer.text, arguments=arguments, wrap=False))

    def action_report(self) -> None:
        """Write the run's report and open it."""
        if self.chosen is not None:
            self.application.report(self.chosen["path"])

    def action_run(self) -> None:
        """Stop the run, or go on with it."""
        run = self.chosen
        entry = (
            None
            if run is None
            else next((each for each in self.application.entries if each.name == run["experiment"]), None)
        )
        if entry is None:
            self.application.tell("its experiment is not in this folder")
            return
        self.application.open_experiment(entry, run=run is not None and run["status"] != "running", stop=True)

    def _before(self, run: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the run of the same experiment before one."""
        same = [each for each in self.known.values() if each["experiment"] == run["experiment"]]
        earlier_ones = [each for each in same if each["version"] < run["version"]]
        return max(earlier_ones, key=lambda each: each["version"], default=None)

    @property
    def known(self) -> dict[str, dict[str, Any]]:
        """All stored runs by name."""
        return {run_name(run): run for run in self.application.runs or []}

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The run that the cursor is on."""
        name = self.chosen_name
        return None if name is None else self.known.get(name)

    def shown_text(self) -> str:
        """Return the table as text."""
        rows = [self.table.get_row_at(number) for number in range(self.table.row_count)]
        return "\n".join("  ".join(cell.plain for cell in row if cell.plain.strip()) for row in rows)

    async def copied(self) -> str:
        """Return the run as a digest."""
        return "" if self.chosen is None else await self.application.digest(self.chosen["path"])

    def shown_arguments(self) -> list[str]:
        """Return what shows the run."""
        return ["runs"] if self.chosen_name is None else ["show", self.chosen_name]

    def place(self) -> tuple[Path, int | None] | None:
        """Return the run's document for people."""
        return None if self.chosen is None else (Path(self.chosen["path"], "run.json"), None)


_STYLES = {"complete": "green", "running": "cyan", "interrupted": "yellow", "damaged": "red"}


def _local(started: str | None) -> str:
    if started is None:
        return ""
    moment = dt.datetime.fromisoformat(started).astimezone()
    today = dt.datetime.now().astimezone().date() == moment.date()
    return moment.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")


def _fits(text: str, means: Mapping[str, Mapping[str, float]], wanted: str) -> bool:
    """Whether a run has all words, and a condition whose means are as is wanted: ``complete accuracy>0.9``."""
    for word in wanted.split():
        asked = _COMPARISON.fullmatch(word)
        if asked is None:
            if word.casefold() not in text.casefold():
                return False
        else:
            metric, relation, number = asked.groups()
            values = [each[metric] for each in means.values() if metric in each]
            if not any(_RELATIONS[relation](value, float(number)) for value in values):
                return False
    return True
