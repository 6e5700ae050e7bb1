"""Experiments that add up what they read, and say which ran."""

from __future__ import annotations

import json

import pytest

from crystallize import Artifact, Experiment, data_source, pipeline_step


@data_source
def one(ctx):
    return 1


@pytest.fixture
def node():
    """Give a maker of experiments: each records and publishes the sum of its inputs and `add`."""

    def make(name, *sources, outputs=True, failing=(), body=None, **settings):
        from crystallize import ExperimentInput

        published = Artifact(f"{name}.json", loader=lambda path: json.loads(path.read_text()))

        @pipeline_step()
        def work(data, ctx, *, out: Artifact, add=1):
            if body is not None:
                body()
            if failing is True or ctx["condition"] in failing:
                raise ValueError(f"{name} fails")
            total = sum(data.values()) if isinstance(data, dict) else data
            ctx.record("total", total + add)
            out.write(json.dumps(total + add))

        if not sources:
            source = one()
        elif len(sources) == 1:
            source = sources[0].published
        else:
            source = ExperimentInput(**{other.name: other.published for other in sources})
        experiment = Experiment(
            source, [work(out=published)], name=name, outputs=[published] if outputs else None, **settings
        )
        experiment.published = published
        return experiment

    return make
