"""`Artifact`: written through a handle, read from the newest run of its producer."""

from __future__ import annotations

import json
import logging
import pickle
from types import SimpleNamespace

import cloudpickle
import pytest

from crystallize import Artifact, Experiment, ParallelExecution, Pipeline, Treatment, data_source, pipeline_step
from crystallize.datasources import ArtifactStore, Producer, StoredRun
from crystallize.errors import ArgumentTypeError, ArtifactMissingError, RunStateError, ValidationError
from crystallize.fingerprint import value_of


def load_json(path):
    return json.loads(path.read_text())


def dump_json(value):
    return json.dumps(value).encode()


@pipeline_step()
def publish(data, ctx, *, out: Artifact):
    out.write(data)
    return data


@pipeline_step()
def report(data, ctx, *, out: Artifact):
    out.write(data)
    return data


@pipeline_step()
def save(data, ctx, *, model: Artifact):
    model.write(data)
    return data


# -- writing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [b"abc", bytearray(b"abc"), memoryview(b"abc"), "abc"])
def test_bytes_and_text_need_no_writer(cell, value):
    ctx = cell()
    Artifact("a.bin").bind(ctx).write(value)
    (written,) = ctx.artifacts.written()
    assert (written.name, written.data) == ("a.bin", b"abc")


def test_a_writer_turns_any_value_into_bytes_or_text(cell):
    ctx = cell()
    Artifact("a.json", writer=dump_json).bind(ctx).write({"x": [1]})
    Artifact("b.json", writer=json.dumps).bind(ctx).write({"x": [2]})
    assert [written.data for written in ctx.artifacts.written()] == [b'{"x": [1]}', b'{"x": [2]}']


def test_a_handle_is_an_artifact_with_its_name(cell):
    handle = Artifact("a.bin").bind(cell())
    assert isinstance(handle, Artifact)
    assert handle.name == "a.bin"


def test_what_cannot_be_written_is_refused_with_what_to_do(cell):
    with pytest.raises(ArgumentTypeError, match=r"'a.bin' cannot write the value: .*dict.*writer="):
        Artifact("a.bin").bind(cell()).write({"x": 1})
    with pytest.raises(ArgumentTypeError, match=r"what its writer gave: .*int"):
        Artifact("a.bin", writer=len).bind(cell()).write("abc")


def test_a_writers_own_error_is_left_as_it_is(cell):
    with pytest.raises(ZeroDivisionError):
        Artifact("a.bin", writer=lambda value: 1 / value).bind(cell()).write(0)


def test_an_artifact_that_is_bound_to_no_cell_says_how_to_write():
    with pytest.raises(RunStateError, match="parameter annotated Artifact"):
        Artifact("a.bin").write(b"")


@pytest.mark.parametrize("name", ["../a", "a/b", "", "..", "a\n", "x" * 300])
def test_a_name_that_could_leave_the_folder_is_refused(name):
    with pytest.raises(ValidationError):
        Artifact(name)


def test_loaders_and_writers_are_checked_when_the_artifact_is_declared():
    with pytest.raises(ArgumentTypeError, match="name of the artifact must be text"):
        Artifact(5)
    with pytest.raises(ArgumentTypeError, match="loader must be callable"):
        Artifact("a", loader="json")
    with pytest.raises(ArgumentTypeError, match="writer must be callable"):
        Artifact("a", writer="json")
    with pytest.raises(ArgumentTypeError, match="replicates"):
        Artifact("a").replicates = True


# -- reading ------------------------------------------------------------------------------------------


def two_by_two(value="{0} {1}"):
    return {
        (replicate, condition, "PublishStep", "a.txt"): value.format(condition, replicate)
        for replicate in range(2)
        for condition in ("baseline", "t")
    }


def test_it_reads_the_file_of_the_same_condition_and_replicate(store, producer, cell):
    artifact = Artifact("a.txt", loader=lambda path: path.read_text())
    producer(artifact)
    store.keep("first", two_by_two(), replicates=2, conditions=["baseline", "t"])
    assert artifact.fetch(cell("t", 1)) == "t 1"
    assert artifact.fetch(cell("baseline", 0)) == "baseline 0"
    assert not artifact.is_async


