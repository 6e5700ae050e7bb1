"""Async steps and sources: awaited wherever the experiment runs, in plain code and inside a running loop."""

from __future__ import annotations

import asyncio
import gc
import time
import types
import warnings

import pytest

from crystallize import (
    AsyncExecution,
    BasePlugin,
    DataSource,
    ExperimentInput,
    PipelineStep,
    SerialExecution,
    Treatment,
    data_source,
    pipeline_step,
)


async def add_one(data, ctx):
    await asyncio.sleep(0)
    ctx.record("n", ctx["replicate"])
    return [value + 1 for value in data]


def starting_one(data, ctx):
    """No coroutine function, and gives a coroutine all the same."""
    return add_one(data, ctx)


class Waiting(PipelineStep):
    async def __call__(self, data, ctx):
        return await add_one(data, ctx)


class Later:
    """An awaitable that is no coroutine."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return self.value


@types.coroutine
def old_style(value):
    yield
    return value


ASYNC_STEPS = {
    "async def": add_one,
    "decorated": pipeline_step()(add_one),
    "class": Waiting(),
    "unexpected coroutine": starting_one,
    "custom awaitable": lambda data, ctx: Later(starting_one(data, ctx)),
}


@pytest.mark.parametrize("name", ["async def", "decorated", "class", "unexpected coroutine"])
def test_an_async_step_is_awaited_under_every_face(make, face, name):
    result = face(make(ASYNC_STEPS[name], sum), replicates=3, treatments=[Treatment("t", {})])
    assert not result.errors
    assert result.metrics.baseline.metrics["n"] == result.metrics.treatments["t"].metrics["n"] == [0, 1, 2]


@pytest.mark.parametrize("name", ["async def", "decorated", "class", "unexpected coroutine"])
def test_apply_and_debug_await_too(make, where, name):
    assert where(lambda: make(ASYNC_STEPS[name]).apply()) == [2, 3, 4]
    assert where(lambda: make(ASYNC_STEPS[name]).debug(replicate=2)).metrics == {"n": [2]}


def test_awaitables_that_are_no_coroutines_are_awaited(make, where):
    assert where(lambda: make(lambda data: Later(data), sum).apply()) == 6  # noqa: PLW0108 - no class is a step


def test_futures_and_tasks_of_the_callers_loop_are_awaited_in_it(make):
    def as_future(data):
        future = asyncio.get_running_loop().create_future()
        future.set_result(data)
        return future

    def as_task(data, ctx):
        return asyncio.ensure_future(add_one(data, ctx))

    async def main():
        return [await make(step, source=waiting_source()).arun() for step in (as_future, as_task)]

    @data_source
    async def waiting_source(ctx):
        return [1]

    for result in asyncio.run(main()):
        assert not result.errors


def test_a_pair_of_data_and_metrics_may_come_late(make, where):
    async def scored(data):
        return data, {"size": len(data)}

    outcome = where(lambda: make(scored, lambda data: Later((data, {"again": 1}))).debug())
    assert outcome.payload == [1, 2, 3]
    assert outcome.metrics == {"size": [3], "again": [1]}


def test_parameters_are_injected_into_async_steps(make, where):
    @pipeline_step()
    async def scale(data, ctx, *, factor=1):
        await asyncio.sleep(0)
        return [value * factor for value in data]

    assert where(lambda: make(scale()).apply(Treatment("t", {"factor": 3}))) == [3, 6, 9]
    assert where(lambda: make(scale(factor=2)).apply(Treatment("t", {"factor": 3}))) == [2, 4, 6]


class AsyncSource(DataSource):
    async def fetch(self, ctx):
        await asyncio.sleep(0)
        return [ctx["replicate"]]


class LateSource(DataSource):
    def fetch(self, ctx):
        return Later([ctx["replicate"]])


@data_source
async def function_source(ctx, *, start=0):
    await asyncio.sleep(0)
    return [ctx["replicate"] + start]


@pytest.mark.parametrize(
    "source", [AsyncSource(), LateSource(), function_source()], ids=["class", "custom awaitable", "function"]
)
def test_an_async_data_source_is_awaited_under_every_face(make, face, source):
    result = face(make(lambda data: (data, {"first": data[0]}), source=source), replicates=3)
    assert not result.errors
    assert result.metrics.baseline.metrics["first"] == [0, 1, 2]


def test_an_input_of_async_sources_gives_what_they_fetched(make, where):
    source = ExperimentInput(left=function_source(), right=function_source(start=10))
    assert where(lambda: make(lambda data: data, source=source).apply()) == {"left": [0], "right": [10]}


def test_a_failing_async_step_fails_its_cell_alone(make, face):
    async def fail(data, ctx):
        await asyncio.sleep(0)
        if ctx["replicate"] == 1:
            raise ValueError("late")
        return data

    result = face(make(fail, add_one), replicates=3)
    assert list(result.errors) == ["baseline_rep_1"]
    assert isinstance(result.errors["baseline_rep_1"].__cause__, ValueError)
    assert result.metrics.baseline.metrics["n"] == [0, 2]


def test_all_cells_of_a_run_share_one_loop(make, where):
    loops = set()

    async def note(data):
        loops.add(id(asyncio.get_running_loop()))

    where(lambda: make(note, note).run(replicates=5))
    assert len(loops) == 1


def test_arun_stays_in_the_callers_loop(make):
    loops = []

    async def note(data):
        loops.append(asyncio.get_running_loop())

    async def main():
        await make(note).arun(replicates=2)
        return asyncio.get_running_loop()

    mine = asyncio.run(main())
    assert loops == [mine, mine]


def test_arun_lets_others_have_their_turn(make):
    turns = []

    async def wait(data):
        turns.append("step")
        await asyncio.sleep(0.01)

    async def other():
        for _ in range(3):
            turns.append("other")
            await asyncio.sleep(0.001)

    async def main():
        await asyncio.gather(make(wait).arun(replicates=2), other())

    asyncio.run(main())
    assert turns.index("other") < len(turns) - 1 - turns[::-1].index("step")


@pytest.mark.parametrize("executor", [None, SerialExecution, AsyncExecution])
def test_arun_lets_others_have_their_turn_between_cells_that_never_wait(make, executor):
    async def main():
        cells, begun = [], asyncio.Event()

        @pipeline_step()
        def busy(data, ctx):
            time.sleep(0.006)
            cells.append(ctx["replicate"])
            begun.set()
            return data

        plugins = [] if executor is None else [executor()]
        task = asyncio.create_task(make(busy, plugins=plugins).arun(replicates=50))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return cells

    assert len(asyncio.run(main())) < 10


def test_two_aruns_in_one_loop_keep_apart(make):
    async def slow(data, ctx, tag):
        await asyncio.sleep(0.001 * (3 - ctx["replicate"]))
        ctx.record("tag", f"{tag}{ctx['replicate']}")

    async def main():
        experiments = [make(pipeline_step()(slow)(), initial_ctx={"tag": tag}) for tag in "ab"]
        return await asyncio.gather(*(experiment.arun(replicates=3) for experiment in experiments))

    first, second = asyncio.run(main())
    assert first.metrics.baseline.metrics["tag"] == ["a0", "a1", "a2"]
    assert second.metrics.baseline.metrics["tag"] == ["b0", "b1", "b2"]


def test_a_cancelled_arun_stops_and_keeps_what_was_finished(make):
    results = []

    class Keep(BasePlugin):
        def after_run(self, result):
            results.append(result)

    async def wait(data, ctx):
        ctx.record("n", 1)
        if ctx["replicate"] == 2:
            await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(make(wait, plugins=[Keep()]).arun(replicates=5))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert results[0].metrics.baseline.metrics["n"] == [1, 1]
    assert results[0].provenance["run"]["stopped_by"] == "CancelledError"


def test_tasks_that_a_step_left_behind_are_ended_with_the_run(make, where):
    ended = []

    async def forget(data):
        async def background():
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)

        asyncio.get_running_loop().forgotten = asyncio.ensure_future(background())
        await asyncio.sleep(0)

    where(lambda: make(forget).run())
    assert ended == [True]


def test_no_loop_and_no_thread_is_left_behind(make, where):
    import threading

    before = set(threading.enumerate())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in (add_one, starting_one):
            where(lambda step=step: make(step).run(replicates=2))
            where(lambda step=step: list(make(step).stream(replicates=2)))
        gc.collect()
    assert set(threading.enumerate()) <= before


def test_a_run_that_awaits_nothing_makes_no_loop(make, monkeypatch):
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: pytest.fail("a loop was made"))
    assert not make(sum).run(replicates=2).errors


def test_generators_are_data_and_not_awaited(make):
    def lazily(data):
        yield from data

    async def also_lazily(data):
        for value in data:
            yield value

    assert make(lazily, sum).apply() == 6
    assert hasattr(make(also_lazily).apply(), "__aiter__")


def test_what_is_awaited_may_give_something_to_be_awaited(make, where):
    async def starts(data, ctx):
        return add_one(data, ctx)

    @data_source
    async def source(ctx):
        return Later(Later([ctx["replicate"]]))

    result = where(lambda: make(starts, add_one, sum, source=source()).run(replicates=3))
    assert not result.errors
    assert result.metrics.baseline.metrics["n"] == [0, 0, 1, 1, 2, 2]
    assert where(lambda: make(starts, add_one, sum, source=source()).apply()) == 2
