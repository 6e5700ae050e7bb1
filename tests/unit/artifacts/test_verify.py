"""Verifying names each file that is not as it was written, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from crystallize.errors import StoreError
from crystallize_plugins.artifacts import ArtifactPlugin, StoredRun
from crystallize_plugins.artifacts.database import connection
from crystallize_plugins.runs import verify


@pytest.fixture
def run_once(view, store, outcome):
    """Store a run of two cells, one with a file."""

    def run(plugin=None, name="exp", **how):
        cells = [
            outcome("baseline", 0, {"loss": [0.5]}, files={"a.txt": b"content"}),
            outcome("fast", 0, {"loss": [0.25]}),
        ]
        return store(view(name, treatments=["fast"], replicates=1), cells, plugin, **how)

    return run


def found(path="data"):
    top = Path("data").absolute()
    return [(finding.path.relative_to(top).as_posix(), finding.kind) for finding in verify(path).findings]


def test_what_is_as_it_was_written_has_no_findings(run_once):
    run_once()
    run_once()
    run_once(name="other")
    verified = verify("data")
    assert verified.ok
    assert verified.findings == ()
    # A database, a description, two conditions' metrics and an artifact each.
    assert (verified.runs, verified.files) == (3, 15)
    assert str(verified) == f"{Path('data').absolute()}: 3 runs, 15 files, {verified.size} bytes: as it was written"
    assert verified.size == sum(path.stat().st_size for path in Path("data").rglob("*") if path.is_file())


@pytest.mark.parametrize("path, runs", [("data", 3), ("data/exp", 2), ("data/exp/v1", 1)])
def test_a_run_an_experiment_or_everything_can_be_verified(run_once, path, runs):
    run_once()
    run_once()
    run_once(name="other")
    assert verify(path).runs == runs
    assert verify(Path(path)).ok


def test_a_run_that_is_open_can_be_verified(run_once):
    run_once()
    assert verify(StoredRun("data/exp/v0")).runs == 1


def test_nothing_to_verify_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="there are no runs in"):
        verify("nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="there are no runs in"):
        verify("empty")


FILE = "exp/v0/replicate_0/baseline/FitStep/a.txt"


def test_a_file_that_changed_is_damaged(run_once):
    run_once()
    Path("data", FILE).write_bytes(b"contenu")
    assert found() == [(FILE, "damaged")]
    Path("data", FILE).write_bytes(b"more content")
    assert found() == [(FILE, "damaged")]
    assert "has 12 bytes, and 7 were written" in str(verify("data"))


def test_a_file_that_is_gone_is_missing(run_once):
    run_once()
    Path("data", FILE).unlink()
    assert found() == [(FILE, "missing")]
    assert not verify("data").ok


def test_files_that_were_removed_on_purpose_are_not_missing(run_once):
    run_once()
    run_once(ArtifactPlugin(artifact_retention=1))
    assert not Path("data", FILE).exists()
    assert json.loads(Path("data/exp/v0/run.json").read_text())["files_removed"] is True
    assert found() == []


@pytest.mark.parametrize("name", ["run.json", "fast/results.json"])
def test_a_file_for_people_that_is_cut_off_or_gone_is_named(run_once, name):
    run_once()
    path = Path("data/exp/v0", name)
    path.write_text(path.read_text()[:20])
    assert found() == [(f"exp/v0/{name}", "damaged")]
    path.unlink()
    assert found() == [(f"exp/v0/{name}", "missing")]


def test_metrics_that_are_not_those_of_the_database_are_named(run_once):
    run_once()
    path = Path("data/exp/v0/fast/results.json")
    path.write_text(path.read_text().replace("0.25", "0.26"))
    assert found() == [("exp/v0/fast/results.json", "damaged")]


def test_a_description_of_another_run_is_named(run_once):
    run_once()
    run_once()
    shutil.copy("data/exp/v0/run.json", "data/exp/v1/run.json")
    assert [kind for _, kind in found("data/exp/v1")] == ["damaged"]
    assert "differs from the database in id" in str(verify("data"))


@pytest.mark.parametrize(
    "table, column",
    [
        ("run", "seed"), ("run", "replicates"), ("session", "ended"), ("session", "stopped_by"),
        ("condition", "name"), ("condition", "steps"), ("parameter", "value"), ("trace", "metrics"),
        ("identity", "parts"), ("cell", "duration"), ("cell", "state"), ("cell", "record"), ("metric", "value"),
        ("metric", "name"), ("artifact", "sha256"), ("artifact", "condition"), ("document", "body"),
    ],
)  # fmt: skip
def test_no_column_of_any_table_can_change_unnoticed(run_once, table, column):
    run_once()
    other = sqlite3.connect("data/exp/v0/run.db")
    key = "replicate" if table in ("cell", "metric", "error") else "rowid"
    row, value = other.execute(f"SELECT {key}, {column} FROM {table} LIMIT 1").fetchone()
    if isinstance(value, bytes):
        value = value[:-6] + bytes([value[-6] ^ 1]) + value[-5:]
    else:
        value = f"{value}1" if isinstance(value, str) or value is None else value + 1
    other.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (value, row))
    other.commit()
    other.close()
    assert ("exp/v0/run.db", "damaged") in found()


def test_a_bit_where_nothing_is_stored_is_noticed_too(run_once):
    run_once()
    path = Path("data/exp/v0/run.db")
    content = bytearray(path.read_bytes())
    empty = content.index(bytes(200)) + 100
    content[empty] ^= 1
    path.write_bytes(content)
    assert found() == [("exp/v0/run.db", "damaged")]
    assert "every row is as it was written" in str(verify("data"))


def test_what_the_store_did_not_write_is_named_and_harmless(run_once):
    run_once()
    for name in ("exp/notes.txt", "exp/v0/notes.txt", "exp/v0/replicate_0/baseline/FitStep/mine.txt"):
        Path("data", name).write_text("mine")
    Path("data/exp/v0/%part-1-2").write_text("half")
    assert found() == [
        ("exp/v0/%part-1-2", "left over"),
        ("exp/v0/notes.txt", "unexpected"),
        ("exp/v0/replicate_0/baseline/FitStep/mine.txt", "unexpected"),
        ("exp/notes.txt", "unexpected"),
    ]
    assert verify("data").ok


def test_a_run_that_is_being_written_can_be_verified(view, outcome):
    plugin, experiment = ArtifactPlugin(), view()
    plugin.before_run(experiment)
    plugin.collect(experiment, outcome("baseline", 0, {"loss": [0.5]}, files={"a": b"1"})).wait()
    assert found() == []


def test_a_run_that_was_stopped_can_be_verified(run_once):
    run_once(stopped_by="KeyboardInterrupt")
    assert found() == []


def test_it_can_be_given_as_data(run_once):
    run_once()
    Path("data", FILE).unlink()
    told = json.loads(json.dumps(verify("data").to_dict()))
    assert (told["ok"], told["runs"]) == (False, 1)
    assert told["findings"] == [
        {"path": str(Path("data", FILE).absolute()), "kind": "missing", "text": "FitStep wrote it"}
    ]


def test_verifying_writes_nothing_and_runs_nothing(run_once, run_script, tmp_path):
    run_once()
    # Whoever imports or unpickles something from there would be told so.
    for name in ("sitecustomize.py", "crystallize_evil.py", "v0/steps.py"):
        Path("data/exp", name).write_text("raise SystemExit('imported')")
    before = {path: path.stat().st_mtime_ns for path in Path("data").rglob("*") if path.is_file()}
    done = run_script("""
        import sys
        from crystallize_plugins.runs import verify
        print(verify("data").ok, "pickle" in sys.modules, "numpy" in sys.modules)
    """)
    assert done.stdout.split()[0] == "True", done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path for path in Path("data").rglob("*") if path.is_file()} == set(before)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything can be read here")
def test_a_file_that_cannot_be_read_is_damaged(run_once):
    run_once()
    Path("data", FILE).chmod(0)
    assert found() == [(FILE, "damaged")]


def test_a_cell_that_is_gone_without_a_trace_is_noticed_where_cells_are_read(run_once):
    run_once()
    run = Path("data/exp/v0").absolute()
    with sqlite3.connect(run / "run.db") as database:
        database.execute("DELETE FROM cell WHERE condition = 'fast'")
        database.execute("DELETE FROM metric WHERE condition = 'fast'")
    database.close()
    assert found()[0] == ("exp/v0/run.db", "damaged")
    with pytest.raises(StoreError, match="cells are missing"):
        _ = StoredRun(run).result().metrics.baseline.metrics


def test_the_structure_of_a_large_database_is_checked_once_its_cells_are_read(view, store, outcome, monkeypatch):
    store(view("exp", replicates=1), [outcome("baseline", 0, {"loss": [0.5]})])
    run = Path("data/exp/v0").absolute()
    refused = []

    def refuse(_):
        refused.append(run)
        raise StoreError("its structure is damaged")

    monkeypatch.setattr(connection, "check_structure", refuse)
    monkeypatch.setattr(connection, "_sound", {})
    monkeypatch.setattr(connection, "_SMALL", 0)
    result = StoredRun(run).result()
    assert not refused
    with pytest.raises(StoreError, match="its structure is damaged"):
        _ = result.metrics.baseline.metrics
    monkeypatch.undo()
    monkeypatch.setattr(connection, "check_structure", refuse)
    monkeypatch.setattr(connection, "_sound", {})
    with pytest.raises(StoreError, match="its structure is damaged"):
        StoredRun(run).result()
