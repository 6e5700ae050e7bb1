"""`step.parameter`: a key of the context that means a parameter of one step or data source alone."""

from __future__ import annotations

import pytest

from crystallize import (
    Experiment,
    ExperimentInput,
    ParallelExecution,
    Pipeline,
    PipelineStep,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
    standalone_context,
)


@data_source
def numbers(ctx, size=1):
    return size


@data_source("renamed")
def other(ctx, *, size=1, start=0):
    return size + start


@pipeline_step()
def embed(data, *, rate=1):
    return data, {"embed": rate}


@pipeline_step()
def classify(data, ctx, rate=2, *, depth=3):
    return data, {"classify": rate, "depth": depth}


@pipeline_step()
def measure(data):
    return data, {"data": data if isinstance(data, int) else sum(data.values())}


class Writing(PipelineStep):
    def __init__(self, **values):
        self.values = values

    def __call__(self, data, ctx):
        for key, value in self.values.items():
            ctx.add(key, value)
        return data


BASE = {"embed": 1, "classify": 2, "depth": 3, "data": 1}

ADDRESSED = {
    "the name of a function": ({"classify.rate": 9}, {"classify": 9}),
    "the name of a step's class": ({"ClassifyStep.rate": 9}, {"classify": 9}),
    "it counts more than the bare one": ({"classify.rate": 9, "rate": 7}, {"classify": 9, "embed": 7}),
    "the class's name counts more than the function's": (
        {"ClassifyStep.rate": 9, "classify.rate": 8, "rate": 7},
        {"classify": 9, "embed": 7},
    ),
    "a keyword-only parameter": ({"classify.depth": 9}, {"depth": 9}),
    "two steps": ({"classify.rate": 9, "embed.rate": 8}, {"classify": 9, "embed": 8}),
    "a data source": ({"numbers.size": 5}, {"data": 5}),
    "both": ({"numbers.size": 5, "embed.rate": 8}, {"data": 5, "embed": 8}),
}
WAYS = {
    "mapping": lambda values: {"treatments": [Treatment("t", values)]},
    "function": lambda values: {
        "treatments": [Treatment("t", lambda ctx: [ctx.add(*each) for each in values.items()])]
    },
    "initial context": lambda values: {"initial_ctx": values, "treatments": [Treatment("t", {})]},
    "baseline": lambda values: {"treatments": [Treatment("baseline", values), Treatment("t", values)]},
    "function over an initial value": lambda values: {
        "initial_ctx": {"unused": 1},
        "treatments": [Treatment("t", lambda ctx: [ctx.add(*each) for each in values.items()])],
    },
}


def add_all(ctx, values):
    for key, value in values.items():
        ctx.add(key, value)


def values_of(result, condition="t"):
    assert not result.errors
    found = result.metrics.baseline if condition == "baseline" else result.metrics.treatments[condition]
    return {name: values[0] for name, values in found.metrics.items()}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ADDRESSED)
@pytest.mark.parametrize("cacheable", [False, True], ids=["plain", "cacheable"])
def test_an_address_means_one_parameter(kind, way, cacheable, tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / "cache"))
    values, expected = ADDRESSED[kind]
    steps = [embed(), classify(), measure()]
    for step in steps:
        step.cacheable = cacheable
    experiment = Experiment(numbers(), steps, default_plugins=False, **WAYS[way](values))
    for _ in range(2):
        result = experiment.run()
        assert values_of(result) == {**BASE, **expected}
        if way not in ("initial context", "baseline"):
            assert values_of(result, "baseline") == BASE


