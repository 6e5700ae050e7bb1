"""`ArrayLoop`: the coordinator of a run over SLURM: it takes up what earlier ones have left, and follows its jobs."""

from __future__ import annotations

import logging
import os
import pickle
import shlex
import sys
import time
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.hooks import STOPS, Cell, InterruptGuard
from crystallize.hooks.tools import counted, folder_name
from crystallize_plugins.execution.remote import Ledger, pack
from crystallize_plugins.execution.slurm import commands
from crystallize_plugins.execution.slurm.folder import JobFolder
from crystallize_plugins.execution.slurm.following import Following

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from crystallize.hooks import CellOutcome, ExperimentView, RunCell

__all__ = ["ArrayLoop", "Settings"]

_LOGGER = logging.getLogger("crystallize")
_FORMAT = 1
_TICK = 0.2
"""Seconds after which a run in an event loop can be cancelled."""
_LAST_WORDS = 2.0
"""Seconds that jobs have to say what they have finished when they are cancelled."""
_TO_CLOSE = 30.0
"""Seconds that jobs have to close what their cells have opened, once all cells are done."""
_SILENCE = 5
"""How many times in a row squeue may fail before that is worth a word."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `SlurmExecution` was given."""

    jobs: int
    processes: int
    options: tuple[str, ...]
    condition_options: Mapping[str, tuple[str, ...]]
    setup: tuple[str, ...]
    python: str
    folder: str
    poll: float
    leaves: bool
    isolate: bool
    ship: tuple[str, ...]
    max_losses: int


