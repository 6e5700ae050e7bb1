"""Conditions that are no longer declared are not taken over: the next version begins, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crystallize import ArtifactPlugin, ExperimentGraph, Treatment
from crystallize_plugins.artifacts import list_runs, open_run

A, B, C = (Treatment(name, {"delta": delta}) for name, delta in (("a", 1.0), ("b", 2.0), ("c", 3.0)))
RENAMED = Treatment("bee", {"delta": 2.0})


def versions():
    return [run.version for run in list_runs(experiment="exp")]


@pytest.mark.parametrize(
    "now, replicates, new",
    [
        ([A], 2, []),
        ([A], 3, ["a_rep_2", "baseline_rep_2"]),
        ([A], 1, []),
        ([A, RENAMED], 2, ["bee_rep_0", "bee_rep_1"]),
        ([A, C], 2, ["c_rep_0", "c_rep_1"]),
        ([], 2, []),
        ([C], 2, ["c_rep_0", "c_rep_1"]),
    ],
    ids=["deleted", "deleted, more replicates", "deleted, fewer", "renamed", "replaced", "all deleted", "all replaced"],
)
@pytest.mark.parametrize("how", ["own", "given"])
def test_the_next_version_has_the_declared_conditions_alone(build, ran, files, told, log, now, replicates, new, how):
    if how == "own":
        build(treatments=[A, B]).run(replicates=2)
    else:
        build(treatments=[]).run(treatments=[A, B], replicates=2)
    ran()
    before = files("data/exp/v0")
    resumed = build(treatments=now) if how == "own" else build(treatments=[])
    asked = {} if how == "own" else {"treatments": now}
    plan = resumed.plan(replicates=replicates, **asked)
    result = resumed.run(replicates=replicates, strategy="resume", **asked)
    assert ran() == new == sorted(planned.cell.key for planned in plan.to_run)
    gone = {name for name in ("a", "b") if name not in {treatment.name for treatment in now}}
    assert {planned.cell.condition for planned in plan.to_leave} == gone
    assert result.provenance["run"]["version"] == 1
    assert files("data/exp/v0") == before
    assert told(result) == told(build(name="whole", treatments=now).run(replicates=replicates))
    opened = open_run("data/exp/v1")
    assert told(opened) == told(result)
    assert [each.name for each in opened.conditions] == ["baseline", *(treatment.name for treatment in now)]
    assert not any((Path("data/exp/v1") / name).exists() for name in gone)
    assert result.provenance["resume"]["undeclared"] == {name: [0, 1] for name in sorted(gone)}
    said = log.text()
    assert "no longer declared" in said
    assert all(f"{name!r} (2 cells)" in said for name in gone)


def test_a_second_resume_has_nothing_to_do(build, ran, files):
    build(treatments=[A, B]).run(replicates=2)
    build(treatments=[A]).run(replicates=2, strategy="resume")
    ran()
    before = files()
    result = build(treatments=[A]).run(replicates=2, strategy="resume")
    assert not ran()
    assert files() == before
    assert (versions(), result.provenance["run"]["version"]) == ([0, 1], 1)
    assert result.provenance["resume"]["undeclared"] == {}


def test_a_condition_that_is_declared_again_is_new(build, ran):
    build(treatments=[A, B]).run(replicates=1)
    build(treatments=[A]).run(replicates=1, strategy="resume")
    ran()
    result = build(treatments=[A, B]).run(replicates=1, strategy="resume")
    assert ran() == ["b_rep_0"]
    assert result.provenance["run"]["version"] == 1


@pytest.mark.parametrize("asked", [[A], [B], []], ids=["one", "the other", "none"])
def test_a_run_that_is_asked_for_some_of_the_declared_treatments_leaves_the_others(build, ran, asked):
    build(treatments=[A, B]).run(replicates=2)
    ran()
    plan = build(treatments=[A, B]).plan(replicates=3, treatments=asked)
    result = build(treatments=[A, B]).run(replicates=3, treatments=asked, strategy="resume")
    assert len(ran()) == len(plan.to_run) == 1 + len(asked)
    assert not plan.to_leave
    assert (versions(), result.provenance["run"]["version"]) == ([0], 0)
    assert set(open_run("data/exp/v0").metrics.treatments) == {"a", "b"}


def test_a_condition_without_a_cell_is_not_taken_over_either(build):
    stream = build(treatments=[A, B]).stream(replicates=2)
    next(stream)  # the baseline's
    stream.close()
    build(treatments=[A]).run(replicates=2, strategy="resume")
    newest = open_run(f"data/exp/v{versions()[-1]}")
    assert [each.name for each in newest.conditions] == ["baseline", "a"]
    assert "b" not in json.loads(Path(newest.facts["run"]["folder"], "run.json").read_text())["conditions"]


def test_of_a_single_run_that_is_kept_the_declared_conditions_stay(build, ran, told):
    def make(*treatments):
        return build(store=ArtifactPlugin(versioned=False), treatments=list(treatments))

    make(A, B).run(replicates=2)
    ran()
    result = make(A).run(replicates=2, strategy="resume")
    assert not ran()
    assert [path.name for path in Path("data/exp").iterdir()] == ["v0"]
    assert told(open_run("data/exp/v0")) == told(result)
    assert list(result.metrics.treatments) == ["a"]


def test_in_a_graph_treatments_of_what_an_experiment_reads_from_are_declared(build, ran):
    from crystallize import Artifact, pipeline_step

    @pipeline_step()
    def write(data, ctx, *, delta=0.0):
        ctx.artifacts.add("model.txt", str(delta).encode())
        return data

    def graph(*treatments):
        model = Artifact("model.txt", loader=lambda path: path.read_text())
        up = build(write(), name="up", outputs=[model], treatments=list(treatments))
        down = build(lambda data: (data, {"size": len(data)}), name="exp", datasource=model, treatments=[])
        return ExperimentGraph(up, down)

    graph(A, B).run(replicates=1)
    ran()
    assert list(graph(A, B).run(replicates=1, strategy="resume")["exp"].metrics.treatments) == ["a", "b"]
    assert (ran(), versions()) == ([], [0])
    assert list(graph(A).run(replicates=1, strategy="resume")["exp"].metrics.treatments) == ["a"]
    assert (ran(), versions()) == ([], [0, 1])


def test_a_plan_says_in_words_what_is_left(build):
    build(treatments=[A, B]).run(replicates=2)
    assert build(treatments=[A]).plan(replicates=2).summary().splitlines() == [
        "4 cells: 4 to keep, 0 to run",
        "the next version begins, without stored cells of this version:",
        "  2 no longer declared: b_rep_0, b_rep_1",
    ]
