"""The peer's cases of `bench_executors.py`: trivial cells, and a large array, through two processes."""

from __future__ import annotations

import functools
import shutil
import time

from workload import case, main

from crystallize import (
    ArtifactPlugin,
    Experiment,
    ParallelExecution,
    Pipeline,
    SeedPlugin,
    data_source,
    pipeline_step,
)


@functools.lru_cache(maxsize=1)
def array(megabytes):
    import numpy as np

    return np.zeros(megabytes * 125_000)


# Its worker processes look them up by name, in this module.
@data_source
def held(ctx, *, payload=None):
    return payload


@pipeline_step()
def trivial(data, ctx):
    ctx.metrics.add("one", 1.0)
    return data


@pipeline_step()
def look(data, ctx):
    table = ctx["table"] if data is None else data
    ctx.metrics.add("middle", float(table[len(table) // 2]))
    return data


def seconds(step, replicates, *, payload=None, context=None):
    """Seconds of one seeded and stored run on two processes."""
    experiment = Experiment(
        held(payload=payload),
        Pipeline([step]),
        plugins=[SeedPlugin(seed=1), ArtifactPlugin(), ParallelExecution(max_workers=2, executor_type="process")],
        initial_ctx=context,
        name="bench",
    )
    experiment.validate()
    started = time.perf_counter()
    result = experiment.run(replicates=replicates)
    taken = time.perf_counter() - started
    shutil.rmtree("data", ignore_errors=True)
    if result.errors:
        raise RuntimeError(f"a cell failed: {next(iter(result.errors.values()))}")
    return taken


@case
def trivial_cells(cells):
    """Seconds per trivial cell."""
    return seconds(trivial(), cells) / cells


@case
def carried(place, megabytes, replicates):
    """Seconds per replicate that is given a large array."""
    given = {"payload": array(megabytes)} if place == "source" else {"context": {"table": array(megabytes)}}
    return seconds(look(), replicates, **given) / replicates


if __name__ == "__main__":
    main()
