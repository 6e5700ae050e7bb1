"""Runs of so many cells that their outcomes are left to the store."""

from __future__ import annotations

import logging
import pickle

import numpy as np
import pytest

from crystallize import (
    ArtifactPlugin,
    Experiment,
    Hypothesis,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
    verifier,
)
from crystallize.engine import run as engine_run
from crystallize.engine.plan import outstanding, plan_cells
from crystallize.hooks import Cell, StorePlugin
from crystallize_plugins.artifacts import open_run
from crystallize_plugins.runs import verify

REPLICATES = 40


@pytest.fixture
def small_memory(monkeypatch):
    """Let a few cells count as many."""
    monkeypatch.setattr(engine_run, "_MOST_KEPT", 20_000)


@data_source
def number(ctx):
    return ctx["replicate"] / 7


@pipeline_step()
def measure(data, ctx, *, shift=0.0):
    if shift and ctx["replicate"] == 11:
        raise ValueError("no luck")
    ctx.metrics.add("x", data + shift)
    ctx.metrics.add("n", ctx["replicate"])
    ctx.metrics.add("single", np.float32(data))
    if ctx["replicate"] % 5 == 0:
        ctx.metrics.add("vector", np.array([data, shift]), tags={"part": 1})
    if ctx["replicate"] == 3:
        ctx.metrics.add("odd", {1, 2})
    ctx.add("seen", ctx["replicate"])
    return data


@verifier
def bigger(baseline, treatment):
    return {"p_value": 0.5, "n": len(treatment["x"]), "sum": sum(treatment["x"])}


def make(folder=None, **changes):
    settings = {
        "plugins": [SeedPlugin(seed=3)] + ([] if folder is None else [ArtifactPlugin(root_dir=folder)]),
        "datasource": number(),
        "pipeline": Pipeline([measure()]),
        "treatments": [Treatment("more", {"shift": 1.5})],
        "hypotheses": [Hypothesis(bigger(), metrics="x", name="bigger")],
        "name": "large",
        "default_plugins": False,
    }
    return Experiment(**{**settings, **changes})


def told(result):
    """Everything of a result that does not differ from run to run."""
    found = result.to_dict()
    for name in ("run", "durations", "plugins"):
        found["provenance"].pop(name, None)
    for name in ("code", "definition", "environment", "libraries", "packages", "git", "command", "data", "resume"):
        found["provenance"].pop(name, None)
    for cells in found["provenance"]["ctx_changes"].values():
        for steps in cells.values():
            for step in steps:
                step.pop("duration")
    return found


def typed(result):
    conditions = {"baseline": result.metrics.baseline, **result.metrics.treatments}
    return {
        (condition, name): ([type(value) for value in values], values.replicates, values.tags)
        for condition, recorded in conditions.items()
        for name, values in recorded.metrics.items()
    }


def expected():
    return make().run(replicates=REPLICATES)


def test_a_large_run_gives_the_result_of_a_small_one(small_memory, tmp_path, monkeypatch):
    result = make(tmp_path).run(replicates=REPLICATES)
    monkeypatch.undo()
    whole = expected()
    assert told(result) == told(whole)
    assert typed(result) == typed(whole)
    assert result.metrics.baseline.metrics["x"].replicates == list(range(REPLICATES))
    assert result.errors["more_rep_11"].original_exception.args == ("no luck",)
    assert result.metrics.baseline.metrics["odd"] == [{1, 2}]
    assert open_run(result.facts["run"]["folder"]).to_dict()["metrics"] == result.to_dict()["metrics"]


def test_what_is_stored_is_not_kept_in_memory(small_memory, tmp_path, monkeypatch):
    seen = []
    finish = engine_run.Run.finish

    def finished(self, stopped_by):
        seen.append(sorted(self.outcomes))
        finish(self, stopped_by)

    monkeypatch.setattr(engine_run.Run, "finish", finished)
    make(tmp_path).run(replicates=REPLICATES)
    make().run(replicates=REPLICATES)
    stored, alone = seen
    assert Cell("more", 11) in stored  # the error itself, not its text
    assert Cell("baseline", 3) in stored  # what no file holds
    assert len(stored) < len(alone) == 2 * REPLICATES


