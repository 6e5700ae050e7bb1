"""The database of a run as others read it: `sqlite3`, pandas and DuckDB, while it is written and afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from crystallize_plugins.artifacts import open_run

PROGRAM = """
    import os, signal, sys, time
    from crystallize import Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step

    @data_source
    def source(ctx):
        return ctx["replicate"]

    @pipeline_step()
    def work(data, ctx, *, delta=0.0):
        ctx.record("accuracy", data / 7 + delta)
        return data

    stream = Experiment(
        source(), Pipeline([work()]), [SeedPlugin(seed=1)], name="exp", replicates=20,
        treatments=[Treatment("t", {"delta": 0.5})],
    ).stream()
    for number, _ in enumerate(stream):
        if number == 9:
            print("ten", flush=True)
            sys.stdin.readline()
            os.kill(os.getpid(), signal.SIGKILL)
"""
QUERY = "select condition, avg(value) from metric where name = 'accuracy' group by 1 order by 1"
DATABASE = Path("data/exp/v0/run.db")
TEN = [("baseline", sum(n / 7 for n in range(5)) / 5), ("t", sum(n / 7 + 0.5 for n in range(5)) / 5)]
"""What is there of ten cells."""


@pytest.fixture
def ten_cells(tmp_path):
    """A run that goes on: ten of its cells are stored."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    running = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert running.stdout.readline() == "ten\n"
    yield running
    running.kill()
    running.communicate()


def with_python(database):
    with closing(sqlite3.connect(database)) as source:
        return source.execute(QUERY).fetchall()


def with_command(database):
    if not shutil.which("sqlite3") and "CI" not in os.environ:
        pytest.skip("this system has no command sqlite3")
    done = subprocess.run(["sqlite3", str(database), QUERY], capture_output=True, text=True, check=True)
    return [(name, float(value)) for name, value in (line.split("|") for line in done.stdout.splitlines())]


def with_pandas(database):
    pandas = pytest.importorskip("pandas")
    with closing(sqlite3.connect(database)) as source:
        return [*pandas.read_sql(QUERY, source).itertuples(index=False, name=None)]


def with_duckdb(database):
    duckdb = pytest.importorskip("duckdb")
    extension = pytest.importorskip("duckdb_extension_sqlite_scanner")
    (file,) = Path(extension.__file__).parent.rglob("*.duckdb_extension")
    with duckdb.connect() as connection:
        connection.execute(f"load '{file}'")
        connection.execute(f"attach '{database}' as run (type sqlite, read_only)")
        return connection.execute(QUERY.replace("metric", "run.metric")).fetchall()


@pytest.mark.parametrize("ask", [with_python, with_command, with_pandas, with_duckdb])
def test_others_read_it_while_it_is_written_and_after_a_kill(ten_cells, ask):
    assert [(name, pytest.approx(mean)) for name, mean in ask(DATABASE)] == TEN
    ten_cells.stdin.write("\n")
    ten_cells.stdin.flush()
    assert ten_cells.wait(60) == -signal.SIGKILL
    assert [(name, pytest.approx(mean)) for name, mean in ask(DATABASE)] == TEN


@pytest.mark.parametrize(
    "value, number, text",
    [
        (0.1, 0.1, None), (-0.0, 0.0, "-0.0"), (float("nan"), None, "nan"), (float("-inf"), float("-inf"), None),
        (3, 3.0, None), (2**60 + 1, float(2**60), str(2**60 + 1)), (10**400, None, hex(10**400)), (True, 1.0, "true"),
        ("word", None, "word"), (None, None, None), (np.float32(0.1), float(np.float32(0.1)), None),
        (np.int64(7), 7.0, None), (np.arange(3), None, "[0,1,2]"), ({"a": (1,)}, None, '{"a":[1]}'),
    ],
    ids=repr,
)  # fmt: skip
def test_values_are_numbers_and_texts_in_sql(view, store, outcome, value, number, text):
    store(view(), [outcome("baseline", 0, {"m": [value, 1.5]})])
    with closing(sqlite3.connect(DATABASE)) as source:
        rows = source.execute('SELECT "index", value, text FROM metric ORDER BY "index"').fetchall()
    assert rows == [(0, number, text), (1, 1.5, None)]
    assert repr(rows[0][1]) == repr(number)
    assert repr(open_run("data/exp/v0").metrics.baseline.metrics["m"][0]) == repr(value)


def test_of_a_cell_that_ran_again_nothing_else_is_left(view, outcome):
    from crystallize_plugins.artifacts import ArtifactPlugin

    plugin, experiment = ArtifactPlugin(), view()
    plugin.before_run(experiment)
    plugin.collect(experiment, outcome("baseline", 0, {"a": [1.0, 2.0], "b": [3.0]})).wait()
    plugin.collect(experiment, outcome("baseline", 0, error="no")).wait()
    plugin.collect(experiment, outcome("baseline", 0, {"a": [4.0]})).wait()
    with closing(sqlite3.connect(f"{experiment.run.folder}/run.db")) as source:
        assert source.execute('SELECT name, "index", value FROM metric').fetchall() == [("a", 0, 4.0)]
        assert source.execute("SELECT count(*) FROM error").fetchone() == (0,)
        assert source.execute("SELECT state FROM cell").fetchall() == [("complete",)]
