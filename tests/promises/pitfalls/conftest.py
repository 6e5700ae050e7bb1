"""Experiments as users write them, with all defaults, and what they leave on disk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests import programs

from crystallize import Experiment, Pipeline, data_source


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pytest.fixture
def make():
    """Make an experiment of steps with the default plugins; keywords are those of `Experiment`."""

    def made(*steps, name="pitfall", source=None, **settings):
        return Experiment(source or numbers(), Pipeline(list(steps)), name=name, **settings)

    return made


def strict_json(text):
    """Parse text as JSON by the letter of the standard."""

    def refuse(token):
        raise ValueError(f"not JSON: {token}")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def saved():
    """Give the metrics that a run stored for people and scripts, of the newest version unless told."""

    def look(name="pitfall", condition="baseline", version=None, root="data"):
        versions = sorted(int(path.name[1:]) for path in Path(root, name).glob("v*"))
        folder = Path(root, name, f"v{versions[-1] if version is None else version}")
        return strict_json((folder / condition / "results.json").read_text(encoding="utf-8"))["metrics"]

    return look


class Program:
    """A script that runs in a process group of its own."""

    def __init__(self, source, folder, number):
        path = folder / f"program_{number}.py"
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        self.process = programs.popen(
            [sys.executable, str(path)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_for_line(self, line):
        """Read what it prints until it prints `line`."""
        for printed in self.process.stdout:
            if printed.strip() == line:
                return
        raise AssertionError(f"it ended without {line!r}")

    def interrupt(self):
        """Press Ctrl-C: everything in the group gets the signal, as from a terminal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self):
        """End the main process with no chance to clean up."""
        os.kill(self.process.pid, signal.SIGKILL)

    def end(self, seconds=60):
        """Wait for its end and give the rest of what it printed."""
        return self.process.communicate(timeout=seconds)[0]

    def members(self):
        """The processes of its group that are alive."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                state, _, group = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:3]
            except OSError:
                continue
            if int(group) == self.process.pid and state != "Z":
                found.append(int(entry.name))
        return found


@pytest.fixture
def program(tmp_path):
    """Start the text of a script; whatever is left of it at the end of the test is killed."""
    started = []

    def start(source):
        started.append(Program(source, tmp_path, len(started)))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()
        one.process.stdout.close()
