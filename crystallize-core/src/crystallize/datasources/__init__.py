"""Data sources: where the data of a cell comes from."""

from __future__ import annotations

from crystallize.datasources.artifact import Artifact, ArtifactSource, BoundArtifact
from crystallize.datasources.base import DataSource, as_data_source
from crystallize.datasources.function import FunctionSource, data_source
from crystallize.datasources.inputs import ExperimentInput, producers
from crystallize.datasources.registry import get_datasource, list_datasources, register_datasource
from crystallize.datasources.stored import ArtifactStore, Producer, StoredRun

__all__ = [
    "Artifact",
    "ArtifactSource",
    "ArtifactStore",
    "BoundArtifact",
    "DataSource",
    "ExperimentInput",
    "FunctionSource",
    "Producer",
    "StoredRun",
    "as_data_source",
    "data_source",
    "get_datasource",
    "list_datasources",
    "producers",
    "register_datasource",
]
