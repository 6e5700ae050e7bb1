"""A process that is killed with -9 at any moment loses nothing that was shown."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from tests import programs

from crystallize_plugins.artifacts import list_runs, open_run

SCRIPT = """
    import sys, time
    from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step

    @data_source
    def source(ctx):
        return ctx["replicate"]

    @pipeline_step()
    def work(data, ctx, *, delta=0):
        time.sleep(0.0005)
        ctx.record("value", data * 1000 + delta)
        if data % 3 == 0:
            ctx.artifacts.add("part.bin", bytes([data % 251]) * (delta + 1) * 1000)
        if data % 7 == 6:
            raise ValueError(f"replicate {data} fails")
        return data

    experiment = Experiment(
        source(), Pipeline([work()]), [SeedPlugin(seed=1), ArtifactPlugin()],
        name="exp", treatments=[Treatment("t", {"delta": 5})],
    )
    replicates = int(sys.argv[1])
    print("ready", flush=True)
    for outcome in experiment.stream(replicates=replicates):
        print(outcome.cell.condition, outcome.cell.replicate, outcome.ok, flush=True)
    print("done", flush=True)
"""

REPLICATES = 400


@pytest.fixture
def start(tmp_path):
    """Start the experiment in a process of its own."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def make(replicates=REPLICATES, popen=programs.popen):
        return popen(
            [sys.executable, str(script), str(replicates)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    return make


def check_against(shown, result, folder):
    """Everything that was shown is stored, and everything stored is right."""
    ran = {condition: list(cells) for condition, cells in result.provenance["ctx_changes"].items()}
    cells = {(condition, replicate) for condition, replicates in ran.items() for replicate in replicates}
    assert set(shown) <= cells
    for (condition, replicate), succeeded in shown.items():
        assert (f"{condition}_rep_{replicate}" in result.errors) is not succeeded
    for condition, delta in (("baseline", 0), ("t", 5)):
        metrics = result.metrics.baseline if condition == "baseline" else result.metrics.treatments.get(condition)
        values = metrics.metrics.get("value", []) if metrics else []
        for replicate, value in zip(getattr(values, "replicates", []), values, strict=True):
            assert value == replicate * 1000 + delta
        seeds = result.provenance["seeds"].get(condition, [])
        assert seeds == [1 + 31337 * replicate for replicate in ran.get(condition, [])]
    files = {(entry["condition"], entry["replicate"]): entry for entry in result.provenance["artifacts"]}
    for condition, replicate in cells:
        if replicate % 3 == 0 and f"{condition}_rep_{replicate}" not in result.errors:
            entry = files[condition, replicate]
            data = Path(entry["path"]).read_bytes()
            assert len(data) == entry["size"] == 1000 * (6 if condition == "t" else 1)
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
    assert folder == result.provenance["run"]["folder"]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_keeps_what_it_had_shown(start):
    chance = random.Random(20240607)
    for version in range(6):
        process = start()
        assert process.stdout.readline() == "ready\n"
        # Every third one at its very beginning, the others in the middle.
        lines = [process.stdout.readline() for _ in range(chance.randrange(200) if version % 3 else 0)]
        time.sleep(chance.random() * 0.03)
        process.send_signal(signal.SIGKILL)
        # What was written before the kill is in the pipe; a last line may be cut off.
        lines += [line for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
        shown = {
            (condition, int(replicate)): succeeded == "True"
            for condition, replicate, succeeded in (line.split() for line in lines if line != "done\n")
        }
        runs = list_runs()
        if len(runs) == version:
            # Killed before it took a folder: nothing was shown, and nothing is there.
            assert not shown
            Path(f"data/exp/v{version}").mkdir(parents=True)
            continue
        run = runs[-1]
        assert run.status == ("complete" if "done\n" in lines else "interrupted")
        if run.id:
            check_against(shown, run.result(), str(run.path))


@pytest.mark.slow
def test_after_a_kill_the_same_command_just_runs(start):
    for _ in range(3):
        process = start()
        for _ in range(20):
            process.stdout.readline()
        process.kill()
        process.communicate()
    process = start(10)
    out, _ = process.communicate(timeout=120)
    assert out.endswith("done\n")
    assert [run.status for run in list_runs()] == ["interrupted"] * 3 + ["complete"]
    assert len(open_run("data/exp/v3").provenance["ctx_changes"]["t"]) == 10


def test_an_interrupted_run_says_so_the_moment_it_is_looked_at(start):
    process = start(
        100_000, popen=subprocess.Popen
    )  # a child of this process, which is to see it dead and not waited for
    for _ in range(10):
        process.stdout.readline()
    (run,) = list_runs()
    assert (run.status, run.owner.pid) == ("running", process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert run.status == list_runs()[0].status == "interrupted"
    process.communicate()


def test_a_run_that_is_interrupted_from_the_keyboard_keeps_what_it_had_shown(start):
    process = start(100_000)
    lines = [process.stdout.readline() for _ in range(20)][1:]
    process.send_signal(signal.SIGINT)
    lines += process.communicate(timeout=60)[0].splitlines()
    (run,) = list_runs()
    assert run.status == "interrupted"
    # In a step, or between two of them, in the loop that reads the stream.
    assert run.metadata["run"]["stopped_by"] in {"KeyboardInterrupt", "GeneratorExit"}
    shown = {(condition, int(replicate)) for condition, replicate, _ in map(str.split, lines)}
    assert shown <= {tuple(outcome.cell) for outcome in run.outcomes()}
    assert Path("data/exp/v0/t/results.json").exists()


LIMITED = """
    import resource, signal, sys
    from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, data_source, pipeline_step
    from crystallize.errors import StoreError

    @data_source
    def source(ctx):
        return ctx["replicate"]

    @pipeline_step()
    def work(data, ctx, *, file_size, values):
        ctx.record("value", data)
        if data == 2:
            ctx.artifacts.add("big.bin", bytes(file_size))
            for number in range(values):
                ctx.record("many", number * 0.1)
        return data

    def experiment(name, **context):
        return Experiment(source(), Pipeline([work()]), [SeedPlugin(seed=1), ArtifactPlugin()], name=name,
                          initial_ctx=context)

    experiment("warm", file_size=1, values=1).run()
    # No file may grow beyond this: what a full disk or a quota does to a writer.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    stream = experiment("exp", file_size=int(sys.argv[1]), values=int(sys.argv[2])).stream(replicates=4)
    try:
        for outcome in stream:
            print(outcome.cell.replicate, flush=True)
    except StoreError as error:
        print(type(error).__name__, error.path, error, sep="\\n")
        print(error.result.metrics.baseline.metrics["value"])
"""


@pytest.mark.parametrize(
    "limits, file",
    [((300_000, 1), "replicate_2/baseline/WorkStep/big.bin"), ((1, 200_000), "run.db")],
    ids=["file", "db"],
)
def test_a_disk_that_takes_no_more_stops_the_run_and_names_the_file(run_script, limits, file):
    done = run_script(LIMITED, *limits)
    assert done.returncode == 0, done.stderr
    *shown, kind, path, message, collected = done.stdout.splitlines()
    assert (shown, kind) == (["0", "1"], "StoreError")
    assert path == str(Path("data/exp/v0", file).absolute())
    assert path in message
    assert collected == "[0, 1, 2]"
    (run,) = list_runs("data", "exp")
    assert run.status == "interrupted"
    assert run.result().metrics.baseline.metrics["value"] == [0, 1]
