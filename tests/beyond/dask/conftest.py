"""A Dask cluster as people start one: `dask scheduler` and `dask worker` on the command line, one for the session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest


class Programs:
    """Scheduler and workers, in a folder that has nothing of the project."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.started = []
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(self.file), "--no-dashboard")
        end = time.monotonic() + 60
        while not self.file.exists() or not self.file.read_text():
            assert time.monotonic() < end, "the scheduler did not start"
            time.sleep(0.05)
        self.address = json.loads(self.file.read_text())["address"]

    def worker(self, *options, **environment):
        options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", *options)
        return self._start("worker", self.address, *options, **environment)

    def _start(self, *arguments, **environment):
        command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
        log = (self.folder / f"{arguments[0]}-{len(self.started)}.log").open("wb")
        program = subprocess.Popen(
            command, cwd=self.folder, stdout=log, stderr=log, env={**os.environ, **environment}, start_new_session=True
        )
        log.close()
        self.started.append(program)
        return program

    def stop(self):
        for program in self.started:
            program.kill()
        for program in self.started:
            program.wait()


@pytest.fixture
def start_cluster(tmp_path_factory):
    """Start a cluster of the test's own."""
    started = []

    def start(workers=2):
        programs = Programs(tmp_path_factory.mktemp("dask"))
        started.append(programs)
        for _ in range(workers):
            programs.worker()
        return programs

    yield start
    for programs in started:
        programs.stop()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The cluster that tests share, with two workers; who ends one of them starts another."""
    programs = Programs(tmp_path_factory.mktemp("dask"))
    for _ in range(2):
        programs.worker()
    yield programs
    programs.stop()


@pytest.fixture
def running():
    """Return the processes that have a text on their command line or in their working folder's path."""

    def look(text):
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                folder = str((process / "cwd").readlink())
                command = (process / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if text in folder or text in command:
                found.append(int(process.name))
        return found

    return look
