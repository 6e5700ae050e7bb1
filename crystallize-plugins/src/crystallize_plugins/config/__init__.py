"""Experiments from config.yaml: a folder, read safely, checked with places, and made into an experiment.

It needs the extra ``yaml``: ``pip install "crystallize-plugins[yaml]"``. Without it everything here can be imported,
and says so when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystallize_plugins.config.describing import (
    Cli,
    DescribedStep,
    Description,
    Reference,
    named_plugins,
    read_description,
)
from crystallize_plugins.config.loading import LoadedExperiment, YamlFolders, config_problems, load_folder
from crystallize_plugins.config.overrides import values_of
from crystallize_plugins.config.problems import Place, Problem
from crystallize_plugins.config.schema import schema
from crystallize_plugins.lazy import lazily

if TYPE_CHECKING:
    from crystallize_plugins.config.writing import write_config

__all__ = [
    "Cli",
    "DescribedStep",
    "Description",
    "LoadedExperiment",
    "Place",
    "Problem",
    "Reference",
    "YamlFolders",
    "config_problems",
    "load_folder",
    "named_plugins",
    "read_description",
    "schema",
    "values_of",
    "write_config",
]

# Reading many descriptions is quick without what only writing needs.
__getattr__ = lazily(__name__, {"write_config": "writing"})
