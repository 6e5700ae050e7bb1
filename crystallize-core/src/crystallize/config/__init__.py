"""Experiments from config.yaml: a folder, read safely, checked with places, and made into an experiment.

It needs the extra ``yaml``: ``pip install "crystallize-core[yaml]"``. Without it everything here can be imported, and
says so when it is used.
"""

from __future__ import annotations

from crystallize.config.describing import Cli, Description, read_description
from crystallize.config.loading import LoadedExperiment, load_folder
from crystallize.config.problems import Place, Problem
from crystallize.config.references import Reference
from crystallize.config.schema import schema
from crystallize.config.writing import write_config

__all__ = [
    "Cli",
    "Description",
    "LoadedExperiment",
    "Place",
    "Problem",
    "Reference",
    "load_folder",
    "read_description",
    "schema",
    "write_config",
]
