"""Steps that never end, in worker processes: their process is ended in time, and every other cell is kept."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from crystallize import ArtifactPlugin, AsyncExecution, BasePlugin, ParallelExecution, data_source, pipeline_step
from crystallize.errors import TooManyFailuresError
from crystallize_plugins.execution.processes.fork_server import ForkServer

pytestmark = pytest.mark.timeout(90)

LIMIT = 0.4


def sleep(ctx):
    while True:
        time.sleep(1000)


def hold_the_interpreter(ctx):
    any(itertools.repeat(0))  # in C, for ever, and nobody else gets a turn


def grow(ctx):
    return 9 ** (9**9)


def refuse_to_end(ctx):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1000)


def catch_everything(ctx):
    while True:
        try:
            time.sleep(1000)
        except BaseException:  # noqa: BLE001 - that is what it is about
            continue


def leave_the_process(ctx):
    subprocess.run([sys.executable, "-c", "import time; time.sleep(1000)"], check=False)


WAYS_TO_HANG = [sleep, hold_the_interpreter, grow, refuse_to_end, catch_everything, leave_the_process]


@pytest.fixture
def note(tmp_path):
    """Note which cells began, in whatever process."""
    # A text: what lies below a path would be part of what the steps are.
    file = str(tmp_path / "begun")

    def begun(ctx):
        with Path(file).open("a") as opened:
            opened.write(f"{ctx['replicate']}\n")

    begun.file = file
    return begun


def begun(note):
    return Counter(map(int, Path(note.file).read_text().split()))


def is_sleeping(text):
    """Whether a process of some user lives whose command line holds a text."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if text in (entry / "cmdline").read_bytes().decode(errors="replace"):
                    return True
            except OSError:
                continue
    return False


@pytest.mark.parametrize("hang", WAYS_TO_HANG)
def test_whatever_it_hangs_in_a_step_is_ended_and_all_other_cells_are_kept(build, hang):
    @pipeline_step(timeout=LIMIT)
    def step(data, ctx):
        if ctx["replicate"] in (0, 7):  # the first cell of a worker, and one in the middle
            hang(ctx)
        ctx.record("done", ctx["replicate"])

    result = build(step(), plugins=[ParallelExecution(2, "process")]).run(replicates=30)
    assert result.metrics.baseline.metrics["done"] == [n for n in range(30) if n not in (0, 7)]
    for replicate in (0, 7):
        error = result.errors[f"baseline_rep_{replicate}"]
        assert (error.step_name, error.error_type) == ("StepStep", "StepTimeoutError")
        assert f"StepStep took longer than its time-out of {LIMIT:g} s; its worker process was ended" in str(error)
        assert (error.original_exception.step, error.original_exception.limit) == ("StepStep", LIMIT)


def test_workers_of_every_kind_are_ended(build, way):
    @pipeline_step(timeout=LIMIT)
    def step(data, ctx):
        if ctx["replicate"] % 5 == 0:
            hold_the_interpreter(ctx)
        ctx.record("done", ctx["replicate"])

    result = build(step(), plugins=[ParallelExecution(2, "process")]).run(replicates=10)
    assert result.metrics.baseline.metrics["done"] == [1, 2, 3, 4, 6, 7, 8, 9]
    assert [error.error_type for error in result.errors.values()] == ["StepTimeoutError"] * 2


def test_the_cells_limit_ends_a_process_too_and_names_the_step(build):
    def first(data, ctx):
        time.sleep(0.01)

    def second(data, ctx):
        if ctx["replicate"] == 3:
            hold_the_interpreter(ctx)
        ctx.record("done", ctx["replicate"])

    result = build(first, second, plugins=[ParallelExecution(2, "process")], timeout=LIMIT).run(replicates=6)
    (error,) = result.errors.values()
    assert (error.step_name, error.error_type, error.replicate) == ("SecondStep", "CellTimeoutError", 3)
    assert len(result.metrics.baseline.metrics["done"]) == 5


@pytest.mark.parametrize("place", ["before_replicate", "datasource"])
def test_what_comes_before_the_steps_counts_for_the_cell(build, place):
    class Waits(BasePlugin):
        neutral = True

        def before_replicate(self, experiment, ctx):
            if place == "before_replicate":
                sleep(ctx)

    @data_source
    def source(ctx):
        if place == "datasource":
            sleep(ctx)

    experiment = build(lambda data: data, plugins=[Waits(), ParallelExecution(1, "process")], timeout=LIMIT)
    experiment.datasource = source()
    (error,) = experiment.run().errors.values()
    assert (error.step_name, error.error_type) == (place, "CellTimeoutError")


def test_an_async_step_that_blocks_is_ended_by_force(build):
    @pipeline_step(timeout=LIMIT)
    async def step(data, ctx):
        if ctx["replicate"] == 1:
            hold_the_interpreter(ctx)
        if ctx["replicate"] == 2:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                sleep(ctx)  # its cleaning up hangs
        ctx.record("done", ctx["replicate"])

    result = build(step(), plugins=[ParallelExecution(2, "process")]).run(replicates=5)
    assert result.metrics.baseline.metrics["done"] == [0, 3, 4]
    assert {error.error_type for error in result.errors.values()} == {"StepTimeoutError"}


