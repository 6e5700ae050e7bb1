"""Jobs that are preempted, killed or out of time, and coordinators that are killed or interrupted: no cell is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
from tests import programs

from crystallize import pipeline_step
from crystallize.errors import WorkerCrashError
from crystallize_plugins.execution import SlurmExecution

SWEEP = """
import os, sys, time
from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step
from crystallize_plugins.execution import SlurmExecution

@data_source
def here(ctx):
    return {here!r}

@pipeline_step()
def note(data, ctx, *, scale=1):
    with open(os.path.join(data, "ran"), "a") as file:
        file.write(f"{{ctx['condition']}} {{ctx['replicate']}}\\n")
    time.sleep({seconds})
    return data, {{"drawn": float(ctx.rng.normal()) * scale{more}}}

experiment = Experiment(
    here(), Pipeline([note()]), treatments=[Treatment("scaled", {{"scale": {scale}}})], name="sweep", replicates=8,
    plugins=[SeedPlugin(seed=5), ArtifactPlugin(), SlurmExecution(2, poll=0.3, {settings})],
)
result = experiment.run(strategy=sys.argv[1])
print(result.provenance["execution"]["jobs"])
print(result.metrics.baseline.metrics["drawn"], result.metrics.treatments["scaled"].metrics["drawn"])
print(result.errors, len(result.provenance["execution"]["jobs"]))
"""


@pytest.fixture
def sweep(slurm, tmp_path):
    """Start a program that runs sixteen cells in two jobs, each of which writes down that it ran."""
    started = []

    def start(strategy="rerun", *, seconds=0.5, scale=3, more="", settings=""):
        text = SWEEP.format(here=str(tmp_path), seconds=seconds, scale=scale, more=more, settings=settings)
        Path("sweep.py").write_text(textwrap.dedent(text))
        process = programs.popen(
            [sys.executable, "sweep.py", strategy], cwd=tmp_path, env=dict(os.environ), text=True,
            stdout=programs.subprocess.PIPE, stderr=programs.subprocess.STDOUT,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ran():
    """Give how often each cell has begun."""
    path = Path("ran")
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


def test_jobs_go_on_without_their_coordinator_and_a_run_that_resumes_takes_them_up(slurm, sweep):
    first = sweep()
    slurm.until(lambda: len(ran()) >= 3, "no cell runs")
    first.kill()
    first.wait()
    begun = len(ran())
    slurm.until(lambda: len(ran()) >= begun + 3, "the jobs have not gone on")
    second = sweep("resume")
    out, _ = second.communicate(timeout=120)
    assert second.returncode == 0, out
    assert len(ran()) == 16
    assert set(ran().values()) == {1}, "a cell ran twice"
    assert out.splitlines()[-1] == "{} 2", "the two jobs that were there have done it all"


def test_nothing_of_changed_code_is_taken_up(slurm, sweep):
    first = sweep()
    slurm.until(lambda: len(ran()) >= 4, "no cell runs")
    first.kill()
    first.wait()
    slurm.until(lambda: len(ran()) >= 6, "the jobs have not gone on")
    second = sweep("resume", more=" + 100", seconds=0.01)
    out, _ = second.communicate(timeout=120)
    assert second.returncode == 0, out
    numbers = [float(each) for each in re.findall(r"-?\d+\.\d+", out.splitlines()[-2])]
    assert len(numbers) == 16
    assert all(number > 50 for number in numbers)


def test_of_a_changed_treatment_the_other_cells_are_taken_up(slurm, sweep):
    first = sweep()
    slurm.until(lambda: len(ran()) >= 4, "no cell runs")
    first.kill()
    first.wait()
    second = sweep("resume", scale=-3)
    out, _ = second.communicate(timeout=120)
    assert second.returncode == 0, out
    assert {count for cell, count in ran().items() if cell.startswith("baseline")} == {1}
    baseline, scaled = (json.loads(each + "]") for each in out.splitlines()[-2].split("]")[:2])
    assert [-3 * number for number in baseline] == scaled


def test_a_preempted_job_goes_on_when_it_is_requeued(slurm, sweep):
    process = sweep(seconds=0.7, settings="sbatch={'exclusive': True}")
    slurm.until(lambda: len(ran()) >= 4, "no cell runs")
    slurm.say("sbatch", "--wait", "-p", "urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap", "true")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert len(ran()) == 16
    assert sum(ran().values()) <= 16 + 2, "more than the cell that each job was at"
    assert out.splitlines()[-1].startswith("{} ")
    assert "'restarts': 1" in out


def test_ctrl_c_cancels_the_jobs(slurm, sweep):
    process = sweep(seconds=30)
    slurm.until(lambda: len(ran()) == 2, "no cell runs")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    slurm.until(lambda: not slurm.queue(), "jobs are left")  # long before the cells would have ended
    assert process.returncode
    assert len(ran()) == 2, "another cell was begun"


def test_ctrl_c_leaves_the_jobs_where_that_is_wanted(slurm, sweep):
    process = sweep(seconds=0.5, settings="on_interrupt='leave'")
    slurm.until(lambda: len(ran()) >= 2, "no cell runs")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode
    slurm.until(lambda: len(ran()) == 16, "the jobs have not gone on")
    second = sweep("resume")
    resumed, _ = second.communicate(timeout=60)
    assert second.returncode == 0, resumed
    assert set(ran().values()) == {1}


@pipeline_step()
def kill_job(data, ctx, *, folder=""):
    if ctx["replicate"] == 1:
        with (Path(folder) / "tries").open("a") as file:
            file.write("x")
        for name in Path("/proc").iterdir():  # the job's process and its shell: nobody can say goodbye
            if name.name.isdigit() and b"execution.slurm.job" in _command(name):
                mine = dict(each.partition("=")[::2] for each in _environment(name))
                if mine.get("SLURM_JOB_ID") == _own().get("SLURM_JOB_ID"):
                    os.kill(int(name.name), signal.SIGKILL)
        time.sleep(30)
    return data, {"one": 1}


def _command(process):
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def _environment(process):
    try:
        return (process / "environ").read_bytes().decode().split("\0")
    except OSError:
        return []


def _own():
    return dict(each.partition("=")[::2] for each in Path("/proc/self/environ").read_bytes().decode().split("\0"))


def test_a_cell_that_costs_its_job_fails_and_no_other_does(slurm, build, tmp_path):
    executor = SlurmExecution(2, poll=0.3, max_losses=1)
    result = build(kill_job(folder=str(tmp_path)), plugins=[executor]).run(replicates=6)
    assert result.metrics.baseline.metrics["one"].replicates == [0, 2, 3, 4, 5]
    (error,) = result.errors.values()
    assert isinstance(error.__cause__, WorkerCrashError)
    assert (tmp_path / "tries").read_text() == "xx"
    assert result.provenance["execution"]["losses"] == 2


@pipeline_step()
def wait(data, ctx):
    time.sleep(3)
    return data, {"one": 1}


def test_a_job_begins_no_cell_that_does_not_fit_its_time(slurm, build):
    # What newer releases of SLURM say by themselves; a limit counts whole minutes.
    said = "export SLURM_JOB_END_TIME=$(( $(date +%s) + 8 ))"
    executor = SlurmExecution(1, poll=0.3, setup=[said])
    result = build(wait(), plugins=[executor]).run(replicates=2)
    assert not result.errors
    facts = result.provenance["execution"]
    assert len(facts["jobs"]) == 2
    assert facts["losses"] == 0
