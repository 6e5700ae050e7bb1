"""Sixteen programs run one experiment at once: each gets a version; of those that resume one run, one does the work."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import time
from collections import Counter
from pathlib import Path

import pytest

from crystallize_plugins.artifacts import list_runs

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
ROUNDS = 40 if SOAK else 3
CROWD = 16
REPLICATES = 6
CELLS = {(condition, replicate) for condition in ("baseline", "early", "late") for replicate in range(REPLICATES)}

pytestmark = pytest.mark.timeout(1200 if SOAK else 120)


@pytest.fixture
def whole(sweeps, tmp_path):
    """Give the digest of an uninterrupted run of the experiment alone."""
    (tmp_path / "whole").mkdir()
    job = sweeps.Job(str(tmp_path / "whole"), "whole", seed=5, replicates=REPLICATES)
    return sweeps.finish(job).answer


@pytest.fixture
def crowd(sweeps):
    """Start sixteen jobs that differ in their name alone, and let them go at once."""

    def start(job):
        gate = Path(job.folder, f"gate-{job.name}")
        jobs = [job._replace(name=f"{job.name}-{number}", gate=str(gate)) for number in range(CROWD)]
        started = sweeps.start(*jobs)
        limit = time.monotonic() + 60
        while not all(Path(each.folder, f"{each.name}.out").exists() for each in jobs):
            assert time.monotonic() < limit
            time.sleep(0.005)
        time.sleep(0.02)
        gate.touch()
        return started

    return start


def told(sweep):
    """Give the error that ended a job, and check that it says who is running it, where, and since when."""
    line = next(line for line in sweep.said.splitlines() if line.startswith("failed "))
    kind, text, details = json.loads(line.partition(" ")[2])
    assert kind == "RunLockedError", sweep.said
    assert details["host"] == socket.gethostname()
    assert details["pid"] in text
    assert details["host"] in text
    assert details["path"] in text
    assert details["started"]
    return int(details["pid"])


def test_sixteen_that_run_one_new_experiment_get_a_version_each(sweeps, crowd, whole, tmp_path, tally):
    for number in range(ROUNDS):
        folder = tmp_path / f"new-{number}"
        folder.mkdir()
        started = crowd(sweeps.Job(str(folder), "new", replicates=REPLICATES, seed=5))
        codes = sweeps.exit_codes()
        assert codes == [0] * CROWD, [sweep.said for sweep in started]
        assert all(sweep.answer == whole for sweep in started)
        runs = list_runs(folder / "data")
        assert [(run.version, run.status) for run in runs] == [(version, "complete") for version in range(CROWD)]
        assert len({run.id for run in runs}) == CROWD
        assert {run.owner.pid for run in runs} == {sweep.pid for sweep in started}
        begun = Counter(cell for sweep in started for each in sweep.noted("begin") for cell in [each.cell])
        assert set(begun) == CELLS
        tally("16 run one new experiment at once", rounds=1, runs=CROWD, errors=0, versions_shared=0)


def test_sixteen_that_resume_one_run_compute_no_cell_twice(sweeps, crowd, whole, tmp_path, tally):
    chance = random.Random("crowds")
    row = "16 resume one run at once"
    for number in range(ROUNDS):
        folder = tmp_path / f"resumed-{number}"
        folder.mkdir()
        executor = ["serial", "thread", "process"][number % 3]
        job = sweeps.Job(str(folder), "first", executor, replicates=REPLICATES, seed=5, pause=0.01)
        (first,) = sweeps.start(job)
        while not cells_in(folder):
            time.sleep(0.005)
        first.signal(signal.SIGKILL)
        sweeps.exit_codes()
        kept = cells_in(folder)
        if number % 2:
            # Whoever is at work is killed as well, and all come once more.
            started = crowd(job._replace(name="second", strategy="resume"))
            wanted = chance.randrange(1, 8)
            while len(notes_of(started, "begin")) < wanted and not all(sweep.over for sweep in started):
                time.sleep(0.001)
            # Or was at work: on a busy machine it may be done by now.
            at_work = {each.pid for each in notes_of(started, "begin")} if executor != "process" else ()
            for sweep in started:
                if sweep.pid in at_work:
                    sweep.signal(signal.SIGKILL)
            codes = sweeps.exit_codes()
            check_crowd(started, codes, kept)
            kept = cells_in(folder)
        started = crowd(job._replace(name="third", strategy="resume"))
        codes = sweeps.exit_codes()
        check_crowd(started, codes, kept)
        done = [sweep for sweep, code in zip(started, codes, strict=True) if code == 0]
        assert done, codes
        assert all(sweep.answer == whole for sweep in done)
        assert [run.status for run in list_runs(folder / "data")] == ["complete"]
        tally(row, rounds=1, resumed=CROWD, errors=0, cells_computed_twice=0, told_who_is_at_work=codes.count(1))


def cells_in(folder):
    return {tuple(outcome.cell) for run in list_runs(folder / "data") for outcome in run.outcomes() if outcome.ok}


def notes_of(started, word):
    # All of a round write to one file, and have read what was there before.
    return started[0].noted(word)


def check_crowd(started, codes, kept):
    """Those who did not do the work were told who does, or found it done; no cell was computed twice."""
    pids = {sweep.pid for sweep in started}
    for sweep, code in zip(started, codes, strict=True):
        assert code in (0, 1, -signal.SIGKILL), sweep.said
        if code == 1:
            assert told(sweep) in pids
    begun = notes_of(started, "begin")
    assert kept.isdisjoint(each.cell for each in begun), "a stored cell was computed again"
    # What somebody was at when he was killed, and what had not been committed, is the next one's.
    killed = {sweep.pid for sweep, code in zip(started, codes, strict=True) if code == -signal.SIGKILL}
    times = Counter(each.cell for each in begun if each.pid not in killed)
    assert max(times.values(), default=0) <= 1, times
