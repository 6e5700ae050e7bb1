"""`ExperimentInput`: several sources as one."""

from __future__ import annotations

import asyncio
import gc
import pickle

import pytest

from crystallize import Artifact, DataSource, Experiment, ExperimentInput, Pipeline, data_source, pipeline_step
from crystallize.datasources import ArtifactSource, producers
from crystallize.errors import ArgumentTypeError, ValidationError
from crystallize.fingerprint import value_of


@data_source
def one(ctx, *, value=1):
    return value


@data_source
async def later(ctx, *, value=2):
    await asyncio.sleep(0)
    return value


@data_source
def broken(ctx):
    raise LookupError("no data")


class Many(DataSource):
    def __init__(self, replicates):
        self.replicates = replicates

    def fetch(self, ctx):
        return ctx["replicate"]


def test_it_gives_a_dict_of_what_each_fetched(cell):
    both = ExperimentInput(left=one(), right=one(value=2))
    assert both.fetch(cell()) == {"left": 1, "right": 2}
    assert list(both.sources) == ["left", "right"]
    assert both.params == {"left": {"value": 1}, "right": {"value": 2}}
    assert not both.is_async


def test_inputs_may_contain_inputs_and_factories_that_were_not_called(cell):
    nested = ExperimentInput(a=one, b=ExperimentInput(c=later()))
    assert nested.is_async
    assert asyncio.run(nested.fetch(cell())) == {"a": 1, "b": {"c": 2}}


def test_async_sources_are_awaited_among_the_others(cell):
    mixed = ExperimentInput(now=one(), then=later(), last=one(value=3))
    assert mixed.is_async
    assert asyncio.run(mixed.fetch(cell())) == {"now": 1, "then": 2, "last": 3}


def test_a_coroutine_that_nobody_announced_is_awaited_too(cell):
    @data_source
    def hidden(ctx):
        return later(value=4).fetch(ctx)

    source = ExperimentInput(a=hidden())
    assert not source.is_async
    assert asyncio.run(source.fetch(cell())) == {"a": 4}


def test_a_failing_source_leaves_no_coroutine_behind(cell):
    with pytest.raises(LookupError, match="no data"):
        ExperimentInput(a=later(), b=broken()).fetch(cell())
    gc.collect()


def test_an_experiment_gets_the_dict():
    @pipeline_step()
    def add(data, ctx):
        ctx.record("sum", data["a"] + data["b"])
        return data

    source = ExperimentInput(a=one(value=3), b=later(value=4))
    result = Experiment(source, Pipeline([add()]), default_plugins=False).run(replicates=2)
    assert result.metrics.baseline.metrics == {"sum": [7, 7]}


def test_the_sources_agree_on_the_number_of_replicates():
    assert ExperimentInput(a=one(), b=Many(3), c=Many(3)).replicates == 3
    assert ExperimentInput(a=one()).replicates is None


def test_conflicting_numbers_of_replicates_are_refused_and_named():
    with pytest.raises(ValidationError, match=r"different numbers of replicates: a 2, c 3\. Let them agree$"):
        ExperimentInput(a=Many(2), b=one(), c=Many(3))
    artifacts = {name: Artifact(f"{name}.bin") for name in "ab"}
    for number, artifact in enumerate(artifacts.values(), start=2):
        artifact.replicates = number
    with pytest.raises(ValueError, match="a 2, b 3"):
        ExperimentInput(**artifacts)


def test_what_stored_runs_offer_is_compared_when_it_is_used(store, producer):
    first, second = Artifact("a.bin"), Artifact("b.bin")
    producer(first, name="first")
    producer(second, name="second")
    store.keep("first", {}, replicates=2)
    store.keep("second", {}, replicates=3)
    both = ExperimentInput(a=first, b=second)
    with pytest.raises(ValidationError, match="a 2, b 3.*replicates="):
        assert both.replicates
    store.keep("second", {}, replicates=2)
    assert both.replicates == 2


def test_no_source_and_no_data_source_are_refused():
    with pytest.raises(ValidationError, match="at least one data source"):
        ExperimentInput()
    with pytest.raises(ArgumentTypeError, match="input 'b' must be a data source"):
        ExperimentInput(a=one(), b=5)


def test_it_pickles_and_is_known_by_its_sources(cell, tmp_path):
    source = ExperimentInput(a=one(), b=one(value=2))
    assert pickle.loads(pickle.dumps(source)).fetch(cell()) == {"a": 1, "b": 2}
    assert value_of(source) == value_of(ExperimentInput(b=one(value=2), a=one()))
    assert value_of(source) != value_of(ExperimentInput(a=one(), b=one(value=3)))
    file = tmp_path / "x"
    depending = data_source(lambda ctx: 1, depends_on=[file])()
    assert ExperimentInput(a=one(), b=depending).depends_on == (file,)


def test_the_experiments_that_are_read_are_found_wherever_they_are(producer):
    artifact = Artifact("a.bin")
    first, second = producer(artifact, name="first"), producer(name="second")
    source = ExperimentInput(
        a=artifact, b=ExperimentInput(c=ArtifactSource(second, "publish")), d=one(), e=ArtifactSource(first, "publish")
    )
    assert producers(source) == (first, second)
    assert producers(one()) == ()
    assert producers(Artifact("orphan.bin")) == (None,)
