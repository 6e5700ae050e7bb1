"""Programs that are interrupted, killed and bereft, and what is left of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import select
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from tests import programs


def alive_in_group(group):
    """Give the processes of a group that live, its leader left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == group:
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(entry.name))
    return found


@pytest.fixture(name="gone_within")
def gone_within_fixture():
    """Say whether nothing of a group of processes lives any more before the time is up."""
    return gone_within


def gone_within(seconds, group):
    """Whether nothing of a group lives any more before the time is up, its leader left out."""
    limit = time.monotonic() + seconds
    while alive_in_group(group):
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


class Program:
    """A script in a process group of its own."""

    def __init__(self, source, folder):
        script = folder / "program.py"
        script.write_text(textwrap.dedent(source), encoding="utf-8")
        self.process = programs.popen(
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
        return alive_in_group(self.pid)

    def gone_within(self, seconds):
        """Whether nothing of its group lives any more before the time is up."""
        return gone_within(seconds, self.pid)

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


# -- programs that note what they do --------------------------------------------------------------

SWEEP = Path(__file__).parent / "programs" / "sweep.py"
# A write of a few bytes that reaches into the next page of a file is torn by a kill, and the next line follows at once.
NOTED = re.compile(r"(begin|end) (\w+) (\d+) (\d+) ([\d.]+)\n")
SHOWN = re.compile(r"shown (\w+) (\d+) (True|False)\n")


class Note(NamedTuple):
    """What a cell has noted of itself."""

    word: str
    cell: tuple[str, int]
    pid: int
    time: float


class Sweep:
    """One job of ``programs/sweep.py`` that runs in a process of its own."""

    def __init__(self, job, pid, read_from):
        self.job = job
        self.pid = pid
        self.started = time.monotonic()
        self.folder = Path(job.folder)
        self._descriptor = os.pidfd_open(pid)
        self._read_from = read_from

    @property
    def over(self):
        """Whether the process has ended."""
        return self.wait(0)

    def wait(self, seconds):
        """Wait for the end of the process; say whether it came in time."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def signal(self, number):
        """Send a signal to the process alone."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def noted(self, word=None):
        """Give what its cells have noted up to now."""
        with contextlib.suppress(FileNotFoundError), (self.folder / "notes").open("rb") as file:
            file.seek(self._read_from)
            found = NOTED.findall(file.read().decode())
            notes = [Note(said, (name, int(at)), int(pid), float(when)) for said, name, at, pid, when in found]
            return [each for each in notes if word in (None, each.word)]
        return []

    def count(self, word):
        """Count the lines of its notes, or for ``shown`` those of its output, that begin with a word; quickly."""
        path = self.folder / (f"{self.job.name}.out" if word == "shown" else "notes")
        try:
            with path.open("rb") as file:
                file.seek(0 if word == "shown" else self._read_from)
                return file.read().count(f"{word} ".encode())
        except FileNotFoundError:
            return 0

    @property
    def said(self):
        """All that it has printed, in whole lines."""
        try:
            text = (self.folder / f"{self.job.name}.out").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        return text[: text.rfind("\n") + 1]

    @property
    def shown(self):
        """The outcomes that its stream has shown, and whether each succeeded."""
        return {(name, int(at)): succeeded == "True" for name, at, succeeded in SHOWN.findall(self.said)}

    @property
    def has_answered(self):
        """Whether its run was over, and the rest is the interpreter's own end."""
        return (self.folder / f"{self.job.name}.answer").exists()

    @property
    def answer(self):
        """The digest of its result."""
        return json.loads((self.folder / f"{self.job.name}.answer").read_text(encoding="utf-8"))

    def close(self):
        os.close(self._descriptor)


class Sweeps:
    """Starts jobs of ``programs/sweep.py``, by a server that forks for each of them."""

    def __init__(self):
        program = runpy.run_path(str(SWEEP), run_name="sweep")
        self.Job, self.digest = program["Job"], program["digest"]
        self._server = subprocess.Popen(
            [sys.executable, str(SWEEP)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._started = []
        assert self._heard() == "ready"

    @property
    def busy(self):
        """Whether jobs have been started whose end was not waited for."""
        return bool(self._started)

    def start(self, *jobs):
        """Start jobs at once; their exit codes have to be asked for before others can be started."""
        sizes = []
        for job in jobs:
            with contextlib.suppress(FileNotFoundError):
                sizes.append(Path(job.folder, "notes").stat().st_size)
        self._server.stdin.write(json.dumps(jobs) + "\n")
        self._server.stdin.flush()
        read_from = max(sizes, default=0)
        self._started += (started := [Sweep(job, pid, read_from) for job, pid in zip(jobs, self._heard(), strict=True)])
        return started

    def exit_codes(self):
        """Wait for the end of all jobs."""
        codes = self._heard()
        while self._started:
            self._started.pop().close()
        return codes

    def finish(self, job):
        """Do a job to its end; give it."""
        (sweep,) = self.start(job)
        assert self.exit_codes() == [0], sweep.said
        return sweep

    def _heard(self):
        line = self._server.stdout.readline()
        assert line, "the server of sweeps is gone"
        return json.loads(line)

    def stop(self):
        for sweep in self._started:
            for pid in (sweep.pid, *alive_in_group(sweep.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            sweep.close()
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()


@pytest.fixture(scope="session")
def sweeps_servers():
    """Keep the server of sweeps for the next test: it takes a second to start."""
    servers = []
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def sweeps(sweeps_servers):
    """Start sweeps; none outlives the test."""
    if not sweeps_servers:
        sweeps_servers.append(Sweeps())
    yield sweeps_servers[0]
    if sweeps_servers[0].busy:
        sweeps_servers.pop().stop()


# -- what was counted -----------------------------------------------------------------------------

_COUNTS = {}


@pytest.fixture
def tally():
    """Add to what is counted of a fault: sums, or with ``most`` the largest."""

    def add(fault, *, most=False, **counts):
        row = _COUNTS.setdefault(fault, {})
        for name, count in counts.items():
            row[name] = max(row.get(name, 0), count) if most else row.get(name, 0) + count

    return add


def pytest_terminal_summary(terminalreporter):
    """Say at the end of a soak what was counted."""
    if _COUNTS and os.environ.get("CRYSTALLIZE_SOAK"):
        terminalreporter.section("what was counted")
        width = max(map(len, _COUNTS))
        for fault in sorted(_COUNTS):
            counts = ", ".join(f"{name.replace('_', ' ')} {count:g}" for name, count in _COUNTS[fault].items())
            terminalreporter.write_line(f"{fault:{width}}  {counts}")
