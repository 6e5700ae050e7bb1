"""The hooks: a folder for each run, everything in it, and nothing for what is no run."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path

import pytest

from crystallize.datasources import ArtifactStore, StoredRun
from crystallize.errors import ArgumentTypeError, ArtifactMissingError, StoreError, ValidationError
from crystallize_plugins.artifacts import ArtifactPlugin, open_run


@pytest.mark.parametrize(
    "settings, error",
    [
        ({"root_dir": 5}, ArgumentTypeError),
        ({"root_dir": None}, ArgumentTypeError),
        ({"versioned": "yes"}, ArgumentTypeError),
        ({"artifact_retention": True}, ArgumentTypeError),
        ({"artifact_retention": 2.5}, ArgumentTypeError),
        ({"artifact_retention": "3"}, ArgumentTypeError),
        ({"artifact_retention": 0}, ValidationError),
        ({"artifact_retention": -1}, ValidationError),
    ],
    ids=repr,
)
def test_settings_that_make_no_sense_are_refused(settings, error):
    with pytest.raises(error, match=next(iter(settings))):
        ArtifactPlugin(**settings)


def test_the_defaults_are_those_of_the_documents():
    plugin = ArtifactPlugin()
    assert (str(plugin.root_dir), plugin.versioned, plugin.artifact_retention) == ("data", True, None)
    assert (plugin.neutral, plugin.on_error) == (True, "stop_run")


def test_a_run_takes_the_next_version_and_says_so(view, store):
    first, second = view(), view()
    store(first, [])
    store(second, [])
    assert (first.run.version, second.run.version) == (0, 1)
    assert second.run.folder == str(Path("data/exp/v1").absolute())


def test_a_run_has_its_files_and_no_others(view, store, outcome, files_below, names_in):
    store(
        view(treatments=["fast"]),
        [
            outcome("baseline", 0, {"loss": [0.5]}, files={"model.bin": b"1"}),
            outcome("fast", 0, {"loss": [0.25]}, files={"model.bin": b"2"}),
        ],
    )
    assert files_below("data") == [
        "exp/v0/baseline/results.json",
        "exp/v0/fast/results.json",
        "exp/v0/replicate_0/baseline/FitStep/model.bin",
        "exp/v0/replicate_0/fast/FitStep/model.bin",
        "exp/v0/run.db",
        "exp/v0/run.json",
    ]
    assert names_in("data/exp") == ["v0"]


@pytest.mark.parametrize("kind", ["apply", "debug"])
def test_what_is_no_run_leaves_no_trace(view, outcome, store, kind):
    store(view(kind=kind), [outcome(files={"a": b""})])
    assert not Path("data").exists()


def test_an_experiment_without_a_name_is_stored_under_its_identity(view, store, names_in):
    store(view(name=None), [])
    assert names_in("data") == ["0" * 16]


def test_odd_names_become_folders_that_every_system_has(view, store, outcome, names_in):
    store(view('a "run": 50%', treatments=["x<y?"]), [outcome("x<y?")])
    assert names_in("data") == ["a %22run%22%3A 50%25"]
    assert "x%3Cy%3F" in names_in("data/a %22run%22%3A 50%25/v0")
    assert open_run("data/a %22run%22%3A 50%25/v0").conditions[1].name == "x<y?"


@pytest.mark.parametrize("name", ["run.json", "run.db", "results.json", "replicate_0", "REPLICATE_7"])
def test_a_condition_may_be_named_like_a_file_of_the_run(view, store, outcome, name, strict_json):
    result = store(
        view(treatments=[name]),
        [
            outcome(name, 0, {"loss": [0.5]}, files={"a": b"1"}),
            outcome("baseline", 0, {"loss": [1.5]}, files={"a": b"2"}),
        ],
    )
    assert {path.read_bytes() for path in result.get_artifact("a").values()} == {b"1", b"2"}
    folder = Path("data/exp/v0") / strict_json("data/exp/v0/run.json")["conditions"][name]["folder"]
    assert strict_json(folder / "results.json") == {"metrics": {"loss": [0.5]}}
    assert open_run("data/exp/v0").metrics.treatments[name].metrics == {"loss": [0.5]}


def test_an_artifact_called_results_json_is_kept_and_found_and_called_otherwise(view, store, outcome):
    result = store(view(), [outcome("baseline", 0, {"loss": [0.5]}, files={"results.json": b"mine"})])
    (path,) = result.get_artifact("results.json").values()
    assert path.read_bytes() == b"mine"
    assert [str(found) for found in Path("data").rglob("results.json")] == ["data/exp/v0/baseline/results.json"]
    assert open_run("data/exp/v0").get_artifact("results.json") == result.get_artifact("results.json")


@pytest.mark.parametrize("name", ["../up", "a/b", "..", "a\0b"])
def test_a_name_that_leaves_the_root_makes_nothing(view, name, names_in):
    with pytest.raises(ValidationError):
        ArtifactPlugin().before_run(view(name))
    assert names_in(".") == []


def test_a_root_that_cannot_be_written_to_is_named_before_the_first_cell(view):
    Path("data").write_text("a file")
    experiment = view()
    with pytest.raises(StoreError, match=str(Path("data/exp").absolute())) as caught:
        ArtifactPlugin().before_run(experiment)
    assert caught.value.path == str(Path("data/exp").absolute())
    assert experiment.run.folder is None


def test_a_run_that_never_began_to_be_stored_ends_in_silence(view, store, outcome):
    Path("data").write_text("a file")
    plugin, experiment = ArtifactPlugin(), view()
    with pytest.raises(StoreError):
        plugin.before_run(experiment)
    assert plugin.collect(experiment, outcome()) is None
    plugin.after_run(experiment, None)


def test_a_run_that_could_not_be_stored_does_not_look_done(view, store, outcome):
    Path("data/exp/v0").mkdir(parents=True)
    bad = outcome("baseline", 0, {"loss": [0.5]}, files={"a": b""})
    plugin, experiment = ArtifactPlugin(), view()
    plugin.before_run(experiment)
    Path("data/exp/v1/replicate_0").write_text("in the way")
    with pytest.raises(StoreError, match="replicate_0"):
        plugin.collect(experiment, bad).wait()
    with pytest.raises(StoreError, match="replicate_0"):
        plugin.after_run(experiment, store(view("other"), []))
    assert "duration" not in Path("data/exp/v1/run.json").read_text()


def test_two_runs_at_once_keep_apart(view, outcome):
    plugin = ArtifactPlugin()
    several = [view(), view("other"), view()]
    for experiment in several:
        plugin.before_run(experiment)
    for number, experiment in enumerate(several):
        plugin.collect(experiment, outcome("baseline", 0, {"loss": [float(number)]})).wait()
    values = [open_run(each.run.folder).metrics.baseline.metrics["loss"] for each in several]
    assert values == [[0.0], [1.0], [2.0]]


def test_a_seed_of_any_size_is_kept(view, store):
    store(view(seed=2**100), [])
    assert open_run("data/exp/v0").provenance["run"]["seed"] == 2**100


def test_the_database_is_readable_by_other_tools(view, store, outcome):
    store(view(), [outcome("baseline", 1, {"loss": [0.5]}, files={"a": b"xyz"})])
    other = sqlite3.connect("data/exp/v0/run.db")
    assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert other.execute("SELECT experiment, replicates, seed FROM run").fetchone() == ("exp", 3, "42")
    assert other.execute("SELECT path, size FROM artifact").fetchone() == ("replicate_1/baseline/FitStep/a", 3)
    other.close()


def test_a_copy_in_another_process_is_small_and_reads(view, store, outcome):
    plugin = ArtifactPlugin()
    experiment = view()
    plugin.before_run(experiment)
    plugin.collect(experiment, outcome(files={"a": b"x" * 10**6})).wait()
    store(view("done"), [outcome(files={"a": b"1"})], plugin)
    data = pickle.dumps(plugin)
    assert len(data) < 1000
    copy = pickle.loads(data)
    assert copy.newest_run("done").artifact_path(step=None, name="a", condition="baseline", replicate=0).exists()
    assert copy.collect(experiment, outcome()) is None


# -- as a store that data sources read from ---------------------------------------------------------


def test_it_is_a_store_for_data_sources(view, store, outcome):
    plugin = ArtifactPlugin()
    assert isinstance(plugin, ArtifactStore)
    store(view(treatments=["fast"]), [outcome("fast", 2, files={"a": b"1"})], plugin)
    run = plugin.newest_run("exp")
    assert isinstance(run, StoredRun)
    assert (run.version, run.replicates, tuple(run.conditions)) == (0, 3, ("fast",))
    path = run.artifact_path(step="FitStep", name="a", condition="fast", replicate=2)
    assert path == Path("data/exp/v0/replicate_2/fast/FitStep/a").absolute()
    assert run.metadata["seed"] == 42


def test_the_newest_run_is_the_newest_at_every_moment(view, store):
    plugin = ArtifactPlugin()
    assert plugin.newest_run("exp") is None
    for version in range(12):
        store(view(), [], plugin)
        assert plugin.newest_run("exp").version == version
        assert plugin.newest_run("exp") is plugin.newest_run("exp")


def test_a_run_that_is_being_written_is_not_read_yet(view, store, outcome):
    plugin = ArtifactPlugin()
    store(view(), [], plugin)
    experiment = view()
    plugin.before_run(experiment)
    plugin.collect(experiment, outcome()).wait()
    assert plugin.newest_run("exp").version == 0
    plugin.after_run(experiment, store(view("other"), []))
    assert plugin.newest_run("exp").version == 1


@pytest.mark.parametrize(
    "wanted, message",
    [
        ({"step": "OtherStep"}, "of step 'OtherStep'.*it wrote 'a' of FitStep"),
        ({"name": "b"}, "no file 'b'"),
        ({"replicate": 1}, "failed"),
        ({"replicate": 2}, "never run"),
        ({"condition": "slow"}, "never run"),
    ],
    ids=repr,
)
def test_a_file_that_is_not_there_is_an_error_that_says_why(view, store, outcome, wanted, message):
    plugin = ArtifactPlugin()
    store(view(), [outcome(files={"a": b""}), outcome("baseline", 1, error="boo")], plugin)
    where = {"step": None, "name": "a", "condition": "baseline", "replicate": 0, **wanted}
    with pytest.raises(ArtifactMissingError, match=message):
        plugin.newest_run("exp").artifact_path(**where)


def test_a_file_that_was_removed_is_an_error_that_says_where_it_was(view, store, outcome):
    plugin = ArtifactPlugin()
    result = store(view(), [outcome(files={"a": b""})], plugin)
    result.get_artifact("a")["baseline"].unlink()
    with pytest.raises(FileNotFoundError, match=r"replicate_0/baseline/FitStep/a is gone"):
        plugin.newest_run("exp").artifact_path(step=None, name="a", condition="baseline", replicate=0)
