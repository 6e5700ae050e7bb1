"""Programs that are interrupted, killed and bereft, and what is left of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from crystallize import Experiment, Pipeline, SeedPlugin, data_source
from crystallize_plugins.execution.processes import staff
from crystallize_plugins.execution.processes.nursery import ZygoteStarter
from crystallize_plugins.execution.processes.spawned import SpawnStarter


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pytest.fixture
def build():
    """Give an experiment with nothing but a seed and the plugins of the test."""

    def make(*steps, plugins=(), **more):
        return Experiment(
            numbers(),
            Pipeline(list(steps)),
            plugins=[SeedPlugin(seed=7), *plugins],
            default_plugins=False,
            name="held",
            **more,
        )

    return make


@pytest.fixture(params=["fork", "forkserver", "spawn"])
def way(request, monkeypatch):
    """Worker processes, started in every way in turn."""
    ways = {"forkserver": ZygoteStarter.launched, "spawn": lambda needs: SpawnStarter()}
    if request.param in ways:
        monkeypatch.setattr(staff, "new_starter", ways[request.param])
    return request.param


class Program:
    """A script in a process group of its own."""

    def __init__(self, source, folder):
        script = folder / "program.py"
        script.write_text(textwrap.dedent(source), encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(script)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def wait_for_line(self, start):
        """Read until a line that starts so."""
        seen = []
        for line in self.process.stdout:
            if line.startswith(start):
                return line.strip()
            seen.append(line)
        raise AssertionError(f"the program ended without a line that starts with {start!r}:\n{''.join(seen)}")

    def end(self, seconds):
        """Wait for its end; give exit code and what was still said."""
        said = self.process.stdout.read()
        return self.process.wait(seconds), said

    def others(self):
        """Give the processes of its group that live, itself left out."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == self.pid:
                continue
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[2]) == self.pid and fields[0] != "Z":
                found.append(int(entry.name))
        return found

    def gone_within(self, seconds):
        """Whether nothing of its group lives any more before the time is up."""
        limit = time.monotonic() + seconds
        while self.others():
            if time.monotonic() > limit:
                return False
            time.sleep(0.02)
        return True

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.stdout.close()
        self.process.wait()


@pytest.fixture
def launch(tmp_path):
    """Start programs; none outlives the test."""
    programs = []

    def start(source):
        programs.append(Program(source, tmp_path))
        return programs[-1]

    yield start
    for program in programs:
        program.stop()


@pytest.fixture
def logbook_text(caplog):
    """Give all that was logged, as text."""
    return lambda: "\n".join(record.getMessage() for record in caplog.records)
