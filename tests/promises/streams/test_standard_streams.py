"""A run is finished and stored, be the standard streams closed, full, hung up or left by their reader."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from tests import programs

from crystallize_plugins.artifacts import list_runs

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full"),  # noqa: PTH110
]

PROGRAM = """
import logging, os, sys, time, warnings
{before}
from crystallize import (
    ArtifactPlugin, AsyncExecution, Experiment, LoggingPlugin, ParallelExecution, Pipeline, SeedPlugin, SerialExecution,
    data_source, pipeline_step,
)

@data_source
def source(ctx):
    print("x" * 3000)
    return ctx["replicate"]

@pipeline_step()
def work(data, ctx):
    print("to standard output", flush=True)
    print("to standard error", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.writelines(["a line\\n"])
            stream.flush()
    logging.getLogger("some.library").warning("careful")
    warnings.warn(f"doubtful {{data}}", stacklevel=1)
    return data, {{"there": 1}}

async def wait(data, ctx):
    return data

EXECUTORS = {{
    "serial": SerialExecution,
    "thread": lambda progress: ParallelExecution(2, progress=progress),
    "process": lambda progress: ParallelExecution(2, "process", progress=progress),
    "async": lambda progress: AsyncExecution(2, progress=progress),
}}
experiment = Experiment(
    source(), Pipeline([work(), wait]), name="held", replicates=6,
    plugins=[SeedPlugin(seed=1), ArtifactPlugin(), LoggingPlugin(), EXECUTORS["{executor}"](progress=True)],
)
"""
CLOSED = """
for descriptor in {descriptors}:
    os.close(descriptor)
    name = ("stdin", "stdout", "stderr")[descriptor]
    setattr(sys, name, None), setattr(sys, f"__{{name}}__", None)
"""
"""What the interpreter finds where whoever starts it has closed descriptors."""

EXECUTORS = ["serial", "thread", "process", "async"]
CLOSED_KINDS = {
    "no output": (1,), "no error": (2,), "no output, no error": (1, 2), "none at all": (0, 1, 2), "no input": (0,),
}  # fmt: skip


@contextlib.contextmanager
def broken(kind):
    """Give a descriptor on which every write fails."""
    if kind == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    elif kind == "left by its reader":
        reading, descriptor = os.pipe()
        os.close(reading)
    else:  # a terminal that is gone
        master, descriptor = os.openpty()
        os.close(master)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def program(executor, before=""):
    return PROGRAM.format(before=before, executor=executor)


def assert_whole(name="held"):
    """Check that there is one run, with all of its cells."""
    (run,) = list_runs("data", name)
    assert run.status == "complete"
    assert [outcome.metrics.get("there") for outcome in run.outcomes()] == [[1]] * 6


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("kind", CLOSED_KINDS)
def test_a_run_without_standard_streams_is_whole_and_nothing_takes_their_place(tmp_path, kind, executor):
    checks = """
experiment.run()
null = os.stat(os.devnull)
for descriptor in %r:
    assert os.path.samestat(os.fstat(descriptor), null), descriptor
    os.write(descriptor, b"what a library in C might print")
open("reached", "w").close()
"""
    descriptors = CLOSED_KINDS[kind]
    script = tmp_path / "script.py"
    script.write_text(program(executor, CLOSED.format(descriptors=descriptors)) + checks % (descriptors,))
    done = programs.run([sys.executable, str(script)], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reached").exists()
    assert_whole()


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_descriptors_that_the_program_itself_has_closed_are_taken_by_nothing(tmp_path, executor):
    script = tmp_path / "script.py"
    closing = "for descriptor in range(3): os.close(descriptor)\n"  # as a program does that goes into the background
    script.write_text(program(executor) + closing + 'experiment.run()\nopen("reached", "w").close()\n')
    programs.run([sys.executable, str(script)], cwd=tmp_path)
    assert (tmp_path / "reached").exists()
    assert_whole()


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("kind", ["full", "left by its reader", "hung up"])
def test_a_run_whose_streams_fail_is_whole(tmp_path, kind, executor):
    script = tmp_path / "script.py"
    script.write_text(program(executor) + 'experiment.run()\nopen("reached", "w").close()\n')
    with broken(kind) as descriptor:
        programs.run([sys.executable, str(script)], cwd=tmp_path, stdout=descriptor, stderr=descriptor)
    assert (tmp_path / "reached").exists()
    assert_whole()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_program_may_close_its_streams_before_a_run(tmp_path, executor):
    script = tmp_path / "script.py"
    script.write_text(program(executor) + "sys.stdout.close(), sys.stderr.close()\nexperiment.run()\n")
    done = programs.run([sys.executable, str(script)], cwd=tmp_path)
    assert done.returncode == 0
    assert_whole()


def test_what_is_no_fault_of_a_stream_still_fails_the_cell(build, executor):
    from crystallize import pipeline_step

    @pipeline_step()
    def odd(data, ctx):
        sys.stdout.write(3)
        return data

    result = build(odd(), plugins=[executor]).run()
    assert "TypeError" in str(result.errors["baseline_rep_0"])


def test_streams_are_as_they_were_after_a_run(build, capsys):
    from crystallize import pipeline_step

    @pipeline_step()
    def speak(data, ctx):
        print("heard")
        return data

    before = [dict(vars(stream)) for stream in (sys.stdout, sys.stderr)]
    build(speak()).run()
    assert [dict(vars(stream)) for stream in (sys.stdout, sys.stderr)] == before
    assert capsys.readouterr().out == "heard\n"


def test_output_that_a_full_disk_has_swallowed_is_told_of(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(program("serial") + "experiment.run()\n")
    with broken("full") as descriptor:
        done = programs.run([sys.executable, str(script)], cwd=tmp_path, stdout=descriptor)
    assert "what was printed to <stdout> is lost in part: [Errno 28]" in done.stderr


# -- the command line -------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", ["serial", "process"])
@pytest.mark.parametrize("which", ["stderr", "both"])
@pytest.mark.parametrize("kind", ["full", "left by its reader", "hung up"])
def test_a_command_whose_streams_fail_runs_all_the_same(tmp_path, kind, which, executor):
    (tmp_path / "file.py").write_text(program(executor))
    command = os.path.join(os.path.dirname(sys.executable), "crystallize")  # noqa: PTH118, PTH120
    with broken(kind) as descriptor:
        streams = dict.fromkeys(["stdout", "stderr"] if which == "both" else [which], descriptor)
        done = programs.run([command, "run", "file.py"], cwd=tmp_path, **streams)
    # An answer that a full disk did not take is an error; that nobody wants it is none.
    assert done.returncode == (3 if kind == "full" and which == "both" else 0)
    assert_whole()


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_a_command_outlives_its_terminal(tmp_path, executor):
    (tmp_path / "file.py").write_text(program(executor).replace('print("to', 'time.sleep(0.1); print("to', 1))
    command = os.path.join(os.path.dirname(sys.executable), "crystallize")  # noqa: PTH118, PTH120
    master, slave = os.openpty()
    process = subprocess.Popen(
        [command, "run", "file.py"], cwd=tmp_path, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does  # noqa: PLW1509
    )  # fmt: skip
    os.close(slave)
    limit = time.monotonic() + 30
    while not list_runs("data", "held") and time.monotonic() < limit:
        time.sleep(0.02)
    os.close(master)
    assert process.wait(30) == 0
    assert_whole()
