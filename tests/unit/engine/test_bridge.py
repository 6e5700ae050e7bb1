"""Plain code and event loops driven from each other: nothing is lost on the way, and a run can be cancelled."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from contextlib import closing

import pytest

from crystallize import AsyncExecution, BasePlugin, ParallelExecution, data_source, pipeline_step
from crystallize.engine.bridge import EventLoop, HelperThread, as_async_iterator, as_iterator, flat
from crystallize.hooks import ExecutorPlugin


@data_source
def replicate(ctx):
    return ctx["replicate"]


@pipeline_step()
def number(data, ctx):
    return data, {"n": data}


class Slow(ExecutorPlugin):
    """Runs one cell, then waits for ever; yields an empty list now and then, as executors that wait do."""

    def __init__(self, last=()):
        self.stopped_by = None
        self.last = last

    def run_experiment_loop(self, cells, run_cell):
        try:
            yield run_cell(cells[0])
            while True:
                time.sleep(0.005)
                yield []
        except BaseException as exc:
            self.stopped_by = type(exc).__name__
            yield [run_cell(cells[place]) for place in self.last]
            raise


@pytest.mark.parametrize("executor", [Slow(), Slow(last=[1, 2])], ids=["nothing more", "two at its end"])
def test_a_plain_executor_that_waits_can_be_cancelled_in_an_event_loop_and_hands_in_what_it_has(make, executor):
    kept = []

    class Keep(BasePlugin):
        def after_run(self, result):
            kept.append(result.metrics.baseline.metrics["n"])

    async def main():
        experiment = make(number(), source=replicate(), plugins=[executor, Keep()])
        task = asyncio.create_task(experiment.arun(replicates=5))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert executor.stopped_by == "KeyboardInterrupt"
    assert kept == [[0, *executor.last]]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_in_threads_can_be_cancelled_while_no_cell_ends(make, workers):
    release = threading.Event()

    @pipeline_step()
    def stuck(data, ctx):
        release.wait(30)
        return data

    async def main():
        task = asyncio.create_task(make(stuck(), plugins=[ParallelExecution(workers)]).arun(replicates=6))
        await asyncio.sleep(0.1)
        task.cancel()
        threading.Timer(0.1, release.set).start()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("together", [2, 7, 40])
def test_cells_that_end_while_others_are_handed_on_are_not_lost(make, face, together):
    @pipeline_step()
    async def hop(data, ctx):
        for _ in range(ctx["replicate"] % 4):
            await asyncio.sleep(0)
        return data, {"n": data}

    experiment = make(hop(), source=replicate(), plugins=[AsyncExecution(together)])
    assert face(experiment, replicates=40).metrics.baseline.metrics["n"] == list(range(40))


def test_a_plain_executor_sees_the_context_variables_of_the_event_loops_task(make):
    name = contextvars.ContextVar("name", default="nobody")
    seen = []

    class Asks(ExecutorPlugin):
        def run_experiment_loop(self, cells, run_cell):
            for cell in cells:
                seen.append(name.get())
                yield run_cell(cell)

    async def main():
        name.set("somebody")
        await make(number(), source=replicate(), plugins=[Asks()]).arun(replicates=2)

    asyncio.run(main())
    assert seen == ["somebody"] * 2


def test_either_kind_of_iterator_can_be_iterated_over_from_either_side():
    async def later():
        yield 1
        await asyncio.sleep(0)
        yield [2, 3]

    ended = []

    async def main():
        return [
            flat(item)[:] async for item in as_async_iterator([1, [2, 3]], lambda: ended.append(threading.get_ident()))
        ]

    assert [list(item) for item in as_iterator(later())] == [[1], [2, 3]]
    assert [list(item) for item in asyncio.run(main())] == [[1], [2, 3]]
    assert len(ended) == 1
    assert ended != [threading.get_ident()]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_what_is_raised_in_a_helper_thread_is_raised_where_it_is_waited_for(error):
    def fails():
        raise error("here")

    async def main():
        with closing(HelperThread()) as thread:
            try:
                await thread.call(fails)
            except error as exc:
                return str(exc), await thread.call(sum, [1, 2])

    assert asyncio.run(main()) == ("here", 3)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError])
def test_what_is_raised_in_a_loop_leaves_the_loop_usable(where, error):
    async def fails():
        await asyncio.sleep(0)
        raise error("here")

    async def works():
        await asyncio.sleep(0)
        return 3

    def twice():
        with closing(EventLoop()) as loop:
            with pytest.raises(error, match="here"):
                loop.run(fails())
            return loop.run(works())

    assert where(twice) == 3
