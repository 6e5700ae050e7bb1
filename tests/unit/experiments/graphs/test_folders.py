"""Graphs of folder experiments: references between config.yaml files."""

from __future__ import annotations

import pytest

from crystallize import ExperimentGraph
from crystallize.errors import ConfigurationError, GraphError

MAKE = """
datasource: {numbers: numbers}
steps: [publish]
outputs: {table: {file_name: table.json, writer: to_json, loader: from_json}}
replicates: 2
treatments: {big: {add: 10}}
"""
USE = """
datasource: {table: make#table}
steps: [total]
"""
LAST = """
datasource: {table: make#table, again: use#sum}
steps: [both]
"""


@pytest.fixture
def folders(tmp_path):
    """Three experiments side by side, of which the last reads from the two others."""
    files = {
        "make/config.yaml": MAKE,
        "make/datasources.py": (
            "from crystallize import data_source\n\n@data_source\ndef numbers(ctx):\n    return [1, 2]\n"
        ),
        "make/steps.py": (
            "from crystallize import Artifact, pipeline_step\n\n@pipeline_step()\n"
            "def publish(data, ctx, *, table: Artifact, add=0):\n    table.write([n + add for n in data])\n"
        ),
        "make/outputs.py": (
            "import json\n\ndef to_json(value):\n    return json.dumps(value).encode()\n\n"
            "def from_json(path):\n    return json.loads(path.read_text())\n"
        ),
        "use/config.yaml": USE + "outputs: {sum: {file_name: sum.txt, loader: number}}\n",
        "use/steps.py": (
            "from crystallize import Artifact, pipeline_step\n\n@pipeline_step()\n"
            "def total(data, ctx, *, sum: Artifact):\n    found = data['table'][0] + data['table'][1]\n"
            "    ctx.record('total', found)\n    sum.write(str(found))\n"
        ),
        "use/outputs.py": "def number(path):\n    return int(path.read_text())\n",
        "last/config.yaml": LAST,
        "last/steps.py": (
            "from crystallize import pipeline_step\n\n@pipeline_step()\n"
            "def both(data, ctx):\n    ctx.record('both', [*data['table'], data['again']])\n"
        ),
    }
    for name, text in files.items():
        path = tmp_path / "experiments" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "experiments"


@pytest.mark.parametrize("path", ["last", "last/config.yaml", "."])
def test_a_graph_is_loaded_from_its_last_experiment_or_from_all(folders, path):
    graph = ExperimentGraph.from_yaml(folders / path)
    assert graph.order == ("make", "use", "last")
    assert graph.edges()["last"] == {"make": ("table.json",), "use": ("sum.txt",)}
    results = graph.run()
    assert results["last"].metrics.baseline.metrics["both"] == [[1, 2, 3], [1, 2, 3]]
    assert results["last"].metrics.treatments["big"].metrics["both"] == [[11, 12, 23], [11, 12, 23]]


def test_only_what_the_last_one_reads_from_is_loaded(folders):
    assert ExperimentGraph.from_yaml(folders / "use").order == ("make", "use")


def test_overrides_go_to_the_last_experiment(folders):
    graph = ExperimentGraph.from_yaml(folders / "use", overrides=["replicates=5"])
    assert graph.experiments["use"].replicates == 5
    assert graph.experiments["make"].replicates == 2


def test_what_is_wrong_in_any_folder_is_named_with_its_place(folders):
    config = folders / "make" / "config.yaml"
    config.write_text(MAKE.replace("[publish]", "[publsh]"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="publish") as caught:
        ExperimentGraph.from_yaml(folders / "last")
    assert caught.value.problems[0].line == 3


def test_experiments_that_read_from_each_other_are_refused(folders):
    config = folders / "make" / "config.yaml"
    config.write_text(MAKE.replace("{numbers: numbers}", "{numbers: last#x}"), encoding="utf-8")
    with pytest.raises((ConfigurationError, GraphError), match="cycle"):
        ExperimentGraph.from_yaml(folders / "last")


def test_a_folder_without_experiments_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"config\.yaml"):
        ExperimentGraph.from_yaml(tmp_path)