def test_without_a_loader_it_gives_the_files_bytes(store, producer, cell):
    artifact = Artifact("a.txt")
    producer(artifact)
    store.keep("first", two_by_two(), replicates=2, conditions=["baseline", "t"])
    assert artifact.fetch(cell("t", 1)) == b"t 1"


def test_replicates_are_counted_round(store, producer, cell):
    artifact = Artifact("a.txt")
    producer(artifact)
    store.keep("first", two_by_two(), replicates=2, conditions=["baseline", "t"])
    assert [artifact.fetch(cell("t", r)) for r in range(5)] == [b"t 0", b"t 1", b"t 0", b"t 1", b"t 0"]


def test_the_newest_run_is_read_each_time(store, producer, cell):
    artifact = Artifact("a.txt")
    producer(artifact)
    store.keep("first", two_by_two("old"), replicates=2, conditions=["baseline", "t"])
    assert artifact.fetch(cell("t", 1)) == b"old"
    store.keep("first", two_by_two("new"), version=1, replicates=2, conditions=["baseline", "t"])
    assert artifact.fetch(cell("t", 1)) == b"new"


def test_a_condition_that_the_producer_never_had_reads_the_baseline_and_is_warned_about(store, producer, cell, caplog):
    artifact = Artifact("a.txt")
    producer(artifact)
    store.keep("first", two_by_two(), replicates=2, conditions=["baseline", "t"])
    with caplog.at_level(logging.WARNING, logger="crystallize"):
        assert [artifact.fetch(cell("other", r)) for r in range(3)] == [b"baseline 0", b"baseline 1", b"baseline 0"]
        assert artifact.fetch(cell("t", 1)) == b"t 1"
    (record,) = caplog.records
    assert record.name == "crystallize"
    assert all(text in record.getMessage() for text in ("'a.txt'", "'other'", "'first'", "baseline", "'t'"))
    with caplog.at_level(logging.WARNING, logger="crystallize"):
        artifact.fetch(cell("other", 0))
    assert len(caplog.records) == 2


def test_a_condition_that_failed_there_is_an_error_not_the_baseline(store, producer, cell):
    artifact = Artifact("a.txt")
    producer(artifact)
    files = {key: text for key, text in two_by_two().items() if key[:2] != (1, "t")}
    store.keep("first", files, replicates=2, conditions=["baseline", "t"])
    assert artifact.fetch(cell("t", 0)) == b"t 0"
    with pytest.raises(ArtifactMissingError):
        artifact.fetch(cell("t", 1))


def test_a_file_that_is_gone_is_an_error_even_if_the_store_still_knows_it(store, producer, cell, monkeypatch):
    artifact = Artifact("a.txt")
    producer(artifact)
    run = store.keep("first", two_by_two(), replicates=2, conditions=["baseline", "t"])
    path = run.artifact_path(step="PublishStep", name="a.txt", condition="t", replicate=0)
    monkeypatch.setattr(run, "artifact_path", lambda **where: path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="is gone"):
        artifact.fetch(cell("t", 0))


def test_a_run_with_neither_the_condition_nor_a_baseline_is_an_error(store, producer, cell):
    artifact = Artifact("a.txt")
    producer(artifact)
    store.keep("first", {}, conditions=["x", "y"])
    with pytest.raises(ArtifactMissingError, match="neither that condition nor a baseline.*'x', 'y'"):
        artifact.fetch(cell("t", 0))


def test_nothing_stored_no_store_and_no_producer_are_told_apart(producer, cell):
    orphan, unstored, unrun = Artifact("a"), Artifact("b"), Artifact("c")
    producer(unstored, plugins=[object()])
    producer(unrun)
    with pytest.raises(RunStateError, match="no producer: list it in the outputs"):
        orphan.fetch(cell())
    with pytest.raises(RunStateError, match="Add ArtifactPlugin"):
        unstored.fetch(cell())
    with pytest.raises(ArtifactMissingError, match="no run of experiment 'first' is stored"):
        unrun.fetch(cell())


