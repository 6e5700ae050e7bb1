"""The cache under every executor, and in every way to start worker processes."""

from __future__ import annotations

import os

import pytest

from crystallize import AsyncExecution, Objective, ParallelExecution, SerialExecution, Treatment, pipeline_step
from crystallize.pipelines import cache
from crystallize_plugins.optimizers import GridSearch

EXECUTORS = {
    "serial": SerialExecution,
    "threads": lambda: ParallelExecution(3, "thread"),
    "processes": lambda: ParallelExecution(2, "process"),
    "async": AsyncExecution,
}


SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))


@pytest.fixture
def steps(note):
    @pipeline_step(cacheable=True)
    def draw(data, ctx, *, scale=1):
        note("draw")
        return [scale * float(ctx.rng.random()) for _ in data]

    @pipeline_step(cacheable=True)
    def add(data, ctx):
        note("add")
        return data, {"out": sum(data)}

    return lambda: (draw(), add())


def test_every_executor_finds_what_another_one_kept(make, steps, ran, values):
    found = {}
    for name, executor in EXECUTORS.items():
        result = make(*steps(), plugins=[executor()]).run(replicates=4, treatments=[Treatment("t", {"scale": 3})])
        found[name] = values(result), values(result, treatment="t")
    assert len(set(map(str, found.values()))) == 1
    assert sorted(ran()) == ["add"] * 8 + ["draw"] * 8


@pytest.mark.parametrize("first", ["threads", "processes", "async"])
def test_any_executor_may_fill_the_cache(make, steps, ran, values, first):
    runs = [make(*steps(), plugins=[EXECUTORS[name]()]).run(replicates=5) for name in (first, "serial")]
    assert values(runs[0]) == values(runs[1])
    assert len(ran()) == 10


@pytest.mark.parametrize(
    "executor,settings",
    [
        ("serial", {"retries": 1}),
        ("serial", {"strict": True}),
        ("processes", {"retries": 1}),
        ("processes", {"timeout": 60}),
        ("async", {"timeout": 60}),
    ],
    ids=str,
)
def test_policies_and_strict_mode_change_nothing_of_it(make, steps, ran, values, hits, settings, executor, note):
    if executor == "async":

        @pipeline_step(cacheable=True)
        async def wait(data, ctx):
            note("draw")
            return data

        @pipeline_step(cacheable=True)
        async def add(data, ctx):
            note("add")
            return data, {"out": sum(data) + ctx["replicate"]}

        steps = lambda: (wait(), add())  # noqa: E731
    for _ in range(2):
        result = make(*steps(), plugins=[EXECUTORS[executor]()], **settings).run(replicates=2)
        assert len(values(result)) == 2
    assert hits(result) == [True, True]
    assert ran().count("add") == 2


def test_an_optimisation_finds_what_an_earlier_one_tried(make, steps, ran):
    def optimise():
        return make(*steps()).optimize(GridSearch({"scale": [1, 2, 3]}, objective=Objective("out", "minimize")), 3)

    first = optimise()
    assert len(ran()) == 6
    assert optimise().apply_map == first.apply_map
    assert ran() == []


# What is forked has the settings from the start, whatever is sent; how what is not forked starts makes no difference.
@pytest.mark.parametrize("way", ["fork", "forkserver", "spawn"] if SOAK else ["forkserver"], indirect=True)
def test_worker_processes_get_the_settings_of_the_run(make, steps, ran, values, way, monkeypatch, tmp_path):
    for folder in ("one", "two"):
        # Also where the pool stays warm between runs.
        monkeypatch.setenv("CRYSTALLIZE_CACHE_DIR", str(tmp_path / folder))
        monkeypatch.setenv("CRYSTALLIZE_CACHE_KEY_FILE", str(tmp_path / f"{folder}.key"))
        for _ in range(2):
            make(*steps(), plugins=[ParallelExecution(2, "process")]).run(replicates=3)
        assert cache.info().entries == 6
        assert len(ran()) == 6
    assert not (tmp_path / ".cache").exists()
