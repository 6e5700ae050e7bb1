"""Who reads a stream slowly, or leaves it, loses nothing that had finished."""

from __future__ import annotations

import time

import pytest

from crystallize import ArtifactPlugin, AsyncExecution, ParallelExecution, SerialExecution, pipeline_step
from crystallize_plugins.artifacts import list_runs

pytestmark = pytest.mark.timeout(60)
CELLS = 400

EXECUTORS = {
    "serial": SerialExecution,
    "thread": lambda: ParallelExecution(2),
    "process": lambda: ParallelExecution(2, "process"),
    "async": lambda: AsyncExecution(4),
}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_little_is_finished_and_not_stored_while_a_stream_is_read_slowly(executor, build, tmp_path):
    log = tmp_path / "log"

    @pipeline_step()
    def work(data, ctx):
        time.sleep(0.005)
        with log.open("a") as file:
            file.write("x")
        return data

    stream = build(work(), plugins=[ArtifactPlugin(), EXECUTORS[executor]()]).stream(replicates=CELLS)
    for _ in range(3):
        next(stream)
        time.sleep(0.5)
        (run,) = list_runs()
        assert run.status == "running"
        # Cells of 5 ms, two at a time: what is begun within 50 ms, and batches of 10 ms that processes were given.
        assert log.stat().st_size - len(run.outcomes()) < CELLS / 4
    stream.close()
    (run,) = list_runs()
    assert run.status == "interrupted"
    assert len(run.outcomes()) < CELLS


@pytest.mark.parametrize("executor", EXECUTORS)
def test_every_outcome_of_a_stream_is_stored_when_it_is_shown(executor, build):
    @pipeline_step()
    def work(data, ctx):
        ctx.metrics.add("fine", ctx["replicate"])
        return data

    shown = []
    for outcome in build(work(), plugins=[ArtifactPlugin(), EXECUTORS[executor]()]).stream(replicates=60):
        shown.append(outcome.cell)
        if len(shown) % 7 == 0:
            (run,) = list_runs()
            assert set(shown) <= {stored.cell for stored in run.outcomes()}
    assert sorted(shown) == sorted(stored.cell for stored in list_runs()[0].outcomes())
    assert len(shown) == 60
