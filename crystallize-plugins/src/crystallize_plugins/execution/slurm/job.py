"""What runs in a job: claim cells, run them, write down what came of them, until none are left or it has to end.

``python -m crystallize_plugins.execution.slurm.job <folder> <set>`` is what ``job.sh`` calls.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystallize.errors import WorkerCrashError, WorkerStartError
from crystallize_plugins.execution.remote import Site
from crystallize_plugins.execution.slurm.folder import JobFolder, RecordWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from crystallize.hooks import Cell
    from crystallize_plugins.execution.slurm.folder import Claim

__all__ = ["Job", "main"]

BATCH = 0.5
"""About how many seconds of work are written down at a time, where cells are shorter than that."""
_MOST = 1000
_MARGIN = 2.0
"""Seconds before the end of the job's time at which it has to be over."""


class Job:
    """One life of one task.

    Parameters
    ----------
    folder : JobFolder
    name : str
        The set of options that it was submitted with; it takes cells from that queue.

    Raises
    ------
    WorkerStartError
        There is nothing to do in the folder any more.
    """

    def __init__(self, folder: JobFolder, name: str) -> None:
        manifest = folder.read_manifest()
        if manifest is None:
            raise WorkerStartError(f"{folder.path} is no folder of jobs any more: the run that it belonged to is over")
        self._folder = folder
        self._name = name
        self._processes: int = manifest["processes"]
        self._isolate: bool = manifest["isolate"]
        restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
        task = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
        self._records = RecordWriter(folder.records, f"{task}.{restarts}")
        self._ends = _end_of_time()
        self._told_to_end = threading.Event()
        self._one_claims = threading.Lock()
        self._claimed: set[Path] = set()
        self._longest: dict[str, float] = {}
        self._node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        self._say(b"h", {"task": task, "restarts": restarts, "node": self._node})

    def run(self) -> int:
        """Work; return the exit code."""
        signal.signal(signal.SIGTERM, self._end)
        parcel = pickle.loads(self._folder.parcel.read_bytes())  # noqa: S301 - of our own coordinator
        try:
            site = Site.open(parcel, processes=self._processes, isolate=self._isolate, name=f"slurm-{self._node}")
        except WorkerStartError as exc:
            self._records.add(b"m", pickle.dumps(exc))
            return 1
        if site.drift:
            self._say(b"d", site.drift)
        try:
            with ThreadPoolExecutor(self._processes) as pool:
                for working in [pool.submit(self._work, site, lane) for lane in range(self._processes)]:
                    working.result()
            self._records.add(b"r", site.close())
        finally:
            site.kill()
        return 0

    # -- cells ------------------------------------------------------------------------------------

    def _work(self, site: Site, lane: int) -> None:
        """Run claims one after the other, as one of those who do so in this job."""
        size = 1
        while not self._told_to_end.is_set() and (claim := self._next_claim()) is not None:
            left = list(claim.cells)
            while left:
                batch = self._begun_in_time(left[:size])
                if self._told_to_end.is_set() or not batch:
                    self._folder.give_back(claim, left)
                    return
                self._say(b"a", {"lane": lane, "cells": batch})
                begun = time.monotonic()
                try:
                    data = site.run(batch, emit=self._tell, stop=partial(self._asked_to_stop, batch))
                except WorkerCrashError:
                    if not self._told_to_end.is_set():
                        raise
                    self._told_at(claim, left[len(batch) :], lane)
                    return
                self._records.add(b"o", data)
                size = self._learn(batch, time.monotonic() - begun)
                del left[: len(batch)]
            self._folder.give_back(claim, ())

    def _next_claim(self) -> Claim | None:
        with self._one_claims:
            # Its own first: a file system may have renamed a chunk and said that it has not.
            claims = [claim for life, claim in self._folder.claims(self._name) if life == self._records.name]
            claim = next((each for each in claims if each.path not in self._claimed), None)
            claim = claim or self._folder.claim(self._name, self._records.name)
            if claim is not None:
                self._claimed.add(claim.path)
            return claim

    def _begun_in_time(self, batch: Sequence[Cell]) -> Sequence[Cell]:
        """Return as many of the cells as will be over in time, by what cells have taken so far."""
        if self._ends is None or not self._longest:
            return batch  # The first is begun in any case: another job would have no more time for it.
        seconds = self._ends - time.monotonic() - _MARGIN
        for number, cell in enumerate(batch):
            seconds -= self._longest.get(cell.condition) or max(self._longest.values())
            if seconds < 0:
                return batch[:number]
        return batch

    def _learn(self, batch: Sequence[Cell], seconds: float) -> int:
        """Take note of what cells take; return how many are to be run at a time."""
        each = seconds / len(batch)
        for cell in batch:
            self._longest[cell.condition] = max(self._longest.get(cell.condition, 0.0), each)
        return int(min(_MOST, max(1.0, BATCH / max(each, 1e-9))))

    def _asked_to_stop(self, batch: Sequence[Cell]) -> bool | list[Cell]:
        if self._told_to_end.is_set():
            return True
        return [cell for cell in batch if self._folder.is_pruned(cell)] if self._folder.prunes() else []

    # -- the end ----------------------------------------------------------------------------------

    def _end(self, number: int, frame: FrameType | None) -> None:
        """Take note that the job has to end: it is preempted or cancelled, or its time is over."""
        del number, frame
        self._told_to_end.set()

    def _told_at(self, claim: Claim, left: Sequence[Cell], lane: int) -> None:
        """Say that the batch was ended in the middle: which of its cells are done, whoever reads the records knows."""
        out_of_time = self._ends is not None and time.monotonic() > self._ends - _MARGIN
        self._say(b"s", {"lane": lane, "out_of_time": out_of_time})
        self._folder.give_back(claim, left)

    # -- records ----------------------------------------------------------------------------------

    def _tell(self, data: bytes) -> None:
        self._records.add(b"o", data)

    def _say(self, kind: bytes, what: Any) -> None:
        self._records.add(kind, json.dumps(what).encode())


def _end_of_time() -> float | None:
    """Return when the job's time is over, by the monotonic clock; None where it has no limit, or nobody says."""
    said = os.environ.get("SLURM_JOB_END_TIME")  # of newer releases
    if said:
        return time.monotonic() + int(said) - time.time()
    try:
        done = subprocess.run(  # noqa: S603 - no shell
            ["squeue", "--noheader", f"--jobs={os.environ['SLURM_JOB_ID']}", "--format=%L"],  # noqa: S607 - the one of this cluster

            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", done.stdout.strip())
    if found is None:  # UNLIMITED, or it is not known
        return None
    days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
    return time.monotonic() + ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def main(arguments: Sequence[str]) -> int:
    """Run a job; return the exit code."""
    folder, name = arguments
    return Job(JobFolder(Path(folder)), name).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
