"""What is written of conditions: everything of small contexts, what was read of large ones."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import ArtifactPlugin, Experiment, Pipeline, Treatment, data_source, pipeline_step
from crystallize_plugins.artifacts import open_run
from crystallize_plugins.artifacts.database.typed_json import decode, encode_plain

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@data_source
def numbers(ctx):
    return [ctx["key_1"]]


@pipeline_step()
def add(data, ctx, *, key_2=0, delta=0):
    return [*data, key_2, delta]


@pipeline_step()
def look(data, ctx):
    if ctx["condition"] == "more":
        ctx.get("key_3")
    ctx.metrics.add("sum", sum(data))
    return data


@pytest.fixture
def run():
    def make(keys):
        experiment = Experiment(
            numbers(),
            Pipeline([add(), look()]),
            plugins=[ArtifactPlugin()],
            initial_ctx={f"key_{number}": number for number in range(keys)},
            treatments=[Treatment("more", {"delta": 5})],
            replicates=3,
            name="conditions",
        )
        result = experiment.run()
        assert not result.errors
        return result, open_run(result.provenance["run"]["folder"])

    return make


@pytest.mark.parametrize("keys", [10, 5000])
def test_a_run_that_is_opened_again_tells_what_every_step_read(run, keys):
    result, opened = run(keys)
    for condition in ("baseline", "more"):
        for replicate in range(3):
            live = result.provenance["ctx_changes"][condition][replicate]
            stored = opened.provenance["ctx_changes"][condition][replicate]
            assert [step["reads"] for step in stored] == [step["reads"] for step in live]
            assert [step["params"] for step in stored] == [step["params"] for step in live]
    assert opened.provenance["ctx_changes"]["more"][0][1]["reads"] == {"condition": "more", "key_3": 3}


def test_a_large_context_costs_what_was_read_of_it(run):
    def size(opened):
        with sqlite3.connect(opened.provenance["run"]["folder"] + "/run.db") as database:
            (size,) = database.execute("SELECT sum(length(name) + length(value)) FROM parameter").fetchone()
        database.close()
        return size

    _, small = run(10)
    _, large = run(5000)
    assert size(large) < 2 * size(small)


@given(plain)
def test_plain_data_is_read_as_it_was_written(value):
    assert decode(encode_plain(value)) == value


def test_an_integer_of_more_digits_than_python_writes_is_kept():
    value = {"n": 10**5000}
    assert decode(encode_plain(value)) == value
