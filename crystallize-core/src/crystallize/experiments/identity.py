"""The identity of an experiment: what it would run, whatever it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize.datasources.stored import StoredFileSource
from crystallize.experiments.setup import check_parts
from crystallize.fingerprint import combine, value_of

if TYPE_CHECKING:
    from crystallize.experiments.experiment import Experiment

__all__ = ["experiment_id"]

_LENGTH = 16


def experiment_id(experiment: Experiment) -> str:
    """Give the identity of an experiment's data source and pipeline: sixteen hexadecimal digits."""
    check_parts(experiment)
    datasource = experiment.datasource
    # Of stored files it is told whose they are: what is in them differs from run to run.
    stored = [dict(part.params) for part in datasource.single_sources() if isinstance(part, StoredFileSource)]
    source = combine(*(part.digest for _, part in datasource._identity_parts("datasource")))
    steps = (combine(*(part.digest for part in step._identity_parts())) for step in experiment.pipeline.steps)
    return combine(source, value_of(stored), *steps)[:_LENGTH]
