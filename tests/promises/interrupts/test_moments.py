"""Ctrl-C at any moment: what had finished by then is handed over, wherever the interpreter was."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque

import pytest

from crystallize import ArtifactPlugin, AsyncExecution, ParallelExecution, pipeline_step
from crystallize_plugins.artifacts import list_runs
from crystallize_plugins.execution.threads import ThreadLoop

pytestmark = pytest.mark.timeout(60)
CELLS = 8


def read(experiment, streamed):
    if streamed:
        deque(experiment.stream(replicates=CELLS), maxlen=0)
    else:
        experiment.run(replicates=CELLS)


class _Press:
    """Raises `KeyboardInterrupt` before one of the interpreter's instructions in some functions."""

    def __init__(self, functions, moment):
        self._code = {function.__code__ for function in functions}
        self._left = moment

    def __call__(self, frame, event, argument):
        if frame.f_code not in self._code:
            return None
        frame.f_trace_opcodes = True
        return self._instruction

    def _instruction(self, frame, event, argument):
        if event == "opcode":
            self._left -= 1
            if self._left == 0:
                raise KeyboardInterrupt
        return self._instruction


@pytest.mark.parametrize("streamed", [False, True], ids=["run", "stream"])
def test_a_loop_of_threads_loses_no_outcome_whichever_instruction_is_interrupted(build, streamed):
    finished = []

    @pipeline_step()
    def work(data, ctx):
        finished.append(ctx["replicate"])
        return data

    moments = 0
    for moment in range(1, 400, 3):
        finished.clear()
        experiment = build(work(), plugins=[ParallelExecution(2)])
        press = _Press([ThreadLoop._take, ThreadLoop._arriving], moment)
        before = sys.gettrace()
        sys.settrace(press)
        try:
            read(experiment, streamed)
        except KeyboardInterrupt as exc:
            moments += 1
            cells = exc.result.provenance["cells"]["baseline"]["completed"]
            assert cells == len(finished), moment
        else:
            break
        finally:
            sys.settrace(before)
    assert moments > 20


@pytest.mark.parametrize("pressed_in", [0, 2, 3, 5])
@pytest.mark.parametrize("streamed", [False, True], ids=["run", "stream"])
def test_what_had_arrived_in_an_event_loop_that_is_interrupted_is_kept(build, streamed, pressed_in):
    """Ctrl-C in the loop itself, while several outcomes have not been looked at."""

    finished, arrived = [], []

    def ctrl_c():
        arrived.extend(finished)
        raise KeyboardInterrupt

    @pipeline_step()
    async def work(data, ctx):
        await asyncio.sleep(0)
        if ctx["replicate"] == pressed_in:
            asyncio.get_running_loop().call_soon(ctrl_c)
        finished.append(ctx["replicate"])
        return data

    experiment = build(work(), plugins=[AsyncExecution(4)], seed=None)
    with pytest.raises(KeyboardInterrupt) as caught:
        read(experiment, streamed)
    assert arrived
    assert caught.value.result.provenance["cells"]["baseline"]["completed"] >= len(arrived)


@pytest.mark.parametrize("executor", [ParallelExecution(2), ParallelExecution(2, "process")], ids=["thread", "process"])
def test_what_had_finished_when_a_stream_is_left_is_stored(build, executor, tmp_path):
    log = tmp_path / "log"

    @pipeline_step()
    def work(data, ctx):
        with log.open("a") as file:
            file.write("x")
        return data

    stream = build(work(), plugins=[ArtifactPlugin(), executor]).stream(replicates=CELLS)
    next(stream)
    waited = threading.Event()
    for _ in range(100):
        if log.stat().st_size == CELLS:
            break
        waited.wait(0.01)
    ended = log.stat().st_size
    stream.close()
    (run,) = list_runs()
    assert len(run.outcomes()) >= ended


def test_what_had_finished_is_stored_though_ctrl_c_comes_while_the_result_is_made(run_script):
    """And the program ends at once: nobody waits for the next commit of its own accord."""
    done = run_script("""
        import os
        from crystallize import (
            ArtifactPlugin, Experiment, Hypothesis, Pipeline, Treatment, data_source, pipeline_step, verifier
        )

        @data_source
        def one(ctx):
            return 1

        @pipeline_step()
        def work(data, ctx):
            ctx.record("value", 1.0)
            return data

        @verifier
        def pressed(baseline, treatment):
            raise KeyboardInterrupt

        experiment = Experiment(
            one(), Pipeline([work()]), [ArtifactPlugin()], name="x", replicates=3, treatments=[Treatment("t", {})],
            hypotheses=[Hypothesis(pressed(), metrics="value")], default_plugins=False,
        )
        try:
            experiment.run()
        except KeyboardInterrupt:
            os._exit(0)
        """)
    assert done.returncode == 0, done.stderr
    (run,) = list_runs()
    assert len(run.outcomes()) == 6
