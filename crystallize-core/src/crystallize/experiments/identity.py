"""The identity of an experiment: what it would run, whatever it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.datasources.given import file_sources
from crystallize.experiments.setup import check_parts
from crystallize.fingerprint import combine, value_of
from crystallize.pipelines.identity import source_identity, step_identity

if TYPE_CHECKING:
    from crystallize.experiments.experiment import Experiment

__all__ = ["experiment_id"]

_LENGTH = 16


def experiment_id(experiment: Experiment) -> str:
    """Give the identity of an experiment's data source and pipeline: sixteen hexadecimal digits."""
    check_parts(experiment)
    datasource = experiment.datasource
    # Of stored files it is told whose they are: what is in them differs from run to run.
    given = [dict(part.params) for part in file_sources(datasource)]
    steps = (step_identity(step) for step in experiment.pipeline.steps)
    return combine(source_identity(datasource), value_of(given), *steps)[:_LENGTH]