class ArrayLoop:
    """Runs cells in job arrays; iterate over it for the outcomes that have arrived since the last look.

    Parameters
    ----------
    experiment : ExperimentView
    cells : sequence of Cell
    run_cell : RunCell
    settings : Settings

    Attributes
    ----------
    followed : list of Following
        The folders of jobs: those that were taken up, and the new one.
    """

    def __init__(
        self, experiment: ExperimentView, cells: Sequence[Cell], run_cell: RunCell, settings: Settings
    ) -> None:
        self._experiment = experiment
        self._cells = cells
        self._run_cell = run_cell
        self._settings = settings
        self._home = Path(settings.folder).absolute() / folder_name(experiment.name or experiment.id)
        self._locks: list[int] = []
        self._ready: list[CellOutcome] = []
        self._failures = 0
        self.followed: list[Following] = []

    def __iter__(self) -> Iterator[list[CellOutcome]]:
        """Run every cell; a run that is interrupted may get the last ones twice."""
        keep = False
        try:
            try:
                yield from self._arriving()
            except STOPS as exc:
                keep = self._settings.leaves and isinstance(exc, KeyboardInterrupt)
                self._stop(keep)
                yield self._ready
                raise
            keep = True
            self._cancel()
            for each in self.followed:
                each.discard()
        finally:
            if not keep:
                self._cancel()
            for lock in self._locks:
                os.close(lock)

    def _arriving(self) -> Iterator[list[CellOutcome]]:
        with InterruptGuard(hold=True):
            left = self._take_up()
        yield from self._handed_over()
        if left:
            with InterruptGuard(hold=True):
                self._begin(left)
        yield from self._looking(self._settings.poll, lambda: any(each.unfinished for each in self.followed))
        # Those that never began have nothing to say; the others close what cells have opened, and report.
        for each in self.followed:
            each.cancel(waiting=True)
        limit = time.monotonic() + _TO_CLOSE
        yield from self._looking(
            _TICK, lambda: time.monotonic() < limit and any(each.is_closing for each in self.followed)
        )

    def _looking(self, every: float, wanted: Callable[[], bool]) -> Iterator[list[CellOutcome]]:
        due = 0.0
        while wanted():
            if time.monotonic() >= due:
                with InterruptGuard(hold=True):
                    self._look()
                due = time.monotonic() + every
            yield from self._handed_over()
            time.sleep(max(0.0, min(_TICK, due - time.monotonic())))

    def _handed_over(self) -> Iterator[list[CellOutcome]]:
        yield self._ready
        # Not before: an interrupt in between must not lose them.
        self._ready = []

    def _look(self) -> None:
        queue = commands.tasks([name for each in self.followed for name in each.names])
        self._failures = self._failures + 1 if isinstance(queue, str) else 0
        if self._failures == _SILENCE:
            _LOGGER.warning("squeue fails again and again, so nobody sees whether jobs have died: %s", queue)
        for each in self.followed:
            self._ready += each.look(None if isinstance(queue, str) else queue)

    # -- the beginning ----------------------------------------------------------------------------

    def _take_up(self) -> list[Cell]:
        """Take up what an earlier coordinator has left, and return the cells that are to be queued anew."""
        wanted = dict.fromkeys(self._cells)
        if self._experiment.run.strategy != "resume":
            self._warn_of_others()
            return list(wanted)
        for folder, manifest in self._others():
            if (lock := _locked(folder.path)) is None:
                _LOGGER.warning("%s belongs to a run that is still going on", folder.path)
                continue
            self._locks.append(lock)
            same = self._same(wanted, manifest["cells"])
            following = Following(folder, manifest, same, self._ledger(same))
            placed = following.placed()
            outcomes, failed = following.take_up()
            following.unfinished.difference_update(failed)
            self._ready += outcomes
            self.followed.append(following)
            for cell in same:
                if cell not in failed:
                    del wanted[cell]
            following.withdraw()
            if following.unfinished:
                following.requeue_lost(placed)
            else:
                following.cancel()  # what it is at is of no use any more
            _LOGGER.info(
                "took up %s from %s; %s of its cells are not done",
                counted(len(outcomes), "outcome"), folder.path, len(following.unfinished),
            )  # fmt: skip
        return list(wanted)

    def _others(self) -> Iterator[tuple[JobFolder, dict[str, Any]]]:
        for path in sorted(self._home.iterdir()) if self._home.is_dir() else ():
            folder = JobFolder(path)
            manifest = folder.read_manifest()
            if manifest is not None and manifest.get("format") == _FORMAT:
                yield folder, manifest

    def _warn_of_others(self) -> None:
        names = {f"{manifest['name']}.{each}" for _, manifest in self._others() for each in manifest["sets"]}
        queue = commands.tasks(sorted(names)) if names else {}
        if queue and not isinstance(queue, str):
            _LOGGER.warning(
                "%s of earlier runs of this experiment still wait or run: run(strategy='resume') takes them up, and "
                "scancel --name=%s ends them",
                counted(len(queue), "job"), ",".join(sorted({task.name for task in queue.values()})),
            )  # fmt: skip

    def _described(self, cells: Iterable[Cell]) -> dict[str, dict[str, Any]]:
        """Return what makes cells what they are, by condition."""
        identities = self._experiment.cell_identities()
        found: dict[str, dict[str, Any]] = {}
        for cell in cells:
            of = found.get(cell.condition)
            if of is None:
                identity = None if identities is None else identities.condition(cell.condition)
                of = found[cell.condition] = {"identity": identity, "replicates": [], "files": []}
            of["replicates"].append(cell.replicate)
            if identities is not None and identities.reads_files:
                of["files"].append(identities.stored_files(cell))
        return found

    def _same(self, cells: Iterable[Cell], known: Mapping[str, Mapping[str, Any]]) -> list[Cell]:
        """Return those of the cells that an earlier run has queued, and that are still what they were."""
        same: list[Cell] = []
        for condition, now in self._described(cells).items():
            before = known.get(condition)
            if before is not None and now["identity"] is not None and now["identity"] == before["identity"]:
                files = dict(zip_longest(before["replicates"], before["files"]))
                same += [
                    Cell(condition, replicate)
                    for replicate, file in zip_longest(now["replicates"], now["files"])
                    if replicate in files and files[replicate] == file
                ]
        return same

    def _ledger(self, cells: Sequence[Cell]) -> Ledger:
        return Ledger(self._experiment, cells, self._run_cell, max_losses=self._settings.max_losses)

    def _begin(self, cells: Sequence[Cell]) -> None:
        settings = self._settings
        parcel = pack(self._experiment, self._run_cell, ship=settings.ship)
        sets = self._sets(cells)
        folder = self._new_folder(sets)
        folder.parcel.write_bytes(pickle.dumps(parcel, 5))
        lines = ["#!/bin/bash", *settings.setup]
        lines.append(f'exec {shlex.quote(settings.python)} -m {__package__}.job "$1" "$2"')
        folder.script.write_text("\n".join([*lines, ""]), encoding="utf-8")
        manifest = {
            "format": _FORMAT,
            "name": f"crystallize-{folder.path.name}",
            "jobs": settings.jobs,
            "processes": settings.processes,
            "isolate": settings.isolate,
            "sets": sets,
            "cells": self._described(cells),
        }
        following = Following(folder, manifest, cells, self._ledger(cells))
        following.enqueue(cells)
        folder.write_manifest(manifest)
        self.followed.append(following)
        following.begin()

    def _sets(self, cells: Iterable[Cell]) -> dict[str, dict[str, Any]]:
        """Return the sets of options, by name, each with its conditions."""
        by_options: dict[tuple[str, ...], list[str]] = {}
        for condition in dict.fromkeys(cell.condition for cell in cells):
            more = self._settings.condition_options.get(condition, ())
            by_options.setdefault((*self._settings.options, *more), []).append(condition)
        return {
            str(number): {"options": options, "conditions": conditions}
            for number, (options, conditions) in enumerate(by_options.items())
        }

    def _new_folder(self, sets: Iterable[str]) -> JobFolder:
        for number in range(1, sys.maxsize):  # an optimisation has a batch after the other
            name = self._experiment.run.id + (f"-{number}" if number > 1 else "")
            folder = JobFolder(self._home / name)
            if not folder.path.exists():
                break
        folder.create(sets)
        lock = _locked(folder.path)
        if lock is not None:
            self._locks.append(lock)
        return folder

    # -- the end ----------------------------------------------------------------------------------

    def _cancel(self) -> None:
        for each in self.followed:
            each.cancel()

    def _stop(self, keep: bool) -> None:
        """Leave the jobs or end them, and take in what they have finished."""
        if keep:
            _LOGGER.warning("the jobs go on; run(strategy='resume') takes up what comes of them")
        else:
            self._cancel()
        limit = time.monotonic() + (0 if keep else _LAST_WORDS)
        while True:
            queue = commands.tasks([name for each in self.followed for name in each.names]) if self.followed else {}
            for each in self.followed:
                self._ready += each.look(None)
            if not queue or time.monotonic() > limit:
                return
            time.sleep(_TICK)


def _locked(path: Path) -> int | None:
    """Lock a folder of jobs for this process; return what holds the lock, or None where another process has it."""
    import fcntl  # SLURM is for POSIX systems alone

    lock = os.open(path / "coordinator", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
