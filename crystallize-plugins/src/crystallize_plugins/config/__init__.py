"""Experiments from config.yaml: a folder, read safely, checked with places, and made into an experiment.

It needs the extra ``yaml``: ``pip install "crystallize-plugins[yaml]"``. Without it everything here can be imported,
and says so when it is used.
"""

from __future__ import annotations

from crystallize_plugins.config.describing import Cli, Description, read_description
from crystallize_plugins.config.loading import LoadedExperiment, load_folder
from crystallize_plugins.config.problems import Place, Problem
from crystallize_plugins.config.references import Reference
from crystallize_plugins.config.schema import schema
from crystallize_plugins.config.writing import write_config


class YamlFolders:
    """What `Experiment.from_yaml` and `to_yaml` find through the entry-point group ``crystallize.configs``."""

    load_folder = staticmethod(load_folder)
    write_config = staticmethod(write_config)


__all__ = [
    "Cli",
    "Description",
    "LoadedExperiment",
    "Place",
    "Problem",
    "Reference",
    "YamlFolders",
    "load_folder",
    "read_description",
    "schema",
    "write_config",
]
