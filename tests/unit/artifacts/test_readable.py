"""The files for people and scripts are JSON by the letter of the standard, whatever was recorded."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize.hooks import HypothesisResult
from crystallize_plugins.artifacts.files.readable import metrics_json


@pytest.mark.parametrize(
    "value, in_json",
    [
        (float("nan"), None),
        (float("inf"), None),
        (-float("inf"), None),
        (-0.0, -0.0),
        (2**70, 2**70),
        (True, True),
        (None, None),
        ("é\ud800", "é\ud800"),
        (np.float64("nan"), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.False_, False),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array([0.5, np.nan]), [0.5, None]),
        (dt.date(2024, 1, 2), "2024-01-02"),
        (dt.datetime(2024, 1, 2, 3, tzinfo=dt.timezone.utc), "2024-01-02 03:00:00+00:00"),
        ({3, 1, 2}, "{1, 2, 3}"),
        (b"\0a", "b'\\x00a'"),
        (PurePosixPath("a/b"), "a/b"),
        (1 + 2j, "(1+2j)"),
        (Decimal("1.50"), "1.50"),
        ({(1, 2): [math.inf]}, {"(1, 2)": [None]}),
        ([1, [2, (3,)]], [1, [2, [3]]]),
    ],
    ids=repr,
)
def test_a_metric_of_any_type_is_written(view, store, outcome, strict_json, value, in_json):
    store(view(), [outcome("baseline", 0, {"odd": [value], "plain": [1.5]})])
    assert strict_json("data/exp/v0/baseline/results.json") == {"metrics": {"odd": [in_json], "plain": [1.5]}}


@given(st.dictionaries(st.text(max_size=5), st.lists(st.floats() | st.integers() | st.text(max_size=3)), max_size=4))
def test_metrics_are_written_as_they_are(metrics):
    read = json.loads(metrics_json(metrics), parse_constant=pytest.fail)
    expected = {
        name: [None if isinstance(value, float) and not math.isfinite(value) else value for value in values]
        for name, values in metrics.items()
    }
    assert read == {"metrics": expected}


def test_values_are_in_replicate_order_whatever_order_they_came_in(view, store, outcome, strict_json):
    store(view(), [outcome("baseline", replicate, {"n": [replicate]}) for replicate in (2, 0, 1)])
    assert strict_json("data/exp/v0/baseline/results.json") == {"metrics": {"n": [0, 1, 2]}}


def test_an_integer_too_long_for_decimal_digits_is_written(view, store, outcome, strict_json):
    store(view(), [outcome("baseline", 0, {"n": [10**6000]})])
    assert strict_json("data/exp/v0/baseline/results.json")["metrics"]["n"] == [hex(10**6000)]


def test_a_condition_that_failed_altogether_has_a_file_without_metrics(view, store, outcome, strict_json):
    store(view(treatments=["bad", "absent"]), [outcome("bad", 0, error="boo")])
    assert strict_json("data/exp/v0/bad/results.json") == {"metrics": {}}
    assert not Path("data/exp/v0/absent").exists()


def test_run_json_tells_the_run_in_short(view, store, outcome, strict_json):
    experiment = view(treatments=["fast"], description="a try")
    store(
        experiment,
        [
            outcome("baseline", 0, {"loss": [0.5]}, files={"sub.bin": b"abc"}),
            outcome("baseline", 1, error="boo"),
            outcome("fast", 0, {"loss": [0.25]}),
            outcome("fast", 1, {"loss": [0.25]}),
        ],
        hypotheses=[HypothesisResult("h", {"fast": {"p_value": float("nan")}}, {"best": None, "ranked": []})],
        errors={"hypothesis:x": ValueError("no")},
    )
    told = strict_json("data/exp/v0/run.json")
    assert (told["id"], told["experiment"], told["seed"]) == (experiment.run.id, "exp", 42)
    assert (told["description"], told["replicates"], told["stopped_by"]) == ("a try", 3, None)
    assert told["seeds"] == [42, 42 + 31337]
    assert told["conditions"]["baseline"] == {
        "folder": "baseline",
        "requested": 3,
        "completed": 1,
        "failed": 1,
        "missing": 1,
    }
    assert told["artifacts"][0]["path"] == "replicate_0/baseline/FitStep/sub.bin"
    assert told["artifacts"][0]["size"] == 3
    assert set(told["errors"]) == {"baseline_rep_1", "hypothesis:x"}
    assert told["hypotheses"][0]["results"] == {"fast": {"p_value": None}}
    assert told["plugins"] == []
    assert dt.datetime.fromisoformat(told["started"]).timestamp() == pytest.approx(experiment.run.started, abs=1e-3)
