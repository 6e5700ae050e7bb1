"""What a run tells of how its numbers came about."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from crystallize import BasePlugin, PipelineStep, Treatment, data_source, pipeline_step
from crystallize.engine.program import compile_condition


@pipeline_step()
def scale(data, ctx, *, factor=1, offset=0):
    ctx.record("first", data[0] * factor + offset)
    ctx.record("first", "again")
    return data


@pytest.fixture
def steps_of():
    """What each step of a cell did."""

    def look(result, condition="baseline", replicate=0):
        return result.provenance["ctx_changes"][condition][replicate]

    return look


def test_every_step_tells_name_parameters_reads_writes_and_metrics(make, steps_of):
    def write(data, ctx):
        ctx.add("mark", [ctx["host"], ctx.get("absent")])
        return data

    result = make(write, scale(offset=5), initial_ctx={"host": "h"}).run(treatments=[Treatment("t", {"factor": 2})])
    first, second = steps_of(result, "t")
    assert {**first, "duration": None} == {
        "step": "WriteStep", "params": {}, "cache_hit": False, "reads": {"host": "h", "absent": "<absent>"},
        "writes": {"mark": ["h", None]}, "metrics": {}, "duration": None,
    }  # fmt: skip
    assert {**second, "duration": None} == {
        "step": "ScaleStep", "params": {"factor": 2, "offset": 5}, "cache_hit": False, "reads": {"factor": 2},
        "writes": {}, "metrics": {"first": [7, "again"]}, "duration": None,
    }  # fmt: skip
    assert second["duration"] >= 0


@pytest.mark.parametrize("writers", [1, 2])
def test_what_a_step_wrote_is_told_however_many_wrote(make, steps_of, writers):
    steps = [lambda data, ctx, n=n: ctx.add(f"key_{n}", n) for n in range(writers)]
    result = make(*[pipeline_step()(lambda data, ctx, step=step: step(data, ctx))() for step in steps]).run()
    assert [step["writes"] for step in steps_of(result)] == [{f"key_{n}": n} for n in range(writers)]


def test_parameters_that_a_cell_decides_are_those_it_had(make, steps_of):
    @pipeline_step()
    def decide(data, ctx):
        if ctx["replicate"]:
            ctx.add("factor", 10)
        return data

    result = make(decide(), scale()).run(replicates=2, treatments=[Treatment("t", lambda ctx: ctx.add("offset", 3))])
    assert steps_of(result, "baseline", 0)[1]["params"] == {"factor": 1, "offset": 0}
    assert steps_of(result, "baseline", 1)[1]["params"] == {"factor": 10, "offset": 0}
    assert steps_of(result, "t", 1)[1]["params"] == {"factor": 10, "offset": 3}
    assert steps_of(result, "t", 1)[1]["reads"] == {"factor": 10, "offset": 3}


def test_explicit_parameters_are_told_whatever_the_context_says(make, steps_of):
    put = pipeline_step()(lambda data, ctx: (ctx.add("factor", 9), data)[1])
    result = make(put(), scale(factor=4)).run()
    assert steps_of(result)[1]["params"]["factor"] == 4
    assert result.metrics.baseline.metrics["first"][0] == 4


def test_what_happened_before_the_first_step_is_told_too(make):
    @data_source
    def source(ctx):
        ctx.add("size", 3)
        return [ctx["rate"]]

    class Seeds(BasePlugin):
        def before_replicate(self, ctx):
            ctx.add("seed_used", 7)

    experiment = make(lambda data: data, source=source(), plugins=[Seeds()])
    result = experiment.run(treatments=[Treatment("baseline", lambda ctx: ctx.add("rate", 0.5))])
    before = result.provenance["before_steps"]["baseline"][0]
    assert before["writes"] == {"rate": 0.5, "seed_used": 7, "size": 3}
    assert before["reads"] == {"rate": 0.5}
    assert result.provenance["seeds"]["baseline"] == [7]


class Configured(PipelineStep):
    def __init__(self):
        self.params = {"client_options": {"api_key": "sk-1", "retries": 3}}

    params = None

    def __call__(self, data, ctx):
        return data


def test_secrets_are_masked_wherever_they_come_from(make, steps_of):
    step = Configured()
    fit = pipeline_step()(lambda data, ctx, *, password="hunter2": ctx["api_key"] and data)
    result = make(step, fit(), initial_ctx={"api_key": "sk-2"}).run()
    first, second = steps_of(result)
    assert first["params"] == {"client_options": {"api_key": "***", "retries": 3}}
    assert second["params"] == {"password": "***"}
    assert second["reads"] == {"api_key": "***"}
    assert "sk-" not in result.to_json()
    assert b"sk-" not in pickle.dumps(result)


def test_secrets_that_a_step_writes_are_masked_before_they_are_kept(make, steps_of):
    (outcome,) = make(lambda data, ctx: ctx.add("token", "sk-3")).stream()
    assert outcome.provenance.written == {"token": "***"}
    assert b"sk-3" not in pickle.dumps(outcome)


def test_large_and_odd_values_are_described_and_never_compared(make, steps_of):
    def use(data, ctx):
        ctx.add("mine", np.zeros((3, 4)))
        ctx.add("also", {"deep": [np.ones(2)], "f": print})
        return ctx["weights"].sum()

    result = make(use, initial_ctx={"weights": np.arange(4.0)}).run()
    (step,) = steps_of(result)
    assert step["reads"] == {"weights": "ndarray(shape=(4,), dtype=float64)"}
    assert step["writes"]["mine"] == "ndarray(shape=(3, 4), dtype=float64)"
    json.loads(result.to_json())


def test_params_that_go_bad_after_the_check_cost_no_result(make):
    class Moody(PipelineStep):
        calls = 0

        @property
        def params(self):
            Moody.calls += 1
            if Moody.calls > 1:
                raise RuntimeError("later")
            return {}

        def __call__(self, data, ctx):
            return data, {"n": 1}

    result = make(Moody()).run()
    assert result.metrics.baseline.metrics["n"] == [1]
    assert result.provenance["ctx_changes"]["baseline"][0][0]["params"] == {
        "params": "<could not be read: RuntimeError>"
    }


def test_a_result_travels_whatever_the_context_held(make, steps_of):
    import threading

    result = make(scale(), initial_ctx={"lock": threading.Lock(), "fn": lambda: 1}).run()
    copied = pickle.loads(pickle.dumps(result))
    assert copied.metrics.baseline.metrics == result.metrics.baseline.metrics
    assert steps_of(copied) == steps_of(result)


def test_the_run_tells_of_itself(make):
    experiment = make(scale(), name="told")
    run = experiment.run(replicates=2).provenance["run"]
    assert (run["experiment"], run["kind"], run["strategy"]) == ("told", "run", "rerun")
    assert (run["version"], run["folder"], run["seed"], run["stopped_by"]) == (None, None, None, None)
    assert run["started"] > 0
    assert run["duration"] > 0
    assert run["id"] != experiment.run().provenance["run"]["id"]


def test_cells_of_one_shape_share_it(make):
    outcomes = list(make(scale()).stream(replicates=50, treatments=[Treatment("t", {"factor": 2})]))
    assert len({id(outcome.provenance.shape) for outcome in outcomes if outcome.cell.condition == "t"}) == 1


def test_reads_in_a_loop_are_told_once(make, steps_of):
    def loop(data, ctx):
        for _ in range(10_000):
            ctx.get("rate")
        return data

    (outcome,) = make(loop, initial_ctx={"rate": 1}).stream()
    assert outcome.provenance.shape.steps[0].reads == ("rate",)


def test_a_program_keeps_few_shapes_of_cells_that_never_look_alike(make):
    experiment = make(lambda data, ctx: ctx.get(f"key_{ctx['replicate']}"))
    experiment.run(replicates=600)
    program = compile_condition(None, base={}, pipeline=experiment.pipeline, outputs={})
    assert len(program._shapes) == 0
    ((_, kept),) = experiment._programs[1].values()
    assert len(kept._shapes) <= 300