@pytest.mark.parametrize("cacheable", [False, True], ids=["plain", "cacheable"])
def test_an_address_that_a_function_writes_counts_more_than_a_bare_initial_value(cacheable, tmp_path, monkeypatch):
    monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / "cache"))
    step = classify()
    step.cacheable = cacheable

    def by_replicate(ctx):
        if ctx["replicate"]:
            ctx.add("classify.rate", 9)

    experiment = Experiment(
        numbers(),
        [step],
        default_plugins=False,
        initial_ctx={"rate": 5},
        treatments=[Treatment("t", by_replicate)],
        replicates=2,
    )
    for _ in range(2):
        result = experiment.run()
        assert result.metrics.baseline.metrics["classify"] == [5, 5]
        assert result.metrics.treatments["t"].metrics["classify"] == [5, 9]
        params = [result.provenance["ctx_changes"]["t"][replicate][0]["params"]["rate"] for replicate in range(2)]
        assert params == [5, 9]
        reads = [result.provenance["ctx_changes"]["t"][replicate][0]["reads"] for replicate in range(2)]
        assert reads == [{"rate": 5}, {"classify.rate": 9}]


def test_the_provenance_shows_the_value_and_what_was_read():
    treatment = Treatment("t", {"classify.rate": 9, "numbers.size": 4})
    result = Experiment(numbers(), [embed(), classify()], default_plugins=False, treatments=[treatment]).run()
    first, second = result.provenance["ctx_changes"]["t"][0]
    assert first["params"] == {"rate": 1}
    assert second["params"] == {"rate": 9, "depth": 3}
    assert second["reads"] == {"classify.rate": 9}
    assert result.provenance["before_steps"]["t"][0]["reads"] == {"numbers.size": 4}


def test_steps_of_one_name_are_addressed_by_their_labels():
    pipeline = Pipeline([embed(), classify(), embed(), measure()])
    assert pipeline.labels[2] == "EmbedStep_2"
    assert pipeline.addresses == (
        ("EmbedStep",),
        ("ClassifyStep", "classify"),
        ("EmbedStep_2",),
        ("MeasureStep", "measure"),
    )
    treatment = Treatment("t", {"EmbedStep_2.rate": 9})
    result = Experiment(numbers(), pipeline, default_plugins=False, treatments=[treatment]).run()
    assert result.metrics.treatments["t"].metrics["embed"] == [1, 9]
    treatment = Treatment("t", {"EmbedStep.rate": 9})
    result = Experiment(numbers(), pipeline, default_plugins=False, treatments=[treatment]).run()
    assert result.metrics.treatments["t"].metrics["embed"] == [9, 1]


INPUTS = {
    "by the input's name": ({"left.size": 5}, 6),
    "by the source's own name": ({"renamed.start": 5}, 7),
    "by the bare name": ({"size": 5}, 10),
    "the address counts more": ({"size": 5, "left.size": 7}, 12),
    "one that only one of them has": ({"start": 5}, 7),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_each_source_of_an_input_is_addressed(kind):
    values, expected = INPUTS[kind]
    source = ExperimentInput(left=numbers(), right=other())
    result = Experiment(source, [measure()], default_plugins=False, treatments=[Treatment("t", values)]).run()
    assert values_of(result) == {"data": expected}
    assert values_of(result, "baseline") == {"data": 2}


def test_what_an_earlier_step_writes_under_an_address_is_an_ordinary_key():
    steps = [Writing(**{"classify.rate": 9}), classify()]
    result = Experiment(numbers(), steps, default_plugins=False, treatments=[Treatment("t", {})]).run()
    assert values_of(result)["classify"] == 2


def test_a_step_alone_is_addressed_too():
    assert classify()(0, standalone_context({"classify.rate": 9, "rate": 7}))[1]["classify"] == 9
    assert numbers().fetch(standalone_context({"numbers.size": 9, "size": 7})) == 9


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_addresses_mean_the_same_in_other_workers(executor):
    experiment = Experiment(
        numbers(),
        [embed(), classify(), measure()],
        plugins=[SeedPlugin(seed=1), ParallelExecution(max_workers=2, executor_type=executor)],
        default_plugins=False,
        treatments=[Treatment("t", {"classify.rate": 9, "numbers.size": 4})],
    )
    assert values_of(experiment.run()) == {**BASE, "classify": 9, "data": 4}
