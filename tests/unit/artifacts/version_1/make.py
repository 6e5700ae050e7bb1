"""Make the runs of the first version that lie beside this file: to be run with the code of before version 2."""

from __future__ import annotations

import os
import signal
import sys

from crystallize import ArtifactPlugin, Experiment, Pipeline, SeedPlugin, Treatment, data_source, pipeline_step


@data_source
def numbers(ctx):
    return [ctx["replicate"], 2]


@pipeline_step()
def work(data, ctx, *, delta=0):
    ctx.record("sum", sum(data) + delta)
    ctx.record("loss", sum(data) / 7, tags={"unit": "m"})
    ctx.add("seen", data[0])
    ctx.artifacts.add("sum.txt", f"{sum(data) + delta}")
    if delta and data[0] == 2:
        raise ValueError("the third one fails")
    return data


def main() -> None:
    """Run once to the end, and once until it is killed."""
    kills = "--kill" in sys.argv
    experiment = Experiment(
        numbers(),
        Pipeline([work()]),
        [SeedPlugin(seed=7), ArtifactPlugin()],
        name="killed" if kills else "complete",
        description="made by the first version",
        treatments=[Treatment("more", {"delta": 5})],
        replicates=3,
    )
    for number, _ in enumerate(experiment.stream()):
        if kills and number == 3:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
