"""An experiment whose metric is known, and an optimiser that keeps a diary."""

from __future__ import annotations

import pytest

from crystallize import Experiment, Pipeline, Treatment, data_source, pipeline_step
from crystallize.experiments.optimizers import BaseOptimizer, Objective


@data_source
def nothing(ctx):
    return None


@pipeline_step()
def loss(data, ctx, *, x=0.0):
    ctx.metrics.add("loss", (x - 2.0) ** 2 + ctx["replicate"])
    return data


@pytest.fixture
def make_experiment():
    """Make an experiment of steps; by default its ``loss`` is ``(x - 2)^2 + replicate``."""

    def make(*steps, **settings):
        settings.setdefault("default_plugins", False)
        return Experiment(nothing(), Pipeline(list(steps) or [loss()]), name="tuning", **settings)

    return make


class Diary(BaseOptimizer):
    """Asks for what it was given, and notes every call."""

    def __init__(self, batches, objective=None):
        super().__init__(objective or Objective("loss"))
        self.batches = list(batches)
        self.lines = []
        self.told = []

    def ask(self):
        batch = self.batches[self.lines.count("ask")]
        self.lines.append("ask")
        if not isinstance(batch, (list, tuple)):
            batch = [batch]
        return [x if isinstance(x, Treatment) else Treatment(f"x_{x}", {"x": x}) for x in batch]

    def tell(self, objective_values):
        self.lines.append("tell")
        self.told.append(dict(objective_values))

    def get_best_treatment(self):
        self.lines.append("best")
        return Treatment("best", {"x": 2.0})


class WholeTrials(Diary):
    """The same for whole trials."""

    def tell_trials(self, trials):
        self.lines.append("tell_trials")
        self.told.append(list(trials))


@pytest.fixture
def diary():
    """The class of an optimiser that has only `tell`."""
    return Diary


@pytest.fixture
def whole_trials():
    """The class of an optimiser that learns of whole trials."""
    return WholeTrials
