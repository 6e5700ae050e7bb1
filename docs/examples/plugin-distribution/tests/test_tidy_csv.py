"""The conformance kit, and what this plugin does beyond the contract."""

from __future__ import annotations

import csv

import pytest
from crystallize_tidy_csv import TidyCsv

from crystallize import Experiment, Pipeline, Treatment, data_source, pipeline_step
from crystallize.testing import ObserverConformance


class TestConformance(ObserverConformance):
    @pytest.fixture
    def plugin(self, tmp_path):
        return TidyCsv(tmp_path / "metrics.csv")


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pipeline_step()
def measure(data, ctx, *, factor=1):
    if factor < 0:
        raise ValueError("negative")
    return data, {"total": factor * sum(data), "size": len(data)}


@pytest.fixture
def run(tmp_path):
    """Run a small experiment with the plugin; give the lines of its file."""

    def run(**settings):
        path = tmp_path / "metrics.csv"
        result = Experiment(
            numbers(),
            Pipeline([measure()]),
            plugins=[("tidy-csv", {"path": str(path), **settings})],
            treatments=[Treatment("tenfold", {"factor": 10}), Treatment("broken", {"factor": -1})],
            replicates=2,
            default_plugins=False,
        ).run()
        assert result.record_complete
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file)), result

    return run


def test_every_value_is_a_line(run):
    lines, result = run()
    found = {(line["condition"], line["replicate"], line["metric"], line["value"]) for line in lines}
    assert ("baseline", "0", "total", "6") in found
    assert ("tenfold", "1", "total", "60") in found
    assert len(lines) == 8
    assert result.provenance["tidy_csv"]["lines"] == 8


def test_a_failed_cell_has_no_line(run):
    lines, _ = run()
    assert "broken" not in {line["condition"] for line in lines}


def test_only_the_metrics_asked_for_are_written(run):
    lines, _ = run(metrics=["size"])
    assert {line["metric"] for line in lines} == {"size"}


def test_a_second_run_is_appended_under_one_heading(run):
    run()
    lines, _ = run()
    assert len(lines) == 16
    assert len({line["run"] for line in lines}) == 2


def test_inference_writes_nothing(tmp_path):
    path = tmp_path / "metrics.csv"
    experiment = Experiment(numbers(), Pipeline([measure()]), plugins=[TidyCsv(path)], default_plugins=False)
    assert experiment.apply() == [1, 2, 3]
    assert not path.exists()


def test_a_file_that_cannot_be_written_does_not_end_the_experiment(tmp_path):
    result = Experiment(
        numbers(),
        Pipeline([measure()]),
        plugins=[TidyCsv(tmp_path / "no such folder" / "metrics.csv")],
        default_plugins=False,
    ).run(replicates=2)
    assert list(result.metrics.baseline.metrics["total"]) == [6, 6]
    assert not result.record_complete
