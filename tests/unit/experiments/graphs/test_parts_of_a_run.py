"""What a graph's run asks of some of its experiments."""

from __future__ import annotations

import pytest

from crystallize import ExperimentGraph, Hypothesis, Treatment, verifier
from crystallize.errors import GraphError


@verifier
def greater(baseline, treatment):
    return {"p_value": 0.01}


def test_one_experiment_reruns_while_the_others_resume(node, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = node("first")
    graph = ExperimentGraph(first, node("second", first))
    graph.run(strategy="resume")
    results = graph.run(strategy={"first": "rerun", "second": "resume"})
    assert [result.provenance["run"]["strategy"] for result in results.values()] == ["rerun", "resume"]
    with pytest.raises(GraphError, match="'third' is not in the graph"):
        graph.run(strategy={"third": "rerun"})


def test_a_treatment_is_left_out_wherever_it_comes_from_and_without_any_so_are_hypotheses(node, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = node("first", treatments=[Treatment("more", {"add": 2})], hypotheses=[Hypothesis(greater, "total")])
    graph = ExperimentGraph(first, node("second", first))
    assert [list(result.metrics.treatments) for result in graph.run().values()] == [["more"], ["more"]]
    results = graph.run(without=["more"])
    assert [list(result.metrics.treatments) for result in results.values()] == [[], []]
    assert results["first"].metrics.hypotheses == []
