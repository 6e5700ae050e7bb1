"""The identity of an experiment: what it would run, whatever it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.fingerprint import combine
from crystallize.pipelines.identity import source_identity, step_identity

if TYPE_CHECKING:
    from crystallize.pipelines import Pipeline

__all__ = ["experiment_id"]

_LENGTH = 16


def experiment_id(datasource: Any, pipeline: Pipeline) -> str:
    """Give the identity of a data source and a pipeline: sixteen hexadecimal digits."""
    return combine(source_identity(datasource), *(step_identity(step) for step in pipeline.steps))[:_LENGTH]
