"""Stopped by Ctrl-C, by a second one, or by SIGTERM: in time, and resumed, it goes on where it was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from crystallize_plugins.artifacts import list_runs

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
TIMES = 25 if SOAK else 1
EXECUTORS = ["serial", "thread", "process", "async"]
STOPS = {
    "ctrl-c": [signal.SIGINT],
    "twice ctrl-c": [signal.SIGINT, signal.SIGINT],
    "term": [signal.SIGTERM],
}
REPLICATES = 12

pytestmark = pytest.mark.timeout(600 if SOAK else 90)


@pytest.fixture
def slowness():
    """Say how many times as long as usual things take: others may be at work on the machine."""

    def measure():
        began = time.monotonic()
        subprocess.run([sys.executable, "-I", "-c", "import json"], check=True)
        return max(1.0, (time.monotonic() - began) / 0.05)

    return measure


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("how", STOPS)
def test_a_stopped_run_is_resumed_where_it_was(how, executor, sweeps, tmp_path, gone_within, tally, slowness):
    chance = random.Random(f"{how} {executor}")
    row = f"{how}, {executor}"
    waits = executor == "async"
    (tmp_path / "whole").mkdir()
    whole = sweeps.finish(sweeps.Job(str(tmp_path / "whole"), "whole", replicates=REPLICATES, seed=3, waits=waits))
    for number in range(TIMES):
        folder = tmp_path / str(number)
        folder.mkdir()
        job = sweeps.Job(
            str(folder), "stopped", executor, "resume", REPLICATES, 3, chance.random() < 0.5, pause=0.02, waits=waits
        )
        (sweep,) = sweeps.start(job)
        # Any number of cells, so that it may as well be stopped before the first and after the last.
        wanted = chance.randrange(38) if number else 9
        while not sweep.over and (sweep.count("end") < wanted or "starts" not in sweep.said):
            time.sleep(0.001)
        time.sleep(chance.random() * 0.03)
        began = time.monotonic()
        for again in STOPS[how]:
            if again is not STOPS[how][0]:
                time.sleep(0.1)
            last = time.monotonic()
            if not sweep.over:
                os.killpg(sweep.pid, again)
        # Beside the half second for the second one there is the interpreter's own end.
        limit = 1 if how == "twice ctrl-c" else 2
        assert sweep.wait(limit * slowness()) or sweep.has_answered, sweep.said
        seconds = time.monotonic() - last
        (code,) = sweeps.exit_codes()
        tally(row, most=True, seconds_to_stop=round(seconds, 2))
        # Where it comes after the run, it meets the interpreter at its own end.
        assert code in ((0, -signal.SIGTERM) if how == "term" else (0, 130, -signal.SIGINT)), sweep.said
        assert gone_within(5, sweep.pid)
        ended = {each.cell for each in sweep.noted("end") if each.time < began}
        runs = list_runs(folder / "data")
        stored = {tuple(outcome.cell) for run in runs for outcome in run.outcomes() if outcome.ok}
        if code == 0 or len(stored) < 3 * REPLICATES - 1:
            assert {run.status for run in runs} <= {"complete" if code == 0 else "interrupted"}
        again = sweeps.finish(job._replace(name="again", stream=False, pause=0.0))
        begun = [each.cell for each in again.noted("begin")]
        assert stored.isdisjoint(begun)
        if how != "term":
            # The last thing that a cell does is to note its end; in the main thread Ctrl-C may come before it is over.
            lost = ended.intersection(begun)
            assert len(lost) <= (executor in ("serial", "async")), (lost, job, sweep.said)
        assert len(begun) == len(set(begun))
        assert again.answer == whole.answer
        tally(row, stopped=1, resumed=1, orphans=0, finished_and_run_again=len(ended & set(begun)))
