"""The identity of an experiment: what it would run, whatever it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crystallize.datasources.given import file_sources
from crystallize.fingerprint import combine, value_of
from crystallize.pipelines.identity import source_identity, step_identity

if TYPE_CHECKING:
    from crystallize.pipelines import Pipeline

__all__ = ["experiment_id"]

_LENGTH = 16


def experiment_id(datasource: Any, pipeline: Pipeline) -> str:
    """Give the identity of a data source and a pipeline: sixteen hexadecimal digits."""
    # Of stored files it is told whose they are: what is in them differs from run to run.
    given = [dict(part.params) for part in file_sources(datasource)]
    steps = (step_identity(step) for step in pipeline.steps)
    return combine(source_identity(datasource), value_of(given), *steps)[:_LENGTH]
