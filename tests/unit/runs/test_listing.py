"""What lists tell of stored runs, whether an index knows them or not."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step
from crystallize_plugins.artifacts import StoredRun
from crystallize_plugins.runs import describe_run, described_runs, listing


@data_source
def nothing(ctx):
    return 1.0


@pipeline_step()
def score(data, ctx, *, shift=0.0):
    if shift and ctx["replicate"] == 1:
        raise ValueError("no score")
    return data, {"x": data + shift}


@pipeline_step()
def stop(data, ctx):
    raise KeyboardInterrupt


def run(folder, name="one", *, steps=None, **changes):
    plugins = [SeedPlugin(seed=1), ArtifactPlugin(root_dir=folder)]
    experiment = Experiment(nothing(), Pipeline(steps or [score()]), plugins=plugins, name=name, default_plugins=False)
    return experiment.run(replicates=2, treatments=[Treatment("more", {"shift": 1.0})], **changes)


@pytest.fixture
def root(tmp_path):
    """Three runs of two experiments."""
    folder = tmp_path / "data"
    run(folder)
    run(folder)
    run(folder, "two")
    return folder


@pytest.fixture
def indexed(root, monkeypatch):
    """The same, with an index."""
    monkeypatch.setattr(listing, "_WORTH_AN_INDEX", 1)
    described_runs(root)
    assert (root / listing.INDEX).exists()
    return root


@pytest.fixture
def read(monkeypatch):
    """The folders of the runs that were looked into."""
    looked_into = []
    summarised = listing._summarised

    def noted(path):
        looked_into.append(Path(path).name)
        return summarised(path)

    monkeypatch.setattr(listing, "_summarised", noted)
    return looked_into


def names(described):
    return [f"{each['experiment']}@v{each['version']}" for each in described]


def by_database(root):
    return [describe_run(StoredRun(path)) for path in sorted(root.glob("*/v*"))]


def test_runs_are_told_of_in_order(root):
    described = described_runs(root)
    assert names(described) == ["one@v0", "one@v1", "two@v0"]
    assert described == by_database(root)
    first = described[0]
    assert (first["status"], first["conditions"], first["cells"], first["failed"]) == ("complete", 2, 4, 1)
    assert first["duration"] > 0
    assert names(described_runs(root, "one")) == ["one@v0", "one@v1"]
    assert described_runs(root, "three") == []
    assert described_runs(root / "nowhere") == []


def test_a_metric_that_no_float_holds_has_no_mean(tmp_path):
    @pipeline_step()
    def count(data, ctx):
        return data, {"states": 10**400, "x": 1.0}

    run(tmp_path, steps=[count()])
    (told,) = described_runs(tmp_path)
    assert told["means"] == {"baseline": {"x": 1.0}, "more": {"x": 1.0}}


def test_a_few_runs_make_no_index(root):
    described_runs(root)
    assert not (root / listing.INDEX).exists()


def test_what_has_not_changed_is_not_read_again(indexed, read):
    assert described_runs(indexed) == by_database(indexed)
    assert read == []


def test_runs_that_come_go_and_change_are_seen(indexed, read):
    run(indexed)
    shutil.rmtree(indexed / "two")
    assert names(described_runs(indexed)) == ["one@v0", "one@v1", "one@v2"]
    assert read == ["v2"]
    shutil.copytree(indexed / "one" / "v0", indexed / "three" / "v7")
    shutil.rmtree(indexed / "one" / "v0")
    shutil.copytree(indexed / "one" / "v1", indexed / "one" / "v0")
    assert names(described_runs(indexed)) == ["one@v0", "one@v1", "one@v2", "one@v7"]
    assert read == ["v2", "v0", "v7"]
    run(indexed, steps=[score(), score()], strategy="resume")
    assert described_runs(indexed) == by_database(indexed)


def test_a_run_that_is_resumed_in_place_is_seen(indexed):
    experiment = Experiment(
        nothing(),
        Pipeline([score()]),
        plugins=[SeedPlugin(seed=1), ArtifactPlugin(root_dir=indexed)],
        name="one",
        default_plugins=False,
    )
    outcomes = experiment.stream(replicates=4, treatments=[Treatment("more", {"shift": 1.0})], strategy="resume")
    seen = [described_runs(indexed, "one")[-1] for _ in outcomes]
    assert {each["status"] for each in seen} == {"running"}
    assert [each["cells"] for each in seen] == [4, 5, 6, 7, 8][-len(seen) :]
    assert described_runs(indexed, "one")[-1]["cells"] == 8


def test_a_run_that_was_stopped_is_told_of_as_such(indexed):
    with pytest.raises(KeyboardInterrupt):
        run(indexed, steps=[stop()])
    for _ in range(2):
        assert [each["status"] for each in described_runs(indexed, "one")] == ["complete", "complete", "interrupted"]


def test_a_damaged_run_is_told_of(indexed):
    path = indexed / "one" / "v0" / "run.db"
    path.write_bytes(b"nothing")
    (damaged, *_) = described_runs(indexed)
    assert damaged["status"] == "damaged"
    assert str(path) in damaged["problem"]


@pytest.mark.parametrize("way", ["text", "cut", "empty", "entry", "format", "gone"])
def test_an_index_that_is_damaged_is_made_again(indexed, read, way):
    index = indexed / listing.INDEX
    if way == "text":
        index.write_text("no database, but text of some length " * 400)
    elif way == "cut":
        os.truncate(index, 5000)
    elif way == "empty":
        index.write_bytes(b"")
    elif way == "gone":
        shutil.rmtree(index.parent)
    else:
        with sqlite3.connect(index) as connection:
            connection.execute("UPDATE run SET entry = '{'" if way == "entry" else "PRAGMA user_version = 99")
        connection.close()
    for _ in range(2):
        assert described_runs(indexed) == by_database(indexed)
    assert read == ["v0", "v1", "v0"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="whoever may write everywhere is not refused")
def test_runs_are_listed_where_nothing_can_be_written(root, monkeypatch):
    monkeypatch.setattr(listing, "_WORTH_AN_INDEX", 1)
    root.chmod(0o500)
    try:
        assert names(described_runs(root)) == ["one@v0", "one@v1", "two@v0"]
    finally:
        root.chmod(0o700)


def test_an_index_that_cannot_be_written_stops_nothing(root, monkeypatch):
    monkeypatch.setattr(listing, "_WORTH_AN_INDEX", 1)
    (root / ".crystallize").write_text("a file where the folder would be")
    assert names(described_runs(root)) == ["one@v0", "one@v1", "two@v0"]


def test_several_processes_list_at_once(indexed):
    program = (
        "import json, sys\nfrom crystallize_plugins.runs import described_runs, listing\n"
        "listing._WORTH_AN_INDEX = 1\n"
        "for _ in range(20): described_runs(sys.argv[1])\n"
        "print(json.dumps(described_runs(sys.argv[1])))"
    )
    (indexed / listing.INDEX).unlink()
    command = [sys.executable, "-c", program, str(indexed)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    stop_writing = threading.Event()

    def change():
        while not stop_writing.wait(0.02):
            os.utime(indexed / "one" / "v0" / "run.json")

    changing = threading.Thread(target=change)
    changing.start()
    told = [json.loads(process.communicate()[0]) for process in processes]
    stop_writing.set()
    changing.join()
    assert told == [by_database(indexed)] * 2


def test_an_index_is_no_experiment(indexed):
    from crystallize_plugins.artifacts import list_runs
    from crystallize_plugins.runs import verify

    assert [stored.experiment for stored in list_runs(indexed)] == ["one", "one", "two"]
    assert verify(indexed).ok
    assert not verify(indexed).findings
