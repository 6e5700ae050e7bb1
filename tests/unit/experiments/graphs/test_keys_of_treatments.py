"""Treatments that several experiments share: a key counts where any of them reads it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from crystallize import Artifact, Experiment, ExperimentGraph, SeedPlugin, Treatment, data_source, pipeline_step
from crystallize.errors import UnreadKeyError


@data_source
def one(ctx, start=1):
    return start


@pipeline_step()
def publish(data, *, out: Artifact, add=0):
    out.write(str(data + add))
    return data


@pipeline_step()
def record(data, *, times=1):
    return data, {"n": data * times}


@pipeline_step()
def reads(data, ctx):
    return data, {"n": data * ctx.get("times", 1)}


def pair(*steps, up=(), down=()):
    out = Artifact("n.txt", loader=lambda path: int(path.read_text()))
    above = Experiment(one(), [publish(out=out)], name="up", outputs=[out], treatments=up, plugins=[SeedPlugin(seed=1)])
    below = Experiment(out, list(steps), name="down", treatments=down, plugins=[SeedPlugin(seed=1)])
    return above, below


def told_of(caplog):
    return [record.getMessage() for record in caplog.records if "it changes nothing" in record.getMessage()]


GIVEN = {
    "read above": ({"add": 4}, 5),
    "read above by the data source": ({"start": 3}, 3),
    "read below": ({"times": 6}, 6),
    "read by both": ({"add": 1, "times": 6}, 12),
    "addressed above": ({"publish.add": 1}, 2),
    "addressed below": ({"record.times": 3}, 3),
}


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("awaited", [False, True], ids=["run", "arun"])
def test_a_key_that_one_experiment_of_a_graph_reads_is_neither_refused_nor_told_of(kind, awaited, caplog):
    values, expected = GIVEN[kind]
    graph = ExperimentGraph(*pair(record()))
    with caplog.at_level(logging.WARNING):
        treatments = [Treatment("t", values)]
        results = asyncio.run(graph.arun(treatments)) if awaited else graph.run(treatments)
    assert results["down"].metrics.treatments["t"].metrics == {"n": [expected]}
    assert told_of(caplog) == []
    assert all(condition.unread == () for result in results.values() for condition in result.conditions)


@pytest.mark.parametrize("where", ["up", "down"])
def test_inherited_treatments_count_alike(where, caplog):
    treatment = Treatment("t", {"add": 4} if where == "up" else {"times": 4})
    experiments = pair(record(), **{where: [treatment]})
    with caplog.at_level(logging.WARNING):
        results = ExperimentGraph(*experiments).run()
    assert results["down"].metrics.treatments["t"].metrics == {"n": [5 if where == "up" else 4]}
    assert told_of(caplog) == []


def test_an_experiment_that_runs_alone_may_name_what_those_above_it_read(caplog):
    treatment = Treatment("t", {"add": 4})
    above, below = pair(record(), up=[treatment], down=[treatment])
    above.run()
    with caplog.at_level(logging.WARNING):
        result = below.run()
    assert result.metrics.treatments["t"].metrics == {"n": [5]}
    assert told_of(caplog) == []


def test_a_key_that_no_experiment_can_read_is_refused_before_the_first_cell():
    experiments = pair(record())
    with pytest.raises(UnreadKeyError, match=r"experiment 'up' of the graph.*'addd'.*mean 'add'\?"):
        ExperimentGraph(*experiments).run([Treatment("t", {"addd": 4})])


def test_a_key_that_no_experiment_has_read_is_told_of(caplog):
    with caplog.at_level(logging.WARNING):
        results = ExperimentGraph(*pair(reads(), down=[Treatment("t", {"tims": 4})])).run()
    assert ["'tims'" in text for text in told_of(caplog)] == [True]
    assert results["down"].conditions["t"].unread == ("tims",)
