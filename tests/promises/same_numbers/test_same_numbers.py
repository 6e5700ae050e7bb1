"""One experiment, one set of numbers, whoever runs it."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from crystallize import AsyncExecution, ParallelExecution, SeedPlugin, SerialExecution, Treatment, pipeline_step


@pipeline_step()
def draw(data, ctx, *, scale=1.0):
    ctx.metrics.add("own", float(ctx.rng.normal(scale=scale)))
    return data


@pipeline_step()
def draw_globally(data, ctx):
    ctx.metrics.add("random", random.random())
    ctx.metrics.add("numpy", float(np.random.rand()))
    return data


@pipeline_step()
async def wait_and_draw(data, ctx):
    await asyncio.sleep(0.001 * (ctx["replicate"] % 3))
    ctx.metrics.add("later", float(ctx.rng.random()))
    return data


def everything(result):
    values = {"baseline": dict(result.metrics.baseline.metrics)}
    values.update({name: dict(found.metrics) for name, found in result.metrics.treatments.items()})
    return {name: {metric: list(found) for metric, found in metrics.items()} for name, metrics in values.items()}


WIDER = Treatment("wider", {"scale": 3.0})
EXECUTORS = {
    "thread": lambda: ParallelExecution(3),
    "process": lambda: ParallelExecution(2, "process"),
    "async": AsyncExecution,
}


@pytest.mark.parametrize("kind", EXECUTORS)
def test_own_generators_give_the_serial_numbers_for_fifty_seeds(kind, build):
    steps = (draw(), wait_and_draw())
    for seed in range(50):
        found = [
            everything(build(*steps, seed=seed, plugins=[plugin]).run(replicates=3, treatments=[WIDER]))
            for plugin in (SerialExecution(), EXECUTORS[kind]())
        ]
        assert found[0] == found[1]
        assert len(set(found[0]["baseline"]["own"])) == 3


def test_the_global_state_gives_the_serial_numbers_in_processes_and_one_by_one(build):
    plugins = [SerialExecution(), ParallelExecution(2, "process"), ParallelExecution(1), AsyncExecution()]
    found = [everything(build(draw_globally(), plugins=[plugin]).run(replicates=8)) for plugin in plugins]
    assert all(one == found[0] for one in found)
    assert len(set(found[0]["baseline"]["random"])) == 8


def test_functions_taken_from_the_global_generators_give_the_serial_numbers_in_processes(processes, build):
    taken = random.random, np.random.rand  # As `from random import random` in a script, whose definitions go by value.

    @pipeline_step()
    def draw_taken(data, ctx, *, given):
        ctx.metrics.add("taken", [float(function()) for function in (*taken, given)])
        return data

    found = [
        everything(build(draw_taken(given=random.random), plugins=plugins).run(replicates=4))
        for plugins in ([], [processes])
    ]
    assert found[0] == found[1]


def test_a_seed_function_taken_from_the_global_generator_seeds_the_worker_s(processes, build):
    seeding = SeedPlugin(3, seed_fn=random.seed)
    found = [
        everything(build(draw_globally(), seed=None, plugins=[seeding, *plugins]).run(replicates=4))["baseline"]
        for plugins in ([], [processes])
    ]
    assert found[0]["random"] == found[1]["random"]


def test_metrics_come_in_the_order_of_replicates(executor, build):
    @pipeline_step()
    async def later_ones_first(data, ctx):
        await asyncio.sleep(0.002 * (10 - ctx["replicate"]))
        ctx.metrics.add("replicate", ctx["replicate"])
        return data

    result = build(later_ones_first(), plugins=[executor]).run(replicates=10, treatments=[Treatment("t", {})])
    assert list(result.metrics.baseline.metrics["replicate"]) == list(range(10))
    assert list(result.metrics.treatments["t"].metrics["replicate"]) == list(range(10))


def test_the_numbers_are_the_same_however_workers_are_started(processes, build):
    expected = everything(build(draw(), draw_globally()).run(replicates=5, treatments=[WIDER]))
    assert (
        everything(build(draw(), draw_globally(), plugins=[processes]).run(replicates=5, treatments=[WIDER]))
        == expected
    )


def test_arun_gives_the_same_numbers_in_the_callers_loop(executor, build):
    experiment = build(draw(), wait_and_draw(), plugins=[executor])
    expected = everything(build(draw(), wait_and_draw()).run(replicates=4))
    assert everything(asyncio.run(experiment.arun(replicates=4))) == expected


def test_run_inside_a_running_loop_gives_the_same_numbers(executor, build):
    async def notebook():
        return build(draw(), wait_and_draw(), plugins=[executor]).run(replicates=4)

    expected = everything(build(draw(), wait_and_draw()).run(replicates=4))
    assert everything(asyncio.run(notebook())) == expected


def test_stream_gives_every_cell_once(executor, build):
    cells = [outcome.cell for outcome in build(draw(), plugins=[executor]).stream(replicates=5, treatments=[WIDER])]
    assert sorted(cells) == sorted((name, r) for name in ("baseline", "wider") for r in range(5))


def test_a_failing_cell_fails_alone(executor, build):
    @pipeline_step()
    def fragile(data, ctx):
        if ctx["replicate"] == 2:
            raise LookupError("nothing there")
        ctx.metrics.add("fine", ctx["replicate"])
        return data

    result = build(fragile(), plugins=[executor]).run(replicates=5)
    assert list(result.metrics.baseline.metrics["fine"]) == [0, 1, 3, 4]
    assert list(result.errors) == ["baseline_rep_2"]
    assert "nothing there" in str(result.errors["baseline_rep_2"])
    assert "fragile" in result.errors["baseline_rep_2"].traceback_text
