"""A child that a step forks ends where it comes back from the step, and a pool that a step starts works anywhere."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from crystallize import ArtifactPlugin, data_source, pipeline_step
from crystallize_plugins.artifacts import list_runs

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks"),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # of forks beside threads
]


def interrupt():
    raise KeyboardInterrupt


LEAVES = {
    "returns": (lambda: None, 0),
    "returns something else": (lambda: {"other": 1}, 0),
    "sys.exit()": (sys.exit, 0),
    "sys.exit(3)": (lambda: sys.exit(3), 3),
    "sys.exit(text)": (lambda: sys.exit("wrong"), 1),
    "raises": (lambda: 1 / 0, 1),
    "interrupts": (interrupt, 1),
}
AT = ["source", "treatment", "step", "async step", "cacheable step", "retried step", "setup", "teardown"]


def fork_and(leave, log):
    """Fork a child that does as it is told, and wait for it; return in both processes."""
    log.write_text(f"{os.getpid()}\n")
    pid = os.fork()
    if pid == 0:
        return leave()
    limit = time.monotonic() + 10
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]:
        assert time.monotonic() < limit, "the child goes on"
        time.sleep(0.005)
    log.write_text(str(os.waitstatus_to_exitcode(ended[1])))
    return None


@pytest.mark.parametrize("way", LEAVES)
def test_a_child_that_comes_back_from_a_step_is_no_second_worker(build, executor, tmp_path, way, capfd):
    leave, code = LEAVES[way]
    log, ran = tmp_path / "code", tmp_path / "ran"

    @pipeline_step()
    def fork(data, ctx):
        if ctx["replicate"] == 2 and (returned := fork_and(leave, log)) is not None:
            return returned
        return data

    @pipeline_step()
    def go_on(data, ctx):
        with ran.open("a") as file:
            file.write(f"{ctx['replicate']}\n")
        return data, {"fine": ctx["replicate"]}

    result = build(fork(), go_on(), plugins=[executor, ArtifactPlugin()]).run(replicates=5)
    assert result.errors == {}
    assert result.metrics.baseline.metrics["fine"] == [0, 1, 2, 3, 4]
    assert sorted(ran.read_text().split()) == ["0", "1", "2", "3", "4"]
    assert log.read_text() == str(code)
    (run,) = list_runs()
    assert run.status == "complete"
    told = capfd.readouterr().err
    assert ("ZeroDivisionError" in told, "wrong" in told) == (way == "raises", way == "sys.exit(text)")


@pytest.mark.parametrize("kind", AT)
def test_it_does_not_matter_where_the_child_was_forked(build, tmp_path, kind):
    from crystallize import PipelineStep, Treatment

    log, ran = tmp_path / "code", tmp_path / "ran"

    def fork(at):
        if at == kind:
            fork_and(sys.exit, log)

    @data_source
    def source(ctx):
        fork("source")
        return 1

    class Own(PipelineStep):
        def setup(self, ctx):
            fork("setup")

        def __call__(self, data, ctx):
            with ran.open("a") as file:
                file.write("x")
            return data

        def teardown(self, ctx):
            fork("teardown")

    @pipeline_step(cacheable=kind == "cacheable step", **({"retries": 1} if kind == "retried step" else {}))
    def plain(data, ctx):
        fork("step"), fork("cacheable step"), fork("retried step")
        return data

    @pipeline_step()
    async def waits(data, ctx):
        fork("async step")
        return data

    treatment = Treatment("more", lambda ctx: fork("treatment"))
    result = build(plain(), waits(), Own(), source=source(), treatments=[treatment]).run(replicates=2)
    assert result.errors == {}
    assert ran.read_text() == "xxxx"
    assert log.read_text() == "0"


def test_what_a_child_prints_and_logs_in_a_worker_is_seen_once(processes, build, capfd):
    @pipeline_step()
    def fork(data, ctx):
        print("before")
        print("unfinished", end=";")
        if (pid := os.fork()) == 0:
            print("in the child")
            logging.getLogger("lab").warning("told by the child")
            ctx.emit("lost")
            sys.exit()
        os.waitpid(pid, 0)
        print("after")
        return data

    result = build(fork(), plugins=[processes]).run()
    assert result.errors == {}
    captured = capfd.readouterr()
    assert sorted(captured.out.replace(";", "\n").split("\n")) == ["", "after", "before", "in the child", "unfinished"]
    assert captured.err.count("told by the child") == 1


# -- pools ------------------------------------------------------------------------------------------


def square(number):
    print("squared")
    return number * number


def pool_of(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, range(4))


def executor_of(method):
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        return list(pool.map(square, range(4)))


def left_open():
    pool, executor = multiprocessing.get_context("fork").Pool(1), ProcessPoolExecutor(1)
    return [*pool.map(square, range(2)), *executor.map(square, range(2, 4))]


def joblib_of(backend):
    joblib = pytest.importorskip("joblib")
    return joblib.Parallel(2, backend=backend)(joblib.delayed(square)(number) for number in range(4))


def manager():
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        found = manager.list()
        process = context.Process(target=found.extend, args=([square(number) for number in range(4)],))
        process.start(), process.join()
        return list(found)


POOLS = {
    "Pool, fork": lambda: pool_of("fork"),
    "Pool, spawn": lambda: pool_of("spawn"),
    "Pool, forkserver": lambda: pool_of("forkserver"),
    "ProcessPoolExecutor": lambda: executor_of("fork"),
    "left open": left_open,
    "loky": lambda: joblib_of("loky"),
    "joblib, multiprocessing": lambda: joblib_of("multiprocessing"),
    "Manager": manager,
}


# Elsewhere a worker differs in what it has of the program, and in how it ends.
CASES = [*(("fork", kind) for kind in POOLS), ("forkserver", "Pool, fork"), ("spawn", "left open")]
if os.environ.get("CRYSTALLIZE_SOAK"):
    CASES.append(("spawn", "loky"))


@pytest.mark.parametrize("way, kind", CASES, indirect=["way"])
def test_a_pool_that_a_step_starts_in_a_worker_process_works_as_it_does_serially(processes, build, kind):
    @pipeline_step()
    def work(data, ctx):
        return data, {"squares": POOLS[kind]()}

    result = build(work(), plugins=[processes]).run()
    assert result.errors == {}
    assert result.metrics.baseline.metrics["squares"] == [[0, 1, 4, 9]]


OFFSPRING = """
import multiprocessing, os, signal, subprocess, sys, threading, time
from crystallize import Experiment, ParallelExecution, Pipeline, data_source, pipeline_step

