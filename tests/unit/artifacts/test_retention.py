"""Nothing is removed unless it was asked for, and then nothing but what the store wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests import programs

from crystallize.errors import ArtifactMissingError, StoreError
from crystallize_plugins.artifacts import ArtifactPlugin, list_runs, newest_run, open_run, operations


@pytest.fixture
def run_once(view, store, outcome):
    """Run once, leaving a file and a metric of the given value."""

    def run(plugin, value, **how):
        files = {"a": str(value).encode()}
        return store(view(), [outcome("baseline", 0, {"loss": [float(value)]}, files=files)], plugin, **how)

    return run


def versions():
    return sorted(path.name for path in Path("data/exp").iterdir())


def test_by_default_nothing_is_ever_removed(run_once, files_below):
    for number in range(5):
        run_once(ArtifactPlugin(), number)
    assert len([name for name in files_below("data") if name.endswith("/a")]) == 5


def test_the_newest_runs_keep_their_files_and_all_their_metrics(run_once):
    for number in range(5):
        run_once(ArtifactPlugin(artifact_retention=2), number)
    kept = [Path("data/exp", version, "replicate_0").exists() for version in versions()]
    assert kept == [False, False, False, True, True]
    assert [run.result().metrics.baseline.metrics["loss"] for run in list_runs()] == [[0.0], [1.0], [2.0], [3.0], [4.0]]
    assert all(Path("data/exp", version, "baseline/results.json").exists() for version in versions())


def test_a_removed_file_is_told_from_one_that_never_was(run_once):
    for number in range(2):
        run_once(ArtifactPlugin(artifact_retention=1), number)
    old = list_runs()[0]
    with pytest.raises(ArtifactMissingError, match="artifact_retention"):
        old.artifact_path(step=None, name="a", condition="baseline", replicate=0)
    assert old.result().provenance["artifacts"][0]["size"] == 1


def test_what_the_store_did_not_write_stays(run_once, files_below):
    run_once(ArtifactPlugin(), 0)
    Path("data/exp/v0/replicate_0/notes.txt").write_text("mine")
    run_once(ArtifactPlugin(artifact_retention=1), 1)
    assert [name for name in files_below("data/exp/v0") if "replicate" in name] == ["replicate_0/notes.txt"]


def test_what_a_killed_writer_left_half_written_goes_with_the_files(run_once):
    run_once(ArtifactPlugin(), 0)
    Path("data/exp/v0/replicate_0/baseline/FitStep/%part-1-2").write_text("half")
    run_once(ArtifactPlugin(artifact_retention=1), 1)
    assert not Path("data/exp/v0/replicate_0").exists()


def test_a_run_that_is_being_written_keeps_its_files(run_once, view, outcome):
    plugin = ArtifactPlugin()
    experiment = view()
    plugin.before_run(experiment)
    plugin.collect(experiment, outcome(files={"a": b"1"})).wait()
    run_once(ArtifactPlugin(artifact_retention=1), 1)
    assert Path(experiment.run.folder, "replicate_0/baseline/FitStep/a").exists()


def test_files_that_cannot_be_removed_are_logged_and_cost_nothing(run_once, caplog, monkeypatch):
    run_once(ArtifactPlugin(), 0)
    unlink = operations.unlink

    def refuse(path):
        if Path(path) == Path("data/exp/v0/replicate_0/baseline/FitStep/a").absolute():
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path)

    monkeypatch.setattr(operations, "unlink", refuse)
    caplog.set_level("WARNING", "crystallize")
    result = run_once(ArtifactPlugin(artifact_retention=1), 1)
    assert result.metrics.baseline.metrics == {"loss": [1.0]}
    assert "could not all be removed" in caplog.text


# -- one run alone ----------------------------------------------------------------------------------


def test_a_single_run_is_replaced_by_the_next(run_once, view, files_below):
    for number in range(3):
        result = run_once(ArtifactPlugin(versioned=False), number)
        assert versions() == ["v0"]
        assert open_run("data/exp/v0").metrics.baseline.metrics == {"loss": [float(number)]}
        assert result.get_artifact("a")["baseline"].read_bytes() == str(number).encode()
        assert result.provenance["run"]["version"] == 0
        assert result.provenance["run"]["folder"] == str(Path("data/exp/v0").absolute())
    assert files_below("data/exp/v0") == [
        "baseline/results.json",
        "replicate_0/baseline/FitStep/a",
        "run.db",
        "run.json",
    ]


def test_a_smaller_run_leaves_nothing_of_the_larger_one(view, store, outcome, files_below):
    plugin = ArtifactPlugin(versioned=False)
    store(view(treatments=["fast"]), [outcome("fast", 2, files={"a": b""}), outcome("baseline", 2)], plugin)
    store(view(), [outcome("baseline", 0)], plugin)
    assert files_below("data/exp/v0") == ["baseline/results.json", "run.db", "run.json"]


def test_the_view_says_where_the_single_run_lies(view, store):
    plugin = ArtifactPlugin(versioned=False)
    for _ in range(2):
        experiment = view()
        store(experiment, [], plugin)
        assert (experiment.run.version, experiment.run.folder) == (0, str(Path("data/exp/v0").absolute()))


def test_the_single_run_stays_until_the_next_is_complete(run_once, view, outcome):
    plugin = ArtifactPlugin(versioned=False)
    run_once(plugin, 0)
    experiment = view()
    plugin.before_run(experiment)
    plugin.collect(experiment, outcome("baseline", 0, {"loss": [9.0]})).wait()
    assert plugin.newest_run("exp").result().metrics.baseline.metrics == {"loss": [0.0]}
    run_once(plugin, 1, stopped_by="KeyboardInterrupt")
    assert plugin.newest_run("exp").result().metrics.baseline.metrics == {"loss": [0.0]}
    assert newest_run("data", "exp").version == 0


def test_what_an_interrupted_attempt_left_goes_with_the_next(run_once):
    plugin = ArtifactPlugin(versioned=False)
    run_once(plugin, 0)
    result = run_once(plugin, 1, stopped_by="KeyboardInterrupt")
    assert versions() == ["v0", "v1"]
    assert result.provenance["run"]["folder"] == str(Path("data/exp/v1").absolute())
    assert result.get_artifact("a")["baseline"].read_bytes() == b"1"
    run_once(plugin, 2)
    assert versions() == ["v0"]
    assert open_run("data/exp/v0").metrics.baseline.metrics == {"loss": [2.0]}


def test_an_interrupted_first_run_is_all_there_is_and_is_read(run_once):
    plugin = ArtifactPlugin(versioned=False)
    run_once(plugin, 0, stopped_by="KeyboardInterrupt")
    assert plugin.newest_run("exp").status == "interrupted"


def test_a_run_that_is_being_written_is_not_replaced(run_once, view):
    experiment = view()
    plugin = ArtifactPlugin()
    plugin.before_run(experiment)
    with pytest.raises(StoreError, match=r"v1 is complete and cannot replace .*v0, which another process is writing"):
        run_once(ArtifactPlugin(versioned=False), 1)
    assert open_run("data/exp/v1").metrics.baseline.metrics == {"loss": [1.0]}


def test_what_has_the_place_of_the_single_run_and_is_none_stays(run_once):
    place = Path("data/exp/v0")
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    with pytest.raises(StoreError, match=r"v0, which is no folder"):
        run_once(ArtifactPlugin(versioned=False), 1)
    assert place.read_text() == "mine"
    assert open_run("data/exp/v1").metrics.baseline.metrics == {"loss": [1.0]}


def test_runs_that_were_kept_on_purpose_are_not_removed(run_once):
    for number in range(3):
        run_once(ArtifactPlugin(), number)
    run_once(ArtifactPlugin(versioned=False), 9)
    assert versions() == ["v0", "v1", "v2"]
    assert [run.result().metrics.baseline.metrics["loss"] for run in list_runs()] == [[9.0], [1.0], [2.0]]


@pytest.fixture
def single_run(tmp_path):
    """Give the command that makes single runs, with a number, in a process of its own."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from crystallize import ArtifactPlugin, Experiment, Pipeline, data_source, pipeline_step\n"
        "@data_source\n"
        "def source(ctx):\n"
        "    return int(sys.argv[1])\n"
        "@pipeline_step()\n"
        "def record(data, ctx):\n"
        "    ctx.record('who', data)\n"
        "    ctx.artifacts.add('who.txt', str(data))\n"
        "    return data\n"
        "for _ in range(5):\n"
        "    Experiment(source(), Pipeline([record()]), [ArtifactPlugin(versioned=False)], name='exp').run()\n"
    )
    return lambda number: [sys.executable, str(script), str(number)]


def test_what_was_killed_while_it_took_its_place_goes_with_the_next(single_run, run_once):
    # Complete, its process gone, and the run before it already moved into its folder.
    assert programs.run(single_run(1)).returncode == 0
    Path("data/exp/v0").rename("data/exp/v1")
    Path("data/exp/v1/%part-1-1").mkdir()
    plugin = ArtifactPlugin(versioned=False)
    assert plugin.newest_run("exp").result().metrics.baseline.metrics == {"who": [1]}
    run_once(plugin, 2)
    assert versions() == ["v0"]
    assert open_run("data/exp/v0").metrics.baseline.metrics == {"loss": [2.0]}


def test_single_runs_of_several_processes_end_as_one(single_run):
    several = [programs.popen(single_run(number), stderr=subprocess.PIPE, text=True) for number in range(4)]
    for process in several:
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint
    assert versions() == ["v0"]
    result = open_run("data/exp/v0")
    (who,) = result.metrics.baseline.metrics["who"]
    assert result.get_artifact("who.txt")["baseline"].read_text() == str(who)
    assert not [path for path in Path("data/exp/v0").iterdir() if path.name.startswith("%")]
