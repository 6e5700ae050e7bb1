"""What users write, and the types that they see; checked by mypy, never run."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

from crystallize import (
    Artifact,
    ArtifactPlugin,
    AsyncExecution,
    DataSource,
    Experiment,
    ExperimentBuilder,
    ExperimentInput,
    FrozenContext,
    Hypothesis,
    LoggingPlugin,
    ParallelExecution,
    Pipeline,
    PipelineStep,
    Result,
    SeedPlugin,
    SerialExecution,
    Treatment,
    data_source,
    hypothesis,
    inject_from_ctx,
    pipeline,
    pipeline_step,
    quick_experiment,
    resource_factory,
    standalone_context,
    treatment,
    verifier,
)
from crystallize.hooks import HypothesisResult


@data_source
def numbers(ctx: FrozenContext) -> list[int]:
    return [1, 2, 3]


@data_source("typed_numbers", register=True)
def named(ctx: FrozenContext, value: int = 3) -> int:
    return value


@pipeline_step()
def add_delta(data: list[int], ctx: FrozenContext, *, delta: float = 0.0) -> list[float]:
    return [number + delta for number in data]


@pipeline_step(cacheable=True)
def record(data: list[float], ctx: FrozenContext) -> tuple[list[float], dict[str, float]]:
    ctx.metrics.add("total", sum(data))
    ctx.record("count", len(data), tags={"unit": "items"})
    ctx.artifacts.add("data.json", b"[]")
    ctx.logger.info("recorded")
    return data, {"mean": sum(data) / len(data)}


@pipeline_step()
async def wait(data: list[float], ctx: FrozenContext) -> list[float]:
    return data


class Scale(PipelineStep):
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, data: Any, ctx: FrozenContext) -> Any:
        return [self.factor * value for value in data]

    @property
    def params(self) -> dict[str, float]:
        return {"factor": self.factor}

    def setup(self, ctx: FrozenContext) -> None:
        ctx.add("ready", value=True)


def connect(ctx: FrozenContext) -> sqlite3.Connection:
    return sqlite3.connect(":memory:")


@verifier
def greater(baseline: Any, treated: Any, *, margin: float = 0.0) -> dict[str, Any]:
    return {"p_value": 0.01, "margin": margin}


@hypothesis(verifier=greater(margin=0.5), metrics="total", name="more")
def by_p_value(result: Any) -> float:
    return float(result["p_value"])


@inject_from_ctx
def injected(data: int, ctx: FrozenContext, gain: int = 1) -> int:
    return data * gain


experiment = Experiment(
    datasource=numbers(),
    pipeline=Pipeline([add_delta(delta=1.0), record(), wait(), Scale(2.0)]),
    plugins=[
        SeedPlugin(seed=1234, auto_seed=True),
        ParallelExecution(max_workers=4, executor_type="process"),
        LoggingPlugin(verbose=True, log_level="DEBUG"),
        "artifacts",
    ],
    initial_ctx={"db": resource_factory(connect, close=sqlite3.Connection.close)},
    outputs=[Artifact("data.json")],
    treatments=[Treatment("plus", {"delta": 2.0}), treatment("minus", {"delta": -2.0})],
    hypotheses=[Hypothesis(greater(), "total", name="greater"), by_p_value],
    replicates=3,
    name="typed",
)
assert_type(experiment, Experiment)
assert_type(experiment.validate(), None)
assert_type(experiment.get_plugin(SeedPlugin), SeedPlugin | None)
assert_type(experiment.replicates, int)
assert_type(Experiment.builder("typed"), ExperimentBuilder)
assert_type(experiment.artifact_datasource("RecordStep").fetch(standalone_context()), Path)

result = experiment.run(treatments=[Treatment("best", lambda ctx: ctx.add("delta", 1.0))], replicates=40)
assert_type(result, Result)
assert_type(result.get_hypothesis("greater"), HypothesisResult)
assert_type(result.get_artifact("data.json"), dict[str, Path])
assert_type(result.to_json(), str)
for name, values in result.metrics.baseline.metrics.items():
    assert_type(name, str)
    print(name, max(values))
for outcome in experiment.stream():
    assert_type(outcome.cell.key, str)
    assert_type(outcome.ok, bool)
output: dict[str, list[int]] = experiment.apply(experiment.treatments[0], data={"numbers": [1]}, seed=999)

source: DataSource = ExperimentInput(numbers=numbers(), other=named(value=4))
others = [SerialExecution(), AsyncExecution(max_concurrency=3), ArtifactPlugin(root_dir="data")]
steps = pipeline(add_delta(), record())
print(
    quick_experiment(lambda config: config["x"], {"a": {"x": 1}}, replicates=2, seed=3), injected(2, FrozenContext({}))
)


async def in_a_loop() -> Result:
    return await experiment.arun(replicates=2)
