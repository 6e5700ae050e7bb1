"""The folder examples of the documentation, run from the command line as its readers run them."""

from __future__ import annotations

import json
import shutil

import pytest


@pytest.fixture
def graph(repository, tmp_path):
    """The three experiments that read from each other, where what they write is gone afterwards."""
    shutil.copytree(repository / "docs" / "examples" / "graph", tmp_path / "graph")
    return tmp_path / "graph"


def test_the_graph_runs_from_its_last_experiment_and_then_what_was_changed_and_what_depends_on_it(crystallize, graph):
    done = crystallize("run", "graph/screening", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert list(results) == ["splits", "models", "screening"]
    costs = results["screening"]["metrics"]["treatments"]["scaled"]["cost"]
    assert len(costs) == 20
    losses = {
        "plain": results["models"]["metrics"]["baseline"]["log loss"],
        "scaled": results["models"]["metrics"]["treatments"]["scaled"]["log loss"],
    }
    assert sum(losses["scaled"]) < sum(losses["plain"])
    again = crystallize("resume", "graph/screening", "--json", "--quiet")
    assert again.returncode == 5
    assert json.loads(again.stdout)["screening"]["metrics"] == results["screening"]["metrics"]
    steps = graph / "models" / "steps.py"
    steps.write_text(steps.read_text().replace("strength=1.0", "strength=0.5"))
    done = crystallize("resume", "graph/screening", "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    ran = {name: result["provenance"].get("resume", {}).get("ran") for name, result in json.loads(done.stdout).items()}
    assert not ran["splits"]
    assert ran["models"]
    assert ran["screening"]


def test_all_examples_in_folders_are_in_order(crystallize, repository):
    done = crystallize("check", repository / "docs" / "examples")
    assert done.returncode == 0, done.stdout