def test_a_nameless_producer_is_known_by_its_identity(store, producer, cell):
    artifact = Artifact("a.txt")
    producer(artifact, name=None)
    store.keep("0123", {(0, "baseline", "PublishStep", "a.txt"): "x"})
    assert artifact.fetch(cell()) == b"x"


def test_it_offers_the_number_of_replicates_that_the_producer_ran(store, producer):
    artifact = Artifact("a.txt")
    assert artifact.replicates is None
    producer(artifact)
    assert artifact.replicates is None
    store.keep("first", {}, replicates=4)
    assert artifact.replicates == 4
    artifact.replicates = 2
    assert artifact.replicates == 2
    artifact.replicates = None
    assert artifact.replicates == 4


# -- two steps, one file name -------------------------------------------------------------------------


def test_each_handle_finds_the_file_that_its_own_step_wrote(store, producer, cell):
    left, right = Artifact("a.txt"), Artifact("a.txt")
    steps = Pipeline([publish(out=left), report(out=right)]).steps
    producer(left, right, steps=steps)
    store.keep(
        "first",
        {(0, "baseline", "PublishStep", "a.txt"): "published", (0, "baseline", "ReportStep", "a.txt"): "reported"},
    )
    assert (left.fetch(cell()), right.fetch(cell())) == (b"published", b"reported")
    travelled = pickle.loads(pickle.dumps([left, right]))
    assert [artifact.fetch(cell()) for artifact in travelled] == [b"published", b"reported"]


@pytest.mark.parametrize("executor", [None, ParallelExecution(2, "process")], ids=["serial", "process"])
def test_steps_that_write_one_file_name_are_told_apart_from_end_to_end(executor):
    @data_source
    def start(ctx):
        return ctx["replicate"]

    @pipeline_step()
    def write(data, ctx, *, out: Artifact, text="plain"):
        out.write(f"{text} {data}")
        return data

    @pipeline_step()
    def upper(data, ctx, *, out: Artifact):
        out.write(f"UPPER {data}")
        return data

    handles = plain, again, shouted = Artifact("a.txt"), Artifact("a.txt"), Artifact("a.txt")
    steps = [write(out=plain), write(out=again, text="again"), upper(out=shouted)]
    plugins = [] if executor is None else [executor]
    first = Experiment(start(), Pipeline(steps), name="first", outputs=handles, plugins=plugins)
    assert list(first.outputs) == ["WriteStep/a.txt", "WriteStep_2/a.txt", "UpperStep/a.txt"]
    assert first.run(replicates=2).errors == {}
    found = [
        Experiment(handle, Pipeline([lambda data: (data, {"read": data.decode()})]), name=f"reads {number}").run()
        for number, handle in enumerate(handles)
    ]
    assert [result.metrics.baseline.metrics["read"] for result in found] == [
        ["plain 0", "plain 1"], ["again 0", "again 1"], ["UPPER 0", "UPPER 1"]
    ]  # fmt: skip


def test_a_step_that_takes_the_artifact_by_name_is_found_too(store, producer, cell):
    model, other = Artifact("model.json"), Artifact("other.json")
    producer(model, other, steps=Pipeline([save(), publish(out=other)]).steps)
    store.keep(
        "first",
        {(0, "baseline", "SaveStep", "model.json"): "m", (0, "baseline", "PublishStep", "model.json"): "p"},
    )
    assert model.fetch(cell()) == b"m"


# -- travelling ---------------------------------------------------------------------------------------


