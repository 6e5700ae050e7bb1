"""The tables of a result in each library, which tell the same of whatever was recorded."""

from __future__ import annotations

import dataclasses
import json
import math
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystallize import Experiment, Hypothesis, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step, verifier
from crystallize.errors import MissingExtraError, PipelineExecutionError
from crystallize.hooks import Cell, CellOutcome, ConditionRecord, Verdict, build_result
from crystallize.results import tabular
from crystallize_plugins.artifacts import open_run

COLUMNS = ["condition", "replicate", "seed", "metric", "index", "value", "text"]
PAIRS = {"ci_low", "ci_high", "n_baseline", "n_treatment"}


def result_of(outcomes):
    outcomes = list(outcomes)
    names = dict.fromkeys(["baseline", *(outcome.cell.condition for outcome in outcomes)])
    return build_result(
        conditions=[ConditionRecord(name) for name in names], outcomes=outcomes, replicates=len(outcomes), facts={}
    )


def failed(cell):
    error = PipelineExecutionError("no", step_name="fit", condition=cell.condition, replicate=cell.replicate)
    return CellOutcome(cell, {}, seed=1, error=error)


def told(value):
    """Return the number and the text that a table has of a value."""
    if isinstance(value, (bool, int, float)):
        try:
            number = float(value)
        except OverflowError:
            return None, str(value)
        return number, None if math.isnan(number) or value == number else str(value)
    return None, value if isinstance(value, str) else json.dumps(value)


def expected(outcomes):
    return {
        (outcome.cell.condition, metric, outcome.cell.replicate, index): (outcome.seed, *told(value))
        for outcome in outcomes
        if outcome.ok
        for metric, recorded in outcome.metrics.items()
        for index, value in enumerate(recorded)
    }


def tables(result, path):
    """Give the rows of each library as ``{place: (seed, value, text)}``; pandas has NaN where there is no value."""
    frame = result.to_pandas()
    result.to_parquet(path)
    for name, rows, columns in (
        ("pandas", frame.to_dict("records"), [*frame.columns]),
        ("polars", result.to_polars().to_dicts(), result.to_polars().columns),
        ("arrow", result.to_arrow().to_pylist(), result.to_arrow().column_names),
        ("parquet", pq.read_table(path).to_pylist(), pq.read_schema(path).names),
    ):
        assert columns == COLUMNS, name
        found = {
            (row["condition"], row["metric"], row["replicate"], row["index"]): (row["seed"], row["value"], row["text"])
            for row in rows
        }
        assert len(found) == len(rows), name
        yield name, found


def assert_same(found, wanted, *, absent):
    assert found.keys() == wanted.keys()
    for place, (seed, value, text) in wanted.items():
        assert repr(found[place]) == repr((seed, absent if value is None else value, text))


