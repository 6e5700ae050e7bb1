"""Serial, in threads, in processes, on an event loop, resumed, retried: one digest of the results."""

from __future__ import annotations

import os
import random
import runpy
from pathlib import Path

import numpy as np
import pytest
from tests.plugin_distributions.third_party import third_party

from crystallize import (
    ArtifactPlugin,
    AsyncExecution,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    SerialExecution,
    Treatment,
    data_source,
    pipeline_step,
)

SOAK = bool(os.environ.get("CRYSTALLIZE_SOAK"))
BLOCKS = [range(first, first + (50 if SOAK else 2)) for first in (range(0, 500, 50) if SOAK else range(0, 50, 10))]
REPLICATES = 4

pytestmark = [
    pytest.mark.timeout(600 if SOAK else 90),
    pytest.mark.parametrize("seeds", BLOCKS, ids=lambda seeds: seeds[0]),
]

EXECUTORS = {
    "serial": SerialExecution,
    "thread": lambda: ParallelExecution(2),
    "process": lambda: ParallelExecution(2, "process"),
    "async": lambda: AsyncExecution(3),
    "async, one at a time": lambda: AsyncExecution(1),
    "third party": lambda: third_party("acme-workers").PoolExecution(2),
}


@pytest.fixture(scope="module")
def digest():
    return runpy.run_path(str(Path(__file__).parents[1] / "programs" / "sweep.py"), run_name="sweep")["digest"]


@data_source
def samples(ctx):
    return ctx.rng.normal(size=3)


def failing_once(ctx, place):
    """Fail the first time that a cell comes by, and never again; nothing in the results tells of it."""
    condition, replicate = ctx["condition"], ctx["replicate"]
    if replicate % 2 and "SAMENESS" in os.environ:
        mark = Path(os.environ["SAMENESS"], f"{place}-{condition}-{replicate}")
        if not mark.exists():
            mark.touch()
            raise OSError("the first time")


@pipeline_step()
def disturb(data, ctx, *, spread=1.0):
    return data + spread * ctx.rng.normal(size=3)


@pipeline_step()
async def wait(data, ctx):
    import asyncio

    await asyncio.sleep(0)
    failing_once(ctx, "wait")
    return data


@pipeline_step()
def measure(data, ctx):
    ctx.record("mean", float(data.mean()))
    ctx.record("choice", int(ctx.rng.integers(1_000_000)))
    ctx.record("all", data)
    failing_once(ctx, "measure")
    if ctx["replicate"] == 3:
        ctx.artifacts.add("data.bin", data.tobytes())
    return data


@pipeline_step()
def draw_globally(data, ctx):
    ctx.record("python", random.random())
    ctx.record("numpy", float(np.random.normal()))
    failing_once(ctx, "globally")
    ctx.record("numpy", np.random.random(2))
    return data


def experiment(steps, seed, executor, **more):
    return Experiment(
        samples(),
        Pipeline([step() for step in steps]),
        plugins=[SeedPlugin(seed=seed), ArtifactPlugin(root_dir=f"data-{seed}"), EXECUTORS[executor]()],
        default_plugins=False,
        name="same",
        treatments=[Treatment("wide", {"spread": 3.0}), Treatment("called", lambda ctx: ctx.add("spread", 0.5))],
        replicates=REPLICATES,
        **more,
    )


def armed(monkeypatch, tmp_path, name):
    (tmp_path / name).mkdir()
    monkeypatch.setenv("SAMENESS", str(tmp_path / name))


def all_ways(steps, seed, executors, monkeypatch, tmp_path):
    """Run an experiment with every executor, and resume and retry it with one of them in turn; give each result."""
    for name in executors:
        yield name, experiment(steps, seed, name).run()
    for name in executors if SOAK else [executors[seed % len(executors)]]:
        experiment(steps, seed, name, description=name).run(replicates=2)
        yield f"more replicates, {name}", experiment(steps, seed, name).run(strategy="resume")
        armed(monkeypatch, tmp_path, f"failed-{seed}-{name}")
        result = experiment(steps, seed, name).run()
        assert len(result.errors) == 6
        while result.errors:
            result = experiment(steps, seed, name).run(strategy="resume")
        yield f"resumed after failures, {name}", result
        armed(monkeypatch, tmp_path, f"retried-{seed}-{name}")
        yield f"retried, {name}", experiment(steps, seed, name, retries=3).run()
        monkeypatch.delenv("SAMENESS")


def test_every_way_to_run_an_experiment_gives_one_digest(seeds, digest, monkeypatch, tmp_path, tally):
    for seed in seeds:
        steps = [disturb, wait, measure] if seed % 3 else [disturb, measure]
        expected = digest(experiment(steps, seed, "serial").run())
        ways = 0
        for way, result in all_ways(steps, seed, ["serial", "thread", "process", "async"], monkeypatch, tmp_path):
            assert digest(result) == expected, (way, seed)
            ways += 1
        tally("serial = thread = process = async = resumed = retried", seeds=1, digests=ways, that_differ=0)


def test_the_global_random_state_gives_one_digest_where_nobody_shares_it(seeds, digest, monkeypatch, tmp_path, tally):
    sound = ["serial", "process", "async, one at a time"]
    for seed in seeds[:: 1 if SOAK else 5]:
        steps = [disturb, wait, draw_globally] if seed % 5 else [disturb, draw_globally]
        expected = digest(experiment(steps, seed, "serial").run())
        ways = 0
        for way, result in all_ways(steps, seed, sound, monkeypatch, tmp_path):
            assert digest(result) == expected, (way, seed)
            ways += 1
        tally("the same, from the global random state", seeds=1, digests=ways, that_differ=0)