def test_no_finished_cell_is_run_again_because_its_worker_is_ended(build, note):
    @pipeline_step(timeout=LIMIT)
    def step(data, ctx):
        note(ctx)
        if ctx["replicate"] == 90:
            hold_the_interpreter(ctx)

    result = build(step(), plugins=[ParallelExecution(1, "process")]).run(replicates=120)
    assert list(result.errors) == ["baseline_rep_90"]
    assert begun(note) == Counter(range(120))


def test_a_step_that_was_ended_is_tried_again_where_that_was_declared(build, note):
    @pipeline_step(timeout=LIMIT, retries=2, retry_on=TimeoutError, backoff=0.05)
    def step(data, ctx):
        ctx.record("drawn", float(ctx.rng.random()))
        note(ctx)
        if ctx["replicate"] == 2 and begun(note)[2] < 3:
            hold_the_interpreter(ctx)

    plugins = [ParallelExecution(2, "process")]
    late = build(step(), plugins=plugins).run(replicates=5)
    assert late.errors == {}
    kinds = [attempt["error_type"] for attempt in late.provenance["attempts"]["baseline"][2]]
    assert kinds == ["StepTimeoutError"] * 2
    assert min(attempt["duration"] for attempt in late.provenance["attempts"]["baseline"][2]) >= LIMIT
    first = build(step(), plugins=plugins).run(replicates=5)
    assert late.metrics.baseline.metrics == first.metrics.baseline.metrics


def test_it_is_ended_while_the_caller_is_busy_with_another_outcome(build, tmp_path):
    @pipeline_step(timeout=LIMIT)
    def step(data, ctx):
        if ctx["replicate"]:
            (tmp_path / "pid").write_text(str(os.getpid()))
            sleep(ctx)

    outcomes = build(step(), plugins=[ParallelExecution(2, "process")]).stream(replicates=2)
    assert next(outcomes).ok
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    pid = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{pid}").exists():  # nobody asks for the next outcome meanwhile
        time.sleep(0.01)
    assert next(outcomes).error.error_type == "StepTimeoutError"
    assert list(outcomes) == []


def test_what_a_step_has_started_is_ended_with_it(build, tmp_path):
    mark = f"nobody waits for {tmp_path}"

    @pipeline_step(timeout=LIMIT)
    def step(data, ctx):
        inner = (
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(1000) # {mark}'])"
        )
        subprocess.run([sys.executable, "-c", inner], check=False)

    result = build(step(), plugins=[ParallelExecution(1, "process")]).run()
    assert [error.error_type for error in result.errors.values()] == ["StepTimeoutError"]
    while is_sleeping(mark):  # they are being ended
        time.sleep(0.01)


def test_a_worker_that_dies_in_a_step_with_a_time_out_is_a_crash_and_none(build):
    @pipeline_step(timeout=60)
    def step(data, ctx):
        if ctx["replicate"] == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        ctx.record("done", 1)

    result = build(step(), plugins=[ParallelExecution(2, "process")]).run(replicates=4)
    (error,) = result.errors.values()
    assert error.error_type == "WorkerCrashError"
    assert "SIGSEGV" in str(error)
    assert len(result.metrics.baseline.metrics["done"]) == 3


def test_many_cells_that_take_about_as_long_as_they_may_are_each_run_once_or_named(build, note):
    @pipeline_step(timeout=0.05)
    def step(data, ctx):
        note(ctx)
        time.sleep(0.03 + 0.001 * (ctx["replicate"] % 40))
        ctx.record("done", ctx["replicate"])

    result = build(step(), plugins=[ParallelExecution(2, "process")]).run(replicates=80)
    done = result.metrics.baseline.metrics["done"] if result.metrics.baseline.metrics else []
    failed = {error.replicate for error in result.errors.values()}
    assert not failed & set(done)
    assert failed | set(done) == set(range(80))
    assert {error.error_type for error in result.errors.values()} <= {"StepTimeoutError"}
    # Whoever had gone on just before the end was run again, and no other.
    assert begun(note).total() - 80 <= len(failed)


def test_a_worker_process_has_no_limit_while_it_is_made_ready(build):
    from crystallize import PipelineStep

    class Slow(PipelineStep):
        timeout = LIMIT

        def setup(self, ctx):
            time.sleep(2 * LIMIT)

        def __call__(self, data, ctx):
            return data, {"done": 1}

    result = build(Slow(), plugins=[ParallelExecution(1, "process")], timeout=LIMIT).run(replicates=2)
    assert result.metrics.baseline.metrics["done"] == [1, 1]


