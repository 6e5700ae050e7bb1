"""Time-outs of what awaits: cancelled properly, under every executor, and nobody else is the worse for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from crystallize import AsyncExecution, BasePlugin, ParallelExecution, SerialExecution, data_source, pipeline_step
from crystallize.engine.limits import within
from crystallize.errors import CellTimeoutError, StepTimeoutError

LONG = 60
"""Seconds that nobody waits for."""


def error_of(result, replicate):
    return result.errors[f"baseline_rep_{replicate}"]


def test_an_async_step_is_cancelled_at_its_time_out_and_others_go_on(build, executor, tmp_path):
    @pipeline_step(timeout=0.3)
    async def slow(data, ctx):
        try:
            await asyncio.sleep(LONG if ctx["replicate"] == 1 else 0)
        except asyncio.CancelledError:
            (tmp_path / "cleaned up").touch()
            raise
        return data, {"done": ctx["replicate"]}

    result = build(slow(), plugins=[executor]).run(replicates=4)
    assert result.metrics.baseline.metrics["done"] == [0, 2, 3]
    error = error_of(result, 1)
    assert (error.error_type, error.step_name) == ("StepTimeoutError", "SlowStep")
    assert "SlowStep took longer than its time-out of 0.3 s" in str(error)
    assert (tmp_path / "cleaned up").exists()
    if error.original_exception is not None:
        assert isinstance(error.original_exception, StepTimeoutError)
        assert isinstance(error.original_exception, TimeoutError)
        assert (error.original_exception.step, error.original_exception.limit) == ("SlowStep", 0.3)


def test_the_cells_time_out_covers_all_its_steps_and_names_the_one_that_it_was_at(build, executor):
    async def first(data, ctx):
        await asyncio.sleep(0.15)

    async def second(data, ctx):
        await asyncio.sleep(LONG)

    result = build(first, second, plugins=[executor], timeout=0.4).run()
    error = error_of(result, 0)
    assert (error.error_type, error.step_name) == ("CellTimeoutError", "SecondStep")
    assert "the cell took longer than its time-out of 0.4 s, and was at SecondStep by then" in str(error)


def test_the_tighter_limit_is_the_one_that_is_named(build):
    @pipeline_step(timeout=0.1)
    async def slow(data, ctx):
        await asyncio.sleep(LONG)

    assert error_of(build(slow(), timeout=5).run(), 0).error_type == "StepTimeoutError"
    slow.step_class.timeout = 5
    assert error_of(build(slow(), timeout=0.1).run(), 0).error_type == "CellTimeoutError"


def test_an_async_data_source_counts_for_the_cell(build, executor):
    @data_source
    async def source(ctx):
        await asyncio.sleep(LONG)

    async def step(data, ctx):
        return data

    error = error_of(build(step, source=source(), plugins=[executor], timeout=0.2).run(), 0)
    assert (error.error_type, error.step_name) == ("CellTimeoutError", "datasource")


def test_a_plain_data_source_that_took_too_long_is_noticed_when_it_returns(build):
    @data_source
    def source(ctx):
        time.sleep(0.2)
        return 1

    async def step(data, ctx):
        raise AssertionError("too late to begin")

    error = error_of(build(step, source=source(), timeout=0.1).run(), 0)
    assert (error.error_type, error.step_name) == ("CellTimeoutError", "datasource")


def test_each_attempt_has_its_time_anew_and_waiting_does_not_count(build, executor, tally):
    @pipeline_step(retries=2, backoff=0.2)
    async def third_time(data, ctx):
        await asyncio.sleep(LONG if tally(ctx) < 3 else 0.01)
        return data, {"attempts": tally.of("baseline", 0)}

    experiment = build(third_time(), plugins=[executor], timeout=0.3, retries=2)
    assert experiment.run().metrics.baseline.metrics["attempts"] == [3]


def test_a_time_out_is_tried_again_where_that_was_declared(build, executor, tally):
    @pipeline_step(retries=1, retry_on=TimeoutError, timeout=0.2)
    async def second_time(data, ctx):
        if tally(ctx) == 1:
            await asyncio.sleep(LONG)

    result = build(second_time(), plugins=[executor]).run()
    assert result.errors == {}
    ((attempt,),) = result.provenance["attempts"]["baseline"].values()
    assert (attempt["step"], attempt["error_type"]) == ("SecondTimeStep", "StepTimeoutError")
    assert attempt["duration"] >= 0.2


def test_after_replicate_is_called_for_a_cell_that_was_cancelled(build):
    seen = []

    class Watcher(BasePlugin):
        neutral = True

        def after_replicate(self, experiment, ctx, outcome):
            seen.append(outcome.error.error_type)

    @pipeline_step(timeout=0.05)
    async def slow(data, ctx):
        await asyncio.sleep(LONG)

    for plugins in [(), (AsyncExecution(),), (ParallelExecution(2),)]:
        build(slow(), plugins=[*plugins, Watcher()]).run()
    assert seen == ["StepTimeoutError"] * 3


def test_a_step_that_swallows_its_cancellation_has_taken_too_long_all_the_same(build):
    @pipeline_step(timeout=0.05)
    async def stubborn(data, ctx):
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            return "after all"

    @pipeline_step(timeout=0.05)
    async def confused(data, ctx):
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            raise KeyError("cleaning up failed") from None

    for step in (stubborn, confused):
        assert error_of(build(step()).run(), 0).error_type == "StepTimeoutError"


def test_a_limit_that_is_not_reached_changes_nothing(build, executor):
    @pipeline_step(timeout=LONG)
    async def limited(data, ctx):
        await asyncio.sleep(0)
        return data, {"drawn": float(ctx.rng.random())}

    @pipeline_step()
    async def free(data, ctx):
        await asyncio.sleep(0)
        return data, {"drawn": float(ctx.rng.random())}

    with_limit = build(limited(), plugins=[executor], timeout=LONG).run(replicates=5)
    without = build(free(), plugins=[executor]).run(replicates=5)
    assert with_limit.metrics.baseline.metrics == without.metrics.baseline.metrics


def test_arun_keeps_the_limits_in_the_callers_loop(build, executor):
    @pipeline_step(timeout=0.1)
    async def slow(data, ctx):
        await asyncio.sleep(LONG if ctx["replicate"] else 0)
        return data, {"done": 1}

    async def main():
        result = await build(slow(), plugins=[executor]).arun(replicates=2)
        current = asyncio.current_task()
        return result, getattr(current, "cancelling", lambda: 0)()

    result, cancelling = asyncio.run(main())
    assert cancelling == 0
    assert list(result.errors) == ["baseline_rep_1"]


@pytest.mark.parametrize("plugins", [(), (AsyncExecution(),), (SerialExecution(),)], ids=["none", "async", "serial"])
def test_cancelling_the_run_is_no_time_out(build, plugins):
    collected = []

    class Watcher(BasePlugin):
        neutral = True

        def collect(self, experiment, outcome):
            collected.append(outcome)

    @pipeline_step(timeout=LONG, retries=5, retry_on=(Exception, asyncio.CancelledError))
    async def slow(data, ctx):
        await asyncio.sleep(LONG)

    async def main():
        task = asyncio.ensure_future(build(slow(), plugins=[*plugins, Watcher()]).arun(replicates=2))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert collected == []


def test_a_cancellation_from_elsewhere_wins_over_the_time_out():
    async def main():
        async def body():
            await within(asyncio.sleep(LONG), time.monotonic() + 0.1, lambda: StepTimeoutError("too slow"))

        task = asyncio.ensure_future(body())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(StepTimeoutError):
            await within(asyncio.sleep(LONG), time.monotonic() - 1, lambda: StepTimeoutError("too slow"))
        assert await within(asyncio.sleep(0, "value"), time.monotonic() + LONG, StepTimeoutError) == "value"

    asyncio.run(main())


def test_an_optimiser_hears_of_trials_that_timed_out(build):
    from crystallize import BaseOptimizer, Objective

    class Asks(BaseOptimizer):
        def __init__(self):
            super().__init__(Objective("value", "minimize"))
            self.told = []

        def ask(self):
            from crystallize import Treatment

            return [Treatment("tried", {})]

        def tell(self, values):
            raise AssertionError("not this one")

        def tell_trials(self, trials):
            self.told += [trial.state for trial in trials]

        def get_best_treatment(self):
            from crystallize import Treatment

            return Treatment("tried", {})

    @pipeline_step()
    async def slow(data, ctx):
        await asyncio.sleep(LONG)

    for limits in ({"timeout": 0.05}, {}):
        slow.step_class.timeout = None if limits else 0.05
        optimizer = Asks()
        build(slow(), **limits).optimize(optimizer, 2)
        assert optimizer.told == ["timed out"] * 2
    assert issubclass(CellTimeoutError, TimeoutError)
