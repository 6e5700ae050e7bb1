"""Commands that look at stored runs: `runs`, `show`, `compare`, `export`, `report`."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
import signal
import subprocess
import time

import pytest
from tests import programs

HOLED = """
from crystallize import Experiment, SeedPlugin, Treatment, data_source, pipeline_step


@data_source
def draws(ctx):
    return [ctx.rng.random() for _ in range(5)]


@pipeline_step()
def total(data, ctx, *, factor=1.0, label="plain"):
    if ctx["replicate"] == 2 and factor == 2:
        raise ValueError("no total")
    ctx.record("kind", label)
    ctx.record("odd", float("nan"))
    return data, {"total": factor * sum(data)}


experiment = Experiment(
    draws(),
    [total()],
    [SeedPlugin(seed=1)],
    name="draws",
    treatments=[Treatment("doubled", {"factor": 2.0})],
    replicates=3,
)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory, command):
    """Two runs of one experiment: the first has a failed cell, the second fewer replicates and another seed."""
    folder = tmp_path_factory.mktemp("stored")
    (folder / "file.py").write_text(HOLED)
    command = [command, "run", "file.py"]
    assert programs.run(command, cwd=folder).returncode == 1
    assert programs.run([*command, "--seed", "3", "--replicates", "2"], cwd=folder).returncode == 0
    return folder / "data"


@pytest.fixture
def stored(runs, tmp_path):
    """The two runs in the working folder."""
    shutil.copytree(runs, tmp_path / "data")


def test_runs_lists_what_is_stored(crystallize, stored):
    done = crystallize("runs")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["run", "status", "started", "conditions", "replicates", "cells", "failed", "seed"]
    assert lines[1].split()[0] == "draws@v0"
    assert "complete" in lines[1]
    assert len(lines) == 3
    rows = json.loads(crystallize("runs", "draws", "--json").stdout)
    assert [(row["run"], row["cells"], row["failed"], row["seed"]) for row in rows] == [
        ("draws@v0", 6, 1, 1),
        ("draws@v1", 4, None, 3),
    ]


def test_a_run_whose_process_was_killed_is_listed_as_interrupted(crystallize, command, write, tmp_path):
    write(HOLED.replace("    if ctx", "    import time; time.sleep(30 * ctx['replicate'])\n    if ctx"))
    program = programs.popen([command, "run", "file.py"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 60
        status = ""
        while time.monotonic() < limit and status != "running":
            rows = json.loads(crystallize("runs", "--json").stdout or "[]")
            status = rows[0]["status"] if rows and rows[0]["cells"] else ""
        assert status == "running"
    finally:
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
    assert json.loads(crystallize("runs", "--json").stdout)[0]["status"] == "interrupted"


@pytest.mark.parametrize("reference", ["draws", "draws@v1", "draws@1", "draws/v1", "data/draws", "data/draws/v1"])
def test_a_run_is_found_by_name_number_or_folder(crystallize, stored, reference):
    done = crystallize("show", reference)
    assert done.returncode == 0
    assert done.stdout.startswith("draws@v1  complete, 2 replicates, 4 cells, seed 3")


def test_show_has_the_table_the_errors_and_on_request_the_tree(crystallize, stored):
    done = crystallize("show", "draws@v0", "--tree", "--metric", "total")
    assert done.returncode == 0
    assert "doubled_rep_2: TotalStep failed" in done.stdout
    assert "replicate 1 (seed 31338)" in done.stdout
    assert "odd" not in done.stdout
    record = json.loads(crystallize("show", "draws@v0", "--json").stdout)
    assert len(record["metrics"]["treatments"]["doubled"]["total"]) == 2
    assert record["metrics"]["baseline"]["odd"] == [None, None, None]


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["show", "drwas"], "Did you mean 'draws'?"),
        (["show", "draws@v7"], "no run v7"),
        (["runs", "absent"], "no run of 'absent'"),
        (["export", "draws", "--root", "nowhere"], "--root"),
        (["compare", "draws@0", "absent"], "'absent'"),
    ],
)
def test_what_is_not_there_ends_with_5_and_says_what_is(crystallize, stored, arguments, told):
    done = crystallize(*arguments)
    assert (done.returncode, done.stdout) == (5, "")
    assert told in done.stderr


def test_a_reference_cannot_leave_the_root(crystallize, stored):
    done = crystallize("show", "../draws@v0")
    assert done.returncode == 2
    assert "neither a run's folder nor an experiment's name" in done.stderr


