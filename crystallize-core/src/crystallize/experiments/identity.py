"""The identity of an experiment: what it would run, whatever it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.fingerprint import code_of, combine, value_of
from crystallize.pipelines.step import FunctionStep

if TYPE_CHECKING:
    from crystallize.pipelines import Pipeline, PipelineStep

__all__ = ["experiment_id", "step_identity"]

_LENGTH = 16


def experiment_id(datasource: Any, pipeline: Pipeline) -> str:
    """Give the identity of a data source and a pipeline: sixteen hexadecimal digits."""
    return combine(value_of(datasource), *(step_identity(step) for step in pipeline.steps))[:_LENGTH]


def step_identity(step: PipelineStep) -> str:
    """Give the identity of a step: its code and its parameters, or its attributes where it names no parameters."""
    if isinstance(step, FunctionStep):
        return combine(code_of(step.spec.fn), value_of(dict(step.params)))
    params = dict(step.params)
    return combine(code_of(type(step)), value_of(params)) if params else value_of(step)
