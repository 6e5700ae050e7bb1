"""Results as runs really give them."""

from __future__ import annotations

import datetime as dt
import json
import math
import pickle
import threading

import numpy as np
import pytest

from crystallize import (
    Experiment,
    Hypothesis,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
    verifier,
)
from crystallize.errors import HypothesisError, MissingMetricError


@data_source
def numbers(ctx):
    ctx.add("rows", 3)
    return [1.0, 2.0, 3.0]


@pipeline_step()
def scale(data, ctx, *, factor=1.0, api_key="sk-1"):
    ctx.add("scaled", np.full(3, factor))
    return [number * factor for number in data]


@pipeline_step()
def total(data, ctx):
    if ctx["condition"] == "broken":
        raise ValueError("boom")
    return data, {"total": sum(data) + ctx["replicate"], "first": ctx["scaled"][0]}


@verifier
def always_higher(baseline, treatment):
    pairs = zip(baseline["total"], treatment["total"], strict=True)
    return {"p_value": 0.01 if all(after > before for before, after in pairs) else 0.9}


def experiment(*steps, treatments=None, hypotheses=None, **given):
    return Experiment(
        datasource=numbers(),
        pipeline=Pipeline(list(steps) or [scale(), total()]),
        plugins=[SeedPlugin(seed=5)],
        default_plugins=False,
        name="run",
        treatments=[Treatment("double", {"factor": 2.0})] if treatments is None else treatments,
        hypotheses=hypotheses,
        replicates=3,
        **given,
    )


def test_metrics_and_hypotheses_come_together():
    result = experiment(hypotheses=[Hypothesis(always_higher, "total", name="higher")]).run()
    assert result.metrics.baseline.metrics["total"] == [6.0, 7.0, 8.0]
    assert result.metrics.treatments["double"].metrics["total"] == [12.0, 13.0, 14.0]
    assert result.metrics.treatments["double"].metrics["total"].replicates == [0, 1, 2]
    assert result.get_hypothesis("higher").results == {"double": {"p_value": 0.01}}
    assert result.get_hypothesis("higher").ranking == {"best": "double", "ranked": [("double", 0.01)]}
    assert result.errors == {}


def test_a_hypothesis_that_cannot_be_tested_costs_no_metrics():
    hypotheses = [
        Hypothesis(lambda b, t: 1 / 0, name="raises"),
        Hypothesis(always_higher, "ghost", name="misspelt"),
        Hypothesis(lambda b, t: {}, ranker=lambda output: output["x"], name="unranked"),
        Hypothesis(always_higher, "total", name="sound"),
    ]
    result = experiment(hypotheses=hypotheses).run()
    assert result.metrics.treatments["double"].metrics["total"] == [12.0, 13.0, 14.0]
    assert isinstance(result.errors["hypothesis:raises"], HypothesisError)
    assert isinstance(result.errors["hypothesis:misspelt"], MissingMetricError)
    assert "'x'" in str(result.errors["hypothesis:unranked"])
    assert list(result.errors) == ["hypothesis:raises", "hypothesis:misspelt", "hypothesis:unranked"]
    assert result.get_hypothesis("sound").ranking["best"] == "double"


def test_a_treatment_that_always_fails_has_no_values_and_the_hypothesis_names_it():
    treatments = [Treatment("broken", {}), Treatment("double", {"factor": 2.0})]
    result = experiment(treatments=treatments, hypotheses=[Hypothesis(always_higher, name="higher")]).run()
    assert list(result.metrics.treatments) == ["broken", "double"]
    assert result.metrics.treatments["broken"].metrics == {}
    assert [key for key in result.errors if key.startswith("broken")] == [f"broken_rep_{n}" for n in range(3)]
    assert "'broken'" in str(result.errors["hypothesis:higher"])
    assert result.get_hypothesis("higher").ranking["best"] == "double"


def test_each_step_of_each_cell_tells_what_it_did():
    steps = experiment().run().provenance["ctx_changes"]["double"][1]
    assert [step["step"] for step in steps] == ["ScaleStep", "TotalStep"]
    assert steps[0]["params"] == {"factor": 2.0, "api_key": "***"}
    assert steps[0]["reads"]["factor"] == 2.0
    assert steps[0]["writes"] == {"scaled": "ndarray(shape=(3,), dtype=float64)"}
    assert steps[1]["metrics"] == {"total": [13.0], "first": [2.0]}
    assert not steps[0]["cache_hit"]


