"""The warning about the global random state: where it is due, once, and nowhere else."""

from __future__ import annotations

import asyncio
import logging

import pytest

from crystallize import AsyncExecution, Hypothesis, ParallelExecution, SerialExecution, Treatment, pipeline_step


@pipeline_step()
def plain(data, ctx):
    return data


@pipeline_step()
async def waiting(data, ctx):
    await asyncio.sleep(0)
    return data


def warnings_in(records):
    return [r.getMessage() for r in records if r.levelno >= logging.WARNING and "reproducib" in r.getMessage()]


@pytest.mark.parametrize(
    "plugin, step, word",
    [
        (ParallelExecution(2), plain, "thread"),
        (ParallelExecution(2), waiting, "thread"),
        (AsyncExecution(), waiting, "overlap"),
        (AsyncExecution(2), waiting, "overlap"),
    ],
    ids=["threads", "threads-async-step", "async", "async-2"],
)
def test_seeding_what_cells_share_is_warned_about_once(plugin, step, word, build, logbook):
    build(step(), plugins=[plugin]).run(replicates=4)
    (warning,) = warnings_in(logbook)
    assert word in warning
    assert "SeedPlugin" in warning
    assert "ctx.rng" in warning


def test_a_run_in_batches_is_warned_about_once_and_the_next_run_again(build, logbook):
    experiment = build(plain(), plugins=[ParallelExecution(2)])
    until = Hypothesis("sequential", name="differs")
    for _ in range(2):
        experiment.run(treatments=[Treatment("same", {})], until=until, batch=2, replicates=6)
    assert len(warnings_in(logbook)) == 2


def test_threads_are_warned_about_on_a_single_core_too(build, logbook, monkeypatch):
    monkeypatch.setattr("crystallize_plugins.execution.parallel.usable_cores", lambda: 1)
    build(plain(), plugins=[ParallelExecution()]).run(replicates=2)
    (warning,) = warnings_in(logbook)
    assert "thread" in warning


@pytest.mark.parametrize(
    "plugin, step, seed",
    [
        (None, plain, 1),
        (SerialExecution(), waiting, 1),
        (ParallelExecution(1), plain, 1),
        (ParallelExecution(2, "process"), plain, 1),
        (AsyncExecution(), plain, 1),
        (AsyncExecution(1), waiting, 1),
        (ParallelExecution(2), plain, None),
        (AsyncExecution(), waiting, None),
    ],
    ids=["none", "serial", "one-thread", "process", "async-plain", "async-one", "threads-unseeded", "async-unseeded"],
)
def test_sound_seeding_is_not_warned_about(plugin, step, seed, build, logbook):
    build(step(), seed=seed, plugins=[] if plugin is None else [plugin]).run(replicates=4)
    assert warnings_in(logbook) == []


def test_only_the_executor_that_runs_the_cells_warns(build, logbook):
    build(plain(), plugins=[ParallelExecution(2), SerialExecution()]).run(replicates=4)
    assert warnings_in(logbook) == []
