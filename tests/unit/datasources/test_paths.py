"""`artifact_datasource`: the paths of stored files, one for each replicate."""

from __future__ import annotations

import pickle

import pytest

from crystallize import Artifact, Experiment, Pipeline, data_source, pipeline_step
from crystallize.datasources import ArtifactSource
from crystallize.errors import ArgumentTypeError, ArtifactMissingError, RunStateError, ValidationError
from crystallize.fingerprint import value_of

FILES = {
    (replicate, condition, "PublishStep", "data.json"): f"{condition} {replicate}"
    for replicate in range(3)
    for condition in ("baseline", "t")
}


@pytest.fixture
def stored(store, producer):
    store.keep("first", FILES, replicates=3, conditions=["baseline", "t"])
    return producer()


@pipeline_step()
def publish(data, ctx, *, out: Artifact):
    out.write(data)
    return data


def test_it_gives_a_path_for_each_replicate(stored, cell):
    source = ArtifactSource(stored, "PublishStep")
    assert [source.fetch(cell("any", r)).read_text() for r in range(4)] == [f"baseline {r % 3}" for r in range(4)]
    assert source.replicates == 3
    assert not source.is_async
    assert ArtifactSource(stored, "PublishStep", condition="t").fetch(cell()).read_text() == "t 0"


@pytest.mark.parametrize("step", ["PublishStep", "publish", publish, publish(out=Artifact("x"))])
def test_a_step_is_meant_by_its_name_its_function_or_itself(stored, cell, step):
    assert ArtifactSource(stored, step).fetch(cell()).read_text() == "baseline 0"


def test_it_is_resolved_when_it_is_used(store, producer, cell):
    source = ArtifactSource(producer(), "publish")
    with pytest.raises(FileNotFoundError, match="no run of experiment 'first'"):
        source.fetch(cell())
    with pytest.raises(FileNotFoundError):
        assert source.replicates
    store.keep("first", FILES, replicates=3)
    assert source.replicates == 3


def test_a_file_that_is_not_there_is_a_file_not_found_error(stored, cell):
    for source in (
        ArtifactSource(stored, "publish", "other.json"),
        ArtifactSource(stored, "unknown"),
        ArtifactSource(stored, "publish", condition="never"),
    ):
        with pytest.raises(ArtifactMissingError):
            source.fetch(cell())
    gone = ArtifactSource(stored, "publish")
    gone.fetch(cell()).unlink()
    with pytest.raises(FileNotFoundError):
        gone.fetch(cell())


def test_a_run_without_a_record_is_refused_where_one_is_required(stored, store, cell):
    source = ArtifactSource(stored, "publish", require_metadata=True)
    with pytest.raises(FileNotFoundError, match="recorded nothing about itself"):
        source.fetch(cell())
    store.newest_run("first").metadata["seed"] = 1
    assert source.fetch(cell()).read_text() == "baseline 0"


def test_a_producer_that_stores_nothing_is_an_error_that_says_what_to_add(producer, cell):
    with pytest.raises(RunStateError, match="Add ArtifactPlugin"):
        ArtifactSource(producer(plugins=[]), "publish").fetch(cell())


@pytest.mark.parametrize(
    "arguments", [("../up",), ("publish", "a/b"), ("publish", "data.json", ".."), ("publish", "\0")]
)
def test_names_that_could_leave_the_folder_are_refused(producer, arguments):
    with pytest.raises(ValidationError):
        ArtifactSource(producer(), *arguments)


def test_a_wrong_type_is_a_type_error(producer):
    for arguments, options in (((5,), {}), (("publish", None), {}), (("publish",), {"require_metadata": "yes"})):
        with pytest.raises(ArgumentTypeError):
            ArtifactSource(producer(), *arguments, **options)


def test_it_travels_as_a_reference_and_says_what_it_is(stored, cell):
    source = ArtifactSource(stored, "publish")
    stored.heavy = b"x" * 1_000_000
    carried = pickle.dumps(source)
    assert len(carried) < 3_000
    again = pickle.loads(carried)
    assert again.fetch(cell()) == source.fetch(cell())
    expected = {"experiment": "first", "step": "publish", "name": "data.json", "condition": "baseline"}
    assert again.params == source.params == expected
    assert value_of(source) != value_of(ArtifactSource(stored, "publish", condition="t"))


def test_an_experiment_offers_it_before_it_ever_ran(monkeypatch):
    @data_source
    def one(ctx):
        return "1"

    first = Experiment(one(), Pipeline([publish(out=Artifact("x"))]), name="first", default_plugins=False)
    source = first.artifact_datasource("publish", "x")
    assert isinstance(source, ArtifactSource)
    assert source.producer is first
