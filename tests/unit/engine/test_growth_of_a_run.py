"""What a run costs does not grow with what it does not use: counted, not timed."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import numpy as np
import pytest

from crystallize import Treatment, data_source, pipeline_step


def calls_made_by(work):
    """How many Python calls and C calls `work` makes."""
    count = 0

    def tally(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(tally)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pipeline_step()
def read(data, ctx, *, rate=0.1):
    ctx.get("rate")
    ctx.record("n", 1)
    return data


def test_a_step_costs_as_many_calls_with_10_000_keys_as_with_ten(make):
    def calls(keys, replicates):
        context = {f"key_{number}": [number] for number in range(keys)}
        experiment = make(*[read() for _ in range(10)], initial_ctx={"rate": 0.2, **context})
        experiment.run(replicates=replicates)
        return calls_made_by(lambda: experiment.run(replicates=replicates))

    def per_step(keys):
        return (calls(keys, 25) - calls(keys, 5)) / (20 * 10)

    assert per_step(10_000) == pytest.approx(per_step(10), abs=0.2)


def test_a_step_of_the_plainest_kind_costs_its_call_and_few_more(make):
    experiment = make(*[lambda data: data for _ in range(100)])
    experiment.run()
    few, many = (calls_made_by(lambda n=n: experiment.run(replicates=n)) for n in (5, 25))
    assert (many - few) / (20 * 100) < 5


def test_a_large_array_in_the_context_is_never_copied(make):
    weights = np.zeros(10_000_000)  # 80 MB
    steps = [pipeline_step()(lambda data, ctx, *, weights: ctx["weights"][0] + weights[0])() for _ in range(10)]
    experiment = make(*steps, initial_ctx={"weights": weights})
    experiment.run()
    tracemalloc.start()
    try:
        assert not experiment.run(replicates=5, treatments=[Treatment("t", {"other": weights})]).errors
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_large_array_through_a_step_is_never_copied(make):
    weights = np.zeros(10_000_000)

    @data_source
    def source(ctx):
        return weights

    experiment = make(*[lambda data: data for _ in range(10)], source=source())
    experiment.run()
    tracemalloc.start()
    try:
        experiment.run(replicates=5)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_large_object_that_no_step_reads_costs_nothing(make):
    table = {number: [number] for number in range(200_000)}
    experiment = make(*[read() for _ in range(10)], initial_ctx={"table": table})
    experiment.run()
    tracemalloc.start()
    try:
        experiment.run(replicates=2)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_little_is_kept_of_a_step_beyond_its_metrics(make):
    experiment = make(*[read() for _ in range(50)], initial_ctx={"rate": 0.2})

    def kept(replicates):
        gc.collect()
        tracemalloc.start()
        try:
            result = experiment.run(replicates=replicates)
            values = result.metrics.baseline.metrics["n"]
            assert len(values) == replicates * 50
            gc.collect()
            return tracemalloc.get_traced_memory()[0] - sys.getsizeof(values) - sys.getsizeof(values.replicates)
        finally:
            tracemalloc.stop()

    kept(10)
    assert (kept(210) - kept(10)) / (200 * 50) < 100


def test_treatments_that_come_once_are_forgotten(make):
    """As in a service that applies a new treatment to every request."""
    experiment = make(read())
    for number in range(300):
        experiment.apply(Treatment(f"t{number}", {"rate": number}))
    assert len(experiment._programs[1]) < 10


def test_runs_in_a_row_keep_no_memory(make):
    experiment = make(*[read() for _ in range(5)])
    for _ in range(20):
        experiment.run(replicates=2)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            experiment.run(replicates=2)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()