def test_a_large_run_is_resumed(small_memory, tmp_path, monkeypatch):
    make(tmp_path).run(replicates=REPLICATES // 2)
    result = make(tmp_path).run(replicates=REPLICATES, strategy="resume")
    monkeypatch.undo()
    assert told(result)["metrics"] == told(expected())["metrics"]
    assert result.provenance["seeds"]["more"] == expected().provenance["seeds"]["more"]
    # What is stored beyond what was asked for is no part of the result.
    fewer = make(tmp_path).run(replicates=5, strategy="resume")
    assert len(fewer.metrics.baseline.metrics["x"]) == 5


def test_what_a_stopped_run_did_not_get_to_is_missing(small_memory, tmp_path):
    make(tmp_path).run(replicates=REPLICATES)
    ran = []

    @pipeline_step()
    def measure(data, ctx, *, shift=0.0):
        ran.append(ctx["replicate"])
        if len(ran) > REPLICATES:
            raise KeyboardInterrupt
        return data, {"x": data}

    with pytest.raises(KeyboardInterrupt) as stopped:
        make(tmp_path, pipeline=Pipeline([measure()])).run(replicates=REPLICATES, strategy="resume")
    cells = stopped.value.result.provenance["cells"]
    assert {name: (of["completed"], of["failed"], of["missing"]) for name, of in cells.items()} == {
        "baseline": (20, 0, 20),
        "more": (20, 0, 20),
    }


def test_the_result_of_a_large_run_that_replaces_another_can_be_read(small_memory, tmp_path):
    @pipeline_step()
    def publish(data, ctx):
        ctx.artifacts.add("number.txt", str(data).encode())
        return data

    for _ in range(2):
        result = make(
            plugins=[SeedPlugin(seed=3), ArtifactPlugin(root_dir=tmp_path, versioned=False)],
            pipeline=Pipeline([measure(), publish()]),
        ).run(replicates=REPLICATES)
    assert result.facts["run"]["folder"].endswith("v0")
    assert result.get_artifact("number.txt")["baseline"].read_text() == "0.0"
    assert len(result.metrics.baseline.metrics["x"]) == REPLICATES
    assert told(result)["metrics"] == told(expected())["metrics"]
    assert [len(steps) for steps in result.provenance["ctx_changes"]["baseline"].values()] == [2] * REPLICATES


@pytest.mark.parametrize("way", ["stream", "pickle"])
def test_a_large_run_is_streamed_and_its_result_travels(small_memory, tmp_path, way):
    experiment = make(tmp_path)
    if way == "stream":
        cells = [outcome.cell for outcome in experiment.stream(replicates=REPLICATES)]
        assert cells == list(plan_cells(["baseline", "more"], REPLICATES))
    else:
        result = experiment.run(replicates=REPLICATES)
        assert told(pickle.loads(pickle.dumps(result))) == told(result)


def test_a_store_that_gives_nothing_back_costs_memory_alone(small_memory):
    class Shelf(StorePlugin):
        def __init__(self):
            self.cells = []

        def collect(self, outcome):
            self.cells.append(outcome.cell)

    shelf = Shelf()
    experiment = Experiment(number(), Pipeline([measure()]), plugins=[shelf], default_plugins=False)
    result = experiment.run(replicates=REPLICATES)
    assert len(shelf.cells) == REPLICATES
    assert result.metrics.baseline.metrics["n"] == list(range(REPLICATES))


def test_a_treatment_that_nothing_reads_is_told_of(small_memory, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="crystallize"):
        result = make(tmp_path, treatments=[Treatment("more", {"shift": 1.5, "unheard_of": 1})], strict=False).run(
            replicates=REPLICATES
        )
    assert result.provenance["unread"] == {"more": ["unheard_of"]}


# ------------------------------------------------------------------ cells


def test_cells_are_conditions_times_replicates():
    cells = plan_cells(["baseline", "a"], 3)
    listed = [Cell(name, replicate) for replicate in range(3) for name in ("baseline", "a")]
    assert cells == listed
    assert [cells[0], cells[-1], *cells[1:3]] == [listed[0], listed[-1], *listed[1:3]]
    assert pickle.loads(pickle.dumps(cells)) == listed
    assert Cell("a", 2) in cells
    for absent in (Cell("a", 3), Cell("a", -1), Cell("b", 0), None, ("a", "0"), ("a",)):
        assert absent not in cells
    with pytest.raises(IndexError):
        cells[6]


def test_cells_that_are_known_are_left_out():
    cells = plan_cells(["baseline", "a"], 3).without({Cell("a", 1), Cell("baseline", 0)})
    assert list(cells) == [Cell("a", 0), Cell("baseline", 1), Cell("baseline", 2), Cell("a", 2)]
    assert (Cell("a", 1) in cells, Cell("a", 2) in cells) == (False, True)
    assert list(cells.without({Cell("a", 0)})) == list(cells)[1:]
    assert pickle.loads(pickle.dumps(cells)) == list(cells)


def test_a_cell_is_outstanding_until_its_outcome_has_come():
    left = outstanding(plan_cells(["a"], 2))
    left.remove(Cell("a", 1))
    assert (len(left), Cell("a", 0) in left, Cell("a", 1) in left) == (1, True, False)
    with pytest.raises(KeyError):
        left.remove(Cell("a", 1))
    with pytest.raises(KeyError):
        left.remove(Cell("b", 0))


def test_the_database_of_a_run_that_is_read_back_is_closed_at_its_end(small_memory, tmp_path):
    """Whoever reads it while it is closed would keep its log alive."""
    changes = {"pipeline": Pipeline([plain()]), "hypotheses": []}
    result = make(tmp_path, **changes).run(replicates=6000)
    run = tmp_path / "large/v0"
    assert [path.name for path in run.glob("run.db*")] == ["run.db"]
    assert verify(run).ok
    assert open_run(run).metrics == result.metrics


@pipeline_step()
def plain(data, ctx, *, shift=0.0):
    ctx.metrics.add("x", data + shift)
    return data
