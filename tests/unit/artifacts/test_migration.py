"""Runs that an earlier version stored: read and verified as they are, brought to this version when they are resumed."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step
from crystallize.errors import StoreError
from crystallize.results import Cell
from crystallize_plugins.artifacts import database, list_runs, open_run, operations
from crystallize_plugins.artifacts.schema import FIRST_VERSION, VERSION
from crystallize_plugins.runs import verify

FIRST = Path(__file__).with_name("version_1")


@pytest.fixture(autouse=True)
def _first_version(tmp_path):
    """Copies of runs that the code of the first version made; their process is long gone."""
    for name in ("complete", "killed"):
        shutil.copytree(FIRST / name, tmp_path / "data" / name)
        os.utime(tmp_path / "data" / name / "v0/run.json", (1, 1))


def version_of(run):
    with database.reading(Path(run).absolute()) as source:
        return source.version


@data_source
def numbers(ctx):
    return [ctx["replicate"], 2]


@pipeline_step()
def work(data, ctx, *, delta=0):
    ctx.record("sum", sum(data) + delta)
    ctx.record("loss", sum(data) / 7, tags={"unit": "m"})
    ctx.add("seen", data[0])
    ctx.artifacts.add("sum.txt", f"{sum(data) + delta}")
    return data


def experiment(name):
    return Experiment(
        numbers(), Pipeline([work()]), [SeedPlugin(seed=7), ArtifactPlugin()], name=name,
        treatments=[Treatment("more", {"delta": 5})], replicates=3,
    )  # fmt: skip


def test_a_run_of_the_first_version_opens_and_says_what_it_said():
    result = open_run("data/complete/v0")
    assert version_of("data/complete/v0") == FIRST_VERSION
    assert result.metrics.baseline.metrics == {"sum": [2, 3, 4], "loss": [2 / 7, 3 / 7, 4 / 7]}
    assert result.metrics.treatments["more"].metrics["sum"] == [7, 8]
    assert result.metrics.treatments["more"].metrics["loss"].tags == {0: {"unit": "m"}, 1: {"unit": "m"}}
    assert result.provenance["seeds"]["baseline"] == [7, 7 + 31337, 7 + 2 * 31337]
    assert list(result.errors) == ["more_rep_2"]
    assert result.get_artifact("sum.txt")["more"].read_text() == "7"
    assert result.provenance["ctx_changes"]["baseline"][1][0]["writes"] == {"seen": 1}


def test_runs_of_the_first_version_are_listed_with_their_status():
    assert [(run.experiment, run.status) for run in list_runs()] == [
        ("complete", "complete"),
        ("killed", "interrupted"),
    ]
    assert len(list_runs()[1].outcomes()) == 4


def test_reading_and_verifying_leaves_them_of_their_version(files_below):
    before = {name: Path("data", name).read_bytes() for name in files_below("data") if not name.endswith("-shm")}
    found = verify("data")
    assert found.ok, str(found)
    assert {name: Path("data", name).read_bytes() for name in before} == before


@pytest.mark.parametrize("name", ["complete", "killed"])
def test_tables_are_brought_to_this_version_with_all_that_is_in_them(name):
    before = open_run(f"data/{name}/v0").to_dict()
    database.reopen(Path(f"data/{name}/v0").absolute()).close()
    assert version_of(f"data/{name}/v0") == VERSION
    assert open_run(f"data/{name}/v0").to_dict() == before
    assert verify(f"data/{name}/v0").ok


def test_a_run_of_the_first_version_is_resumed():
    """What its cells were made of was not recorded, so that they run again, in the next version's folder."""
    result = experiment("killed").run(strategy="resume")
    assert result.metrics.treatments["more"].metrics["sum"] == [7, 8, 9]
    assert [(run.version, run.status) for run in list_runs("data", "killed")] == [(0, "interrupted"), (1, "complete")]
    assert len(list_runs("data", "killed")[0].outcomes()) == 4
    assert Cell("more", 2) in list_runs("data", "killed")[1].lazy_outcomes()


def test_a_migration_happens_as_a_whole_or_not_at_all(monkeypatch):
    run = Path("data/complete/v0").absolute()
    before = open_run(run).to_dict()
    counted = []

    def failing_at(number, real):
        def call(*arguments):
            counted.append(arguments[1] if len(arguments) > 1 else "COMMIT")
            if len(counted) == number:
                raise sqlite3.OperationalError("database or disk is full")
            return real(*arguments)

        return call

    names = ("execute", "execute_many", "commit")
    for number in range(1, 1000):
        counted.clear()
        with monkeypatch.context() as patch:
            for name in names:
                patch.setattr(operations, name, failing_at(number, getattr(operations, name)))
            try:
                database.reopen(run).close()
            except StoreError as error:
                assert error.path == str(run / "run.db")  # noqa: PT017 - most of many times
            else:
                break
        assert (version_of(run), open_run(run).to_dict()) == (FIRST_VERSION, before)
    assert number > 20
    assert (version_of(run), open_run(run).to_dict()) == (VERSION, before)


def test_a_damaged_row_stops_a_migration():
    other = sqlite3.connect("data/complete/v0/run.db")
    (body,) = other.execute("SELECT body FROM cells").fetchone()
    damaged = bytearray(body)
    damaged[20] ^= 4
    other.execute("UPDATE cells SET body = ? WHERE id = 1", (bytes(damaged),))
    other.commit()
    other.close()
    with pytest.raises(StoreError, match=r"run\.db: a row of the table cells is damaged"):
        database.reopen(Path("data/complete/v0").absolute())
    assert version_of("data/complete/v0") == FIRST_VERSION


def test_a_version_that_was_damaged_into_another_is_not_believed():
    other = sqlite3.connect("data/complete/v0/run.db")
    other.execute(f"PRAGMA user_version = {VERSION}")
    other.commit()
    other.close()
    with pytest.raises(StoreError, match="its tables are not"):
        open_run("data/complete/v0")
