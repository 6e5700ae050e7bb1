"""Mistakes that a type checker finds: each line says which; checked by mypy, never run."""

from __future__ import annotations

from crystallize import Experimant as Misspelt  # noqa: F401  # E: attr-defined
from crystallize import (
    Experiment,
    Hypothesis,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
)
from crystallize.hooks import TypedPlugin


@data_source
def numbers(ctx: object) -> list[int]:
    return [1]


@pipeline_step()
def total(data: list[int]) -> int:
    return sum(data)


SeedPlugin(seed="abc")  # E: arg-type
ParallelExecution(workers=3)  # E: call-arg
Treatment("t", 5)  # E: arg-type
Treatment(name=None, apply={})  # E: arg-type
Hypothesis(5)  # E: arg-type
experiment = Experiment(numbers(), Pipeline([total()]))
Experiment(numbers(), Pipeline([total()]), None, "name")  # E: call-arg, misc
experiment.run([], replicates=2)  # E: misc, call-arg
experiment.run(replicates="3")  # E: arg-type
experiment.run(replicate=3)  # E: call-arg
experiment.run().metric  # noqa: B018  # E: attr-defined


class Wrong(TypedPlugin):
    def collect(self, experiment: object, outcome: int) -> None:  # E: override
        print(outcome)
