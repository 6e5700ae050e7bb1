"""Ctrl-C, SIGTERM and kill -9 of the program: it stops in time, keeps what is done and leaves nobody behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

pytestmark = pytest.mark.timeout(90)

EXECUTORS = {
    "serial": "SerialExecution()",
    "thread": "ParallelExecution(2)",
    "process": "ParallelExecution(2, 'process')",
    "async": "AsyncExecution(2)",
}
PROCESSES = ["process", "process-threaded", "process-spawn"]
BEFORE = {
    "process-threaded": "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
    "process-spawn": "from crystallize_plugins.execution.processes import worker_pool\n"
    "worker_pool.start_method = lambda: 'spawn'",
}

PROGRAM = """
{before}
import asyncio, os, sys, time
from crystallize import (
    AsyncExecution, Experiment, ParallelExecution, Pipeline, PipelineStep, SerialExecution, data_source, pipeline_step
)

@data_source
def one(ctx):
    return 1

@pipeline_step()
{step}

experiment = Experiment(one(), Pipeline([work()]), name="long", default_plugins=False, plugins=[{executor}])
print("ready", os.getpid(), flush=True)
try:
    experiment.run(replicates=400)
except KeyboardInterrupt as exc:
    done = exc.result.metrics.baseline.metrics.get("fine", [])
    sys.stdout.write(f"\\ninterrupted {{len(done)}}\\n")
    {after}
print("over", flush=True)
"""
SLOW = """
def work(data, ctx):
    if ctx["replicate"] == 20:
        print("twenty", flush=True)
    time.sleep(0.05)
    ctx.metrics.add("fine", ctx["replicate"])
    return data
"""
STUCK = """
def work(data, ctx):
    if ctx["replicate"] >= 10:
        print("stuck", flush=True)
        for _ in range(1200):  # a signal just before one long sleep would be heard when that is over
            time.sleep(0.05)
    ctx.metrics.add("fine", ctx["replicate"])
    return data
"""
SLOW_ASYNC = SLOW.replace("def work", "async def work").replace("time.sleep", "await asyncio.sleep")


def source(executor, step, *, after="", loop=False):
    kind = executor.partition("-")[0]
    text = PROGRAM.format(before=BEFORE.get(executor, ""), step=step.strip(), executor=EXECUTORS[kind], after=after)
    if loop:
        text = text.replace(
            "    experiment.run(replicates=400)",
            "    async def main():\n        experiment.run(replicates=400)\n    asyncio.run(main())",
        )
    return text


def interrupt(program):
    # As a terminal does it: the whole group hears it.
    os.killpg(program.pid, signal.SIGINT)
    return time.monotonic()


@pytest.mark.parametrize("executor", [*EXECUTORS, *PROCESSES[1:]])
def test_ctrl_c_stops_within_two_seconds_and_keeps_what_is_done(executor, launch):
    program = launch(source(executor, SLOW_ASYNC if executor == "async" else SLOW, after="time.sleep(0.5)"))
    program.wait_for_line("twenty")
    began = interrupt(program)
    line = program.wait_for_line("interrupted")
    assert time.monotonic() - began < 2
    assert 15 <= int(line.split()[1]) < 100
    assert program.gone_within(0.4), "a worker outlived the run"
    code, said = program.end(10)
    assert code == 0
    assert "Traceback" not in said


@pytest.mark.parametrize("executor", ["serial", "thread", *PROCESSES])
def test_ctrl_c_reaches_a_run_whose_steps_do_not_end(executor, launch):
    program = launch(source(executor, STUCK))
    program.wait_for_line("stuck")
    began = interrupt(program)
    line = program.wait_for_line("interrupted")
    assert time.monotonic() - began < 2
    assert int(line.split()[1]) >= (10 if executor == "serial" else 8)
    program.end(5)
    assert time.monotonic() - began < 3
    assert program.gone_within(1)


@pytest.mark.parametrize("executor", ["serial", "thread", *PROCESSES])
def test_a_second_ctrl_c_ends_it_within_half_a_second(executor, launch):
    program = launch(source(executor, STUCK))
    program.wait_for_line("stuck")
    interrupt(program)
    time.sleep(0.1)
    second = time.monotonic()
    with contextlib.suppress(ProcessLookupError):  # the first one may have been enough
        interrupt(program)
    program.end(10)
    assert time.monotonic() - second < 1.0  # half of it is the interpreter's own end, on a busy machine
    assert program.gone_within(1)


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def test_ctrl_c_is_heard_inside_a_running_event_loop(executor, launch):
    program = launch(source(executor, SLOW, loop=True))
    program.wait_for_line("twenty")
    began = interrupt(program)
    program.wait_for_line("interrupted")
    assert time.monotonic() - began < 2
    program.end(10)
    assert program.gone_within(1)


@pytest.mark.parametrize("executor", ["serial", "thread", *PROCESSES])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
def test_a_program_that_is_ended_takes_its_workers_along(executor, number, launch):
    program = launch(source(executor, STUCK))
    program.wait_for_line("stuck")
    os.kill(program.pid, number)
    assert program.gone_within(5), program.others()
    assert program.end(10)[0] == -number


@pytest.mark.parametrize("executor", PROCESSES)
def test_workers_in_the_middle_of_c_code_end_with_the_program(executor, launch):
    in_c = """
def work(data, ctx):
    import ctypes
    print("stuck", flush=True)
    ctypes.PyDLL(None).sleep(60)  # holds the interpreter lock
    return data
"""
    if executor == "process-spawn":
        pytest.skip("there a thread does the watching, which needs the lock")
    program = launch(source(executor, in_c))
    program.wait_for_line("ready")
    time.sleep(1.0)
    assert program.others()
    os.kill(program.pid, signal.SIGKILL)
    assert program.gone_within(5), program.others()


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_leaving_a_stream_early_stops_the_workers(executor, launch):
    program = launch(
        source(executor, SLOW).replace(
            "    experiment.run(replicates=400)",
            "    stream = experiment.stream(replicates=400)\n    next(stream)\n    stream.close()\n"
            "    print('left', flush=True)",
        )
    )
    program.wait_for_line("left")
    code, said = program.end(10)
    assert (code, said.strip()) == (0, "over")
    assert program.gone_within(1)


def test_cancelling_arun_stops_the_workers(launch):
    program = launch(
        source("process", STUCK).replace(
            "    experiment.run(replicates=400)",
            "    async def main():\n"
            "        try:\n"
            "            await asyncio.wait_for(experiment.arun(replicates=400), 2)\n"
            "        except (asyncio.TimeoutError, TimeoutError):\n"
            "            print('cancelled', flush=True)\n"
            "    asyncio.run(main())",
        )
    )
    program.wait_for_line("cancelled")
    program.end(5)
    assert program.gone_within(1)
