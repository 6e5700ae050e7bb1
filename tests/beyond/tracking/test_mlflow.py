"""What MLflow has of a run is what was measured; what becomes of MLflow is nothing to the run."""

from __future__ import annotations

import os
import random
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystallize import ParallelExecution
from crystallize.errors import ArgumentTypeError, DeliveryError, MissingExtraError, StoreError, ValidationError
from crystallize.hooks import load_plugin
from crystallize.testing import ObserverConformance
from crystallize_plugins.tracking import MLflowPlugin
from crystallize_plugins.tracking.mlflow_sender import valid_name

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
PATIENT = 120
"""Seconds: MLflow takes some to be imported, and the machine may be busy."""


@pytest.mark.skipif(not SOAK, reason="imports MLflow anew for each of forty runs")
class TestMLflowPlugin(ObserverConformance):
    @pytest.fixture
    def plugin(self, store):
        return MLflowPlugin(store.uri, timeout=PATIENT)


def totals(result):
    return list(enumerate(result.metrics.baseline.metrics["total"]))


def test_mlflow_has_what_was_measured(experiment, store):
    plugin = MLflowPlugin(store.uri, tags={"team": "maize"}, timeout=PATIENT)
    # In processes: the plugin has nothing to do there.
    result = experiment(ParallelExecution(2, "process"), plugin).run(replicates=3)
    assert result.plugin_errors == []
    runs = store.runs()
    identity = result.provenance["run"]["id"]
    parent, baseline, raised = runs[None], runs["baseline"], runs["raised"]
    assert len(runs) == 3
    assert (parent.info.run_name, parent.info.status, parent.data.tags["team"]) == ("v0", "FINISHED", "maize")
    assert {run.data.tags["crystallize.run_id"] for run in runs.values()} == {identity}
    assert {run.data.tags.get("mlflow.parentRunId") for run in (baseline, raised)} == {parent.info.run_id}
    assert parent.data.params == baseline.data.params == {"seed": "7", "replicates": "3"}
    assert raised.data.params == {
        "seed": "7", "replicates": "3", "delta": "1.0", "fails_at": "2", "api_key": "***"
    }  # fmt: skip
    points = store.points(baseline)
    assert points == {
        "total": totals(result),
        "limit": [(0, 0.5), (2, 0.5)],
        "hole": [(0, "nan"), (1, "nan"), (2, "nan")],
        valid_name("a/b: c"): [(0, 1.0), (1, 1.0), (2, 1.0)],
        "a/b_ c": [(0, 2.0), (1, 2.0), (2, 2.0)],
        "twice": [(replicate, 1.0) for replicate in (0, 0, 1, 1, 2, 2)],
    }
    assert baseline.data.tags["crystallize.not_logged"] == '{"limit": [1], "word": [0, 1, 2]}'
    assert [step for step, _ in store.points(raised)["total"]] == [0, 1]
    assert raised.data.tags["crystallize.failed"] == "2"
    assert store.files(raised) == {f"replicate_{r}/MeasureStep/note.txt": f"raised {r}" for r in (0, 1)}
    if SOAK:  # that what is there is not sent again is seen below, too, and each time MLflow is imported anew
        assert MLflowPlugin(store.uri).sync(result.provenance["run"]["folder"]) == 0
        assert store.points(store.runs()["baseline"]) == points


def test_a_run_that_goes_on_is_one_run_in_mlflow(experiment, store):
    tracked = MLflowPlugin(store.uri, "elsewhere", artifacts=False, timeout=PATIENT)
    # Of the cells that are stored already MLflow has not heard.
    experiment().run(replicates=1)
    result = experiment(tracked).run(replicates=3, strategy="resume")
    assert result.plugin_errors == []
    runs = store.runs("elsewhere")
    assert len(runs) == 3
    assert store.points(runs["baseline"])["total"] == totals(result)
    assert store.files(runs["baseline"]) == {}


def test_what_is_not_stored_is_tracked_all_the_same(experiment, store):
    result = experiment(MLflowPlugin(store.uri, timeout=PATIENT), root=None).run(replicates=2)
    assert result.plugin_errors == []
    runs = store.runs()
    assert runs[None].info.run_name == result.provenance["run"]["id"][:8]
    assert store.points(runs["baseline"])["total"] == totals(result)
    assert store.files(runs["baseline"])["replicate_1/MeasureStep/note.txt"] == "baseline 1"


def test_what_a_store_loses_is_noticed_and_sent_again(experiment, store, log):
    store.forget(step=1)
    result = experiment(MLflowPlugin(store.uri, timeout=PATIENT)).run(replicates=3)
    (failure,) = result.plugin_errors
    folder = result.provenance["run"]["folder"]
    assert "not there when they are read back: 6 of 'baseline', 6 of 'raised'" in failure.error
    assert f"MLflowPlugin({store.uri!r}).sync({folder!r})" in failure.error
    assert [record.levelname for record in log.records if "mlflow" in record.getMessage()] == ["WARNING"]
    with pytest.raises(DeliveryError, match="read back"):
        MLflowPlugin(store.uri).sync(folder)
    store.remember()
    assert MLflowPlugin(store.uri).sync(folder) == 12
    runs = store.runs()
    assert store.points(runs["baseline"])["total"] == totals(result)
    assert runs[None].info.status == "FINISHED"


def test_a_server_that_says_nothing_changes_no_number_and_keeps_no_run(experiment, log):
    alone = experiment().run(replicates=3)
    after = random.random()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://ada:hush@127.0.0.1:{silent.getsockname()[1]}"
        tracked = experiment(MLflowPlugin(uri, timeout=0.5)).run(replicates=3)
    assert random.random() == after
    assert totals(tracked) == totals(alone)
    assert set(tracked.errors) == set(alone.errors)
    (failure,) = tracked.plugin_errors
    assert "did not end within 0.5 seconds" in failure.error
    assert ".sync(" in failure.error
    assert "hush" not in failure.error
    assert len([record for record in log.records if "mlflow" in record.getMessage()]) == 1


def test_where_nothing_is_stored_nothing_can_be_sent_later(experiment):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = experiment(MLflowPlugin(uri, timeout=0.1), root=None).run(replicates=1)
    assert "with ArtifactPlugin it could be sent later" in result.plugin_errors[0].error
    with pytest.raises(StoreError, match="there is no run"):
        MLflowPlugin(uri).sync("nowhere")


@given(st.lists(st.text(min_size=1, max_size=300), min_size=2, max_size=2, unique=True))
def test_every_name_becomes_one_that_mlflow_takes_and_no_other_becomes(names):
    from mlflow.utils.validation import _validate_metric_name

    valid = [valid_name(name) for name in names]
    assert valid[0] != valid[1]
    for name in valid:
        assert len(name) <= 250
        _validate_metric_name(name)


def test_settings_are_checked_when_they_are_given(monkeypatch):
    assert load_plugin("mlflow") is MLflowPlugin
    for settings, error in (({"timeout": 0}, ValidationError), ({"tracking_uri": 3}, ArgumentTypeError)):
        with pytest.raises(error):
            MLflowPlugin(**settings)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'crystallize-plugins\[mlflow\]'"):
        MLflowPlugin()
