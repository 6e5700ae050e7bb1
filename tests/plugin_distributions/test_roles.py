"""Executors, stores and seeders of other distributions keep the promises that ours keep, by the contract alone."""

from __future__ import annotations

import ast
import os
import signal
import time
from pathlib import Path

import pytest
from tests.plugin_distributions.third_party import HERE, third_party

from crystallize import (
    ArtifactPlugin,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    Treatment,
    data_source,
    pipeline_step,
)

ROLES = ("acme-workers", "acme-shelf", "acme-lots")


@data_source
def numbers(ctx):
    return [1, 2, 3]


@pipeline_step()
def total(data, ctx, *, delta=0):
    Path("ran").mkdir(exist_ok=True)
    Path("ran", f"{ctx['condition']}_rep_{ctx['replicate']}").touch()
    if Path("broken").exists() and ctx["replicate"] == 1:
        raise OSError("the instrument is off")
    return data, {"total": sum(data) + delta, "seed": ctx.get("seed_used", 0)}


@pytest.fixture(params=["ours", "third party"])
def store(request):
    """Our store, and one of another distribution."""
    return ArtifactPlugin if request.param == "ours" else third_party("acme-shelf").ShelfPlugin


@pytest.fixture(params=["ours", "third party"])
def seeder(request):
    """Our seeder, and one of another distribution."""
    return SeedPlugin if request.param == "ours" else third_party("acme-lots").LotsPlugin


@pytest.fixture(params=["ours", "third party"])
def executor(request):
    """Our worker processes, and those of another distribution."""
    if request.param == "ours":
        return ParallelExecution(2, "process")
    return third_party("acme-workers").PoolExecution(2)


def build(*plugins, steps=None, **more):
    more.setdefault("treatments", [Treatment("more", {"delta": 1})])
    return Experiment(
        numbers(), Pipeline(steps or [total()]), plugins=list(plugins), default_plugins=False, name="roles", **more
    )


def ran():
    cells = sorted(path.name for path in Path("ran").glob("*"))
    for name in cells:
        Path("ran", name).unlink()
    return cells


def told(result):
    return {
        name: dict(found.metrics) for name, found in {"": result.metrics.baseline, **result.metrics.treatments}.items()
    }


@pytest.mark.parametrize("name", ROLES)
def test_such_a_distribution_imports_the_contract_alone(name):
    for path in (HERE / name).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            if (module or "").startswith("crystallize"):
                assert module in {"crystallize", "crystallize.errors", "crystallize.hooks", "crystallize.hooks.tools"}


# -- stores and seeders ------------------------------------------------------------------------------


def test_a_finished_run_is_given_back_without_running(store, seeder):
    first = build(seeder(7), store()).run(replicates=2)
    assert len(ran()) == 4
    again = build(seeder(7), store()).run(replicates=2, strategy="resume")
    assert not ran()
    assert told(again) == told(first)


def test_only_what_is_missing_failed_or_changed_runs(store, seeder):
    Path("broken").touch()
    build(seeder(7), store()).run(replicates=2)
    Path("broken").unlink()
    ran()
    changed = [Treatment("more", {"delta": 2})]
    experiment = build(seeder(7), store(), treatments=changed)
    plan = experiment.plan(replicates=3)
    reasons = {planned.cell.key: planned.reason.partition(":")[0] for planned in plan.cells}
    assert reasons == {
        "baseline_rep_0": "complete", "more_rep_0": "changed",
        "baseline_rep_1": "failed", "more_rep_1": reasons["more_rep_1"],
        "baseline_rep_2": "missing", "more_rep_2": "missing",
    }  # fmt: skip
    result = experiment.run(replicates=3, strategy="resume")
    assert ran() == sorted(planned.cell.key for planned in plan.to_run)
    assert told(result) == told(build(seeder(7), treatments=changed).run(replicates=3))


def test_a_seed_that_was_drawn_is_adopted_by_plans_and_runs(store, seeder):
    first = build(seeder(), store()).run(replicates=2)
    ran()
    assert not build(seeder(), store()).plan(replicates=2).to_run
    again = build(seeder(), store()).run(replicates=2, strategy="resume")
    assert not ran()
    assert again.provenance["run"]["seed"] == first.provenance["run"]["seed"]


def test_another_seed_is_another_experiment_to_plans_and_runs(store, seeder):
    build(seeder(7), store()).run(replicates=2)
    ran()
    experiment = build(seeder(8), store())
    assert len(experiment.plan(replicates=2).to_run) == 4
    experiment.run(replicates=2, strategy="resume")
    assert len(ran()) == 4


def test_one_store_and_one_seeder_take_the_place_of_the_defaults():
    shelf, lots = third_party("acme-shelf").ShelfPlugin(), third_party("acme-lots").LotsPlugin(1)
    experiment = Experiment(numbers(), Pipeline([total()]), plugins=[shelf, lots], name="roles")
    experiment.run()
    assert Path("shelf").exists()
    assert not Path("data").exists()
    assert not any(isinstance(plugin, (SeedPlugin, ArtifactPlugin)) for plugin in experiment.plugins)


def test_a_seeder_that_is_installed_is_planned_and_resumed(python):
    printed = python(
        """
from crystallize import ArtifactPlugin, Experiment, Pipeline, data_source, pipeline_step

@data_source
def numbers(ctx):
    return [1]

@pipeline_step()
def seed(data, ctx):
    return data, {"seed": ctx["seed_used"]}

def experiment(seed_):
    plugins = [("acme_lots", {"seed": seed_}), ArtifactPlugin()]
    return Experiment(numbers(), Pipeline([seed()]), plugins=plugins, name="e")

experiment(1).run(replicates=2)
for seed_ in (1, 2):
    planned = len(experiment(seed_).plan(replicates=2, strategy="resume").to_keep)
    resumed = experiment(seed_).run(replicates=2, strategy="resume")
    print(seed_, planned, resumed.provenance["resume"]["kept"])
""",
        "acme-lots",
    )
    assert printed.splitlines() == ["1 2 2", "2 0 0"]


# -- executors ---------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_costs_its_own_cell_alone(executor):
    @pipeline_step()
    def deadly(data, ctx):
        if (ctx["condition"], ctx["replicate"]) == ("more", 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return data, {"total": sum(data)}

    result = build(executor, steps=[deadly()]).run(replicates=3)
    assert list(result.errors) == ["more_rep_1"]
    assert result.errors["more_rep_1"].error_type == "WorkerCrashError"
    assert result.metrics.baseline.metrics["total"] == [6, 6, 6]


def test_a_plain_function_that_takes_too_long_is_ended(executor):
    @pipeline_step(timeout=0.3)
    def slow(data, ctx):
        time.sleep(60 if ctx["replicate"] == 1 else 0)
        return data, {"total": sum(data)}

    result = build(executor, steps=[slow()], treatments=[]).run(replicates=3)
    assert result.errors["baseline_rep_1"].error_type == "StepTimeoutError"
    assert result.metrics.baseline.metrics["total"] == [6, 6]


def test_a_cell_that_failed_is_tried_again_with_its_seed(executor, seeder):
    @pipeline_step(retries=2)
    def flaky(data, ctx):
        mark = Path(f"tried_{ctx['condition']}_{ctx['replicate']}")
        if not mark.exists():
            mark.touch()
            raise OSError("not yet")
        return data, {"seed": ctx["seed_used"]}

    result = build(executor, seeder(7), steps=[flaky()]).run(replicates=2)
    assert not result.errors
    tried = result.provenance["attempts"]
    assert tried
    again = build(seeder(7), steps=[flaky()]).run(replicates=2)
    assert told(again) == told(result)