VALUES = (
    st.floats()
    | st.integers(-(2**70), 2**70)
    | st.booleans()
    | st.text(st.characters(codec="utf-8"))
    | st.none()
    | st.lists(st.integers(), max_size=2)
    | st.just(10**400)
)
CELLS = st.dictionaries(
    st.tuples(st.sampled_from(["baseline", "a", 'b"<x>']), st.integers(0, 9)),
    st.none() | st.dictionaries(st.sampled_from("mn"), st.lists(VALUES, min_size=1, max_size=3)),
    max_size=8,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "made" / "table.parquet"


@settings(max_examples=25)
@given(cells=CELLS, seed=st.none() | st.integers(-(2**63), 2**63 - 1), most=st.integers(1, 5))
def test_every_library_has_each_recorded_value_once(path, cells, seed, most):
    outcomes = [
        failed(Cell(*cell)) if metrics is None else CellOutcome(Cell(*cell), metrics, seed=seed)
        for cell, metrics in cells.items()
    ]
    result = result_of(outcomes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tabular, "_MOST_ROWS", most)
        patch.setattr("os.fsync", lambda _: None)
        found = dict(tables(result, path))
    for name, rows in found.items():
        assert_same(rows, expected(outcomes), absent=math.nan if name == "pandas" else None)


def test_columns_have_types_whatever_was_recorded():
    for result in (result_of([]), result_of([CellOutcome(Cell("baseline", 0), {"m": [1]}, seed=1)])):
        frame = result.to_pandas()
        assert [str(frame.dtypes[name]) for name in ("replicate", "seed", "index", "value")] == [
            *["int64"] * 3,
            "float64",
        ]
        assert result.to_polars().schema["text"] == pl.String
        assert str(result.to_arrow().schema.field("text").type) == "string"


def test_seeds_beyond_64_bits_are_texts():
    outcomes = [CellOutcome(Cell("baseline", r), {"m": [1.0]}, seed=seed) for r, seed in enumerate([5, 2**64])]
    result = result_of(outcomes)
    assert result.to_pandas()["seed"].tolist() == result.to_arrow()["seed"].to_pylist() == ["5", str(2**64)]


def test_numbers_of_numpy_are_numbers_and_what_is_none_is_text():
    values = [np.float32(0.5), np.int64(2**53 + 1), np.array(2.0), np.bool_(1), np.complex128(1j), np.arange(2)]
    frame = result_of([CellOutcome(Cell("baseline", 0), {"m": values})]).to_pandas()
    assert frame["value"].tolist()[:4] == [0.5, 2.0**53, 2.0, 1.0]
    assert frame["text"].tolist() == [None, str(2**53 + 1), None, None, '"1j"', "[0, 1]"]


def test_a_dataset_has_a_variable_for_each_metric_on_the_grid_of_cells():
    outcomes = [
        CellOutcome(Cell("baseline", 0), {"m": [1.5], "curve": [1.0, 2.0], "word": ["x"], "seed": [9.0]}, seed=3),
        CellOutcome(Cell("baseline", 4), {"m": [2.5], "curve": [3.0]}, seed=4),
        CellOutcome(Cell("t", 4), {"m": [3.5]}, seed=4),
        failed(Cell("t", 0)),
    ]
    dataset = result_of(outcomes).to_xarray()
    assert dataset["m"].dims == ("condition", "replicate")
    assert dataset["m"].sel(condition="t", replicate=4) == 3.5
    assert math.isnan(dataset["m"].sel(condition="t", replicate=0))
    assert dataset["curve"].sel(condition="baseline", replicate=0).to_numpy().tolist() == [1.0, 2.0]
    assert math.isnan(dataset["curve"].sel(condition="baseline", replicate=4, index=1))
    assert dataset["word"].sel(condition="baseline", replicate=0) == "x"
    assert dataset["metric_seed"].sel(condition="baseline", replicate=0) == 9.0
    assert dataset["seed"].to_numpy().tolist() == [[3, 4], [1, 4]]
    assert result_of([]).to_xarray().sizes == {"condition": 1, "replicate": 0}


# ------------------------------------------------------------------ verdicts


@data_source
def draw(ctx):
    return ctx.rng.normal()


@pipeline_step()
def measure(data, ctx, *, shift=0.0):
    if ctx["replicate"] == 3 and shift == 2:
        raise ValueError("lost")
    return data, {"m": data + shift + 0.1 * ctx.rng.normal(), "flat": 1.0}


@verifier
def mine(baseline, treatment):
    return {"p_value": 0.25}


@pytest.fixture
def ran():
    def run(**given):
        hypotheses = [
            Hypothesis(("paired_t", {"alternative": "greater"}), ["m", "flat"], name="more"),
            Hypothesis(mine(), "m", name="own"),
            Hypothesis(("bayes_t", {"rope": (-0.1, 0.1)}), "m", name="belief"),
        ]
        treatments = [Treatment("one", {"shift": 1.0}), Treatment("two", {"shift": 2.0})]
        experiment = Experiment(draw(), Pipeline([measure()]), [SeedPlugin(seed=1)], name="told", **given)
        return experiment.run(treatments=treatments, hypotheses=hypotheses, replicates=6)

    return run


def test_the_verdicts_are_a_table_of_their_fields(ran, tmp_path):
    result = ran()
    verdicts = [(tested.name, verdict) for tested in result.metrics.hypotheses for verdict in tested.verdicts]
    assert len(verdicts) == 8
    result.to_parquet(tmp_path / "v.parquet", table="verdicts")
    fields = [field.name for field in dataclasses.fields(Verdict)]
    for rows in (
        result.to_pandas("verdicts").to_dict("records"),
        result.to_polars("verdicts").to_dicts(),
        result.to_arrow("verdicts").to_pylist(),
        pq.read_table(tmp_path / "v.parquet").to_pylist(),
        result.to_xarray("verdicts").to_dataframe().to_dict("records"),
    ):
        assert len(rows) == len(verdicts)
        for row, (name, verdict) in zip(rows, verdicts, strict=True):
            assert row.keys() == {"hypothesis", *fields, *PAIRS}
            assert row["hypothesis"] == name
            again = {field: row[field] for field in fields} | {
                "details": verdict.details,
                "holds": None if row["holds"] is pd.NA else row["holds"],
                **{field: tuple(row[field]) for field in ("metrics", "warnings", "ci", "n")},
            }
            assert Verdict(**again) == verdict
            assert isinstance(json.loads(row["details"]), dict)
            assert np.array_equal((row["ci_low"], row["ci_high"]), verdict.ci, equal_nan=True)
            assert (row["n_baseline"], row["n_treatment"]) == verdict.n


def test_a_run_that_is_opened_again_has_equal_verdicts_tables_and_json(ran):
    result = ran()
    opened = open_run(result.provenance["run"]["folder"])
    for one, other in zip(result.metrics.hypotheses, opened.metrics.hypotheses, strict=True):
        assert one.verdicts == other.verdicts
        assert one.results == other.results
        assert (one.comparisons, one.correction, one.state, one.reason) == (
            other.comparisons,
            other.correction,
            other.state,
            other.reason,
        )
    for table in ("metrics", "verdicts"):
        assert result.to_arrow(table).to_pylist().__repr__() == opened.to_arrow(table).to_pylist().__repr__()
    assert result.to_dict()["hypotheses"] == opened.to_dict()["hypotheses"]
    assert result.summary() == opened.summary()
    assert result._repr_html_() == opened._repr_html_()


def test_the_json_of_verdicts_is_strict_and_says_all_that_they_do(ran):
    result = ran()

    def refused(token):
        raise AssertionError(token)

    read = json.loads(result.to_json(), parse_constant=refused)["hypotheses"]
    for entry, tested in zip(read, result.metrics.hypotheses, strict=True):
        for written, verdict in zip(entry["verdicts"], tested.verdicts, strict=True):
            assert written.keys() == {*verdict}
            for name, value in verdict.items():
                if isinstance(value, float):
                    assert written[name] == (value if math.isfinite(value) else None), name
                elif name in ("metrics", "warnings", "n"):
                    assert written[name] == [*value]
                elif name not in ("ci", "details"):
                    assert written[name] == value, name
            assert written["ci"] == [bound if math.isfinite(bound) else None for bound in verdict.ci]


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    "method, module, extra",
    [
        ("to_pandas", "pandas", "pandas"),
        ("to_polars", "polars", "polars"),
        ("to_arrow", "pyarrow", "arrow"),
        ("to_parquet", "pyarrow", "arrow"),
        ("to_xarray", "xarray", "xarray"),
    ],
)
def test_a_library_that_is_not_installed_and_an_unknown_table_are_named(monkeypatch, tmp_path, method, module, extra):
    convert = getattr(result_of([]), method)
    to_file = [tmp_path / "x.parquet"] * (method == "to_parquet")
    with pytest.raises(ValueError, match="'metrics', 'verdicts'"):
        convert(*to_file, table="metric")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf'{method}\(\) needs .*pip install "crystallize-core\[{extra}\]"'):
        convert(*to_file)
    assert list(tmp_path.iterdir()) == []
