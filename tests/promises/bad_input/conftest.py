"""The smallest experiment that records something."""

from __future__ import annotations

import pytest

from crystallize import Experiment, Pipeline, data_source, pipeline_step


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pipeline_step()
def total(data, ctx, *, delta=0):
    return data, {"total": sum(data) + delta, "replicate": ctx["replicate"]}


@pytest.fixture
def source():
    """A factory of data sources."""
    return numbers


@pytest.fixture
def step():
    """A factory of steps that records ``total`` and ``replicate``."""
    return total


@pytest.fixture
def make():
    """Make an experiment without plugins; keywords are those of `Experiment`."""

    def made(*steps, **settings):
        settings.setdefault("datasource", numbers())
        settings.setdefault("pipeline", Pipeline(list(steps) or [total()]))
        settings.setdefault("default_plugins", False)
        return Experiment(**settings)

    return made
