"""Ctrl-C in the middle of taking an outcome in: it waits until that is done, and nothing finished is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from crystallize import AsyncExecution, BasePlugin, ParallelExecution, SerialExecution, pipeline_step
from crystallize.engine.interrupts import InterruptGuard
from crystallize_plugins.artifacts import newest_run


class Presses(BasePlugin):
    """Presses Ctrl-C while the outcome of one replicate is handed round, before the store has it."""

    neutral = True
    before = ("ArtifactPlugin",)

    def __init__(self, times=1):
        self.times = times

    def collect(self, experiment, outcome):
        if outcome.cell.replicate == 3:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


def record(data, ctx):
    return data, {"value": ctx["replicate"]}


def stored_values():
    return list(newest_run("data", "held").result().metrics.baseline.metrics["value"])


@pytest.mark.parametrize("plugins", [(), (ParallelExecution(1),), (ParallelExecution(1, "process"),)])
def test_an_outcome_is_stored_although_ctrl_c_comes_while_it_is_taken_in(build, plugins):
    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as caught:
        build(record, plugins=[Presses(), *plugins], stored=True).run(replicates=8)
    told = list(caught.value.result.metrics.baseline.metrics["value"])
    assert 3 in told
    assert stored_values() == told
    assert signal.getsignal(signal.SIGINT) is usual


def test_a_stream_hands_in_what_it_has_taken(build):
    usual = signal.getsignal(signal.SIGINT)
    outcomes = build(record, plugins=[Presses()], stored=True).stream(replicates=8)
    given = [next(outcomes).cell.replicate for _ in range(3)]
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    assert given == [0, 1, 2]
    assert stored_values() == [0, 1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is usual


def test_a_second_ctrl_c_does_not_wait(build):
    with pytest.raises(KeyboardInterrupt):
        build(record, plugins=[Presses(times=2)]).run(replicates=8)


def test_outcomes_that_were_handed_over_together_are_all_taken_in(build):
    class Together(BasePlugin):
        neutral = True

        def run_experiment_loop(self, experiment, cells, run_cell):
            yield [run_cell(cell) for cell in cells]

    with pytest.raises(KeyboardInterrupt):
        build(record, plugins=[Presses(), Together()], stored=True).run(replicates=8)
    assert stored_values() == list(range(8))


def test_only_a_handler_of_python_is_replaced():
    usual = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with InterruptGuard():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        heard = []
        signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
        with InterruptGuard() as _, InterruptGuard() as _:
            signal.raise_signal(signal.SIGINT)
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, usual)


def test_inside_a_running_loop_ctrl_c_interrupts_at_once():
    async def main():
        with InterruptGuard():
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())


def test_what_waits_is_let_through_at_the_end_at_the_latest():
    interrupts = InterruptGuard()

    def block():
        with interrupts:
            interrupts.held = True
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert not interrupts.noted


class PressesLater(BasePlugin):
    """Presses Ctrl-C once a cell waits for its next attempt."""

    neutral = True
    wanted_events = ("cell_retried",)

    def on_event(self, experiment, event):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize(
    "executor",
    [SerialExecution(), ParallelExecution(1), ParallelExecution(1, "process"), AsyncExecution(max_concurrency=1)],
    ids=["serial", "thread", "process", "async"],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_cell_that_waits_for_its_next_attempt_does_not_keep_a_run_alive(build, executor, asynchronous, log):
    def fails(data, ctx):
        if ctx["replicate"] == 1:
            raise ConnectionError("busy")
        return data, {"value": ctx["replicate"]}

    if asynchronous:

        async def awaiting(data, ctx):
            await asyncio.sleep(0)
            return fails(data, ctx)

        step = pipeline_step(retries=1, backoff=300)(awaiting)
    else:
        step = pipeline_step(retries=1, backoff=300)(fails)
    with pytest.raises(KeyboardInterrupt) as caught:
        build(step(), plugins=[PressesLater(), executor], stored=True).run(replicates=2)
    assert list(caught.value.result.metrics.baseline.metrics["value"]) == [0]
    assert stored_values() == [0]
    assert "which nothing can stop" not in log.text()
