"""A stored run opens as the result that it gave, wherever it lies now."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from crystallize.errors import StoreError
from crystallize.hooks import Cell, HypothesisResult, PluginFailure
from crystallize_plugins.artifacts import (
    ArtifactPlugin,
    StoredError,
    StoredRun,
    StoredText,
    list_runs,
    newest_run,
    open_run,
)
from crystallize_plugins.artifacts.database.schema import seal

TREE = "treatment > replicate > step > action"


@pytest.fixture
def rich(view, store, outcome):
    """A run with something of everything."""
    late = ZeroDivisionError("division by zero")
    failure = PluginFailure("p", None, None, "collect", Cell("fast", 1), "ValueError: x", "…")
    in_cell = PluginFailure("q", "dist", "1.0", "after_step", Cell("fast", 1), "KeyError: 'y'", "…")
    return store(
        view(treatments=["fast", "absent"], replicates=4),
        [
            outcome(
                "fast",
                1,
                {"loss": [0.125, float("nan")]},
                tags={"loss": {1: {"epoch": 2}}},
                plugin_failures=[in_cell],
            ),
            outcome(
                "baseline",
                0,
                {"loss": [0.5], "odd": [Decimal("1.5"), np.arange(3), {(1,): b"x"}]},
                worker="process-1",
            ),
            outcome("baseline", 2, error="boo", seed=None),
            outcome("fast", 0, {"loss": [0.25]}, files={"model.bin": b"\0" * 10, "log.txt": b""}),
            outcome("baseline", 1, {"loss": [np.float32(0.5)]}, provenance=None),
        ],
        hypotheses=[
            HypothesisResult(
                "h",
                {"fast": [{"p_value": np.float64(0.04)}]},
                {"best": "fast", "ranked": [("fast", 0.04)]},
                {"absent": late},
                [["loss"], ["odd"]],
            )
        ],
        errors={"hypothesis:h": late},
        plugin_errors=[failure, in_cell],
    )


def test_it_opens_as_the_result_that_it_gave(rich):
    opened = open_run("data/exp/v0")
    assert opened.to_dict() == rich.to_dict()
    assert opened.tree_text(TREE) == rich.tree_text(TREE)
    assert opened.artifacts == rich.artifacts
    assert opened.plugin_errors == rich.plugin_errors
    assert repr(opened) == repr(rich)


def test_metrics_come_back_with_their_types_replicates_and_tags(rich):
    opened = open_run("data/exp/v0")
    for name, values in rich.metrics.baseline.metrics.items():
        loaded = opened.metrics.baseline.metrics[name]
        assert [type(value) for value in loaded] == [type(value) for value in values]
        assert loaded.replicates == values.replicates
    assert opened.metrics.baseline.metrics["odd"][0] == Decimal("1.5")
    assert opened.metrics.baseline.metrics["odd"][2] == {(1,): b"x"}
    assert opened.metrics.treatments["fast"].metrics["loss"].tags == {2: {"epoch": 2}}
    assert opened.metrics.treatments["absent"].metrics == {}


def test_seeds_durations_and_workers_come_back(rich):
    opened = open_run("data/exp/v0")
    for key in ("seeds", "workers", "cells", "replicates", "replicates_requested", "run", "plugins"):
        assert opened.provenance[key] == rich.provenance[key]
    assert opened.provenance["seeds"] == {"baseline": [42, 42 + 31337, None], "fast": [42, 42 + 31337], "absent": []}


def test_errors_come_back_with_their_tracebacks(rich):
    opened = open_run("data/exp/v0")
    assert list(opened.errors) == list(rich.errors)
    failed = opened.errors["baseline_rep_2"]
    assert type(failed) is type(rich.errors["baseline_rep_2"])
    assert str(failed) == str(rich.errors["baseline_rep_2"])
    assert failed.traceback_text.endswith("ValueError: boo\n")
    assert (failed.step_name, failed.condition, failed.replicate) == ("FitStep", "baseline", 2)


def test_other_errors_keep_their_text_and_the_name_of_their_type(rich):
    error = open_run("data/exp/v0").errors["hypothesis:h"]
    assert isinstance(error, StoredError)
    assert not isinstance(error, ZeroDivisionError)
    assert (type(error).__name__, error.error_type) == ("ZeroDivisionError", "ZeroDivisionError")
    assert str(error) == "division by zero"
    assert "ZeroDivisionError: division by zero" in error.traceback_text


def test_hypotheses_come_back(rich):
    (expected,) = rich.metrics.hypotheses
    loaded = open_run("data/exp/v0").get_hypothesis("h")
    assert (loaded.results, loaded.ranking, loaded.metrics) == (expected.results, expected.ranking, expected.metrics)
    assert type(loaded.results["fast"][0]["p_value"]) is np.float64
    assert str(loaded.errors["absent"]) == "division by zero"


def test_a_run_that_was_moved_says_where_it_lies_now(rich, tmp_path):
    shutil.move("data/exp/v0", tmp_path / "elsewhere")
    opened = open_run(tmp_path / "elsewhere")
    assert opened.provenance["run"]["folder"] == str(tmp_path / "elsewhere")
    path = opened.get_artifact("model.bin")["fast"]
    assert path == tmp_path / "elsewhere/replicate_0/fast/FitStep/model.bin"
    assert path.read_bytes() == b"\0" * 10


def test_opening_leaves_the_folder_as_it_was(rich, files_below):
    before = {name: Path("data/exp/v0", name).stat().st_mtime_ns for name in files_below("data/exp/v0")}
    open_run("data/exp/v0")
    assert list_runs("data")[0].metadata["seed"] == 42
    assert {name: Path("data/exp/v0", name).stat().st_mtime_ns for name in files_below("data/exp/v0")} == before


def test_what_could_not_be_encoded_is_text_that_says_what_it_was(view, store, outcome):
    class Model:
        def __str__(self):
            return "a model"

    result = store(view(), [outcome("baseline", 0, {"model": [Model()]})])
    opened = open_run("data/exp/v0")
    (loaded,) = opened.metrics.baseline.metrics["model"]
    assert isinstance(loaded, StoredText)
    assert (loaded, loaded.type_name) == ("a model", Model.__qualname__)
    assert opened.to_dict() == result.to_dict()


def test_of_a_cell_that_came_twice_the_later_counts(view, outcome):
    plugin, experiment = ArtifactPlugin(), view()
    plugin.before_run(experiment)
    plugin.collect(experiment, outcome("baseline", 0, error="at first", files={"a": b"1"})).wait()
    plugin.collect(experiment, outcome("baseline", 0, {"loss": [0.5]}, files={"a": b"2"})).wait()
    opened = open_run(experiment.run.folder)
    assert not opened.errors
    assert opened.metrics.baseline.metrics == {"loss": [0.5]}
    assert len(opened.provenance["artifacts"]) == 1


def test_a_run_can_be_looked_at_while_it_is_written(view, outcome):
    plugin, experiment = ArtifactPlugin(), view(treatments=["fast"])
    plugin.before_run(experiment)
    run = StoredRun(experiment.run.folder)
    assert (run.status, run.conditions, run.seed) == ("running", (), 42)
    plugin.collect(experiment, outcome("fast", 0, {"loss": [0.5]})).wait()
    run = StoredRun(experiment.run.folder)
    assert (run.status, run.conditions) == ("running", ("fast",))
    assert run.result().metrics.treatments["fast"].metrics == {"loss": [0.5]}


def test_a_run_that_was_stopped_is_interrupted_and_says_by_what(view, store, outcome):
    store(view(), [outcome()], stopped_by="KeyboardInterrupt")
    (run,) = list_runs()
    assert run.status == "interrupted"
    assert run.metadata["run"]["stopped_by"] == "KeyboardInterrupt"


def test_an_optimisation_is_a_run_whose_trials_are_its_conditions(view, store, outcome):
    experiment = view(kind="trial", treatments=["trial_0", "trial_1"])
    result = store(experiment, [outcome("trial_0", 0, {"loss": [0.5]}), outcome("trial_1", 0, {"loss": [0.25]})])
    opened = open_run("data/exp/v0")
    assert [record.name for record in opened.conditions] == ["trial_0", "trial_1"]
    assert opened.to_dict() == result.to_dict()


def test_a_condition_that_joined_and_never_ran_is_a_condition_all_the_same(view, store, outcome):
    experiment = view(kind="trial", treatments=["trial_0"])
    plugin = ArtifactPlugin()
    plugin.before_run(experiment)
    plugin.collect(experiment, outcome("trial_0", 0, {"loss": [0.5]}))
    joined = view("other", kind="trial", treatments=["trial_0", "trial_1"])
    experiment.treatments.append(joined.treatments[1])
    result = store(joined, [outcome("trial_0", 0, {"loss": [0.5]})])
    plugin.after_run(experiment, result)
    opened = open_run(experiment.run.folder)
    assert [record.name for record in opened.conditions] == ["trial_0", "trial_1"]
    assert opened.conditions[1].context["delta"] == len("trial_1")


# -- finding runs -----------------------------------------------------------------------------------


def test_runs_are_listed_by_experiment_and_age(view, store):
    for name in ("b", "a", "b", "b"):
        store(view(name), [])
    assert [(run.experiment, run.version) for run in list_runs()] == [("a", 0), ("b", 0), ("b", 1), ("b", 2)]
    assert [run.version for run in list_runs("data", "b")] == [0, 1, 2]
    assert list_runs("data", "c") == list_runs("nowhere") == []
    assert newest_run("data", "b").version == 2
    assert newest_run("data", "c") is None


def test_what_is_no_run_is_passed_over(view, store):
    store(view(), [])
    Path("data/notes").mkdir()
    Path("data/readme.txt").write_text("")
    Path("data/exp/v1.txt").write_text("")
    assert len(list_runs()) == 1


@pytest.mark.parametrize("path", ["nowhere", "data/exp/v9"])
def test_a_run_that_is_not_there_is_an_error(view, store, path):
    store(view(), [])
    with pytest.raises(StoreError, match="there is no run"):
        open_run(path)


def test_a_folder_of_something_else_is_an_error(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(StoreError, match="is no run"):
        open_run(tmp_path / "pictures")


def test_the_folder_of_an_experiment_leads_to_its_runs(view, store):
    store(view(), [])
    with pytest.raises(StoreError, match=r"give the folder of one, such as data/exp/v0"):
        open_run("data/exp")


# -- folders from strangers -------------------------------------------------------------------------


def test_a_run_that_is_damaged_is_listed_and_named(rich):
    database = Path("data/exp/v0/run.db")
    database.write_bytes(b"x" * database.stat().st_size)
    (run,) = list_runs()
    assert (run.status, run.experiment, run.seed) == ("damaged", "exp", 42)
    with pytest.raises(StoreError, match=r"cannot read .*run\.db"):
        run.result()


@pytest.mark.parametrize(
    "table, column", [("cell", "record"), ("cell", "seed"), ("trace", "steps"), ("document", "body")]
)
def test_a_flipped_bit_in_what_was_recorded_is_never_taken_for_a_number(rich, table, column):
    other = sqlite3.connect("data/exp/v0/run.db")
    (value,) = other.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL LIMIT 1").fetchone()
    if isinstance(value, int):
        changed = value ^ 4
    else:
        changed = value[: len(value) // 2] + chr(ord(value[len(value) // 2]) ^ 4) + value[len(value) // 2 + 1 :]
    other.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (changed, value))
    other.commit()
    other.close()
    with pytest.raises(StoreError, match=r"run\.db: .* is damaged: its checksum does not fit"):
        open_run("data/exp/v0").to_dict()


@pytest.mark.parametrize("location", ["../../secret", "/etc/passwd", "a//b", "C:\\x", "a\\..\\b", "."])
def test_a_foreign_database_cannot_name_files_outside_of_its_folder(rich, location):
    other = sqlite3.connect("data/exp/v0/run.db")
    # Whoever writes such a thing can make a checksum that fits.
    number, *row, _ = other.execute("SELECT rowid, * FROM artifact").fetchone()
    row[4] = location
    other.execute("UPDATE artifact SET path = ?, seal = ? WHERE rowid = ?", (location, seal(*row), number))
    other.commit()
    other.close()
    with pytest.raises(StoreError, match="it names a file where no step writes any"):
        open_run("data/exp/v0")


def test_opening_runs_no_code_of_the_experiment(view, store, outcome, tmp_path):
    store(view(), [outcome("baseline", 0, {"loss": [0.5]})])
    code = (
        "import sys, pickle\n"
        "pickle.loads = pickle.load = pickle.Unpickler = None\n"
        "from crystallize_plugins.artifacts import list_runs, open_run\n"
        "before = set(sys.modules)\n"
        "result = open_run(list_runs('data')[0].path)\n"
        "print(result.metrics.baseline.metrics, sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    values, _, imported = done.stdout.strip().partition("} ")
    assert values == "{'loss': [0.5]"
    assert all(name.split(".")[0] in {*sys.stdlib_module_names, "crystallize"} for name in eval(imported))
