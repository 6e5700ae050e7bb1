"""`Experiment.builder`: the same experiment, part by part."""

from __future__ import annotations

import pytest

from crystallize import Artifact, BasePlugin, Experiment, ExperimentBuilder, Hypothesis, Pipeline, Treatment, verifier
from crystallize.errors import CrystallizeError, ValidationError


@verifier
def differs(baseline, treatment):
    return {"p_value": 0.5}


class Mine(BasePlugin):
    pass


def test_every_part_can_be_given_and_every_call_gives_the_builder(source, step):
    builder = Experiment.builder("built")
    treatments, hypotheses = [Treatment("t", {"delta": 1})], [Hypothesis(differs(), name="h")]
    mine, artifact = Mine(), Artifact("a.json")
    calls = [
        ("datasource", source()), ("add_step", step()), ("plugins", [mine]), ("treatments", treatments),
        ("hypotheses", hypotheses), ("replicates", 2), ("description", "about"), ("initial_ctx", {"rate": 1}),
        ("outputs", [artifact]), ("default_plugins", False),
    ]  # fmt: skip
    for method, argument in calls:
        assert getattr(builder, method)(argument) is builder
    experiment = builder.build()
    assert isinstance(experiment, Experiment)
    assert (experiment.name, experiment.description, experiment.replicates) == ("built", "about", 2)
    assert (experiment.treatments, experiment.hypotheses, experiment.plugins) == (treatments, hypotheses, [mine])
    assert experiment.initial_ctx == {"rate": 1}
    assert experiment.outputs == {"a.json": artifact}
    assert experiment.run().metrics.treatments["t"].metrics["total"] == [7, 7]


def test_steps_are_added_in_order_after_those_of_a_pipeline(source):
    for given in (Pipeline([sorted, len]), [sorted, len]):
        builder = Experiment.builder().datasource(source()).pipeline(given).add_step(abs).default_plugins(())
        assert builder.build().pipeline.labels == ("SortedStep", "LenStep", "AbsStep")


def test_a_builder_of_ones_own_may_be_made(source, step):
    builder = ExperimentBuilder(name="mine").datasource(source).add_step(step).default_plugins(())
    assert builder.build().name == "mine"


def test_a_subclass_builds_itself(source, step):
    class Special(Experiment):
        pass

    assert type(Special.builder().datasource(source).add_step(step).default_plugins(()).build()) is Special


@pytest.mark.parametrize("missing", ["datasource", "pipeline"])
def test_a_missing_part_is_named(source, step, missing):
    builder = Experiment.builder()
    builder = builder.add_step(step()) if missing == "datasource" else builder.datasource(source())
    with pytest.raises(ValidationError, match=f"the experiment has no {missing}: call"):
        builder.build()


@pytest.mark.parametrize(
    "method, argument", [("replicates", 0), ("treatments", 5), ("add_step", 5), ("initial_ctx", 5), ("description", 5)]
)
def test_a_bad_part_is_refused_when_it_is_built_at_the_latest(source, step, method, argument):
    with pytest.raises(CrystallizeError):
        getattr(Experiment.builder("x").datasource(source()).add_step(step()), method)(argument).build()


def test_the_name_is_no_positional_argument_of_the_class():
    with pytest.raises(TypeError, match="by keyword"):
        ExperimentBuilder("name")


def test_two_builds_are_two_experiments(source, step):
    builder = Experiment.builder("x").datasource(source()).add_step(step()).default_plugins(())
    first, second = builder.build(), builder.build()
    assert first is not second
    assert first.run().metrics.baseline.metrics["total"] == second.run().metrics.baseline.metrics["total"]
