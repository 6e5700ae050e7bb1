"""The third screen: the stored runs, the newest first."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from crystallize_cli.tui.catalog import run_name
from crystallize_cli.tui.screens.base import BaseScreen
from crystallize_cli.tui.widgets import Table, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from textual.widget import Widget

__all__ = ["RunsScreen"]

_AT_ONCE = 100
"""Rows that are added before the keys are looked at again."""
_COLUMNS = ("", "run", "status", "started", "cells", "failed", "verdict")


class RunsScreen(BaseScreen):
    """A table of the stored runs."""

    MODE = "runs"
    BINDINGS: ClassVar[list[BindingType]] = [
        # A terminal that nobody had switched yet makes a new line of an early "enter".
        Binding("enter,ctrl+j", "open", "Open", key_display="enter", id="open_run"),
        Binding("space", "mark", "Mark", id="mark"),
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
        return [self.count, self.filter, self.table]

    def on_mount(self) -> None:
        """Show what is stored, and whatever comes to be stored."""
        self.table.add_columns(*((name, name) for name in _COLUMNS))
        self.table.focus()
        self.watch(self.app, "runs", self.renew)

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The runs that the filter lets through, in order."""
        runs = [run for run in self.application.runs or [] if _fits(run, self.filter.value)]
        key = self._sort
        known = [run for run in runs if _value(run, key) is not None]
        known.sort(key=lambda run: _value(run, key), reverse=self._downwards)
        return known + [run for run in runs if _value(run, key) is None]

    def renew(self) -> None:
        """Show what is stored by now."""
        self.run_worker(self._fill(), group="fill", exclusive=True)

    async def _fill(self) -> None:
        runs = self.shown
        everything = self.application.runs
        total = len(everything or [])
        count = f"{len(runs)} of {total}" if len(runs) != total else f"{total}"
        waiting = "  looking…" if everything is None else "  nothing has run yet" if not total else ""
        arrow = "▼" if self._downwards else "▲"
        self.count.update(f"{count} runs{waiting}   sort: {self._sort} {arrow}")
        rows = {run_name(run): self._row(run) for run in runs}
        if [key.value for key in self.table.rows] == list(rows):
            for name, cells in rows.items():
                if [*self.table.get_row(name)] != cells:
                    for column, cell in zip(_COLUMNS, cells, strict=True):
                        self.table.update_cell(name, column, cell, update_width=True)
            return
        at = self.chosen_name
        self.table.clear()
        for number, (name, cells) in enumerate(rows.items()):
            self.table.add_row(*cells, key=name)
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
            plain(_verdict(run)),
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
        self.table.update_cell(name, "", Text("●" if name in self.marked else " "))

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


_STYLES = {"complete": "green", "running": "cyan", "interrupted": "yellow", "damaged": "red"}


def _local(started: str | None) -> str:
    if started is None:
        return ""
    moment = dt.datetime.fromisoformat(started).astimezone()
    today = dt.datetime.now().astimezone().date() == moment.date()
    return moment.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")


def _verdict(run: Mapping[str, Any]) -> str:
    return ", ".join(map(str, run.get("verdicts") or ()))


def _value(run: Mapping[str, Any], key: str) -> Any:
    return run_name(run) if key == "run" else _verdict(run) if key == "verdict" else run.get(key)


def _fits(run: Mapping[str, Any], wanted: str) -> bool:
    text = f"{run_name(run)} {run['status']} {_verdict(run)}".casefold()
    return all(word.casefold() in text for word in wanted.split())
