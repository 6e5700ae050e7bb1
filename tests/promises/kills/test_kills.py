"""The program is killed with -9 at any moment, again and again: the same command finishes it, with the same bytes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time

import pytest

from crystallize_plugins.artifacts import list_runs

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
EXECUTORS = ["serial", "thread", "process"]
KILLS = 500 if SOAK else 10
"""Of each executor."""
REPLICATES = 16
CELLS = {(condition, replicate) for condition in ("baseline", "early", "late") for replicate in range(REPLICATES)}
DOOMED = {("late", replicate) for replicate in range(REPLICATES) if replicate % 7 == 6}
"""They fail whatever is done, and so are run again whenever there is a chance."""
JUST_NOW = 5.0
"""Seconds before a kill in which a cell may have ended in vain. What it gave waits 5 ms to be sent and 5 ms to be
committed; the first commit has a database to make, and a busy machine takes its time."""
FILES = [f"v*/{name}" for name in ("run.json", "run.db", "run.db-wal", "replicate_3", "late/results.json")]

pytestmark = pytest.mark.timeout(1800 if SOAK else 120)


class Moment:
    """When to kill: after some time, once so many cells have begun or were shown, or once a file is there."""

    def __init__(self, chance, *, files=FILES, kinds=("time", "begin", "begin", "shown", "file")):
        self.kind = chance.choice(kinds)
        self.value = {
            "time": chance.uniform(0, 0.3),
            "begin": chance.randrange(1, len(CELLS)),
            "shown": chance.randrange(1, len(CELLS)),
            "file": chance.choice(files),
        }[self.kind]
        self.delay = chance.random() ** 3 * 0.02

    def come(self, sweep):
        if self.kind == "time":
            return time.monotonic() - sweep.started >= self.value
        if self.kind == "shown" and sweep.job.stream:
            return sweep.count("shown") >= self.value
        if self.kind == "file":
            return any((sweep.folder / "data" / "sweep").glob(self.value))
        return sweep.count("begin") >= self.value

    def wait(self, sweep):
        limit = time.monotonic() + 30
        while not self.come(sweep) and not sweep.over:
            assert time.monotonic() < limit, f"{self.kind} {self.value}: {sweep.said}"
            time.sleep(0.001)
        time.sleep(self.delay)


def kill(sweeps, moment, job):
    """Start a job and kill it at a moment; give it and its exit code."""
    (sweep,) = sweeps.start(job)
    moment.wait(sweep)
    sweep.signal(signal.SIGKILL)
    (code,) = sweeps.exit_codes()
    assert code in (0, -signal.SIGKILL), sweep.said
    return sweep, code


def stored_cells(folder, expected=("complete", "interrupted")):
    """Give the cells of the newest run that holds any, and whether each succeeded; read it all, as whoever looks."""
    for run in reversed(list_runs(folder / "data")):
        # Without an identifier it was killed, or is, before it could say who is at work on it.
        assert run.status in expected if run.id else run.status == "interrupted"
        states = {tuple(outcome.cell): outcome.ok for outcome in run.outcomes()}
        if states:
            run.result()
            return states
    return {}


def look_after_a_kill(sweep, before, seen, tally, gone_within):
    """Check what a kill has left; give the cells that are stored."""
    killed = time.monotonic()
    job, noted = sweep.job, sweep.noted()
    stored = stored_cells(sweep.folder)
    seen.update(sweep.shown)
    kept = {cell for cell, succeeded in before.items() if succeeded}
    begun = [each.cell for each in noted if each.word == "begin"]
    lost = {cell for cell, succeeded in seen.items() if stored.get(cell) is not succeeded}
    gone = {cell for cell in kept if not stored.get(cell)}
    again = kept.intersection(begun)
    vain = {each.cell: killed - each.time for each in noted if each.word == "end" and each.cell not in stored}
    orphans = 0 if gone_within(5, sweep.pid) else 1
    row = f"kill -9 of the main, {job.executor}"
    tally(row, killed=1, shown=len(sweep.shown), shown_and_lost=len(lost), stored_and_lost=len(gone))
    tally(row, stored_and_run_again=len(again), orphans=orphans, ended_uncommitted=len(vain))
    assert not lost, "an outcome that was shown is lost"
    assert not gone, "an outcome that was stored is lost"
    assert not again, "a cell that was stored was run again"
    assert not orphans
    assert len(begun) == len(set(begun)), "a cell was begun twice in one run"
    assert all(age < JUST_NOW for age in vain.values()), vain
    if job.executor == "serial" and job.stream:
        assert len(vain) <= 1
    if begun and before:
        tally(row, most=True, seconds_to_resume=round(noted[0].time - sweep.started, 2))
        assert noted[0].time - sweep.started < 2
    return stored


@pytest.fixture
def finished(sweeps, tmp_path):
    """Give the digest of an uninterrupted serial run with a seed."""
    answers = {}

    def digest(seed):
        if seed not in answers:
            folder = tmp_path / f"whole-{seed}"
            folder.mkdir()
            answers[seed] = sweeps.finish(sweeps.Job(str(folder), "whole", seed=seed, replicates=REPLICATES)).answer
        return answers[seed]

    return digest


@pytest.mark.parametrize("executor", [*EXECUTORS, "async"])
def test_all_that_has_ended_is_stored_while_others_take_their_time(executor, sweeps, finished, tmp_path, tally):
    job = sweeps.Job(str(tmp_path), "long", executor, "resume", REPLICATES, 11, stuck_from=3, pause=0.001)
    (sweep,) = sweeps.start(job)
    limit = time.monotonic() + 30
    while sweep.count("end") < 9 or len(stored_cells(tmp_path, ("running",))) < 9:
        assert time.monotonic() < limit, sweep.said
        time.sleep(0.01)
    sweep.signal(signal.SIGKILL)
    sweeps.exit_codes()
    last = sweeps.finish(job._replace(name="short", stuck_from=100, pause=0.0))
    assert {each.cell for each in last.noted("begin")} == {cell for cell in CELLS if cell[1] >= 3}
    assert last.answer == finished(11)


def test_a_run_can_be_read_at_every_moment_of_its_first_and_its_second_life(sweeps, finished, tmp_path, tally):
    row = "a run is read while it is written, killed and resumed"
    for number in range(40 if SOAK else 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        job = sweeps.Job(str(folder), "read", "serial", "resume", REPLICATES, 11, pause=0.002)
        known, looks = {}, 0
        for wanted in (10, 20, None):
            (sweep,) = sweeps.start(job)
            while not sweep.over:
                if list_runs(folder / "data"):
                    stored = stored_cells(folder, ("running", "complete", "interrupted"))
                    assert known.items() <= stored.items()
                    known, looks = stored, looks + 1
                if wanted is not None and sweep.count("begin") >= wanted:
                    sweep.signal(signal.SIGKILL)
            sweeps.exit_codes()
        assert sweep.answer == finished(11)
        tally(row, runs=1, looks=looks, unreadable=0)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_program_that_is_killed_again_and_again_finishes_with_the_same_bytes(
    executor, sweeps, finished, tmp_path, tally, gone_within
):
    chance = random.Random(f"kills {executor}")
    row = f"kill -9 of the main, {executor}"
    kills = chains = 0
    while kills < KILLS:
        chains += 1
        folder = tmp_path / f"chain-{chains}"
        folder.mkdir()
        job = sweeps.Job(
            str(folder),
            "sweep",
            executor,
            chance.choice(["rerun", "resume"]),
            chance.choice([REPLICATES // 2, REPLICATES]),
            chance.choice([None, 11]),
            chance.random() < 0.5,
            chance.choice([0.0, 0.001, 0.004]),
            versioned=chance.random() < 0.8,
        )
        stored, seen = {}, {}
        for _ in range(min(chance.randrange(1, 6), KILLS - kills)):
            sweep, code = kill(sweeps, Moment(chance), job)
            if code == 0:
                break  # it was done before the moment came
            kills += 1
            stored = look_after_a_kill(sweep, stored, seen, tally, gone_within)
            if stored:
                job = job._replace(strategy="resume", replicates=REPLICATES)
        before = stored_cells(folder)
        job = job._replace(strategy="resume", replicates=REPLICATES, stream=False, pause=0.0)
        last = sweeps.finish(job)
        begun = [each.cell for each in last.noted("begin")]
        assert len(begun) == len(set(begun))
        assert set(begun) == CELLS - {cell for cell, succeeded in before.items() if succeeded}
        # A program that was killed before it could say anything leaves an empty folder.
        run = [run for run in list_runs(folder / "data") if run.id][-1]
        assert run.status == "complete"
        identical = last.answer == finished(run.seed)
        tally(row, resumed_to_the_end=1, identical=int(identical))
        assert identical
        shutil.rmtree(folder)


def test_a_kill_while_what_is_valid_moves_to_the_next_version_loses_none_of_it(
    sweeps, finished, tmp_path, tally, gone_within
):
    chance = random.Random("next version")
    row = "kill -9 while a next version is made"
    kept = {(condition, replicate) for condition in ("baseline", "early") for replicate in range(REPLICATES)}
    expected = None
    for number in range(100 if SOAK else 3):
        folder = tmp_path / f"moved-{number}"
        folder.mkdir()
        job = sweeps.Job(str(folder), "sweep", "serial", "resume", REPLICATES, 11)
        whole = sweeps.finish(job).answer
        assert whole == finished(11)
        changed = job._replace(late=7.5, pause=0.002)
        moments = ("v1", "v1/run.json", "v1/run.db", "v1/run.db-wal", "v1/replicate_0", "v1/replicate_9")
        for _ in range(2):
            moment = Moment(chance, files=moments, kinds=("file", "file", "begin"))
            sweep, code = kill(sweeps, moment, changed)
            assert kept.isdisjoint(each.cell for each in sweep.noted("begin"))
            assert gone_within(5, sweep.pid)
            tally(row, killed=int(code != 0))
        last = sweeps.finish(changed)
        assert kept.isdisjoint(each.cell for each in last.noted("begin"))
        if expected is None:
            (tmp_path / "changed").mkdir()
            expected = sweeps.finish(changed._replace(folder=str(tmp_path / "changed"))).answer
        assert last.answer == expected
        # The version before is as it was, and all that lies there.
        first = list_runs(folder / "data")[0]
        assert (first.version, first.status) == (0, "complete")
        assert sweeps.digest(first.result()) == whole
        tally(row, resumed_to_the_end=1, valid_cells_run_again=0)
        shutil.rmtree(folder)
