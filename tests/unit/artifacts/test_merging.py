"""A run of slow cells, each committed alone, is put together when it is over."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step
from crystallize_plugins.artifacts import merging, open_run
from crystallize_plugins.artifacts.checksum import seal_group, unseal_groups
from crystallize_plugins.artifacts.merging import merge_groups
from crystallize_plugins.artifacts.schema import TABLES


@data_source
def source(ctx):
    return ctx["replicate"]


@pipeline_step()
def work(data, ctx, *, delta=0):
    ctx.record("value", data + delta)
    if data == 7:
        raise ValueError("the eighth one fails")
    return data


def make(replicates):
    return Experiment(
        source(), Pipeline([work()]), [SeedPlugin(seed=1), ArtifactPlugin()], name="exp", default_plugins=False,
        treatments=[Treatment("t", {"delta": 5})], replicates=replicates,
    )  # fmt: skip


def rows():
    with closing(sqlite3.connect("data/exp/v0/run.db")) as database:
        return database.execute("SELECT id, count, failed, body FROM cells ORDER BY id").fetchall()


def database_of(groups):
    database = sqlite3.connect(":memory:", isolation_level=None)
    for statement in TABLES:
        database.execute(statement)
    for number, (count, failed, body) in enumerate(groups, 1):
        sealed = seal_group(body, number, count, failed)
        database.execute("INSERT INTO cells VALUES (?, ?, ?, ?)", (number, count, failed, sealed))
    return database


def test_the_cells_of_a_finished_run_lie_in_few_groups_and_say_what_they_said():
    each = [outcome.metrics for outcome in make(60).stream()]  # handed on one by one, and committed before
    assert len(each) == 120
    assert [row[1:3] for row in rows()] == [(120, 2)]
    found = open_run("data/exp/v0")
    assert found.metrics.treatments["t"].metrics["value"] == [number + 5 for number in range(60) if number != 7]
    assert sorted(found.errors) == ["baseline_rep_7", "t_rep_7"]


def test_a_run_that_goes_on_counts_on_from_there():
    for _ in make(60).stream():
        pass
    result = make(70).run(strategy="resume")
    assert result.provenance["resume"]["kept"] == 118
    assert result.metrics.baseline.metrics["value"] == [number for number in range(70) if number != 7]
    assert sum(row[1] for row in rows()) == 120 + 20 + 2
    assert make(70).run(strategy="resume").provenance["resume"]["kept"] == 138


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.binary(max_size=30)), min_size=1, max_size=150),
    st.integers(1, 200),
)
def test_what_is_merged_is_all_there_in_its_order(groups, large):
    with closing(database_of(groups)) as database, pytest.MonkeyPatch.context() as patch:
        patch.setattr(merging, "_LARGE", large)
        merge_groups(database)
        merged = database.execute("SELECT id, count, failed, body FROM cells ORDER BY id").fetchall()
    assert b"".join(unseal_groups(merged)) == b"".join(body for *_, body in groups)
    assert sum(row[1] for row in merged) == sum(count for count, _, _ in groups)
    assert sum(row[2] for row in merged) == sum(failed for _, failed, _ in groups)
    assert merged[-1][0] == len(groups)
    assert len(merged) == len(groups) or len(groups) > 64


def test_damaged_groups_are_left_for_whoever_reads_them():
    with closing(database_of([(1, 0, b"cell")] * 100)) as database:
        database.execute("UPDATE cells SET body = ? WHERE id = 50", (b"something else",))
        merge_groups(database)
        assert database.execute("SELECT count(*) FROM cells").fetchone() == (100,)
