"""Who may write to a run: one process, and nobody has to unlock anything after it has died."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests import programs

from crystallize.errors import RunLockedError, StoreError
from crystallize_plugins.artifacts import list_runs, open_run

PROGRAM = """
    import json, os, sys, time
    from pathlib import Path
    from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step
    from crystallize.errors import RunLockedError

    @data_source
    def numbers(ctx):
        return [1, 2, 3]

    @pipeline_step()
    def score(data, ctx, *, delta=0.0):
        with open(f"ran-{ctx['condition']}-{ctx['replicate']}", "ab") as file:
            file.write(b"x")
        while Path("hold").exists() and ctx["replicate"] == 1:
            time.sleep(0.005)
        ctx.metrics.add("score", sum(data) + delta + ctx.rng.random())
        return data

    experiment = Experiment(
        numbers(), Pipeline([score()]), plugins=[SeedPlugin(seed=1), ArtifactPlugin()], default_plugins=False,
        name="exp", treatments=[Treatment("more", {"delta": float(os.environ.get("DELTA", 1))})],
    )
    if __name__ == "__main__":
        while Path("wait").exists():
            time.sleep(0.001)
        try:
            result = experiment.run(replicates=int(sys.argv[1]), strategy=sys.argv[2])
        except RunLockedError as error:
            print(json.dumps({"locked": [error.host, error.pid, error.started, error.path, str(error)]}))
        else:
            resume = result.provenance.get("resume")
            print(json.dumps({"version": result.provenance["run"]["version"], "kept": resume and resume["kept"],
                              "scores": result.metrics.baseline.metrics["score"]}))
