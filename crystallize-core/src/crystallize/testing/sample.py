"""The small experiment in which the conformance kit tries plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.datasources import data_source
from crystallize.design import Treatment
from crystallize.experiments.experiment import Experiment
from crystallize.pipelines import Pipeline, pipeline_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystallize.context import FrozenContext
    from crystallize.results.result import Result

__all__ = ["REPLICATES", "TREATMENTS", "experiment_with", "numbers", "numbers_of", "scale", "summarise"]

REPLICATES = 3


@data_source
def numbers(ctx: FrozenContext) -> list[float]:
    """Give the replicate's numbers."""
    return [float(ctx["replicate"] + position) for position in range(4)]


@pipeline_step()
def scale(data: list[float], ctx: FrozenContext, *, factor: float = 1.0, fails: bool = False) -> list[float]:
    """Multiply; fail where a treatment says so."""
    if fails:
        raise ArithmeticError("this cell is meant to fail")
    ctx.emit("scaled", factor=factor)
    return [factor * number for number in data]


@pipeline_step()
def summarise(data: list[float], ctx: FrozenContext) -> tuple[list[float], dict[str, Any]]:
    """Record what a change of data or context would show in."""
    return data, {"total": sum(data), "size": len(data), "keys": sorted(ctx)}


TREATMENTS = (Treatment("doubled", {"factor": 2.0}), Treatment("failing", {"fails": True}))


def experiment_with(plugins: Sequence[object], *, strict: bool = False) -> Experiment:
    """Give the experiment with these plugins and no others."""
    return Experiment(
        numbers(),
        Pipeline([scale(), summarise()]),
        plugins=list(plugins),
        name="conformance",
        default_plugins=False,
        strict=strict,
    )


def numbers_of(result: Result) -> dict[str, dict[str, list[Any]]]:
    """Give every metric by condition."""
    conditions = {"baseline": result.metrics.baseline, **result.metrics.treatments}
    return {
        condition: {name: list(values) for name, values in found.metrics.items()}
        for condition, found in conditions.items()
    }
