"""The files of cells that were kept lie where the result says, and where the run lies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step
from crystallize_plugins.artifacts import list_runs


@data_source
def one(ctx):
    return 1


@pipeline_step()
def write(data, ctx, *, delta=0):
    if ctx["replicate"] == 1 and Path("armed").exists():
        raise KeyboardInterrupt
    ctx.artifacts.add("part.bin", bytes([delta, ctx["replicate"]]))
    return data


def run(strategy="resume", *, delta=1, versioned=True):
    return Experiment(
        one(),
        Pipeline([write()]),
        plugins=[SeedPlugin(seed=1), ArtifactPlugin(versioned=versioned)],
        default_plugins=False,
        name="exp",
        treatments=[Treatment("t", {"delta": delta})],
        replicates=2,
    ).run(strategy=strategy)


def check(result, *, delta):
    """Everything lies in the run's folder, says the result, ``run.json`` and whoever opens the run."""
    folder = Path(result.provenance["run"]["folder"])
    (stored,) = (stored for stored in list_runs() if stored.path == folder)
    entries = result.provenance["artifacts"]
    assert len(entries) == 4
    for entry in entries:
        assert folder in Path(entry["path"]).parents
        wanted = delta if entry["condition"] == "t" else 0
        assert Path(entry["path"]).read_bytes() == bytes([wanted, entry["replicate"]])
    assert [dict(entry) for entry in stored.result().provenance["artifacts"]] == [dict(entry) for entry in entries]
    listed = json.loads((folder / "run.json").read_text())["artifacts"]
    assert [str(folder / entry["path"]) for entry in listed] == [entry["path"] for entry in entries]


def test_the_next_version_has_the_files_of_the_cells_that_it_keeps():
    # Folders' names of several lengths: what is cut from paths is a name, not a number of letters.
    for number in range(11):
        check(run("resume", delta=number), delta=number)
    assert [stored.version for stored in list_runs()] == list(range(11))


@pytest.mark.parametrize("versioned", [True, False])
def test_an_interrupted_run_that_goes_on_has_its_files_where_it_ends(versioned):
    Path("armed").touch()
    with pytest.raises(KeyboardInterrupt):
        run("rerun", versioned=versioned)
    Path("armed").unlink()
    result = run(versioned=versioned)
    assert result.provenance["resume"]["in_place"]
    assert result.provenance["run"]["version"] == 0
    check(result, delta=1)


def test_the_single_run_that_is_kept_keeps_the_files_of_the_one_that_it_replaces():
    run(versioned=False)
    result = run(delta=2, versioned=False)
    assert result.provenance["resume"]["kept"] == 2
    assert [stored.version for stored in list_runs()] == [0]
    check(result, delta=2)