def test_parameters_are_those_that_the_cell_really_had():
    treatments = [Treatment("by function", lambda ctx: ctx.add("factor", 3.0 + ctx["replicate"]))]
    result = experiment(treatments=treatments).run()
    changes = result.provenance["ctx_changes"]
    assert changes["baseline"][2][0]["params"]["factor"] == 1.0
    assert [changes["by function"][replicate][0]["params"]["factor"] for replicate in range(3)] == [3.0, 4.0, 5.0]


def test_a_parameter_that_is_given_stays_whatever_the_cell_writes():
    treatments = [Treatment("by function", lambda ctx: ctx.add("factor", 3.0))]
    result = experiment(scale(factor=7.0), total(), treatments=treatments).run()
    assert result.provenance["ctx_changes"]["by function"][0][0]["params"]["factor"] == 7.0


def test_a_parameter_that_an_earlier_step_supplies_is_told_too():
    @pipeline_step()
    def choose(data, ctx):
        ctx.add("rate", 10 + ctx["replicate"])
        return data

    @pipeline_step()
    def use(data, ctx, rate):
        return data, {"rate": rate}

    result = experiment(choose(), use(), treatments=[]).run()
    assert result.metrics.baseline.metrics["rate"] == [10, 11, 12]
    assert result.provenance["ctx_changes"]["baseline"][2][1]["params"] == {"rate": 12}


def test_the_seed_is_in_the_tree_and_in_the_provenance():
    result = experiment().run()
    assert result.provenance["seeds"]["double"] == [(5 + n * 31337) % 2**32 for n in range(3)]
    for fmt in ("treatment > replicate > step > action", "step", "replicate", "action"):
        assert str(5 + 31337) in result.tree_text(fmt)


def test_odd_metrics_reach_strict_json():
    @pipeline_step()
    def odd(data, ctx):
        for value in (math.nan, np.float32(0.5), np.ones(2), {1, 2}, {(1, 2): 3}, dt.date(2024, 5, 1), b"x", 1j):
            ctx.metrics.add("odd", value, tags={"kind": type(value).__name__})
        return data

    result = experiment(odd(), treatments=[]).run(replicates=1)
    assert not result.errors
    assert result.metrics.baseline.metrics["odd"].tags[1] == {"kind": "float32"}
    data = json.loads(result.to_json("out.json"), parse_constant=pytest.fail)
    expected = [None, 0.5, [1.0, 1.0], "{1, 2}", {"(1, 2)": 3}, "2024-05-01", "b'x'", "1j"]
    assert data["metrics"]["baseline"]["odd"] == expected


def test_a_data_source_of_pairs_leaves_what_steps_return_alone():
    @data_source
    def pair(ctx):
        return [1.0], [2.0]

    @pipeline_step()
    def add(data):
        left, right = data
        return left + right, {"size": len(left) + len(right)}

    run = Experiment(datasource=pair(), pipeline=Pipeline([add()]), default_plugins=False, name="run")
    assert run.run(replicates=2).metrics.baseline.metrics == {"size": [2, 2]}


def test_a_result_travels_even_where_its_context_does_not():
    run = experiment(
        initial_ctx={"lock": threading.Lock(), "password": "hunter2"}, treatments=[Treatment("broken", {})]
    )
    result = run.run()
    sent = pickle.dumps(result)
    assert b"hunter2" not in sent
    back = pickle.loads(sent)
    assert back.to_dict() == result.to_dict()
    assert isinstance(back.errors["broken_rep_0"], type(result.errors["broken_rep_0"]))


def test_two_runs_with_one_seed_give_one_result():
    @pipeline_step()
    def draw(data, ctx):
        return data, {"drawn": float(ctx.rng.normal())}

    first, second = (experiment(draw()).run() for _ in range(2))
    assert first.to_dict()["metrics"] == second.to_dict()["metrics"]
    assert first.tree_text("treatment > step > action") == second.tree_text("treatment > step > action")
