"""Events: what steps tell while they run, and what the engine tells of its progress."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from crystallize import BasePlugin, Treatment
from crystallize.hooks import Cell


class Ear(BasePlugin):
    neutral = True

    def __init__(self, heard=None):
        self.heard = [] if heard is None else heard

    def on_event(self, event):
        self.heard.append(event)


def tell(data, ctx):
    ctx.emit("half_way", done=0.5)
    ctx.report("loss", 0.25, step=1)
    return data


async def tell_later(data, ctx):
    await asyncio.sleep(0)
    return tell(data, ctx)


@pytest.mark.parametrize("step", [tell, tell_later])
def test_events_come_live_with_their_cell(make, face, step):
    ear, seen = Ear(), []

    def check(data, ctx):
        seen.append([event.name for event in ear.heard if event.cell == Cell(ctx["condition"], ctx["replicate"])])
        return data

    face(make(step, check, plugins=[ear]), replicates=2, treatments=[Treatment("t", {})])
    assert seen == [["cell_started", "step_started", "half_way", "report", "step_started"]] * 4
    (event,) = [e for e in ear.heard if e.name == "half_way" and e.cell == Cell("t", 1)]
    assert dict(event.fields) == {"done": 0.5}


def test_the_engine_tells_of_its_progress(make):
    ear = Ear()

    def pass_on(data, ctx):
        return data

    def fail(data, ctx):
        if ctx["replicate"]:
            raise ValueError

    make(pass_on, fail, plugins=[ear]).run(replicates=2)
    told = [(event.name, event.cell, {k: v for k, v in event.fields.items() if k != "duration"}) for event in ear.heard]
    assert told == [
        ("run_started", None, {"cells": 2}),
        ("cell_started", Cell("baseline", 0), {}),
        ("step_started", Cell("baseline", 0), {"step": "PassOnStep", "position": 1}),
        ("step_started", Cell("baseline", 0), {"step": "FailStep", "position": 2}),
        ("cell_finished", Cell("baseline", 0), {"failed": False}),
        ("cell_started", Cell("baseline", 1), {}),
        ("step_started", Cell("baseline", 1), {"step": "PassOnStep", "position": 1}),
        ("step_started", Cell("baseline", 1), {"step": "FailStep", "position": 2}),
        ("cell_finished", Cell("baseline", 1), {"failed": True}),
        ("run_finished", None, {"failed": 1}),
    ]
    assert all(event.fields["duration"] >= 0 for event in ear.heard if event.name == "cell_finished")
    assert [event.time for event in ear.heard] == sorted(event.time for event in ear.heard)


def test_nobody_listens_and_nothing_is_kept(make):
    (outcome,) = make(tell).stream()
    assert outcome.events == ()


def test_events_of_an_executor_that_does_not_pass_them_on_come_with_the_outcome(make):
    """As from another process, where there are no `on_event` hooks to call."""
    import pickle

    import cloudpickle

    class Elsewhere(BasePlugin):
        neutral = True

        def run_experiment_loop(self, cells, run_cell):
            copied = pickle.loads(cloudpickle.dumps(run_cell))
            outcomes = [pickle.loads(cloudpickle.dumps(copied(cell))) for cell in cells]
            run_cell.absorb(copied.stop())
            return outcomes

    heard = Ear()
    make(tell, plugins=[heard, Elsewhere()]).run()
    names = [event.name for event in heard.heard]
    assert names == [
        "run_started", "cell_started", "step_started", "half_way", "report", "cell_finished", "run_finished",
    ]  # fmt: skip
    assert heard.heard[1].cell == Cell("baseline", 0)


def test_an_executor_may_take_the_events_itself(make):
    mine = []

    class Takes(BasePlugin):
        neutral = True

        def run_experiment_loop(self, cells, run_cell):
            return [run_cell(cell, mine.append) for cell in cells]

    ear = Ear()
    make(tell, plugins=[ear, Takes()]).run()
    assert [event.name for event in mine] == ["cell_started", "step_started", "half_way", "report"]
    assert "half_way" not in [event.name for event in ear.heard]


def test_events_of_threads_come_one_at_a_time(make):
    inside, most = [], []
    barrier = threading.Barrier(4, timeout=10)

    class Slow(BasePlugin):
        neutral = True

        def on_event(self, event):
            inside.append(event)
            most.append(len(inside))
            inside.pop()

    class Pool(BasePlugin):
        neutral = True

        def run_experiment_loop(self, cells, run_cell):
            with ThreadPoolExecutor(4) as pool:
                return list(pool.map(run_cell, cells))

    def burst(data, ctx):
        barrier.wait()
        for number in range(200):
            ctx.emit("tick", number=number)

    assert not make(burst, plugins=[Slow(), Pool()]).run(replicates=4).errors
    assert set(most) == {1}
    assert (
        len(most) == 4 * 200 + 4 * 3 + 2
    )  # of each cell its start, its step's and its end; of the run the first and the last


def test_a_listeners_trouble_is_not_the_steps(make):
    class Deaf(BasePlugin):
        on_error = "stop_run"

        def on_event(self, event):
            if event.name == "half_way":
                raise OSError("deaf")

    went_on = []
    with pytest.raises(OSError, match="deaf") as caught:
        make(tell, lambda data: went_on.append(data), plugins=[Deaf()]).run(replicates=3)  # noqa: PLW0108
    assert len(went_on) == 1
    assert not caught.value.result.errors


@pytest.mark.parametrize(
    "wanted, heard",
    [
        (("half_way",), ["half_way"] * 2),
        (("cell_finished", "run_finished"), ["cell_finished"] * 2 + ["run_finished"]),
        (("cell_started",), ["cell_started"] * 2),
        (("step_started",), ["step_started"] * 2),
        ((), []),
    ],
)
def test_a_plugin_hears_the_events_that_it_wants_and_the_others_hear_all(make, wanted, heard):
    choosy, ear = Ear(), Ear()
    choosy.wanted_events = wanted
    (make(tell, plugins=[choosy]) if wanted else make(tell, plugins=[choosy, ear])).run(replicates=2)
    assert [event.name for event in choosy.heard] == heard
    if not wanted:
        assert {e.name for e in ear.heard} == {
            "run_started", "cell_started", "step_started", "half_way", "report", "cell_finished", "run_finished",
        }  # fmt: skip
