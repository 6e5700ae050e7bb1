"""Attempts and limits in what is kept: the provenance, the tree, the store."""

from __future__ import annotations

import json

import pytest

from crystallize import ParallelExecution, Treatment, pipeline_step
from crystallize.hooks import Attempt
from crystallize_plugins.artifacts import newest_run


@pytest.fixture
def flaky(tally):
    @pipeline_step(retries=2)
    def flaky(data, ctx):
        count = tally(ctx)
        if ctx["replicate"] == 1 and count < 3:
            raise ConnectionError(f"attempt {count}")
        if ctx["replicate"] == 2:
            raise ValueError(f"attempt {count}")
        return data, {"value": count}

    return flaky()


def test_attempts_are_in_the_provenance_of_cells_that_needed_several(build, executor, flaky):
    result = build(flaky, plugins=[executor], retries=1).run(treatments=[Treatment("more", {})], replicates=3)
    attempts = result.provenance["attempts"]
    assert {name: list(made) for name, made in attempts.items()} == {"baseline": [1, 2], "more": [1, 2]}
    first, second = attempts["more"][1]
    assert {key: first[key] for key in ("number", "step", "error_type", "error")} == {
        "number": 1,
        "step": "FlakyStep",
        "error_type": "ConnectionError",
        "error": "attempt 1",
    }
    assert second["number"] == 2
    plain = json.loads(result.to_json())["provenance"]
    assert plain["attempts"]["baseline"]["1"][1]["error"] == "attempt 2"
    assert plain["policies"] == {
        "retries": 1,
        "retry_on": ["Exception"],
        "backoff": 0.0,
        "timeout": None,
        "steps": {"FlakyStep": {"retries": 2, "retry_on": ["Exception"], "backoff": 0.0, "timeout": None}},
    }


def test_a_run_without_policies_says_nothing_of_them(build):
    provenance = build(lambda data: data).run().provenance
    assert provenance["attempts"] == {}
    assert "policies" not in provenance


def test_the_tree_says_after_which_attempts_a_cell_succeeded_or_failed(build, flaky):
    result = build(flaky).run(replicates=3)
    lines = result.tree_text("treatment > replicate").splitlines()
    assert "attempt" not in lines[2]
    assert "attempt 3, after ConnectionError in FlakyStep, ConnectionError in FlakyStep" in lines[3]
    assert "attempt 3, after ValueError in FlakyStep, ValueError in FlakyStep  FAILED:" in lines[4]
    assert result.tree_text("replicate > treatment").count("attempt 3, after") == 2
    assert result.tree_text("replicate").count("attempt 3, after") == 2
    assert "attempt 3, after" not in result.tree_text("treatment")


def test_attempts_are_stored_and_there_again_when_the_run_is_opened(build, executor, flaky):
    result = build(flaky, plugins=[executor], stored=True).run(replicates=3)
    stored = newest_run("data", "tried")
    reopened = stored.lazy_outcomes()
    assert [reopened["baseline", replicate].attempts != () for replicate in range(3)] == [False, True, True]
    attempts = reopened["baseline", 1].attempts
    assert all(isinstance(attempt, Attempt) for attempt in attempts)
    assert [attempt._asdict() for attempt in attempts] == result.provenance["attempts"]["baseline"][1]
    again = stored.result()
    assert again.provenance["attempts"] == result.provenance["attempts"]
    assert again.provenance["policies"] == result.provenance["policies"]
    assert again.tree_text() == result.tree_text()


def test_how_often_a_cell_is_tried_is_no_part_of_what_it_is(build, flaky, tally):
    build(flaky, stored=True).run(replicates=2)
    before = tally.of("baseline", 1)
    flaky.retries, flaky.backoff = 7, 0.1
    resumed = build(flaky, stored=True, retries=3, max_failures=3).run(replicates=2, strategy="resume")
    assert tally.of("baseline", 1) == before
    assert resumed.metrics.baseline.metrics["value"] == [1, 3]
    assert [attempt["number"] for attempt in resumed.provenance["attempts"]["baseline"][1]] == [1, 2]


def test_a_worker_that_died_is_an_attempt_too(build, tally, tmp_path):
    @pipeline_step()
    def dies_once(data, ctx):
        import os

        if ctx["replicate"] == 3 and tally(ctx) == 1:
            os._exit(5)
        return data, {"value": ctx["replicate"]}

    plugins = [ParallelExecution(2, "process")]
    result = build(dies_once(), plugins=plugins, stored=True).run(replicates=8)
    assert result.errors == {}
    assert result.metrics.baseline.metrics["value"] == list(range(8))
    ((attempt,),) = result.provenance["attempts"]["baseline"].values()
    assert (attempt["step"], attempt["error_type"]) == ("worker", "WorkerCrashError")
    assert "left with exit code 5" in attempt["error"]
    assert newest_run("data", "tried").result().provenance["attempts"] == result.provenance["attempts"]


def test_retries_go_on_where_a_worker_died_and_count_its_deaths(build, tally):
    @pipeline_step()
    def dies_often(data, ctx):
        import os

        count = tally(ctx)
        if count == 2:
            raise ConnectionError("in between")
        if count < 5:
            os._exit(count)
        return data, {"value": count}

    plugins = [ParallelExecution(1, "process")]
    result = build(dies_often(), plugins=plugins, retries=4).run(replicates=1)
    assert result.metrics.baseline.metrics["value"] == [5]
    kinds = [attempt["error_type"] for attempt in result.provenance["attempts"]["baseline"][0]]
    assert kinds == ["WorkerCrashError", "ConnectionError", "WorkerCrashError", "WorkerCrashError"]


def test_a_cell_that_dies_again_and_again_fails_with_all_its_attempts(build, tally):
    @pipeline_step()
    def dies(data, ctx):
        import os

        tally(ctx)
        os._exit(9)

    plugins = [ParallelExecution(1, "process")]
    result = build(dies(), plugins=plugins).run()
    assert tally.of("baseline", 0) == 2
    assert "so did the one that tried it again" in str(result.errors["baseline_rep_0"])
    assert len(result.provenance["attempts"]["baseline"][0]) == 1
