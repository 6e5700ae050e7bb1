"""Whatever a step does to its cell, the other cells are kept."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from crystallize import AsyncExecution, ParallelExecution, SerialExecution, pipeline_step
from crystallize.errors import PipelineExecutionError

pytestmark = pytest.mark.timeout(60)

EXECUTORS = {
    "serial": SerialExecution,
    "thread": lambda: ParallelExecution(2),
    "process": lambda: ParallelExecution(2, "process"),
    "async": AsyncExecution,
}


class OddError(Exception):
    def __init__(self, code, *, where):
        super().__init__(f"code {code} at {where}")
        self.code = code


class SecretiveError(Exception):
    def __reduce__(self):
        raise TypeError("I stay here")


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def local_error():
    class HereOnlyError(Exception):
        pass

    return HereOnlyError("made on the spot")


RAISED = {
    "odd arguments": lambda: OddError(3, where="home"),
    "no pickle": lambda: SecretiveError("secret"),
    "no text": MuteError,
    "local class": local_error,
    "holds a handle": lambda: ValueError(sys.stdout),
    "SystemExit": lambda: SystemExit(3),
}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("what", RAISED)
def test_any_exception_of_a_step_is_its_cells_failure(what, executor, build):
    make = RAISED[what]

    @pipeline_step()
    def fragile(data, ctx):
        if ctx["replicate"] == 1:
            raise make()
        ctx.metrics.add("fine", ctx["replicate"])
        return data

    result = build(fragile(), plugins=[EXECUTORS[executor]()]).run(replicates=4)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 2, 3]
    (error,) = result.errors.values()
    assert isinstance(error, PipelineExecutionError)
    assert error.error_type == type(make()).__name__
    assert "fragile" in error.traceback_text


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_keyboard_interrupt_of_a_step_stops_the_run_and_keeps_what_is_done(executor, build):
    @pipeline_step()
    def pretend(data, ctx):
        if ctx["replicate"] == 2:
            # In processes these run at the same time: what is not done cannot be kept.
            while not all(Path(f"done-{replicate}").exists() for replicate in (0, 1)):
                time.sleep(0.01)
            time.sleep(0.3)
            raise KeyboardInterrupt
        ctx.metrics.add("fine", ctx["replicate"])
        Path(f"done-{ctx['replicate']}").touch()
        return data

    with pytest.raises(KeyboardInterrupt) as caught:
        build(pretend(), plugins=[EXECUTORS[executor]()]).run(replicates=4)
    kept = list(caught.value.result.metrics.baseline.metrics["fine"])
    assert kept[:2] == [0, 1]
    assert 2 not in kept


def leave():
    os._exit(3)


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def touch_what_is_not_ours():
    ctypes.string_at(0)


def give_up():
    os.abort()


SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
DEATHS = {"exit": (leave, "exit code 3"), "kill": (be_killed, "SIGKILL"),
          "segfault": (touch_what_is_not_ours, "SIGSEGV"), "abort": (give_up, "SIGABRT")}  # fmt: skip


@pytest.mark.parametrize(
    "death, way",
    [
        *((death, "fork") for death in DEATHS),
        ("kill", "forkserver"),
        ("segfault", "spawn"),
        *([("exit", "spawn")] if SOAK else []),
    ],
    indirect=["way"],
)
def test_a_death_takes_one_cell_and_is_named(death, way, build, logbook_text):
    die, word = DEATHS[death]

    @pipeline_step()
    def deadly(data, ctx):
        if ctx["replicate"] == 5:
            die()
        ctx.metrics.add("fine", ctx["replicate"])
        return data

    result = build(deadly(), plugins=[ParallelExecution(2, "process")]).run(replicates=12)
    assert list(result.metrics.baseline.metrics["fine"]) == [r for r in range(12) if r != 5]
    assert list(result.errors) == ["baseline_rep_5"]
    error = result.errors["baseline_rep_5"]
    assert (error.condition, error.replicate, error.step_name, error.error_type) == (
        "baseline", 5, "worker", "WorkerCrashError",
    )  # fmt: skip
    assert word in str(error)
    assert "replicate 5" in str(error)
    assert "tried again" in logbook_text()


def test_a_kill_is_said_to_be_a_lack_of_memory_most_often(build):
    @pipeline_step()
    def deadly(data, ctx):
        be_killed()

    result = build(deadly(), plugins=[ParallelExecution(1, "process")]).run(replicates=1)
    assert "memory" in str(result.errors["baseline_rep_0"])


@pytest.mark.parametrize("way", ["fork", "forkserver", *(["spawn"] if SOAK else [])], indirect=True)
def test_a_cell_that_dies_once_is_tried_again_with_the_same_seed(way, build, tmp_path):
    mark = tmp_path / "died"

    @pipeline_step()
    def die_once(data, ctx):
        ctx.metrics.add("drawn", float(ctx.rng.random()))
        if ctx["replicate"] == 3 and not mark.exists():
            mark.write_text("")
            be_killed()
        return data

    expected = build(die_once()).run(replicates=3)
    result = build(die_once(), plugins=[ParallelExecution(2, "process")]).run(replicates=8)
    assert not result.errors
    assert list(result.metrics.baseline.metrics["drawn"])[:3] == list(expected.metrics.baseline.metrics["drawn"])
    assert len(set(result.metrics.baseline.metrics["drawn"])) == 8


def test_running_out_of_memory_is_the_cells_failure(build):
    @pipeline_step()
    def hungry(data, ctx):
        import resource

        if ctx["replicate"] == 1:
            _, hard = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (1 << 32, hard))
            bytearray(1 << 40)
        ctx.metrics.add("fine", ctx["replicate"])
        return data

    result = build(hungry(), plugins=[ParallelExecution(2, "process")]).run(replicates=4)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 2, 3]
    assert result.errors["baseline_rep_1"].error_type == "MemoryError"


def test_every_cell_may_die_and_the_run_ends(build):
    @pipeline_step()
    def deadly(data, ctx):
        leave()

    result = build(deadly(), plugins=[ParallelExecution(2, "process")]).run(replicates=5)
    assert sorted(result.errors) == [f"baseline_rep_{r}" for r in range(5)]


def test_a_worker_that_dies_while_it_puts_things_away_costs_no_metrics(build):
    from crystallize import PipelineStep

    class Explosive(PipelineStep):
        @property
        def params(self):
            return {}

        def setup(self, ctx):
            pass

        def __call__(self, data, ctx):
            ctx.metrics.add("fine", ctx["replicate"])
            return data

        def teardown(self, ctx):
            os._exit(9)

    result = build(Explosive(), plugins=[ParallelExecution(1, "process")]).run(replicates=3)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 1, 2]
    assert "exit code 9" in " ".join(map(str, result.errors.values()))


def test_a_process_that_a_step_leaves_behind_hides_no_death(build):
    @pipeline_step()
    def leave_a_child(data, ctx):
        if ctx["replicate"] == 1:
            if os.fork() == 0:
                import time

                time.sleep(20)  # it holds the line open
                os._exit(0)
            be_killed()
        ctx.metrics.add("fine", ctx["replicate"])
        return data

    import time

    began = time.monotonic()
    result = build(leave_a_child(), plugins=[ParallelExecution(2, "process")]).run(replicates=4)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 2, 3]
    assert time.monotonic() - began < 15