def test_what_travels_is_a_reference_not_the_experiment(store, producer, cell):
    artifact = Artifact("a.txt", loader=load_json)
    made = producer(artifact, steps=Pipeline([publish(out=artifact)]).steps)
    made.heavy = b"x" * 1_000_000
    made.unpicklable = (x for x in ())
    store.keep("first", {(0, "baseline", "PublishStep", "a.txt"): "[1]"}, replicates=3)
    carried = pickle.dumps(artifact)
    assert len(carried) < 3_000
    again = pickle.loads(carried)
    assert isinstance(again.producer, Producer)
    assert again.fetch(cell()) == [1]
    assert (again.replicates, again.params) == (3, artifact.params)
    assert pickle.loads(pickle.dumps(again)).fetch(cell()) == [1]


def test_lambdas_travel_with_cloudpickle(store, producer, cell):
    artifact = Artifact("a.txt", loader=lambda path: path.read_text().upper(), writer=lambda value: f"<{value}>")
    producer(artifact)
    store.keep("first", {(0, "baseline", "PublishStep", "a.txt"): "abc"})
    again = cloudpickle.loads(cloudpickle.dumps(artifact))
    assert again.fetch(cell()) == "ABC"
    ctx = cell()
    again.bind(ctx).write(1)
    assert ctx.artifacts.written()[0].data == b"<1>"


def test_any_plugin_with_the_right_method_is_a_store(store):
    assert isinstance(store, ArtifactStore)
    assert not isinstance(SimpleNamespace(), ArtifactStore)
    assert isinstance(store.keep("first", {}), StoredRun)


def test_an_artifact_is_known_by_its_name_its_functions_and_its_producer(store, producer):
    def declared(name="a.txt", loader=load_json, experiment="first"):
        artifact = Artifact(name, loader=loader)
        producer(artifact, name=experiment)
        return artifact

    base = value_of(declared())
    assert base == value_of(declared())
    others = [declared(name="b.txt"), declared(loader=dump_json), declared(experiment="second"), Artifact("a.txt")]
    assert len({base, *map(value_of, others)}) == 5
    store.keep("first", {})
    assert value_of(declared()) == base


# -- from end to end ----------------------------------------------------------------------------------


@pytest.fixture
def chain():
    """Two experiments, the second of which reads what the first one writes."""

    def make(*executor):
        numbers = Artifact("numbers.json", loader=load_json, writer=dump_json)

        @data_source
        def start(ctx):
            return ctx["replicate"]

        @pipeline_step()
        def scale(data, ctx, *, numbers: Artifact, factor=1):
            numbers.write([data * factor, factor])
            return data

        @pipeline_step()
        def read(data, ctx):
            ctx.record("read", data)
            return data

        first = Experiment(start(), Pipeline([scale()]), name="upstream", outputs=[numbers], plugins=list(executor))
        return first, Experiment(numbers, Pipeline([read()]), name="downstream", plugins=list(executor))

    return make


@pytest.mark.parametrize("executor", [None, ParallelExecution(2, "process")], ids=["serial", "process"])
def test_one_experiment_reads_what_another_wrote(chain, executor, caplog):
    first, second = chain(*filter(None, [executor]))
    many, few = Treatment("many", {"factor": 10}), Treatment("few", {"factor": 2})
    assert not first.run(replicates=2, treatments=[many]).errors
    result = second.run(replicates=3, treatments=[many, few])
    assert not result.errors
    assert result.metrics.baseline.metrics["read"] == [[0, 1], [1, 1], [0, 1]]
    assert result.metrics.treatments["many"].metrics["read"] == [[0, 10], [10, 10], [0, 10]]
    assert result.metrics.treatments["few"].metrics["read"] == [[0, 1], [1, 1], [0, 1]]
    assert "never had the condition 'few'" in caplog.text
    assert second.run().metrics.baseline.metrics["read"] == [[0, 1], [1, 1]]
    first.run(replicates=1)
    assert second.run().metrics.baseline.metrics["read"] == [[0, 1]]


def test_reading_before_anything_was_written_fails_the_cell_and_says_what_to_run(chain):
    _, second = chain()
    result = second.run()
    (error,) = result.errors.values()
    assert "Run that experiment first" in str(error)
    assert error.step_name == "datasource"
