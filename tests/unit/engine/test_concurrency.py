"""Experiments inside experiments, and one experiment in several threads."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from crystallize import Experiment, Pipeline, PipelineStep, Treatment, data_source, pipeline_step


@data_source
def replicate(ctx):
    return ctx["replicate"]


@pipeline_step()
def scale(data, ctx, *, factor=1):
    ctx.record("scaled", data * factor)
    return data * factor


@pipeline_step()
async def scale_later(data, ctx, *, factor=1):
    await asyncio.sleep(0)
    ctx.record("scaled", data * factor)
    return data * factor


def inner_experiment(step):
    return Experiment(replicate(), Pipeline([step]), default_plugins=False)


@pytest.mark.parametrize("inner", [scale, scale_later])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_step_may_run_an_experiment(make, face, inner, is_async):
    def nested(data, ctx):
        result = inner_experiment(inner()).run(replicates=3, treatments=[Treatment("t", {"factor": data})])
        ctx.record("inner", sum(result.metrics.treatments["t"].metrics["scaled"]))
        return data

    async def nested_later(data, ctx):
        return nested(data, ctx)

    result = face(make(nested_later if is_async else nested, source=replicate()), replicates=3)
    assert not result.errors
    assert result.metrics.baseline.metrics["inner"] == [0, 3, 6]


@pytest.mark.parametrize("inner", [scale, scale_later])
def test_an_async_step_may_await_an_experiment(make, face, inner):
    async def nested(data, ctx):
        result = await inner_experiment(inner()).arun(replicates=3)
        ctx.record("inner", sum(result.metrics.baseline.metrics["scaled"]))

    result = face(make(nested, source=replicate()), replicates=2)
    assert not result.errors
    assert result.metrics.baseline.metrics["inner"] == [3, 3]


def test_a_step_may_apply_and_stream_and_debug(make):
    def nested(data, ctx):
        inner = inner_experiment(scale())
        assert [outcome.metrics["scaled"] for outcome in inner.stream(replicates=2)] == [[0], [1]]
        assert inner.debug(replicate=4).metrics == {"scaled": [4]}
        return inner.apply(Treatment("t", {"factor": 3}), data=7)

    assert make(nested).apply() == 21


def test_a_step_may_run_its_own_experiment(make):
    experiments = []

    def again(data, ctx):
        if ctx["condition"] == "baseline":
            return experiments[0].apply(Treatment("t", {"factor": 2}))
        return ctx["factor"]

    experiments.append(make(again))
    assert experiments[0].apply() == 2


@pytest.mark.parametrize("step", [scale, scale_later])
def test_one_experiment_may_run_in_several_threads_at_once(make, step):
    experiment = make(step(), source=replicate(), initial_ctx={"grid": [1]})

    def run(factor):
        result = experiment.run(replicates=20, treatments=[Treatment("t", {"factor": factor})])
        assert not result.errors
        return result.metrics.treatments["t"].metrics["scaled"]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(run, range(40)))
    assert found == [[number * factor for number in range(20)] for factor in range(40)]


def test_setup_belongs_to_one_run_also_where_runs_overlap(make):
    barrier = threading.Barrier(2, timeout=10)

    class Client(PipelineStep):
        def setup(self, ctx):
            ctx.add("client", threading.get_ident())

        def __call__(self, data, ctx):
            barrier.wait()
            ctx.record("client", ctx["client"])
            return data

    experiment = make(Client())

    def run(_):
        (client,) = experiment.run().metrics.baseline.metrics["client"]
        return client == threading.get_ident()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(run, range(2))) == [True, True]


def test_cells_of_one_run_may_overlap_in_threads(make):
    from crystallize import BasePlugin

    class Pool(BasePlugin):
        neutral = True

        def run_experiment_loop(self, cells, run_cell):
            with ThreadPoolExecutor(8) as pool:
                yield from pool.map(run_cell, cells)

    def work(data, ctx):
        for number in range(50):
            ctx.add(f"key_{number}", data)
            ctx.record("n", data)
            assert ctx[f"key_{number}"] == data
        return data

    result = make(work, scale(), source=replicate(), plugins=[Pool()]).run(
        replicates=60, treatments=[Treatment("t", {"factor": 2})]
    )
    assert not result.errors
    assert result.metrics.baseline.metrics["n"] == [n for n in range(60) for _ in range(50)]
    assert result.metrics.treatments["t"].metrics["scaled"] == [2 * n for n in range(60)]


def test_a_step_may_start_threads_that_use_its_context(make):
    def spread(data, ctx):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: ctx.record("n", n), range(100)))
        return data

    (values,) = [outcome.metrics["n"] for outcome in make(spread).stream()]
    assert sorted(values) == list(range(100))
