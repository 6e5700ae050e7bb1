"""Runs that stop because too much failed: what had finished is kept, and resuming goes on."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from crystallize import AsyncExecution, BasePlugin, ParallelExecution, Treatment, pipeline_step
from crystallize.errors import PipelineExecutionError, PrunedError, TooManyFailuresError

EXECUTORS = {
    "none": lambda: (),
    "thread": lambda: (ParallelExecution(3),),
    "process": lambda: (ParallelExecution(2, "process"),),
    "async": lambda: (AsyncExecution(),),
}


@pytest.fixture(params=EXECUTORS)
def plugins(request):
    return EXECUTORS[request.param]()


@pipeline_step()
def third_fails(data, ctx):
    time.sleep(0.001)  # others are heard meanwhile
    if ctx["replicate"] % 3 == 2 and not Path("mended").exists():
        raise ValueError(f"replicate {ctx['replicate']}")
    return data, {"value": ctx["replicate"]}


def run(experiment, how, **arguments):
    if how == "run":
        return experiment.run(**arguments)
    if how == "arun":
        return asyncio.run(experiment.arun(**arguments))
    return list(experiment.stream(**arguments))


@pytest.mark.parametrize("how", ["run", "arun", "stream"])
@pytest.mark.parametrize(
    "limits, allowed", [({"fail_fast": True}, 0), ({"max_failures": 2}, 2), ({"max_failures": 2, "fail_fast": True}, 0)]
)
def test_a_run_stops_when_more_cells_failed_than_may(build, plugins, how, limits, allowed):
    with pytest.raises(TooManyFailuresError, match="failed") as caught:
        run(build(third_fails(), plugins=plugins, **limits), how, replicates=200)
    error = caught.value
    assert (error.failed, error.limit) == (allowed + 1, allowed)
    assert isinstance(error.__cause__, PipelineExecutionError)
    result = error.result
    assert len(result.errors) >= allowed + 1  # what arrived while the run was being stopped is kept, too
    assert result.provenance["cells"]["baseline"]["missing"] > 0
    assert result.provenance["run"]["stopped_by"] == "TooManyFailuresError"


def test_as_many_failures_as_may_be_stop_nothing(build, plugins):
    result = build(third_fails(), plugins=plugins, max_failures=3).run(replicates=9)
    assert len(result.errors) == 3
    assert result.metrics.baseline.metrics["value"] == [0, 1, 3, 4, 6, 7]


@pytest.mark.parametrize("how", ["run", "arun", "stream"])
def test_what_had_finished_is_stored_and_resuming_goes_on(build, plugins, how):
    ran = []

    class Watcher(BasePlugin):
        neutral = True

        def collect(self, experiment, outcome):
            ran.append(outcome.cell)

    experiment = build(third_fails(), plugins=[*plugins, Watcher()], stored=True, max_failures=1)
    treatments = [Treatment("same", {})]
    with pytest.raises(TooManyFailuresError) as caught:
        run(experiment, how, treatments=treatments, replicates=60)
    kept = caught.value.result
    done = {
        (name, replicate)
        for name, metrics in {"baseline": kept.metrics.baseline, **kept.metrics.treatments}.items()
        for replicate in metrics.metrics["value"].replicates
    }
    assert done
    assert set(ran) >= done
    ran.clear()
    Path("mended").touch()
    resumed = experiment.run(treatments=treatments, replicates=60, strategy="resume")
    assert resumed.errors == {}
    assert resumed.metrics.baseline.metrics["value"] == resumed.metrics.treatments["same"].metrics["value"]
    assert resumed.metrics.baseline.metrics["value"] == list(range(60))
    assert not done & set(ran), "finished cells are not run again"
    assert len(ran) + len(done) == 120


def test_a_failure_counts_once_all_its_attempts_are_used_up(build, plugins, tally):
    @pipeline_step(retries=1)
    def second_time(data, ctx):
        if tally(ctx) == 1:
            raise ValueError("no")
        return data, {"value": 1}

    result = build(second_time(), plugins=plugins, fail_fast=True).run(replicates=6)
    assert result.metrics.baseline.metrics["value"] == [1] * 6


def test_cells_that_an_optimiser_stopped_have_not_failed(build):
    @pipeline_step()
    def pruned(data, ctx):
        raise PrunedError("enough")

    assert len(build(pruned(), fail_fast=True).run(replicates=3).errors) == 3


def test_a_loop_of_ones_own_is_stopped_too(build, caplog):
    closed = []

    class Short(BasePlugin):
        neutral = True

        def run_experiment_loop(self, experiment, replicate_fn):
            return [replicate_fn(replicate) for replicate in range(experiment.replicates)]

    class Generator(BasePlugin):
        neutral = True

        def run_experiment_loop(self, experiment, cells, run_cell):
            try:
                for cell in cells:
                    yield run_cell(cell)
            finally:
                closed.append(1)

    class Asynchronous(BasePlugin):
        neutral = True

        async def run_experiment_loop(self, experiment, cells, run_cell):
            try:
                for cell in cells:
                    yield await run_cell.aio(cell)
            finally:
                closed.append(1)

    class Finished(BasePlugin):
        """Hands over an iterator that can be told nothing."""

        neutral = True

        def run_experiment_loop(self, experiment, cells, run_cell):
            return map(run_cell, cells)

    for plugin in (Short(), Generator(), Asynchronous(), Finished()):
        for how in ("run", "arun", "stream"):
            with pytest.raises(TooManyFailuresError) as caught, caplog.at_level(logging.CRITICAL):
                run(build(third_fails(), plugins=[plugin], fail_fast=True), how, replicates=9)
            finished = caught.value.result.provenance["cells"]["baseline"]
            # The short form of a loop had run everything before it handed over anything.
            expected = (6, 3) if isinstance(plugin, Short) else (2, 1)
            assert (finished["completed"], finished["failed"]) == expected
    assert len(closed) == 6


def test_an_executor_that_is_told_may_hand_over_what_it_has(build):
    class Batches(BasePlugin):
        neutral = True

        def run_experiment_loop(self, experiment, cells, run_cell):
            outcomes = [run_cell(cell) for cell in cells]
            try:
                while outcomes:
                    yield outcomes.pop(0)
            except TooManyFailuresError:
                yield from outcomes
                raise

    for how in ("run", "arun"):
        with pytest.raises(TooManyFailuresError) as caught:
            run(build(third_fails(), plugins=[Batches()], fail_fast=True), how, replicates=9)
        assert caught.value.result.provenance["cells"]["baseline"]["missing"] == 0


def test_threads_that_wait_for_their_next_attempt_give_up_when_the_run_stops(build, log):
    @pipeline_step(retries=1, retry_on=ConnectionError, backoff=300)
    def step(data, ctx):
        if ctx["replicate"] == 0:
            raise ConnectionError("wait for me")
        raise ValueError("stop")

    with pytest.raises(TooManyFailuresError):
        build(step(), plugins=[ParallelExecution(2)], fail_fast=True).run(replicates=2)
    assert "which nothing can stop" not in log.text()


def test_an_optimisation_is_stopped_too(build):
    from crystallize import BaseOptimizer, Objective

    class Asks(BaseOptimizer):
        def __init__(self):
            super().__init__(Objective("value", "minimize"))

        def ask(self):
            return [Treatment("tried", {})]

        def tell(self, values):
            raise AssertionError("nothing to tell")

        def tell_trials(self, trials):
            pass

        def get_best_treatment(self):
            return Treatment("tried", {})

    @pipeline_step()
    def fails(data, ctx):
        raise ValueError("no")

    with pytest.raises(TooManyFailuresError) as caught:
        build(fails(), max_failures=4).optimize(Asks(), 10, 2)
    assert caught.value.failed == 5