def test_limits_hold_for_batches_that_come_one_after_the_other(build):
    from crystallize import BaseOptimizer, Objective, Treatment

    class Asks(BaseOptimizer):
        def __init__(self):
            super().__init__(Objective("done", "minimize"))
            self.states = []

        def ask(self):
            return [Treatment("tried", {"hangs": len(self.states) % 2})]

        def tell(self, values):
            raise AssertionError("not this one")

        def tell_trials(self, trials):
            self.states += [trial.state for trial in trials]

        def get_best_treatment(self):
            return Treatment("tried", {})

    @pipeline_step(timeout=LIMIT)
    def step(data, ctx, *, hangs=0):
        if hangs:
            hold_the_interpreter(ctx)
        return data, {"done": 1}

    optimizer = Asks()
    build(step(), plugins=[ParallelExecution(2, "process")]).optimize(optimizer, 4, 2)
    assert optimizer.states == ["complete", "timed out"] * 2


def test_arun_ends_processes_and_the_loop_goes_on_meanwhile(build):
    @pipeline_step(timeout=LIMIT)
    def step(data, ctx):
        if ctx["replicate"] == 1:
            hold_the_interpreter(ctx)
        return data, {"done": 1}

    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.ensure_future(tick())
        result = await build(step(), plugins=[ParallelExecution(2, "process")]).arun(replicates=4)
        ticking.cancel()
        return result, ticks

    result, ticks = asyncio.run(main())
    assert list(result.errors) == ["baseline_rep_1"]
    assert ticks > 3


def test_resuming_runs_the_cells_that_took_too_long_and_no_others(build, note, tmp_path):
    mended = str(tmp_path / "mended")

    @pipeline_step(timeout=LIMIT)
    def step(data, ctx):
        note(ctx)
        if ctx["replicate"] % 4 == 1 and not Path(mended).exists():
            hold_the_interpreter(ctx)
        return data, {"done": ctx["replicate"]}

    plugins = [ParallelExecution(2, "process"), ArtifactPlugin()]
    first = build(step(), plugins=plugins).run(replicates=10)
    assert sorted(first.errors) == ["baseline_rep_1", "baseline_rep_5", "baseline_rep_9"]
    Path(mended).touch()
    Path(note.file).unlink()
    resumed = build(step(), plugins=plugins).run(replicates=10, strategy="resume")
    assert resumed.errors == {}
    assert resumed.metrics.baseline.metrics["done"] == list(range(10))
    assert begun(note) == Counter([1, 5, 9])


def test_a_time_out_may_stop_the_run_and_what_had_finished_is_stored(build, tmp_path):
    @pipeline_step(timeout=LIMIT)
    def step(data, ctx):
        if ctx["replicate"] == 4 and not (tmp_path / "mended").exists():
            hold_the_interpreter(ctx)
        return data, {"done": ctx["replicate"]}

    plugins = [ParallelExecution(1, "process"), ArtifactPlugin()]
    with pytest.raises(TooManyFailuresError) as caught:
        build(step(), plugins=plugins, fail_fast=True).run(replicates=8)
    assert caught.value.result.metrics.baseline.metrics["done"][:4] == [0, 1, 2, 3]
    (tmp_path / "mended").touch()
    resumed = build(step(), plugins=plugins, fail_fast=True).run(replicates=8, strategy="resume")
    assert resumed.metrics.baseline.metrics["done"] == list(range(8))


def test_a_worker_that_cannot_be_ended_is_left_behind(build, monkeypatch):
    # As one that waits for a file server that does not answer.
    monkeypatch.setattr(ForkServer, "kill", lambda self, hand: None)

    @pipeline_step(timeout=LIMIT)
    def step(data, ctx):
        if ctx["replicate"] == 1:
            hold_the_interpreter(ctx)
        return data, {"done": ctx["replicate"]}

    result = build(step(), plugins=[ParallelExecution(2, "process")]).run(replicates=5)
    assert result.metrics.baseline.metrics["done"] == [0, 2, 3, 4]
    assert [error.error_type for error in result.errors.values()] == ["StepTimeoutError"]


@pytest.mark.skipif("CRYSTALLIZE_SOAK" not in os.environ, reason="a measure, and a long one")
def test_nothing_is_ended_later_than_a_second_after_its_time(build):
    late = []
    for hang in WAYS_TO_HANG:

        @pipeline_step(timeout=LIMIT)
        def step(data, ctx, hang=hang):
            if ctx["replicate"] % 2:
                hang(ctx)

        outcomes = build(step(), plugins=[ParallelExecution(2, "process")]).stream(replicates=20)
        late += [outcome.duration - LIMIT for outcome in outcomes if not outcome.ok]
    assert len(late) == 10 * len(WAYS_TO_HANG)
    print(f"{len(late)} ended, {max(late) * 1000:.0f} ms late at most")
    assert max(late) < 1


def test_async_execution_cancels_a_thousand_cells_at_once(build):
    @pipeline_step(timeout=LIMIT)
    async def step(data, ctx):
        await asyncio.sleep(1000 if ctx["replicate"] % 2 else 0)
        return data, {"done": 1}

    result = build(step(), plugins=[AsyncExecution()]).run(replicates=1000)
    assert len(result.metrics.baseline.metrics["done"]) == len(result.errors) == 500
