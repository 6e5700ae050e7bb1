"""Loops that anybody may write on the public hook give the serial numbers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from crystallize import BasePlugin, ParallelExecution, Treatment, pipeline_step


class Futures(BasePlugin):
    neutral = True

    def run_experiment_loop(self, experiment, cells, run_cell):
        with ThreadPoolExecutor(3) as pool:
            futures = [pool.submit(run_cell, cell) for cell in cells]
            for future in as_completed(futures):
                yield future.result()


class Gathered(BasePlugin):
    neutral = True

    async def run_experiment_loop(self, experiment, cells, run_cell):
        for outcome in await asyncio.gather(*map(run_cell.aio, cells)):
            yield outcome


class Backwards(BasePlugin):
    neutral = True

    def run_experiment_loop(self, experiment, replicate_fn):
        return [replicate_fn(r) for r in reversed(range(experiment.replicates))]


class Declines(BasePlugin):
    neutral = True

    def __init__(self, answer):
        self.answer = answer

    def run_experiment_loop(self, experiment):
        return self.answer


@pipeline_step()
def draw(data, ctx, *, scale=1.0):
    ctx.metrics.add("drawn", float(ctx.rng.normal(scale=scale)))
    return data


def numbers(result):
    return list(result.metrics.baseline.metrics["drawn"]), list(result.metrics.treatments["t"].metrics["drawn"])


@pytest.mark.parametrize("plugin", [Futures(), Gathered(), Backwards()], ids=["futures", "async", "short form"])
def test_every_form_of_a_loop_gives_the_serial_numbers(plugin, build):
    treatments = [Treatment("t", {"scale": 2.0})]
    expected = numbers(build(draw()).run(replicates=6, treatments=treatments))
    assert numbers(build(draw(), plugins=[plugin]).run(replicates=6, treatments=treatments)) == expected


@pytest.mark.parametrize("answer", [None, NotImplemented])
def test_a_loop_that_declines_leaves_the_run_to_the_one_before(answer, build):
    experiment = build(draw(), plugins=[ParallelExecution(1), Declines(answer)])
    assert {outcome.worker for outcome in experiment.stream(replicates=2)} == {"thread-0"}
