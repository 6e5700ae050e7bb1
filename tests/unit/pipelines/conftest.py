"""Ways to call a step: alone, and in an experiment to which each source of context values leads."""

from __future__ import annotations

import pytest

from crystallize import Experiment, Pipeline, PipelineStep, Treatment, data_source, standalone_context


@data_source
def nothing(ctx):
    return None


class Putting(PipelineStep):
    """Adds values to the context, in `setup` or when it is called."""

    def __init__(self, values, *, early):
        self.values = values
        self.early = early

    def setup(self, ctx):
        if self.early:
            self.put(ctx)

    def put(self, ctx):
        for key, value in self.values.items():
            ctx.add(key, value)

    def __call__(self, data, ctx):
        if not self.early:
            self.put(ctx)
        return data


def alone(step, data, values):
    return step(data, standalone_context(values))


def from_initial_ctx(step, data, values):
    return experiment(step, initial_ctx=values).apply(data=data)


def from_treatment(step, data, values):
    return experiment(step).apply(Treatment("t", values), data=data)


def from_treatment_function(step, data, values):
    return experiment(step).apply(Treatment("t", Putting(values, early=False).put), data=data)


def from_setup(step, data, values):
    return experiment(Putting(values, early=True), step).apply(data=data)


def from_earlier_step(step, data, values):
    return experiment(Putting(values, early=False), step).apply(data=data)


def experiment(*steps, **settings):
    return Experiment(nothing(), Pipeline(list(steps)), default_plugins=False, **settings)


WAYS = (alone, from_initial_ctx, from_treatment, from_treatment_function, from_setup, from_earlier_step)


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def call(request):
    """Call a step with data and context values, whichever way these come."""
    return request.param


@pytest.fixture(scope="session")
def ways():
    """All ways to call a step."""
    return WAYS


@pytest.fixture
def make():
    """Make an experiment of steps, without plugins."""
    return experiment
