"""Rows of kinds C and D: misleading, unhelpful, small."""

from __future__ import annotations

import json
import logging
import math
import random
from pathlib import Path

import pytest

from crystallize import (
    Artifact,
    Experiment,
    FrozenContext,
    LoggingPlugin,
    ParallelExecution,
    Pipeline,
    PipelineStep,
    SeedPlugin,
    Treatment,
    pipeline_step,
    standalone_context,
)


@pipeline_step()
def total(data, ctx, *, delta=0):
    return data, {"total": sum(data) + delta}


def test_not_a_number_and_infinity_are_null_in_json(make, saved):
    result = make(lambda data: (data, {"odd": [math.nan, math.inf, -math.inf], "nan": math.nan})).run()
    assert saved() == {"odd": [[None, None, None]], "nan": [None]}
    text = result.to_json()

    def refuse(token):
        raise AssertionError(token)

    metrics = json.loads(text, parse_constant=refuse)["metrics"]
    assert metrics["baseline"]["nan"] == [None]
    assert math.isnan(result.metrics.baseline.metrics["nan"][0])


@pytest.mark.parametrize("replicates", [0, -1, 2.7, True])
def test_a_senseless_number_of_replicates_is_refused(make, replicates):
    with pytest.raises((TypeError, ValueError), match="replicates"):
        make(total()).run(replicates=replicates)
    assert not Path("data").exists()


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("workers", [0, -2, 1.5])
def test_a_senseless_number_of_workers_is_refused(make, kind, workers):
    with pytest.raises((TypeError, ValueError), match="max_workers"):
        make(total(), plugins=[ParallelExecution(max_workers=workers, executor_type=kind)]).run()


def test_an_unknown_strategy_and_log_level_are_refused(make):
    with pytest.raises(ValueError, match="strategy"):
        make(total()).run(strategy="resmue")
    with pytest.raises(ValueError, match="log_level"):
        make(total(), plugins=[LoggingPlugin(log_level="LOUD")]).run()


@pytest.mark.parametrize("seed", ["abc", 1.5, True, [1]])
def test_a_seed_that_is_no_integer_is_a_type_error(seed):
    with pytest.raises(TypeError, match="seed"):
        SeedPlugin(seed=seed)


@pytest.mark.parametrize("name", [5, True, 1.5])
def test_a_name_that_is_no_text_is_refused_before_anything_runs(make, name):
    with pytest.raises(TypeError, match="name"):
        Treatment(name, {})
    with pytest.raises(TypeError, match="name"):
        make(total(), name=name)
    with pytest.raises(TypeError, match="name"):
        Treatment(None, {})


def test_failing_steps_are_logged_with_their_traceback(make, log):
    def breaks(data):
        raise ValueError("this is why")

    make(breaks).run(replicates=2)
    text = log.text(logging.WARNING)
    assert "BreaksStep failed in condition 'baseline', replicate 0: ValueError: this is why" in text
    assert 'raise ValueError("this is why")' in text
    assert "2 errors" in log.text(logging.INFO)


def test_later_changes_to_what_was_given_change_nothing(make):
    values, context, added = {"delta": [1]}, {"grid": [1]}, [1]
    treatment, experiment = Treatment("t", values), make(total(), initial_ctx=context)
    ctx = FrozenContext({})
    ctx.add("added", added)
    values["delta"].append(2)
    context["grid"].append(2)
    added.append(2)
    assert treatment.apply_map["delta"] == [1]
    assert experiment.apply(data=[]) == []
    assert experiment.initial_ctx["grid"] == [1]
    assert ctx["added"] == [1]


def test_looking_at_an_absent_metric_does_not_create_it(make, saved):
    def look(data, ctx):
        assert ctx.metrics["ghost"] == ()
        return data, {"real": 1}

    make(look).run()
    assert saved() == {"real": [1]}


def test_membership_in_the_context_is_a_bool():
    assert ("k" in standalone_context({"k": 1})) is True
    assert ("k" in standalone_context()) is False


@pytest.mark.parametrize(
    "attempt",
    [lambda: Treatment("t", 5), lambda: Pipeline([5]), lambda: Experiment("junk", Pipeline([len])).validate()],
)
def test_things_of_the_wrong_kind_are_type_errors(attempt):
    with pytest.raises(TypeError):
        attempt()


def test_a_seed_that_was_drawn_is_kept_and_repeats_the_run(make):
    def draw(data):
        return data, {"drawn": random.random()}

    result = make(draw).run(replicates=2)
    seed = json.loads(Path("data/pitfall/v0/run.json").read_text())["seed"]
    assert seed == result.provenance["run"]["seed"] == result.provenance["seeds"]["baseline"][0]
    again = make(draw, plugins=[SeedPlugin(seed=seed)]).run(replicates=2)
    assert again.metrics.baseline.metrics["drawn"] == result.metrics.baseline.metrics["drawn"]


def test_an_artifact_of_a_condition_that_failed_is_an_error_and_no_other_file(make, log):
    model = Artifact("model.txt", loader=lambda path: path.read_text())

    @pipeline_step()
    def save(data, ctx, *, model: Artifact):
        if ctx["condition"] == "fails":
            raise ValueError("no")
        model.write(ctx["condition"])

    make(save(), name="producer", outputs=[model]).run(treatments=[Treatment("fails", {})])
    consumer = make(lambda data: (data, {"got": data}), name="consumer", source=model)
    result = consumer.run(treatments=[Treatment("fails", {}), Treatment("new", {})])
    assert list(result.errors) == ["fails_rep_0"]
    assert result.metrics.treatments["new"].metrics["got"] == ["baseline"]
    assert "'new'" in log.text(logging.WARNING)


class Client(PipelineStep):
    def __init__(self, client_options):
        self.client_options = client_options

    @property
    def params(self):
        return {"client_options": self.client_options}

    def __call__(self, data, ctx):
        return data


def test_secrets_are_nowhere_in_what_is_kept(make):
    login = pipeline_step()(lambda data, ctx: (data, ctx.add("token", ctx["password"]))[0])
    result = make(Client({"api_key": "sk-secret", "retries": 2}), login(), initial_ctx={"password": "sk-secret"}).run()
    assert "retries" in result.to_json()
    assert "sk-secret" not in result.to_json()
    for path in Path("data").rglob("*"):
        if path.is_file():
            assert b"sk-secret" not in path.read_bytes(), path


@pytest.mark.parametrize("value", [dict, len, lambda: 1 / 0])
def test_functions_and_classes_are_injected_and_not_called(make, value):
    @pipeline_step()
    def show(data, ctx, *, tool=None):
        return [tool, ctx["tool"]]

    assert make(show(), initial_ctx={"tool": value}).apply() == [value, value]


def test_the_seed_formula_and_the_pairing_are_kept(make):
    def show(data, ctx):
        return data, {"seed": ctx["seed_used"], "replicate": ctx["replicate"]}

    seed = 2**32 - 1
    for plugins in ([], [ParallelExecution(2, "process")]):
        result = make(show, plugins=[SeedPlugin(seed=seed), *plugins]).run(
            replicates=3, treatments=[Treatment("t", {})]
        )
        expected = [(seed + r * 31337) % 2**32 for r in range(3)]
        assert result.metrics.baseline.metrics["seed"] == result.metrics.treatments["t"].metrics["seed"] == expected
        assert result.metrics.baseline.metrics["replicate"] == [0, 1, 2]
