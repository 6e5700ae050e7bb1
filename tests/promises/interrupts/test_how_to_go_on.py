"""A script that Ctrl-C ends says in its last line how to go on, and one that handles Ctrl-C goes on itself."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap

import pytest

from crystallize import ArtifactPlugin, AsyncExecution, ParallelExecution, SerialExecution, Treatment, pipeline_step
from crystallize.experiments.optimizers import BaseOptimizer, Objective

pytestmark = pytest.mark.timeout(60)

EXECUTORS = {
    "serial": SerialExecution,
    "thread": lambda: ParallelExecution(2),
    "process": lambda: ParallelExecution(2, "process"),
    "async": AsyncExecution,
}


@pipeline_step()
def work(data, ctx):
    if ctx["replicate"] == 1:
        raise KeyboardInterrupt
    return data, {"fine": ctx["replicate"]}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_interrupt_says_what_is_stored_and_how_to_go_on(build, executor):
    with pytest.raises(KeyboardInterrupt) as caught:
        build(work(), plugins=[EXECUTORS[executor](), ArtifactPlugin()]).run(replicates=3)
    text = str(caught.value)
    assert text.endswith('To go on: run(strategy="resume")')
    assert "of 3 cells had ended, and are stored in" in text
    assert caught.value.result.provenance["run"]["folder"] in text


def test_without_a_store_it_says_where_the_result_is(build):
    with pytest.raises(KeyboardInterrupt, match=r"1 of 3 cells had ended, and are in this exception's .result"):
        build(work()).run(replicates=3)


def test_what_a_step_says_with_its_interrupt_stays(build):
    @pipeline_step()
    def stop(data):
        raise KeyboardInterrupt("enough")

    with pytest.raises(KeyboardInterrupt, match=r"^enough; 0 of 1 cells"):
        build(stop()).run()


def test_an_optimisation_says_how_it_goes_on(build):
    class Asks(BaseOptimizer):
        def ask(self):
            return [Treatment("t", {})]

        def tell(self, objective_values):
            raise KeyboardInterrupt

        def get_best_treatment(self):
            return Treatment("t", {})

    @pipeline_step()
    def fine(data):
        return data, {"loss": 1}

    with pytest.raises(KeyboardInterrupt, match=r'1 cells had ended.*optimize\(\.\.\., strategy="resume"\)$'):
        build(fine(), plugins=[ArtifactPlugin()]).optimize(Asks(Objective("loss")), 3)


@pytest.mark.parametrize("face", ["apply", "debug"])
def test_one_cell_alone_has_nothing_to_go_on_with(build, face):
    @pipeline_step()
    def stop(data):
        raise KeyboardInterrupt("enough")

    with pytest.raises(KeyboardInterrupt, match=r"^enough$"):
        getattr(build(stop()), face)()


def test_a_cancelled_run_logs_it(build, caplog):
    async def wait(data, ctx):
        await asyncio.sleep(60 if ctx["replicate"] else 0)
        return data, {"fine": 1}

    async def main():
        experiment = build(pipeline_step()(wait)(), plugins=[ArtifactPlugin()])
        task = asyncio.create_task(experiment.arun(replicates=2))
        await asyncio.sleep(0.3)
        task.cancel()
        await task

    with caplog.at_level(logging.INFO, "crystallize"), pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert any(
        text.startswith("cancelled: 1 of 2 cells") and text.endswith('run(strategy="resume")')
        for text in caplog.messages
    )


SCRIPT = """
from crystallize import Experiment, Pipeline, data_source, pipeline_step

@data_source
def one(ctx):
    return 1

@pipeline_step()
def work(data, ctx):
    if ctx["replicate"] == 1:
        raise KeyboardInterrupt
    return data

experiment = Experiment(one(), Pipeline([work()]), name="stopped", replicates=3)
"""


def run_script(source, cwd):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_the_last_line_of_a_script_that_is_interrupted_says_how_to_resume(tmp_path):
    ended = run_script(SCRIPT + "experiment.run()", tmp_path)
    assert ended.returncode != 0
    assert ended.stderr.rstrip().split("\n")[-1].startswith("KeyboardInterrupt: 1 of 3 cells had ended")
    assert ended.stderr.rstrip().endswith('To go on: run(strategy="resume")')


def test_a_script_may_handle_the_interrupt(tmp_path):
    handles = "try:\n    experiment.run()\nexcept KeyboardInterrupt as stop:\n    print(len(stop.result.errors), 'on')"
    ended = run_script(SCRIPT + handles, tmp_path)
    assert (ended.returncode, ended.stdout.strip()) == (0, "0 on")