if "{method}" == "forkserver":
    threading.Thread(target=threading.Event().wait, daemon=True).start()

@data_source
def number(ctx):
    return ctx["replicate"]

@pipeline_step()
def work(data, ctx):
    context = multiprocessing.get_context("fork")
    context.Process(target=time.sleep, args=(1000,)).start()
    context.Pool(1).map(abs, [1])
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    {then}
    return data

Experiment(
    number(), Pipeline([work()]), name="held", plugins=[ParallelExecution(2, "process")], default_plugins=False
).run(replicates=2)
print("over", flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system has no such thing")
@pytest.mark.parametrize("method", ["fork", "forkserver"])
@pytest.mark.parametrize("then", ["", "os.kill(os.getpid(), signal.SIGKILL)"], ids=["ends", "is killed"])
def test_what_a_worker_leaves_behind_ends_with_it(launch, then, method):
    program = launch(OFFSPRING.format(then=then, method=method))
    program.wait_for_line("over")
    kept = 1 if method == "forkserver" else 0  # what starts the workers of the next run
    limit = time.monotonic() + 10
    while len(program.others()) > kept and time.monotonic() < limit:
        time.sleep(0.02)
    assert len(program.others()) == kept


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system has no such thing")
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_nothing_that_workers_have_started_outlives_a_program_that_is_killed(launch, method):
    program = launch(OFFSPRING.format(then='print("there", flush=True); time.sleep(1000)', method=method))
    program.wait_for_line("there")
    os.kill(program.pid, signal.SIGKILL)
    assert program.gone_within(10)


def test_a_subprocess_is_not_taken_for_a_forked_child(build, executor):
    @pipeline_step()
    def call(data, ctx):
        done = subprocess.run([sys.executable, "-ISc", "pass"], check=False, preexec_fn=os.getpid)
        return data, {"code": done.returncode}

    assert build(call(), plugins=[executor]).run().metrics.baseline.metrics["code"] == [0]
