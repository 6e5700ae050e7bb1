"""Several processes at one optimisation: one goes on with it, the others are told who that is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests import programs

from crystallize_plugins.artifacts import list_runs, open_optimization

PROCESSES = 6

PROGRAM = """
    import json, os, sys, time
    from pathlib import Path
    from crystallize import ArtifactPlugin, Experiment, Objective, Pipeline, SeedPlugin, data_source, pipeline_step
    from crystallize.errors import RunLockedError
    from crystallize_plugins.optimizers import RandomSearch, floating

    trials = int(sys.argv[1])

    @data_source
    def nothing(ctx):
        return None

    @pipeline_step()
    def fit(data, ctx, *, x=0.0):
        with open("ran.txt", "a") as file:
            file.write(f"{ctx['condition']}\\n")
        while Path("hold").exists():
            time.sleep(0.005)
        time.sleep(0.02)
        return data, {"loss": x * x}

    if __name__ == "__main__":
        experiment = Experiment(nothing(), Pipeline([fit()]), name="tuning", plugins=[SeedPlugin(1), ArtifactPlugin()])
        search = RandomSearch({"x": floating(-1.0, 1.0)}, Objective("loss"), seed=3, batch_size=2)
        print("ready", flush=True)
        while not Path("go").exists():
            time.sleep(0.001)
        try:
            experiment.optimize(search, trials, strategy="resume")
        except RunLockedError as error:
            print(json.dumps({"host": error.host, "pid": error.pid, "path": error.path, "text": str(error)}))
        else:
            print(json.dumps({"replayed": experiment.last_optimization.replayed}))
"""


@pytest.fixture
def start(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    started = []

    def make(trials):
        process = programs.popen(
            [sys.executable, str(script), str(trials)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield make
    for process in started:
        process.kill()
        process.communicate()


def said(process):
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return json.loads(out.splitlines()[-1])


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ran():
    return Path("ran.txt").read_text().splitlines() if Path("ran.txt").exists() else []


def test_whoever_comes_second_is_told_who_is_at_work(start):
    Path("go").touch()
    said(start(2))
    Path("hold").touch()
    first = start(4)
    wait_for(lambda: len(ran()) == 5)
    told = said(start(4))
    assert told["pid"] == first.pid
    assert told["path"] == str(Path("data/tuning/v0").absolute())
    assert f"process {first.pid} on {told['host']} has been working on it since 20" in told["text"]
    Path("hold").unlink()
    assert said(first)["replayed"] == 4
    assert said(start(4))["replayed"] == 8
    assert len(open_optimization("data/tuning/v0").trials) == 8


@pytest.mark.parametrize("killed", [False, True], ids=["finished", "killed"])
def test_of_many_that_go_on_at_once_one_does_and_no_cell_runs_twice(start, killed):
    Path("go").touch()
    if killed:
        first = start(6)
        wait_for(lambda: any(len(run.outcomes()) > 3 for run in list_runs()))
        Path("hold").touch()
        first.kill()
        first.communicate()
        Path("hold").unlink()
    else:
        said(start(3))
    before = len(ran())
    Path("go").unlink()
    several = [start(6) for _ in range(PROCESSES)]
    for process in several:
        assert process.stdout.readline() == "ready\n"
    Path("go").touch()
    answers = [said(process) for process in several]
    assert any("replayed" in answer for answer in answers)
    for answer in answers:
        assert "replayed" in answer or answer["pid"] in [process.pid for process in several], answer
    (run,) = list_runs()
    assert run.status == "complete"
    assert len(open_optimization(run.path).trials) == 12
    # Of the first process at most the cells that were running or in the last group ran again.
    again = ran()[before:]
    assert len(again) == len(set(again)) <= 12 - before + 2
    assert os.getpid() not in [answer.get("pid") for answer in answers]
