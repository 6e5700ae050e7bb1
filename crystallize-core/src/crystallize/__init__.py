"""Reproducible experiments with everything pluggable.

Every public name is resolved at its first use: importing the package costs next to nothing, and names
that plugins provide (`SeedPlugin`, `ParallelExecution`, …) are there where crystallize-plugins is
installed.
"""

from __future__ import annotations

from importlib import import_module as _import_module

# Type checkers know this name. Importing `typing` for it would be most of what the import costs.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from crystallize.context import FrozenContext, resource_factory, standalone_context
    from crystallize.datasources import (
        Artifact,
        DataSource,
        ExperimentInput,
        data_source,
        get_datasource,
        list_datasources,
        register_datasource,
    )
    from crystallize.design import Hypothesis, Objective, Treatment, hypothesis, treatment, verifier
    from crystallize.design.preregistration import Preregistration
    from crystallize.experiments.builder import ExperimentBuilder
    from crystallize.experiments.experiment import Experiment
    from crystallize.experiments.graphs import ExperimentGraph
    from crystallize.experiments.optimizers import BaseOptimizer
    from crystallize.experiments.quick import quick_experiment
    from crystallize.hooks import BasePlugin, hookimpl
    from crystallize.pipelines import Pipeline, PipelineStep, inject_from_ctx, pipeline, pipeline_step
    from crystallize.results.result import Result
    from crystallize_plugins.artifacts import ArtifactPlugin
    from crystallize_plugins.execution import AsyncExecution, ParallelExecution, SerialExecution
    from crystallize_plugins.logging import LoggingPlugin
    from crystallize_plugins.seed import SeedPlugin

    # At run time the list holds what is installed; see __getattr__.
    __all__ = [
        "Artifact",
        "ArtifactPlugin",
        "AsyncExecution",
        "BaseOptimizer",
        "BasePlugin",
        "DataSource",
        "Experiment",
        "ExperimentBuilder",
        "ExperimentGraph",
        "ExperimentInput",
        "FrozenContext",
        "Hypothesis",
        "LoggingPlugin",
        "Objective",
        "ParallelExecution",
        "Pipeline",
        "PipelineStep",
        "Preregistration",
        "Result",
        "SeedPlugin",
        "SerialExecution",
        "Treatment",
        "data_source",
        "get_datasource",
        "hookimpl",
        "hypothesis",
        "inject_from_ctx",
        "list_datasources",
        "pipeline",
        "pipeline_step",
        "quick_experiment",
        "register_datasource",
        "resource_factory",
        "standalone_context",
        "treatment",
        "verifier",
    ]

_HOMES = {
    "Artifact": "datasources",
    "BaseOptimizer": "experiments.optimizers",
    "BasePlugin": "hooks",
    "DataSource": "datasources",
    "Experiment": "experiments.experiment",
    "ExperimentBuilder": "experiments.builder",
    "ExperimentGraph": "experiments.graphs",
    "ExperimentInput": "datasources",
    "FrozenContext": "context",
    "Hypothesis": "design",
    "Objective": "design",
    "Pipeline": "pipelines",
    "PipelineStep": "pipelines",
    "Preregistration": "design.preregistration",
    "Result": "results",
    "Treatment": "design",
    "data_source": "datasources",
    "get_datasource": "datasources",
    "hookimpl": "hooks",
    "hypothesis": "design",
    "inject_from_ctx": "pipelines",
    "list_datasources": "datasources",
    "pipeline": "pipelines",
    "pipeline_step": "pipelines",
    "quick_experiment": "experiments.quick",
    "register_datasource": "datasources",
    "resource_factory": "context",
    "standalone_context": "context",
    "treatment": "design",
    "verifier": "design",
}

_FROM_PLUGINS = frozenset(
    {"ArtifactPlugin", "AsyncExecution", "LoggingPlugin", "ParallelExecution", "SeedPlugin", "SerialExecution"}
)

__version__ = "0.1.0"


if not TYPE_CHECKING:  # a checker that saw this would take every misspelt name for one that exists

    def __getattr__(name: str) -> Any:
        if name in _HOMES:
            value = getattr(_import_module(f"crystallize.{_HOMES[name]}"), name)
        elif name in _FROM_PLUGINS:
            value = _import_module("crystallize.discovery.loading").load_public(name)
        elif name == "__all__":
            installed = _import_module("crystallize.discovery.loading").public_plugin_names()
            value = sorted({*_HOMES, *installed})
        else:
            raise AttributeError(f"module 'crystallize' has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_FROM_PLUGINS})