def test_compare_shows_only_what_differs(crystallize, stored):
    done = crystallize("compare", "draws@0", "draws@1")
    assert done.returncode == 0
    heading = done.stdout.splitlines()[0]
    for shown in ("replicates", "cells", "failed", "seed", "mean total", "mean doubled.total"):
        assert shown in heading
    for same in ("experiment", "factor", "status"):
        assert same not in heading
    everything = crystallize("compare", "draws@0", "draws@1", "--all").stdout.splitlines()[0]
    assert "doubled.factor" in everything
    rows = json.loads(crystallize("compare", "draws@0", "draws@1", "--json").stdout)
    assert [row["seed"] for row in rows] == [1, 3]


def test_compare_says_so_where_nothing_differs(crystallize, stored):
    done = crystallize("compare", "draws@0", "draws@0")
    assert done.returncode == 0
    assert "differ in nothing" in done.stderr


def values(rows):
    return {(row["condition"], int(row["replicate"]), row["metric"]): row["value"] for row in rows}


def test_csv_has_a_row_for_each_value_and_one_for_a_failed_cell(crystallize, stored):
    done = crystallize("export", "draws@0")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 5 * 3 + 1
    failed = [row for row in rows if row["status"] == "failed"]
    assert [(row["condition"], row["replicate"], row["metric"]) for row in failed] == [("doubled", "2", "")]
    assert math.isnan(float(values(rows)["baseline", 0, "odd"]))


def test_every_format_has_the_same_numbers(crystallize, stored, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    as_csv = values(csv.DictReader(io.StringIO(crystallize("export", "draws@0").stdout)))
    as_json = values(json.loads(crystallize("export", "draws@0", "--json").stdout))
    done = crystallize("export", "draws@0", "-o", "out/draws.parquet")
    assert done.returncode == 0, done.stderr
    as_parquet = values(parquet.read_table(tmp_path / "out" / "draws.parquet").to_pylist())
    key = ("doubled", 1, "total")
    assert float(as_csv[key]) == as_json[key] == as_parquet[key]
    texts = parquet.read_table(tmp_path / "out" / "draws.parquet").to_pylist()
    assert {row["text"] for row in texts if row["metric"] == "kind"} == {"plain"}


def test_a_file_is_written_in_the_format_of_its_name(crystallize, stored, tmp_path):
    assert crystallize("export", "draws@0", "-o", "draws.json").returncode == 0
    assert len(json.loads((tmp_path / "draws.json").read_text())) == 16


def test_parquet_to_a_terminal_is_refused(crystallize, stored):
    done = crystallize("export", "draws@0", "--format", "parquet")
    assert done.returncode == 2
    assert "-o" in done.stderr


def test_quiet_and_verbose_together_are_refused(crystallize, stored):
    done = crystallize("runs", "-q", "-v")
    assert done.returncode == 2
    assert "contradict" in done.stderr


@pytest.mark.parametrize("arguments", [["show", "draws@0"], ["compare", "draws@0", "draws@1"], ["export", "draws@0"]])
def test_damage_ends_with_6_and_names_the_file(crystallize, stored, tmp_path, arguments):
    database = tmp_path / "data" / "draws" / "v0" / "run.db"
    content = bytearray(database.read_bytes())
    middle = content.find(b"TotalStep")
    content[middle : middle + 4] = b"XXXX"
    database.write_bytes(content)
    done = crystallize(*arguments)
    assert (done.returncode, done.stdout) == (6, "")
    assert "run.db" in done.stderr
    assert "damaged" in done.stderr
    assert "Traceback" not in done.stderr
    listed = crystallize("runs")
    assert listed.returncode == 0, "one damaged run hides no other"
    assert "draws@v1" in listed.stdout


def test_a_report_is_named_after_its_run(crystallize, stored, tmp_path):
    done = crystallize("report", "draws@v0")
    assert (done.returncode, done.stdout) == (0, "draws-v0.html\n"), done.stderr
    page = (tmp_path / "draws-v0.html").read_text(encoding="utf-8")
    assert "1 of 6 cells failed" in page
    assert "ValueError: no total" in page
    assert json.loads(crystallize("report", "draws", "-o", "new/page.html", "--json").stdout) == {
        "report": "new/page.html"
    }
    assert (tmp_path / "new" / "page.html").is_file()
    assert crystallize("report", "unknown").returncode == 5