"""


@pytest.fixture
def start():
    """Start the program; give the process."""
    Path("program.py").write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    started = []

    def begin(replicates, strategy, **environment):
        process = programs.popen(
            [sys.executable, "program.py", str(replicates), strategy],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def told(process):
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return json.loads(out)


def until(condition, seconds=60):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.002)


def runs_of_cells():
    return {path.name: path.stat().st_size for path in Path().glob("ran-*")}


def test_who_is_writing_where_and_since_when_is_told(start):
    Path("hold").touch()
    first = start(3, "rerun")
    until(lambda: Path("ran-baseline-1").exists())
    second = told(start(3, "resume"))
    host, pid, started, path, message = second["locked"]
    assert pid == first.pid
    assert path == str(Path("data/exp/v0").absolute())
    assert abs(started - time.time()) < 600
    for word in (host, str(pid), path, "since", "rerun"):
        assert word in message
    Path("hold").unlink()
    told(first)
    assert told(start(3, "resume")) == {"version": 0, "kept": 6, "scores": told(start(3, "rerun"))["scores"]}


def test_after_a_kill_the_same_command_finishes_the_work(start):
    Path("hold").touch()
    first = start(4, "resume")
    # Cells are committed in groups: on a busy machine one of the two may be in the store before the other.
    until(lambda: Path("ran-baseline-1").exists() and len(list_runs(experiment="exp")[0].outcomes()) == 2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert list_runs(experiment="exp")[0].status == "interrupted"
    Path("hold").unlink()
    again = told(start(4, "resume"))
    assert (again["version"], again["kept"]) == (0, 2)
    whole = told(start(4, "rerun"))
    assert again["scores"] == whole["scores"]


def test_a_kill_right_after_the_takeover_leaves_no_lock(start, build):
    told(start(2, "rerun"))
    Path("hold").touch()
    for path in Path().glob("ran-*"):
        path.unlink()
    os.environ.pop("DELTA", None)
    second = start(6, "resume")  # its first new cells are of replicate 2: nothing holds them
    until(lambda: Path("ran-baseline-2").exists())
    second.send_signal(signal.SIGKILL)
    second.wait()
    Path("hold").unlink()
    third = told(start(6, "resume"))
    assert third["kept"] >= 4
    assert third["version"] == 0
    assert len(third["scores"]) == 6


@pytest.mark.parametrize("delta", ["1", "2"], ids=["in place", "next version"])
def test_of_many_that_resume_at_once_one_computes_and_the_others_are_told(start, delta):
    told(start(1, "rerun"))
    for path in Path().glob("ran-*"):
        path.unlink()
    Path("wait").touch()
    Path("hold").touch()
    crowd = [start(3, "resume", DELTA=delta) for _ in range(4)]
    time.sleep(1.5)
    Path("wait").unlink()
    until(lambda: sum(process.poll() is not None for process in crowd) == 3)
    Path("hold").unlink()
    answers = [told(process) for process in crowd]
    (winner,) = [answer for answer in answers if "locked" not in answer]
    (pid,) = {answer["locked"][1] for answer in answers if "locked" in answer}
    assert pid in {process.pid for process in crowd}
    assert set(runs_of_cells().values()) == {1}
    later = told(start(3, "resume", DELTA=delta))
    assert later["kept"] == 6
    assert (later["version"], later["scores"]) == (winner["version"], winner["scores"])
    assert [run.version for run in list_runs(experiment="exp")] == [0] if delta == "1" else [0, 1]


def test_of_many_that_resume_what_never_ran_one_computes(start):
    Path("wait").touch()
    Path("hold").touch()
    crowd = [start(2, "resume") for _ in range(4)]
    time.sleep(1.5)
    Path("wait").unlink()
    until(lambda: sum(process.poll() is not None for process in crowd) == 3)
    Path("hold").unlink()
    answers = [told(process) for process in crowd]
    assert sum("locked" in answer for answer in answers) == 3
    assert set(runs_of_cells().values()) == {1}
    assert [run.version for run in list_runs(experiment="exp")] == [0]


def test_new_runs_at_once_get_a_version_each(start):
    Path("wait").touch()
    crowd = [start(2, "rerun") for _ in range(4)]
    time.sleep(1.0)
    Path("wait").unlink()
    assert sorted(told(process)["version"] for process in crowd) == [0, 1, 2, 3]


def test_a_run_of_this_process_that_is_under_way_is_locked_for_others_here(build):
    stream = build().stream(replicates=3)
    next(stream)
    with pytest.raises(RunLockedError) as caught:
        build().run(replicates=3, strategy="resume")
    assert caught.value.pid == os.getpid()
    stream.close()
    assert len(build().run(replicates=3, strategy="resume").metrics.baseline.metrics["sum"]) == 3


def test_the_error_travels_between_processes():
    import pickle

    error = RunLockedError("locked", host="here", pid=1, started=2.0, path="data/exp/v0")
    copied = pickle.loads(pickle.dumps(error))
    assert (str(copied), copied.host, copied.pid, copied.started, copied.path) == (
        "locked", "here", 1, 2.0, "data/exp/v0",
    )  # fmt: skip


def test_a_copy_of_a_run_that_is_written_is_nobodys(build):
    stream = build().stream(replicates=3)
    next(stream)
    shutil.copytree("data", "copied")
    assert list_runs("data")[0].status == "running"
    assert list_runs("copied")[0].status == "interrupted"
    stream.close()


def test_a_run_cut_short_on_another_host_goes_on_here(build, ran, monkeypatch):
    build().run(replicates=2)
    real = list_runs(experiment="exp")[0].owner
    with sqlite3.connect("data/exp/v0/run.db") as source:
        names = "id, run, host, pid, process, started, ended, stopped_by"
        row = source.execute(f"SELECT {names} FROM session").fetchone()
        from crystallize_plugins.artifacts.database.schema import seal

        row = (row[0], row[1], "another-host", 17, "another kernel", row[5], None, None)
        source.execute("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, seal(*row)))
    source.close()
    os.utime("data/exp/v0/run.json")
    with pytest.raises(RunLockedError, match="process 17 on another-host"):
        build().run(replicates=3, strategy="resume")
    os.utime("data/exp/v0/run.json", (1, 1))  # it has not shown for long that it is alive
    ran()
    build().run(replicates=3, strategy="resume")
    assert ran() == ["baseline_rep_2", "more_rep_2"]
    assert list_runs(experiment="exp")[0].owner == real


def test_a_damaged_run_is_named_and_not_taken_for_a_missing_one(build):
    build().run(replicates=2)
    path = Path("data/exp/v0/run.db")
    content = bytearray(path.read_bytes())
    content[: len(content) // 2] = bytes(len(content) // 2)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"v0.run\.db"):
        build().run(replicates=2, strategy="resume")
    assert build().run(replicates=2).provenance["run"]["version"] == 1


def test_a_disk_that_is_full_at_the_takeover_leaves_the_run_as_it_was(build, ran, monkeypatch):
    from crystallize_plugins.artifacts import operations

    build().run(replicates=2)
    ran()

    def full(connection):
        raise OSError(28, "No space left on device", "data/exp/v0/run.db")

    with monkeypatch.context() as patch:
        patch.setattr(operations, "commit", full)
        with pytest.raises(StoreError, match="No space left"):
            build().run(replicates=3, strategy="resume")
    assert not ran()
    assert len(open_run("data/exp/v0").metrics.baseline.metrics["sum"]) == 2
    build().run(replicates=3, strategy="resume")
    assert ran() == ["baseline_rep_2", "more_rep_2"]
